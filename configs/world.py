"""Whether knowledge passes from text to speech, in the made-up world of `make world`: docs/evidence.md.

    lst sweep run runs/world --config configs/world.py:flops --dry-run
    lst train runs/w128 --config configs/world.py:128,bypass
    lst train runs/world-demo --config configs/world.py:demo,bypass-static   # on the small world of `make world-demo-data`

The argument is SIZE[,SYSTEM]. SIZE is the width of the global transformer, a multiple of 16, or demo; "" means 128.
SYSTEM is one of `lst_jax.recipes.systems`. The networks are those of configs/scaling.py at this width, with LAYERS
global layers and two in the patch decoder. Rows of every system hold the same tokens.
"""

from ml_collections import ConfigDict

from lst_jax.core.errors import ConfigError
from lst_jax.jobs.sweeps.grid import Overlay, each, product
from lst_jax.recipes import systems
from lst_jax.recipes.inherit import sibling
from lst_jax.recipes.row_sizes import row_patches_for, row_speech_patches_for, row_speech_tokens_for, row_tokens_for

SCALING = sibling(__file__, "scaling.py")
WIDTH = 128  # what "" and demo mean
DATA, DEMO_DATA = "data/world", "data/world-demo"
TEXT_SIZE, UNITS, DEMO_UNITS = 512, 200, 100  # as the Makefile makes them
LAYERS, DECODER_LAYERS = 4, 2
ROW_PATCHES, ROWS = 512, 2
SPOKEN_SHARE = 0.8  # of all tokens are in interleaved documents
SPEECH_SHARE = 0.8  # of the tokens of an interleaved document are units, as six in ten of its words are spoken
ROW_TOKENS = row_tokens_for(ROW_PATCHES, 4, SPOKEN_SHARE, SPEECH_SHARE)
SPANS = dict(text_words_min=2, text_words_max=20, text_fraction_max=0.9, speech_ratio=1.5)  # documents have 35 words
STEPS = 8000
RATE = 2e-3
MAIN = ("base", "static", "curriculum", "bypass")  # trained from three seeds
OTHERS = ("bpe", "aligned", "mixed", "bypass-static")
SEEDS = (0, 1, 2)
FLOPS, TOKENS = 5e13, 10e6  # of a run in the sweeps
DEMO_STEPS = 7000  # half an hour on two cores
DEMO_SYSTEMS = ("base", "bypass-static")
SMALL_STEPS = 2400  # of bypass-static, in a quarter of an hour on one core
# Seconds per step on a core, as multiples of bypass-static's; measured over 110 steps each.
SECONDS = {
    "base": 1.24,
    "bpe": 1.21,
    "static": 1.06,
    "bypass": 0.97,
    "bypass-static": 1.0,
    "bypass-static1": 1.48,
    "bypass-static2": 1.16,
    "bypass-static8": 0.91,
}
GPU_WIDTH, GPU_ROWS, GPU_RATE, GPU_FLOPS = 640, 32, 1e-3, 2e16  # about four minutes each at 80 TFLOP/s
BEST_STEPS = 3000  # of bypass-static in the sweep `best`, in 16 minutes on one core
BEST_RATE = 4e-3  # of the sweep `small`, for both systems
BEST_OTHERS = ("bypass-static1", "bypass-static8", "bypass-static2", "static", "bpe", "bypass")
SMALL_RATES = {"base": (1e-3, 4e-3, 8e-3), "bypass-static": (4e-3, 8e-3)}  # besides RATE
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
SHARES = (0.5, 1.0, 2.0, 4.0)  # of interleaved documents, where texts have 1
PATCHES = ("static3", "static4", "static6", "static9", "aligned", "aligned-merged", "bpe-aligned", "bpe-aligned-merged")


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM]. Raises: ConfigError."""
    size, _, name = arg.partition(",")
    is_demo = size == "demo"
    if not is_demo and size and (not size.isdigit() or int(size) % 16 or not int(size)):
        raise ConfigError(
            f"configs/world.py:{arg}: SIZE must be demo or a multiple of 16; write for example 128,bypass"
        )
    system = systems.parse(name, DEMO_UNITS if is_demo else UNITS, f"configs/world.py:{arg}")
    config = SCALING.get_config(f"{WIDTH if is_demo or not size else size},{name}")
    config.name = config.name.replace("scaling", "world-demo" if is_demo else "world", 1)
    units = system.pieces or (DEMO_UNITS if is_demo else UNITS)
    _use_data(config, DEMO_DATA if is_demo else DATA, units, system.pieces is not None)
    _shape_rows(config, system)
    config.model.global_transformer.layers = LAYERS
    if config.model.patch_decoder is not None:
        config.model.patch_decoder.layers = DECODER_LAYERS
    config.data.interleave = SPANS
    steps = DEMO_STEPS if is_demo else STEPS
    config.data.patching.update(system.patching(steps))
    config.optim.update(peak_lr=RATE, warmup_steps=100)
    config.eval.update(every=1000, batches=16, completion_items=0)
    config.train.update(steps=steps, log_every=10, checkpoint_every=1000, checkpoint_keep=1)
    return config


def _use_data(config: ConfigDict, data: str, units: int, are_pieces: bool) -> None:
    config.vocab.update(text_size=TEXT_SIZE, unit_slots=units)
    config.data.tokenizer = f"{data}/text.model"
    if are_pieces:
        config.data.unit_tokenizer = f"{data}/units-{units}.model"
    for source in config.data.sources + config.eval.sources:
        source["path"] = source["path"].replace(SCALING.DATA, data)
    for source, share in zip(config.data.sources, (SPOKEN_SHARE, 1 - SPOKEN_SHARE), strict=True):
        source["share"] = share


def _shape_rows(config: ConfigDict, system: systems.System) -> None:
    """Rows of ROW_TOKENS tokens for every system, which are ROW_PATCHES patches where patches have four units."""
    data = config.data
    data.rows = ROWS
    data.row_tokens = ROW_TOKENS
    mean_patch = system.mean_patch if system.strategy.patches_speech else 1
    data.row_patches = row_patches_for(ROW_TOKENS, mean_patch, SPOKEN_SHARE, SPEECH_SHARE)
    if system.kind == "lst_bypass":
        data.row_speech_tokens = row_speech_tokens_for(data.row_tokens, SPOKEN_SHARE, SPEECH_SHARE)
        data.row_speech_patches = row_speech_patches_for(data.row_speech_tokens, system.mean_patch)


def sweep(add, name: str) -> None:
    """Runs over the made-up world at one width. Raises: ConfigError.

    flops, tokens, steps   all systems at equal FLOPs, equal tokens or equal steps; those of MAIN from three seeds
    rates                  peak learning rates for each system, at a quarter of the FLOPs
    shares                 more or fewer interleaved documents, for Base and bypass
    patches                sizes and kinds of patches, at equal FLOPs
    demo                   Base and bypass on the small world, at equal time: 50 minutes on two cores
    best                   systems on the small world at the best rate of `small`, in equal time, 16 minutes each
    small                  systems on the small world at equal time, a quarter of an hour each: seeds, patches, rates
    gpu                    Base and bypass at a width of 640 in bfloat16: lst sweep run SWEEP --jobs 1, on one GPU
    """
    if name not in SWEEPS:
        raise ConfigError(f"configs/world.py:{name}: no such sweep; use one of {', '.join(SWEEPS)}")
    for overlay in SWEEPS[name]():
        add(overlay)


def compared(length: Overlay) -> list[Overlay]:
    """All systems for one length of training."""
    main, others = each("recipe", *_recipes(MAIN)), each("recipe", *_recipes(OTHERS))
    return [*product([length], main, each("seed", *SEEDS)), *product([length], others)]


def rates() -> list[Overlay]:
    """A grid for each system, so that no system loses by a bad rate."""
    recipes = each("recipe", *_recipes((*MAIN, *OTHERS)))
    return product([{"budget": f"flops={FLOPS / 4:g}"}], recipes, each("optim.peak_lr", *RATES))


def shares() -> list[Overlay]:
    """The share of interleaved documents, labelled with it."""
    return [
        {
            "recipe": recipe,
            "budget": f"flops={FLOPS:g}",
            "label": f"{system} {share:g}:1",
            "data.sources.speech_text.share": share,
            "data.sources.text.share": 1.0,
        }
        for system in ("base", "bypass")
        for recipe in _recipes((system,))
        for share in SHARES
    ]


def patches() -> list[Overlay]:
    """Kinds of patches, each labelled with its name."""
    return [
        {"recipe": recipe, "label": name, "budget": f"flops={FLOPS:g}"}
        for name, recipe in zip(PATCHES, _recipes(PATCHES), strict=True)
    ]


def demo() -> list[Overlay]:
    """Base and the bypass on the small world, at equal time; Base has 1.16 times the FLOPs."""
    return [
        {
            "recipe": f"demo,{name}",
            "train.steps": round(DEMO_STEPS / SECONDS[name]),
            "train.checkpoint_keep_every": 1000,
        }
        for name in DEMO_SYSTEMS
    ]


def best() -> list[Overlay]:
    """Systems on the small world at the best rate of `small`, in equal time; Base and the bypass from three seeds."""

    def overlay(name: str) -> Overlay:
        steps = round(BEST_STEPS / SECONDS[name])
        return {
            "recipe": f"demo,{name}",
            "optim.peak_lr": BEST_RATE,
            "train.steps": steps,
            "train.checkpoint_keep_every": BEST_STEPS // 3,
        }

    return [
        *product(each("seed", *SEEDS), [overlay(name) for name in DEMO_SYSTEMS]),
        *map(overlay, BEST_OTHERS),
    ]


def small() -> list[Overlay]:
    """Systems on the small world in equal time; Base and the bypass from three seeds and at other peak rates too."""
    overlays = {
        name: {"recipe": f"demo,{name}", "train.steps": round(SMALL_STEPS / relative)}
        for name, relative in SECONDS.items()
    }
    main = [overlays.pop(name) for name in DEMO_SYSTEMS]
    rates = [
        overlay | {"label": f"{name} at {rate:g}", "optim.peak_lr": rate}
        for name, overlay in zip(DEMO_SYSTEMS, main, strict=True)
        for rate in SMALL_RATES[name]
    ]
    return [*product(main, each("seed", *SEEDS)), *overlays.values(), *rates]


def gpu() -> list[Overlay]:
    """Base and the bypass with 20M parameters and more, at equal FLOPs. Not run yet: tests/gpu/world.txt."""
    shared = {
        "budget": f"flops={GPU_FLOPS:g}",
        "data.rows": GPU_ROWS,
        "optim.peak_lr": GPU_RATE,
        "model.compute_dtype": "bfloat16",
    }
    return product([shared], each("recipe", *(f"{GPU_WIDTH},{name}" for name in DEMO_SYSTEMS)))


def _recipes(names) -> list[str]:
    return [f"{WIDTH},{name}" for name in names]


SWEEPS = {
    "flops": lambda: compared({"budget": f"flops={FLOPS:g}"}),
    "tokens": lambda: compared({"budget": f"tokens={TOKENS:g}"}),
    "steps": lambda: compared({"train.steps": STEPS}),
    "rates": rates,
    "shares": shares,
    "patches": patches,
    "demo": demo,
    "best": best,
    "small": small,
    "gpu": gpu,
}
