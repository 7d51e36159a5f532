"""Windows over a recording of any length: where they stand, and how they are joined again."""

from collections.abc import Iterable, Iterator

import numpy as np


def positions(samples: int, window: int, hop: int) -> list[int]:
    """Where windows begin: every `hop` samples, the last one at the very end; one at least."""
    last = max(samples - window, 0)
    return [*range(0, last, hop), last]


def cut(blocks: Iterable[np.ndarray], starts: list[int], window: int) -> Iterator[np.ndarray]:
    """Cuts windows out of a stream.

    Args:
      blocks: [samples, channels].
      starts: as `positions` gives them.
      window: in samples.

    Yields:
      [channels, samples] for each start; `window` samples but where the stream is shorter.
    """
    blocks, rest, at = iter(blocks), [], 0
    for start in starts:
        while sum(map(len, rest)) < start + window - at:
            block_TC = next(blocks, None)
            if block_TC is None:
                break
            rest.append(block_TC)
        joined_TC = np.concatenate(rest)[start - at :] if rest else np.zeros((0, 1), np.float32)
        rest, at = [joined_TC], start
        yield np.ascontiguousarray(joined_TC[:window].T)


def fade(window: int, overlap: int) -> np.ndarray:
    """Weights of a window [window]: rising over `overlap` samples, one, falling."""
    ramp_T = (np.arange(window, dtype=np.float32) + 0.5) / max(overlap, 1)
    return np.minimum(np.minimum(ramp_T, ramp_T[::-1]), 1.0)


def joined(
    windows: Iterable[np.ndarray], starts: list[int], *, samples: int, overlap: int
) -> Iterator[np.ndarray]:
    """Joins windows by a cross-fade: each sample is the mean, by `fade`, of all that have it.

    Args:
      windows: [..., samples] for each start, of one length.
      starts: as `positions` gives them.
      samples: of the whole.
      overlap: over which a window's weight rises and falls, in samples.

    Yields:
      [..., samples], in order, `samples` in all.
    """
    weight_T = sum_T = total_T = None
    for index, (start, window_T) in enumerate(zip(starts, windows)):
        length = min(window_T.shape[-1], samples - start)
        window_T = window_T[..., :length]
        if weight_T is None:
            weight_T = fade(window_T.shape[-1], overlap)
            sum_T = np.zeros((*window_T.shape[:-1], 0), np.float32)
            total_T = np.zeros(0, np.float32)
        more = length - len(total_T)
        if more > 0:
            sum_T = np.concatenate([sum_T, np.zeros((*sum_T.shape[:-1], more), np.float32)], -1)
            total_T = np.concatenate([total_T, np.zeros(more, np.float32)])
        sum_T[..., :length] += window_T * weight_T[:length]
        total_T[:length] += weight_T[:length]
        after = starts[index + 1] if index + 1 < len(starts) else samples
        done = after - start
        yield sum_T[..., :done] / total_T[:done]
        sum_T, total_T = sum_T[..., done:], total_T[done:]


def added(frame_KW: np.ndarray, rest_T: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps and adds frames that stand a stride apart.

    Args:
      frame_KW: [..., frames, window].
      rest_T: what frames before reach into these, [..., window - stride].

    Returns:
      ([..., frames * stride] that no later frame adds to, what these reach into later ones).
    """
    *rows, count, width = frame_KW.shape
    sum_KD = np.zeros((*rows, count + width // stride - 1, stride), np.float32)
    for part in range(width // stride):
        sum_KD[..., part : part + count, :] += frame_KW[..., part * stride :][..., :stride]
    sum_T = sum_KD.reshape(*rows, -1)
    sum_T[..., : width - stride] += rest_T
    return sum_T[..., : count * stride], sum_T[..., count * stride :]
