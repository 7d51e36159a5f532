"""A bidirectional LSTM layer whose scan holds nothing but the recurrence.

Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al.,
2000. Letters beside the package's own: G directions (forward, backward), D the four gates side by
side, in PyTorch's order: input i, forget f, cell g, output o; D = 4 H.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fgsep_jax.models.layers import torch_uniform

DIRECTIONS, GATES = 2, 4
# A sigmoid of it is 0 and so is the sigmoid's gradient, exactly.
CLOSED = -1e9


def forget_bias(key, shape, dtype=jnp.float32):
    """Initialiser of the biases: 1 for the forget gates, 0 for the others.

    An open forget gate lets gradients through from the first step on (Jozefowicz et al., 2015);
    PyTorch starts it near 0.
    """
    del key
    hidden = shape[-1] // GATES
    return jnp.zeros(shape, dtype).at[:, hidden : 2 * hidden].set(1)


def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function by way of tanh, which is cheaper than exp and a division."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def gates(preactivation_GBD: jax.Array) -> list[jax.Array]:
    """The gates i, f, g, o, each [directions, batch, hidden], of their preactivations."""
    i, f, g, o = jnp.split(preactivation_GBD, GATES, axis=-1)
    return [sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o)]


class Recurrence(nn.Module):
    """One frame of both directions; scanned over frames.

    Attributes:
      hidden: H, cells a direction.
    """

    hidden: int

    @nn.compact
    def __call__(self, state, input_GBD):
        cell_GBH, output_GBH = state
        shape = (DIRECTIONS, self.hidden, GATES * self.hidden)
        kernel_GHD = self.param('kernel', torch_uniform(self.hidden), shape)
        product_GBD = jnp.einsum('gbh,ghd->gbd', output_GBH, kernel_GHD)
        i, f, g, o = gates(input_GBD + product_GBD)
        cell_GBH = f * cell_GBH + i * g
        output_GBH = o * jnp.tanh(cell_GBH)
        return (cell_GBH, output_GBH), (output_GBH, cell_GBH, (i, f, g, o))


def _run(recurrence, input_KGBD):
    """Outputs of all frames, and what the backward pass needs of them."""
    _, directions, batch, depth = input_KGBD.shape
    zero_GBH = jnp.zeros((directions, batch, depth // GATES))
    _, kept = recurrence((zero_GBH, zero_GBH), input_KGBD)
    return kept


def _forward(recurrence, input_KGBD):
    kept = _run(recurrence, input_KGBD)
    return kept[0], (recurrence.variables['params'], kept)


def _backward(residuals, d_output_KGBH):
    """Gradients of the recurrent matrix and of the inputs.

    The scan passes back the gradients of the preactivations alone. They are the gradients of the
    inputs, and sum_k h_{k-1}^T dpre_k, the gradient of the recurrent matrix, is one product of
    all frames after the scan.
    """
    params, (output_KGBH, cell_KGBH, gates_KGBH) = residuals
    kernel_GHD = params['kernel']
    before = lambda x: jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])

    def step(state, frame):
        d_cell_GBH, d_pre_GBD = state
        d_output_GBH, cell_GBH, before_GBH, (i, f, g, o) = frame
        d_output_GBH += jnp.einsum('gbd,ghd->gbh', d_pre_GBD, kernel_GHD)
        tanh_GBH = jnp.tanh(cell_GBH)
        d_cell_GBH += d_output_GBH * o * (1 - tanh_GBH**2)
        d_pre_GBD = jnp.concatenate(
            [
                d_cell_GBH * g * i * (1 - i),
                d_cell_GBH * before_GBH * f * (1 - f),
                d_cell_GBH * i * (1 - g**2),
                d_output_GBH * tanh_GBH * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_cell_GBH * f, d_pre_GBD), d_pre_GBD

    zero_GBH = jnp.zeros_like(cell_KGBH[0])
    zero_GBD = jnp.zeros((*zero_GBH.shape[:-1], kernel_GHD.shape[-1]))
    frames = (d_output_KGBH, cell_KGBH, before(cell_KGBH), gates_KGBH)
    _, d_pre_KGBD = jax.lax.scan(step, (zero_GBH, zero_GBD), frames, reverse=True)
    d_kernel_GHD = jnp.einsum('kgbh,kgbd->ghd', before(output_KGBH), d_pre_KGBD)
    return {'params': {'kernel': d_kernel_GHD}}, d_pre_KGBD


class BLSTM(nn.Module):
    """Bidirectional LSTM layer.

        i, f, o = sigmoid(W x_k + U h_{k-1} + b),  g = tanh(W x_k + U h_{k-1} + b)
        c_k = f c_{k-1} + i g,  h_k = o tanh(c_k)

    with W, U and b of each gate and direction its own. Both directions run in one scan over
    frames; W x + b of all frames stands outside of it. One bias stands for PyTorch's two.

    Attributes:
      hidden: H, cells a direction.
      dtype: of W x; the recurrence is float32.
    """

    hidden: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BKN: jax.Array, mask_BK: jax.Array | None = None) -> jax.Array:
        """Runs both directions.

        Args:
          x_BKN: input [batch, frames, channels].
          mask_BK: 1 for frames that count, 0 for padding [batch, frames]. On padding the state is
            zero, so that the backward direction starts at the last frame that counts.

        Returns:
          Outputs [batch, frames, 2 * hidden], the forward direction first; zero on padding.

        Raises:
          ValueError: the input is not [batch, frames, channels], or the mask not [batch, frames].
        """
        if x_BKN.ndim != 3 or not x_BKN.shape[1]:
            raise ValueError(
                f'x has shape {x_BKN.shape}: must be [batch, frames, channels], frames >= 1'
            )
        if mask_BK is not None and mask_BK.shape != x_BKN.shape[:2]:
            raise ValueError(
                f'mask has shape {mask_BK.shape}: must be {x_BKN.shape[:2]}, [batch, frames] of x'
            )
        channels, depth = x_BKN.shape[-1], GATES * self.hidden
        init = torch_uniform(self.hidden)
        kernel_GND = self.param('kernel', init, (DIRECTIONS, channels, depth))
        bias_GD = self.param('bias', forget_bias, (DIRECTIONS, depth))
        if mask_BK is not None:
            # where(), not a product: whatever stands there, even nan, must not come through.
            x_BKN = jnp.where(mask_BK[:, :, None] > 0, x_BKN, 0)
        input_KGBD = jnp.einsum(
            'bkn,gnd->kgbd', x_BKN.astype(self.dtype), kernel_GND.astype(self.dtype)
        ).astype(jnp.float32)
        input_KGBD += bias_GD[None, :, None]
        if mask_BK is not None:
            input_KGBD = jnp.where(mask_BK.T[:, None, :, None] > 0, input_KGBD, CLOSED)
        input_KGBD = jnp.stack([input_KGBD[:, 0], input_KGBD[::-1, 1]], axis=1)
        recurrence = nn.scan(
            Recurrence, variable_broadcast='params', split_rngs={'params': False}
        )(self.hidden, name='recurrence')
        run = nn.custom_vjp(lambda *args: _run(*args)[0], _forward, _backward)
        output_KGBH = run(recurrence, input_KGBD)
        output_KBH = jnp.concatenate([output_KGBH[:, 0], output_KGBH[::-1, 1]], axis=-1)
        return output_KBH.swapaxes(0, 1)
