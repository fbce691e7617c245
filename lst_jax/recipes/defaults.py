"""What a recipe takes where nothing else is known: shapes, learning rate and batch from a model's or a run's size.

Each function names its source. A recipe calls them; nothing here overrides what a recipe says.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from lst_jax.core.errors import ConfigError

PAPER_WIDTH, PAPER_LAYERS, PAPER_DECODER_LAYERS = 2048, 25, 9  # of the 1B model (paper §4, Table 7)
PAPER_RATE = 4e-4  # its peak (paper §6)
HIGHEST_RATE = 2e-3
WIDTH_STEP = 128  # a head of the paper's global transformer
TOLERANCE = 0.02  # of a target count of parameters
WIDEST = 16_384


class Shape(NamedTuple):
    """Of an LST in the 1B model's proportions."""

    width: int  # D of the global transformer
    layers: int  # of the global transformer
    decoder_layers: int


def depth_for(width: int) -> int:
    """Global layers of a model of global width `width`: 25 at 2048 (paper §4), in proportion, at least 2.

    Example: depth_for(2048) -> 25; depth_for(32) -> 2
    """
    return max(2, round(PAPER_LAYERS * width / PAPER_WIDTH))


def decoder_layers_for(layers: int) -> int:
    """Patch decoder layers beside so many global `layers`: 9 of 25 (paper §4), at least 1.

    Example: decoder_layers_for(25) -> 9; decoder_layers_for(2) -> 1
    """
    return max(1, round(PAPER_DECODER_LAYERS * layers / PAPER_LAYERS))


def learning_rate_for(width: int) -> float:
    """Peak learning rate: 4e-4 at width 2048 (paper §6), by width^-½, at most 2e-3 (reached at width 82).

    Models here are initialised by the standard parametrisation and have one rate for all parameters. For it and Adam,
    Everett et al. (arXiv 2407.05872) give hidden matrices -1 where updates align fully with activations, which is muP's
    assumption (arXiv 2203.03466) too, and -½ where they do not; embeddings and norms keep theirs. One rate for all has
    to lie between, and small models, to which -1 would give 0.026, must not diverge. Kaplan et al.'s rule for one rate
    over sizes (arXiv 2001.08361, appendix D.6: 0.003239 - 0.0001395·ln N) falls like width^-0.6 from 192 to 2048, and
    never rises above 2e-3 from 10⁴ parameters on: hence the cap.

    Example: learning_rate_for(512) -> 8e-4
    """
    return min(HIGHEST_RATE, PAPER_RATE * math.sqrt(PAPER_WIDTH / width))


def batch_tokens_for(flops: float) -> float:
    """Tokens a batch for a training run of so many FLOPs in all: 0.2920·C^0.3271 (DeepSeek LLM, arXiv 2401.02954).

    Fitted there to runs of 10^17 to 2·10^19 FLOPs, of models without patches.

    Example: batch_tokens_for(1e20) -> 1.02e6
    """
    return 0.2920 * flops**0.3271


def shape_for(parameters: float, count: Callable[[int, int], int]) -> Shape:
    """The shape of about so many `parameters` whose width over depth is nearest to the 1B model's, 2048 / 25.

    Widths are multiples of 128, heads of the paper's size; depths, up to twice or half the paper's for the width, are
    those that bring the count within 2%.

    Args: `count` gives the parameters of a model of some global width and layers (`scaling.parameters`).
    Raises: ConfigError where no such width and depth has so many.
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
