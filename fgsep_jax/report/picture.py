"""A matrix as a picture, for pages: separating makes them, too, which does without matplotlib."""

import base64
import functools

import numpy as np

from fgsep_jax import files

# Points of the colour map magma (of matplotlib's, in the public domain), evenly spaced.
MAGMA = (
    '#000004', '#180f3d', '#440f76', '#721f81', '#9e2f7f', '#cd4071', '#f1605d', '#fd9668',
    '#feca8d', '#fcfdbf',
)  # fmt: skip


@functools.cache
def _colors():
    points_P3 = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in MAGMA], float)
    at = np.linspace(0, len(points_P3) - 1, 256)
    channels = [np.interp(at, range(len(points_P3)), channel) for channel in points_P3.T]
    return np.rint(channels).astype(np.uint8).T


def picture(level_FK, *, low, high):
    """A matrix as a data: URI of a PNG, one pixel an entry, first row at the bottom.

    Args:
      level_FK: the matrix.
      low, high: ends of the colour scale.
    """
    share_FK = np.clip((np.asarray(level_FK, float)[::-1] - low) / max(high - low, 1e-12), 0, 1)
    content = files.png(np.rint(255 * share_FK).astype(np.uint8), _colors())
    return 'data:image/png;base64,' + base64.b64encode(content).decode()
