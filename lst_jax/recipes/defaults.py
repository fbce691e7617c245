"""Defaults that depend on size: the shape and the learning rate of a model, and the batch of a run.

Recipes call these functions; nothing here overrides what a recipe says. Each function names its source.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from lst_jax.core.errors import ConfigError

PAPER_WIDTH, PAPER_LAYERS, PAPER_DECODER_LAYERS = 2048, 25, 9  # of the 1B model (paper §4, Table 7)
PAPER_RATE = 4e-4  # peak learning rate of the 1B model (paper §6)
HIGHEST_RATE = 2e-3
WIDTH_STEP = 128  # the width of one head of the paper's global transformer
TOLERANCE = 0.02  # largest relative distance from a target count of parameters
WIDEST = 16_384


class Shape(NamedTuple):
    """The shape of an LST in the proportions of the 1B model."""

    width: int  # D of the global transformer
    layers: int  # of the global transformer
    decoder_layers: int


def depth_for(width: int) -> int:
    """The number of global layers for a global width: in proportion to 25 at 2048 (paper §4), at least 2.

    Example: depth_for(2048) -> 25; depth_for(32) -> 2
    """
    return max(2, round(PAPER_LAYERS * width / PAPER_WIDTH))


def decoder_layers_for(layers: int) -> int:
    """The number of patch decoder layers for a number of global `layers`: 9 for 25 (paper §4), at least 1.

    Example: decoder_layers_for(25) -> 9; decoder_layers_for(2) -> 1
    """
    return max(1, round(PAPER_DECODER_LAYERS * layers / PAPER_LAYERS))


def learning_rate_for(width: int) -> float:
    """Peak learning rate: 4e-4 at width 2048 (paper §6), by width^-½, at most 2e-3 (reached at width 82).

    The models have the standard parametrisation and one rate for all parameters. For this parametrisation and Adam,
    Everett et al. (arXiv 2407.05872) give the exponent of the width for hidden matrices: -1 where updates align fully
    with activations, which muP assumes too (arXiv 2203.03466), and -½ where they do not. The rates of embeddings and
    norms do not depend on the width. One rate for all must lie between, and small models must not diverge, to which -1
    would give 0.026.

    Kaplan et al. (arXiv 2001.08361, appendix D.6) have one rate for all sizes: 0.003239 - 0.0001395·ln N. It falls like
    width^-0.6 from 192 to 2048, and it is at most 2e-3 from 10⁴ parameters on: hence the cap.

    Example: learning_rate_for(512) -> 8e-4
    """
    return min(HIGHEST_RATE, PAPER_RATE * math.sqrt(PAPER_WIDTH / width))


def batch_tokens_for(flops: float) -> float:
    """Tokens per batch for a training run of `flops` in total: 0.2920·C^0.3271 (DeepSeek LLM, arXiv 2401.02954).

    The source fitted it to runs of 10^17 to 2·10^19 FLOPs, of models without patches.

    Example: batch_tokens_for(1e20) -> 1.02e6
    """
    return 0.2920 * flops**0.3271


def shape_for(parameters: float, count: Callable[[int, int], int]) -> Shape:
    """The shape of about `parameters` whose width over depth is nearest to that of the 1B model, 2048 / 25.

    Widths are multiples of 128, the width of a head in the paper. Depths go from half to twice the paper's for the
    width. The number of parameters is within 2%.

    Args: `count` gives the parameters of a model of a global width and a number of global layers.
    Raises: ConfigError where no such width and depth comes within 2%.
    """
    found = []
    for width in range(WIDTH_STEP, WIDEST + 1, WIDTH_STEP):
        depths = range(max(1, depth_for(width) // 2), 2 * depth_for(width) + 1)
        if count(width, depths[0]) > (1 + TOLERANCE) * parameters:
            break
        found += [
            (abs(math.log(width / layers * PAPER_LAYERS / PAPER_WIDTH)), width, layers)
            for layers in depths
            if abs(count(width, layers) / parameters - 1) <= TOLERANCE
        ]
    if not found:
        raise ConfigError(
            f"parameters={parameters:.4g}: no width in multiples of {WIDTH_STEP} comes within "
            f"{TOLERANCE:.0%}; choose a width yourself, and `depth_for` it"
        )
    _, width, layers = min(found)
    return Shape(width, layers, decoder_layers_for(layers))
