"""Layer norm, and its variant that only scales.

D d_model.
"""

from collections.abc import Callable

from torch import nn

MakeNorm = Callable[[int], nn.Module]


def layer_norm(width: int) -> nn.Module:
    """Ba et al. 2016: mean 0 and variance 1 over the width, then learned scales and shifts."""
    return nn.LayerNorm(width)


def rms_norm(width: int) -> nn.Module:
    """Zhang and Sennrich 2019: root mean square 1 over the width, then learned scales."""
    return nn.RMSNorm(width, eps=1e-6)


NORMS: dict[str, MakeNorm] = {"layer": layer_norm, "rms": rms_norm}
