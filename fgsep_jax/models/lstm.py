"""A bidirectional LSTM layer whose scan holds nothing but the recurrence.

Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al.,
2000. Letters beside the package's own: G directions (forward, backward), D the four gates side by
side, in PyTorch's order: input i, forget f, cell g, output o; D = 4 H.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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


def gates(preactivation_BD: jax.Array) -> jax.Array:
    """The gates i, f, g, o side by side [batch, 4 * hidden] of their preactivations.

    One tanh for all, for the logistic function of x is tanh(x / 2) / 2 + 1 / 2.
    """
    hidden = preactivation_BD.shape[-1] // GATES
    scale_1D = np.repeat(np.float32([0.5, 0.5, 1, 0.5]), hidden)[None]
    return jnp.tanh(preactivation_BD * scale_1D) * scale_1D + (1 - scale_1D)


def _both(step, *args):
    """`step` of each direction, and what the two return as (states, kept).

    A direction is done with before the other begins: in this order XLA gives them buffers of
    their own, and on a CPU they run side by side, a core each.
    """
    return tuple(zip(*map(step, *args)))


def _frame(state, kernel_HD, input_BD):
    cell_BH, output_BH = state
    gates_BD = gates(input_BD + output_BH @ kernel_HD)
    i, f, g, o = jnp.split(gates_BD, GATES, axis=-1)
    cell_BH = f * cell_BH + i * g
    output_BH = o * jnp.tanh(cell_BH)
    return (cell_BH, output_BH), (output_BH, cell_BH, gates_BD)


class Recurrence(nn.Module):
    """Both directions over all frames: a scan that holds nothing but the recurrence.

    Attributes:
      hidden: H, cells a direction.
    """

    hidden: int

    @nn.compact
    def __call__(self, input_KBD):
        """Returns outputs, cells and gates of each direction, each [frames, batch, ...]."""
        shape = (DIRECTIONS, self.hidden, GATES * self.hidden)
        kernel_GHD = self.param('kernel', torch_uniform(self.hidden), shape)
        scan = nn.scan(
            lambda module, state, kernel, frame: _both(_frame, state, kernel, frame),
            variable_broadcast='params',
            split_rngs={'params': False},
            in_axes=(nn.broadcast, 0),
        )
        zero_BH = jnp.zeros((input_KBD[0].shape[1], self.hidden), jnp.float32)
        # Taken apart here, not once a frame.
        kernels_HD = tuple(kernel_GHD[direction] for direction in range(DIRECTIONS))
        return scan(self, ((zero_BH, zero_BH),) * DIRECTIONS, kernels_HD, input_KBD)[1]


def _outputs(recurrence, input_KBD):
    return tuple(output_KBH for output_KBH, *_ in recurrence(input_KBD))


def _forward(recurrence, input_KBD):
    kept = recurrence(input_KBD)
    outputs = tuple(output_KBH for output_KBH, *_ in kept)
    return outputs, (recurrence.variables['params'], kept)


def _frame_back(state, kernel_DH, frame):
    d_cell_BH, d_pre_BD = state
    d_output_BH, cell_BH, gates_BD = frame
    i, f, g, o = jnp.split(gates_BD, GATES, axis=-1)
    tanh_BH = jnp.tanh(cell_BH)
    d_output_BH += (d_pre_BD @ kernel_DH)[:, : o.shape[-1]]
    d_cell_BH += d_output_BH * o * (1 - tanh_BH**2)
    slope_BD = jnp.concatenate(
        [
            g * i * (1 - i),
            (cell_BH - i * g) * (1 - f),  # what f let through of the cell before, times 1 - f
            i * (1 - g**2),
            tanh_BH * o * (1 - o),
        ],
        axis=-1,
    )
    d_pre_BD = slope_BD * jnp.concatenate([d_cell_BH] * 3 + [d_output_BH], axis=-1)
    return (d_cell_BH * f, d_pre_BD), d_pre_BD


def _backward(residuals, d_output_KBH):
    """Gradients of the recurrent matrix and of the inputs.

    The scan passes back the gradients of the preactivations alone. They are the gradients of the
    inputs, and sum_k h_{k-1}^T dpre_k, the gradient of the recurrent matrix, is one product of
    all frames after the scan.
    """
    params, kept = residuals
    # A CPU's product works on 64 columns at a time, and 300 would leave it a ragged end.
    ragged = -params['kernel'].shape[1] % 64
    kernels_DH = tuple(
        jnp.pad(kernel_HD.T, ((0, 0), (0, ragged))) for kernel_HD in params['kernel']
    )
    frames = tuple(
        (d_KBH, cell_KBH, gates_KBD) for d_KBH, (_, cell_KBH, gates_KBD) in zip(d_output_KBH, kept)
    )
    zero_BH, zero_BD = (jnp.zeros_like(x_KB[0]) for x_KB in kept[0][1:])
    _, d_pre_KBD = jax.lax.scan(
        lambda state, frame: _both(_frame_back, state, kernels_DH, frame),
        ((zero_BH, zero_BD),) * DIRECTIONS,
        frames,
        reverse=True,
    )
    d_kernel_GHD = jnp.stack(
        [
            _over_frames(_before(output_KBH), d_KBD)
            for (output_KBH, *_), d_KBD in zip(kept, d_pre_KBD)
        ]
    )
    return {'params': {'kernel': d_kernel_GHD}}, d_pre_KBD


def _over_frames(x_KBH, d_KBD):
    """Sum over frames and examples of x^T d [hidden, depth]."""
    # A product of rows is faster on a CPU, but rows cannot be dealt to the chips of a pod.
    return jax.lax.platform_dependent(
        x_KBH,
        d_KBD,
        default=lambda x, d: jnp.einsum('kbh,kbd->hd', x, d),
        cpu=lambda x, d: x.reshape(-1, x.shape[-1]).T @ d.reshape(-1, d.shape[-1]),
    )


@jax.custom_vjp
def product(x_KBN: jax.Array, kernel_ND: jax.Array) -> jax.Array:
    """x W [frames, batch, depth] of all frames, with W's gradient by `_over_frames`."""
    return x_KBN @ kernel_ND


