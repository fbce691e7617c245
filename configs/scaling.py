"""A small scaling study that two CPU cores finish within an hour: `make scaling`.

    lst sweep run runs/scaling --config configs/scaling.py:compute-optimal
    lst train runs/w96 --config configs/scaling.py:96,base

The argument is WIDTH[,SYSTEM]: the width of the global transformer, a multiple of 16, and one of
`lst_jax.recipes.systems`. All else is the demo's, or follows from the width by `lst_jax.recipes.defaults`: the depth,
local networks of half the width, and the learning rate. The batch follows from the FLOPs.

The paper trains on 30 tokens per parameter, this study on TOKENS_PER_PARAMETER only: the cost of a run grows as the
square of its parameters. A synthesiser speaks the bundled texts (`make scaling-data`). The recorded corpus has 14
minutes, in which models of 3M parameters would see each unit 35 times.
"""

from ml_collections import ConfigDict

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
from lst_jax.cost.parameters import parameters
from lst_jax.jobs.sweeps.grid import Overlay, each, product
from lst_jax.recipes import defaults
from lst_jax.recipes.inherit import named, sibling
from lst_jax.recipes.row_sizes import row_speech_patches_for, row_tokens_for

DEMO = sibling(__file__, "demo.py")
WIDTH = 96  # what "" means
ROW_PATCHES = 256
TOKENS_PER_PARAMETER = 1
HELD_OUT_ROWS = 320  # enough for all held-out documents, so that every run is asked the same, whatever its batch
DATA = "data/scaling"
TEXT_SIZE = 512
WIDTHS = (48, 64, 96, 144, 192, 240)  # about 0.1M to 3M parameters
SEEDS = (0, 1, 2)
LARGEST_SEEDED = 144  # larger models, which cost most, are trained from one seed only
DECAY_SHARE = 0.2  # of a WSD run's steps (arXiv 2405.18392)


def get_config(arg: str) -> ConfigDict:
    """`arg`: WIDTH[,SYSTEM]. Raises: ConfigError."""
    word, _, system = arg.partition(",")
    if word and (not word.isdigit() or int(word) % 16 or not int(word)):
        raise ConfigError(f"configs/scaling.py:{arg}: the width must be a multiple of 16; write for example 96,base")
    width = int(word or WIDTH)
    config = DEMO.get_config(system)
    config.name = f"scaling-{width}-{config.name.removeprefix('demo-')}"
    _use_scaling_data(config)
    _resize(config, width)
    tokens = TOKENS_PER_PARAMETER * count(config)
    rows = max(1, round(defaults.batch_tokens_for(6.0 * count(config) * tokens) / config.data.row_tokens))
    config.data.rows = rows
    steps = round(tokens / (rows * config.data.row_tokens))
    for tau in ("tau1", "tau2"):
        config.data.patching[tau] = config.data.patching[tau] * steps // DEMO.STEPS
    config.optim.update(peak_lr=defaults.learning_rate_for(width), warmup_steps=20)
    config.eval.update(every=steps, batches=-(-HELD_OUT_ROWS // rows))
    config.train.update(steps=steps, checkpoint_every=100, checkpoint_keep=1)
    return config


def _use_scaling_data(config: ConfigDict) -> None:
    """The same kinds of files and sources as in the demo, in `DATA`."""
    config.vocab.text_size = TEXT_SIZE
    config.data.tokenizer = f"{DATA}/text.model"
    if config.data.unit_tokenizer:
        config.data.unit_tokenizer = config.data.unit_tokenizer.replace("data/demo", DATA)
    config.eval.sources = named(config.eval.sources, "valid", "text")
    for source in config.data.sources + config.eval.sources:
        source["path"] = source["path"].replace("data/demo", DATA)


def _resize(config: ConfigDict, width: int) -> None:
    model, data = config.model, config.data
    layers, local = defaults.depth_for(width), max(16, width // 32 * 16)
    model.global_transformer.update(layers=layers, width=width, heads=width // 16)
    if model.patch_encoder is not None:
        model.patch_encoder.update(width=local, heads=local // 16)
        model.patch_decoder.update(layers=defaults.decoder_layers_for(layers), width=local, heads=local // 16)
    model.update(cross_heads=local // 16, ffn_multiple=16)
    data.row_tokens = row_tokens_for(ROW_PATCHES, 4)
    data.row_patches = data.row_tokens if model.architecture == "base" else ROW_PATCHES
    if model.architecture == "lst_bypass":
        data.row_speech_tokens = data.row_tokens // 2
        data.row_speech_patches = row_speech_patches_for(data.row_speech_tokens, 4)


def count(config: ConfigDict) -> int:
    """The number of parameters of the model."""
    found = cfg.from_mapping(config.to_dict())
    return parameters(found.model, found.joint_vocab)


def sweep(add, name: str) -> None:
    """Both train LST and Base at all widths. Raises: ConfigError.

    compute-optimal   a run for each width, to TOKENS_PER_PARAMETER
    wsd               a quarter, half and all of these tokens for each width, from one trunk at a constant rate and a
                      decay each: the three cost 1.35 times what the longest would cost alone, and not 1.75 times
    """
    if name not in SWEEPS:
        raise ConfigError(f"configs/scaling.py:{name}: no such sweep; use {' or '.join(SWEEPS)}")
    for system in ("base", "curriculum"):
        for width in WIDTHS:
            for overlay in SWEEPS[name](f"{width},{system}", width):
                add(overlay)


def compute_optimal(recipe: str, width: int) -> list[Overlay]:
    """A run for each seed."""
    seeds = SEEDS if width <= LARGEST_SEEDED else SEEDS[:1]
    budget = f"tokens-per-parameter={TOKENS_PER_PARAMETER}"
    return product([{"recipe": recipe, "budget": budget}], each("seed", *seeds))


def wsd(recipe: str, width: int) -> list[Overlay]:
    """A branch for each part of the budget, all off one trunk, whose curriculum has ended where the first begins."""
    quarter = round((1 - DECAY_SHARE) * get_config(recipe).train.steps / 4)
    trunk = {
        "recipe": recipe,
        "optim.schedule": "wsd",
        "train.steps": 4 * quarter,
        "train.checkpoint_every": quarter,
        "train.checkpoint_keep_every": quarter,
        "eval.every": 4 * quarter,
        "data.patching.tau1": quarter // 3,
        "data.patching.tau2": 2 * quarter // 3,
    }
    lengths = [(stable, round(stable / (1 - DECAY_SHARE))) for stable in (quarter, 2 * quarter, 4 * quarter)]
    return [
        {"branch": trunk, "train.steps": steps, "optim.wsd.decay_steps": steps - stable} for stable, steps in lengths
    ]


SWEEPS = {"compute-optimal": compute_optimal, "wsd": wsd}
