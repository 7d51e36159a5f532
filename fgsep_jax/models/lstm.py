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

    The directions share one batched product, the costliest part of the layer; what is read and
    kept of each frame stays an array a direction, which the products of all frames, before and
    after the scan, take without copying.

    Attributes:
      hidden: H, cells a direction.
    """

    hidden: int

    @nn.compact
    def __call__(self, state, input_BD):
        cell_GBH, output_GBH = state
        shape = (DIRECTIONS, self.hidden, GATES * self.hidden)
        kernel_GHD = self.param('kernel', torch_uniform(self.hidden), shape)
        product_GBD = jnp.einsum('gbh,ghd->gbd', output_GBH, kernel_GHD)
        i, f, g, o = gates(jnp.stack(input_BD) + product_GBD)
        cell_GBH = f * cell_GBH + i * g
        output_GBH = o * jnp.tanh(cell_GBH)
        return (cell_GBH, output_GBH), [tuple(x) for x in (output_GBH, cell_GBH, i, f, g, o)]


def _run(recurrence, input_KBD):
    """Outputs of all frames, and what the backward pass needs of them, a pair each."""
    _, batch, depth = input_KBD[0].shape
    zero_GBH = jnp.zeros((DIRECTIONS, batch, depth // GATES))
    _, kept = recurrence((zero_GBH, zero_GBH), input_KBD)
    return kept


def _forward(recurrence, input_KBD):
    kept = _run(recurrence, input_KBD)
    return kept[0], (recurrence.variables['params'], kept)


def _before(x_KBH):
    """Each frame's value at the frame before it."""
    return jnp.concatenate([jnp.zeros_like(x_KBH[:1]), x_KBH[:-1]])


def _backward(residuals, d_output_KBH):
    """Gradients of the recurrent matrix and of the inputs.

    The scan passes back the gradients of the preactivations alone. They are the gradients of the
    inputs, and sum_k h_{k-1}^T dpre_k, the gradient of the recurrent matrix, is one product of
    all frames after the scan.
    """
    params, (output_KBH, cell_KBH, *gates_KBH) = residuals
    kernel_GDH = params['kernel'].swapaxes(1, 2)  # once: products read it faster so

    def step(state, frame):
        d_cell_GBH, d_pre_GBD = state
        d_output_GBH, cell_GBH, before_GBH, i, f, g, o = [jnp.stack(pair) for pair in frame]
        d_output_GBH += jnp.einsum('gbd,gdh->gbh', d_pre_GBD, kernel_GDH)
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
        return (d_cell_GBH * f, d_pre_GBD), tuple(d_pre_GBD)

    zero_GBH = jnp.zeros((DIRECTIONS, *cell_KBH[0].shape[1:]))
    zero_GBD = jnp.zeros((*zero_GBH.shape[:-1], kernel_GDH.shape[1]))
    frames = (d_output_KBH, cell_KBH, tuple(map(_before, cell_KBH)), *gates_KBH)
    _, d_pre_KBD = jax.lax.scan(step, (zero_GBH, zero_GBD), frames, reverse=True)
    d_kernel_GHD = jnp.stack([
        jnp.einsum('kbh,kbd->hd', _before(h_KBH), d_KBD)
        for h_KBH, d_KBD in zip(output_KBH, d_pre_KBD)])
    return {'params': {'kernel': d_kernel_GHD}}, d_pre_KBD


class BLSTM(nn.Module):
    """Bidirectional LSTM layer.

        i, f, o = sigmoid(W x_k + U h_{k-1} + b),  g = tanh(W x_k + U h_{k-1} + b)
        c_k = f c_{k-1} + i g,  h_k = o tanh(c_k)

    with W, U and b of each gate and direction its own. Both directions run in one scan over
    frames; W x + b of all frames stands outside of it. One bias stands for PyTorch's two.

    Attributes:
      hidden: H, cells a direction.
      dtype: of W x; the recurrence is float32.
      batch_first: False takes and returns [frames, batch, channels], as the scan does, and spares
        copies between layers.
    """

    hidden: int
    dtype: str = 'float32'
    batch_first: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, mask_BK: jax.Array | None = None) -> jax.Array:
        """Runs both directions.

        Args:
          x: input [batch, frames, channels].
          mask_BK: 1 for frames that count, 0 for padding [batch, frames]. On padding the state is
            zero, so that the backward direction starts at the last frame that counts.

        Returns:
          Outputs [batch, frames, 2 * hidden], the forward direction first; zero on padding.

        Raises:
          ValueError: the input is not [batch, frames, channels], or the mask not [batch, frames].
        """
        if x.ndim != 3 or not x.shape[1 if self.batch_first else 0]:
            raise ValueError(
                f'x has shape {x.shape}: must be [batch, frames, channels], frames >= 1'
            )
        x_KBN = x.swapaxes(0, 1) if self.batch_first else x
        if mask_BK is not None and mask_BK.shape != x_KBN.shape[1::-1]:
            raise ValueError(
                f'mask has shape {mask_BK.shape}: must be {x_KBN.shape[1::-1]}, [batch, frames]'
                ' of x'
            )
        channels, depth = x_KBN.shape[-1], GATES * self.hidden
        init = torch_uniform(self.hidden)
        kernel_GND = self.param('kernel', init, (DIRECTIONS, channels, depth))
        bias_GD = self.param('bias', forget_bias, (DIRECTIONS, depth))
        mask_KB1 = None if mask_BK is None else mask_BK.T[:, :, None] > 0
        if mask_KB1 is not None:
            # where(), not a product: whatever stands there, even nan, must not come through.
            x_KBN = jnp.where(mask_KB1, x_KBN, 0)
        x_KBN = x_KBN.astype(self.dtype)

        def preactivation(direction, order):
            input_KBD = jnp.einsum(
                'kbn,nd->kbd', x_KBN[order], kernel_GND[direction].astype(self.dtype))
            input_KBD = input_KBD.astype(jnp.float32) + bias_GD[direction][None, None]
            return input_KBD if mask_KB1 is None else jnp.where(mask_KB1[order], input_KBD, CLOSED)

        recurrence = nn.scan(
            Recurrence, variable_broadcast='params', split_rngs={'params': False}
        )(self.hidden, name='recurrence')
        run = nn.custom_vjp(lambda *args: _run(*args)[0], _forward, _backward)
        forward_KBH, backward_KBH = run(
            recurrence, (preactivation(0, slice(None)), preactivation(1, slice(None, None, -1))))
        output_KBH = jnp.concatenate([forward_KBH, backward_KBH[::-1]], axis=-1)
        return output_KBH.swapaxes(0, 1) if self.batch_first else output_KBH