def _product_back(residuals, d_KBD):
    x_KBN, kernel_ND = residuals
    return d_KBD @ kernel_ND.T, _over_frames(x_KBN, d_KBD)


product.defvjp(lambda x_KBN, kernel_ND: (x_KBN @ kernel_ND, (x_KBN, kernel_ND)), _product_back)


def _before(x_KBH):
    """Each frame's value at the frame before it."""
    return jnp.concatenate([jnp.zeros_like(x_KBH[:1]), x_KBH[:-1]])


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
    def __call__(self, x: jax.Array, valid_BK: jax.Array | None = None) -> jax.Array:
        """Runs both directions.

        Args:
          x: input [batch, frames, channels].
          valid_BK: False for frames of padding [batch, frames]. On padding the state is
            zero, so that the backward direction starts at the last frame that counts.

        Returns:
          Outputs [batch, frames, 2 * hidden], the forward direction first; zero on padding.

        Raises:
          ValueError: the input is not [batch, frames, channels], or valid_BK not [batch, frames].
        """
        if x.ndim != 3 or not x.shape[1 if self.batch_first else 0]:
            raise ValueError(
                f'x has shape {x.shape}: must be [batch, frames, channels], frames >= 1'
            )
        x_KBN = x.swapaxes(0, 1) if self.batch_first else x
        if valid_BK is not None and valid_BK.shape != x_KBN.shape[1::-1]:
            raise ValueError(
                f'valid_BK has shape {valid_BK.shape}: must be {x_KBN.shape[1::-1]},'
                ' [batch, frames] of x'
            )
        channels, depth = x_KBN.shape[-1], GATES * self.hidden
        init = torch_uniform(self.hidden)
        kernel_GND = self.param('kernel', init, (DIRECTIONS, channels, depth))
        bias_GD = self.param('bias', forget_bias, (DIRECTIONS, depth))
        valid_KB1 = None if valid_BK is None else valid_BK.T[:, :, None]
        if valid_KB1 is not None:
            # where(), not a product: whatever stands there, even nan, must not come through.
            x_KBN = jnp.where(valid_KB1, x_KBN, 0)
        shut_KB1 = jnp.float32(0).reshape(1, 1, 1)
        if valid_KB1 is not None:
            shut_KB1 = jnp.where(valid_KB1, shut_KB1, CLOSED)
        x_KBN = x_KBN.astype(self.dtype)

        def preactivation(direction, order):
            # Frames and examples stay two axes: as one they cannot be dealt to the chips of a pod.
            input_KBD = product(x_KBN[order], kernel_GND[direction].astype(self.dtype))
            # Added, not selected: the gradient, zero where gates are shut, passes uncopied.
            offset_KBD = bias_GD[direction][None, None] + shut_KB1[order]
            return input_KBD.astype(jnp.float32) + offset_KBD

        recurrence = Recurrence(self.hidden, name='recurrence')
        run = nn.custom_vjp(_outputs, _forward, _backward)
        forward_KBH, backward_KBH = run(
            recurrence, (preactivation(0, slice(None)), preactivation(1, slice(None, None, -1)))
        )
        output_KBH = jnp.concatenate([forward_KBH, backward_KBH[::-1]], axis=-1)
        return output_KBH.swapaxes(0, 1) if self.batch_first else output_KBH
