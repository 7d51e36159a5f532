"""The separators by name: what estimates masks over a learned code."""

from collections.abc import Callable

import flax.linen as nn

from fgsep_jax.models.attractor import Attractor
from fgsep_jax.models.dual_path import DualPath
from fgsep_jax.models.pyramid import Pyramid
from fgsep_jax.models.tcn import TCN
from fgsep_jax.registry import Registry

# {name: module of keyword arguments alone, all but `sources` with a default}. It is called with
# `feature_BKF, valid_BK`, and `basis` where the code has another width, and returns `mask_BSKN`.
# Its keywords, but `sources`, are the keys of `model.separator` in a configuration, but what stands
# in `model` itself. With the method `multiply_accumulates` and the property `reach` of `TCN` its
# cost and its receptive field are told.
SEPARATORS: Registry[str, Callable[..., nn.Module]] = Registry(
    tcn=TCN, attractor=Attractor, pyramid=Pyramid, dual_path=DualPath
)
