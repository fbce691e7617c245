"""Whether knowledge passes from text to speech, in the made-up world of `make world`: docs/evidence.md.

    lst sweep run runs/world --config configs/world.py:flops --dry-run
    lst train runs/w128 --config configs/world.py:128,bypass
    lst train runs/world-demo --config configs/world.py:demo,bypass-static   # on the small world of `make world-demo-data`

The argument is SIZE[,SYSTEM[,SHARE]]. SIZE is the width of the global transformer, a multiple of 16; "" means 128. Behind
"demo-", as in demo-64, the data are the small world; demo alone has the width of 128. SYSTEM is one of
`lst_jax.recipes.systems`, and SHARE the share of tokens in interleaved documents. The networks are those of
configs/scaling.py at this width, with LAYERS global layers and two in the patch decoder. Rows of every system hold the same
tokens.
"""

from ml_collections import ConfigDict

from lst_jax.core.errors import ConfigError
from lst_jax.data.patching import Curriculum
from lst_jax.jobs.sweeps.grid import Overlay, each, product
from lst_jax.recipes import defaults, systems
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
# Seconds per step on a core, as multiples of bypass-static's; measured over 48 to 110 steps each.
SECONDS = {
    "base": 1.24,
    "bpe": 1.21,
    "static": 1.06,
    "aligned": 1.05,
    "mixed": 1.07,
    "curriculum": 1.05,
    "bypass": 0.97,
    "bypass-aligned": 0.98,
    "bypass-static": 1.0,
    "bypass-static1": 1.48,
    "bypass-static2": 1.16,
    "bypass-static8": 0.91,
}
GPU_WIDTH, GPU_ROWS, GPU_RATE, GPU_FLOPS = 640, 32, 1e-3, 2e16  # about four minutes each at 80 TFLOP/s
BEST_STEPS = 3000  # of bypass-static in the sweep `best`, in 16 minutes on one core
BEST_RATE = 4e-3  # of the sweep `small`, for both systems
BEST_MAIN = (*DEMO_SYSTEMS, "bypass", "bypass-aligned", "static", "bpe")  # from three seeds
OTHER_SIZES = ("bypass-static1", "bypass-static8", "bypass-static2")
BEST_OTHERS = (*OTHER_SIZES, "aligned", "mixed", "curriculum")
SMALL_OTHERS = (*OTHER_SIZES, "static", "bpe")
SMALL_RATES = {"base": (1e-3, 4e-3, 8e-3), "bypass-static": (4e-3, 8e-3)}  # besides RATE
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
VOICES_STEPS = 9000  # of bypass-static in the sweep `voices`, in an hour on one core
SHARES = (0.4, SPOKEN_SHARE, 0.9)  # of tokens in interleaved documents
PATCHES = ("static3", "static", "static6", "static9", "aligned", "aligned-merged", "mixed")  # of the bypass
NOISES = (0.0, 40.0, 80.0)  # ms by which the ends of words are off, as the standard deviation
LAW_WIDTHS, LAW_STEPS = (48, 64, 96, 128, 192), 1600
LAW_PARTS = (0.25, 0.5, 0.75, 1.0)  # of LAW_STEPS, all off one trunk; a law needs four lengths


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM[,SHARE]]. Raises: ConfigError."""
    size, name, word = (*arg.split(",", 2), "", "")[:3]
    is_demo = size == "demo" or size.startswith("demo-")
    width = size.removeprefix("demo").removeprefix("-") if is_demo else size
    if width and (not width.isdigit() or int(width) % 16 or not int(width)):
        raise ConfigError(
            f"configs/world.py:{arg}: SIZE must be a multiple of 16, demo or demo-64; write for example 128,bypass"
        )
    system = systems.parse(name, DEMO_UNITS if is_demo else UNITS, f"configs/world.py:{arg}")
    share = _share(word, arg)
    config = SCALING.get_config(f"{width or WIDTH},{name}")
    config.name = config.name.replace("scaling", "world-demo" if is_demo else "world", 1) + (f"-{word}" if word else "")
    units = system.pieces or (DEMO_UNITS if is_demo else UNITS)
    _use_data(config, DEMO_DATA if is_demo else DATA, units, system.pieces is not None)
    _shape_rows(config, system, share)
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


def _share(word: str, arg: str) -> float:
    """The share of tokens in interleaved documents. Raises: ConfigError."""
    try:
        share = float(word or SPOKEN_SHARE)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f"configs/world.py:{arg}: SHARE must be between 0 and 1; write for example demo,base,0.6")
    return share


def _shape_rows(config: ConfigDict, system: systems.System, share: float) -> None:
    """Rows of ROW_TOKENS tokens for every system and share, with the patch positions that fill together with them."""
    data = config.data
    for source, part in zip(data.sources, (share, 1 - share), strict=True):
        source["share"] = part
    data.rows = ROWS
    data.row_tokens = ROW_TOKENS
    mean_patch = system.mean_patch if system.strategy.patches_speech else 1
    data.row_patches = row_patches_for(ROW_TOKENS, mean_patch, share, SPEECH_SHARE)
    if system.kind == "lst_bypass":
        data.row_speech_tokens = row_speech_tokens_for(data.row_tokens, share, SPEECH_SHARE)
        data.row_speech_patches = row_speech_patches_for(data.row_speech_tokens, system.mean_patch)


def sweep(add, name: str) -> None:
    """Runs over the made-up world at one width. Raises: ConfigError.

    flops, tokens, steps   all systems at equal FLOPs, equal tokens or equal steps; those of MAIN from three seeds
    rates                  peak learning rates for each system, at a quarter of the FLOPs
    demo                   Base and bypass on the small world, at equal time: 50 minutes on two cores
    voices                 Base and bypass on the world of four voices at the best rate, in equal time, an hour each
    best                   systems on the small world at the best rate of `small`, in equal time, 16 minutes each
    small                  systems on the small world at equal time, a quarter of an hour each: seeds, patches, rates
    shares                 the same two with fewer and more interleaved documents, at the best rate, in equal time
    patches                more sizes and kinds of patches of the bypass, at the best rate, in equal steps
    noise                  aligned patches whose ends are off, at the best rate, in equal steps
    laws                   five sizes of Base and the bypass by WSD, four lengths each off one trunk
    gpu                    Base and bypass at a width of 640 in bfloat16: lst sweep run SWEEP --jobs 1, on one GPU
    """
    if name not in SWEEPS:
        raise ConfigError(f"configs/world.py:{name}: no such sweep; use one of {', '.join(SWEEPS)}")
    for overlay in SWEEPS[name]():
        add(overlay)


def compared(length: Overlay) -> list[Overlay]:
    """All systems for one length of training, at the best rate of `small`."""
    shared = [length | {"optim.peak_lr": BEST_RATE}]
    main, others = each("recipe", *_recipes(MAIN)), each("recipe", *_recipes(OTHERS))
    return [*product(shared, main, each("seed", *SEEDS)), *product(shared, others)]


def rates() -> list[Overlay]:
    """A grid for each system, so that no system loses by a bad rate."""
    recipes = each("recipe", *_recipes((*MAIN, *OTHERS)))
    return product([{"budget": f"flops={FLOPS / 4:g}"}], recipes, each("optim.peak_lr", *RATES))


def _timed(name: str, steps: int, size: str = "demo") -> Overlay:
    """A run for the time that bypass-static takes for `steps`; a curriculum has three equal parts."""
    steps = round(steps / SECONDS[name])
    system = systems.parse(name, DEMO_UNITS, name)
    parts = ("tau1", "tau2") if system.strategy is Curriculum else ()
    patching = {f"data.patching.{part}": system.patching(steps)[part] for part in parts}
    return {"recipe": f"{size},{name}", "train.steps": steps, **patching}


def demo() -> list[Overlay]:
    """Base and the bypass on the small world, at equal time; Base has 1.16 times the FLOPs."""
    return product([{"train.checkpoint_keep_every": 1000}], [_timed(name, DEMO_STEPS) for name in DEMO_SYSTEMS])


def voices() -> list[Overlay]:
    """Base and the bypass on the world of four voices and 200 units, at equal time and the best rate of `small`."""
    shared = {"optim.peak_lr": BEST_RATE, "train.checkpoint_keep_every": VOICES_STEPS // 3}
    return product([shared], [_timed(name, VOICES_STEPS, str(WIDTH)) for name in DEMO_SYSTEMS])


def best() -> list[Overlay]:
    """Systems on the small world at the best rate of `small`, in equal time; those of BEST_MAIN from three seeds."""
    shared = {"optim.peak_lr": BEST_RATE, "train.checkpoint_keep_every": BEST_STEPS // 3}
    main, others = ([shared | _timed(name, BEST_STEPS) for name in names] for names in (BEST_MAIN, BEST_OTHERS))
    return [*product(each("seed", *SEEDS), main), *others]


def shares() -> list[Overlay]:
    """Base and the bypass for each share of tokens in interleaved documents, labelled with it."""
    words = {share: "" if share == SPOKEN_SHARE else f",{share:g}" for share in SHARES}
    return [
        _timed(name, SMALL_STEPS)
        | {"recipe": f"demo,{name}{word}", "label": f"{name} {share:.0%}", "optim.peak_lr": BEST_RATE}
        for name in DEMO_SYSTEMS
        for share, word in words.items()
    ]


def patches() -> list[Overlay]:
    """Kinds of patches of the bypass, each labelled with its name."""
    shared = {"optim.peak_lr": BEST_RATE, "train.steps": SMALL_STEPS}
    return [shared | {"recipe": f"demo,bypass-{name}", "label": name} for name in PATCHES]


def noise() -> list[Overlay]:
    """Aligned patches of the bypass whose ends are off, labelled with how far (paper A.11)."""
    return [
        {
            "recipe": "demo,bypass-aligned",
            "label": f"{ms:g} ms",
            "optim.peak_lr": BEST_RATE,
            "train.steps": SMALL_STEPS,
            "data.patching.boundary_noise_ms": ms,
        }
        for ms in NOISES
    ]


def laws() -> list[Overlay]:
    """Branches of WSD runs, whose rates depend on the width as in all recipes; in equal time at WIDTH."""
    return [
        overlay
        for name in DEMO_SYSTEMS
        for width in LAW_WIDTHS
        for overlay in _branches(f"demo-{width},{name}", width, round(LAW_STEPS / SECONDS[name]))
    ]


def _branches(recipe: str, width: int, steps: int) -> list[Overlay]:
    decay_share = SCALING.DECAY_SHARE
    first = round((1 - decay_share) * steps * LAW_PARTS[0])
    trunk = {
        "recipe": recipe,
        "optim.schedule": "wsd",
        "optim.peak_lr": BEST_RATE * defaults.learning_rate_for(width) / defaults.learning_rate_for(WIDTH),
        "train.steps": round(first / LAW_PARTS[0]),
        "train.checkpoint_every": first,
        "train.checkpoint_keep_every": first,
        "eval.every": round(first / LAW_PARTS[0]),
    }
    lengths = [round(first * part / LAW_PARTS[0]) for part in LAW_PARTS]
    return [
        {
            "branch": trunk,
            "train.steps": round(stable / (1 - decay_share)),
            "optim.wsd.decay_steps": round(stable / (1 - decay_share)) - stable,
        }
        for stable in lengths
    ]


def small() -> list[Overlay]:
    """Systems on the small world in equal time; Base and the bypass from three seeds and at other peak rates too."""
    main, others = ([_timed(name, SMALL_STEPS) for name in names] for names in (DEMO_SYSTEMS, SMALL_OTHERS))
    rates = [
        overlay | {"label": f"{name} at {rate:g}", "optim.peak_lr": rate}
        for name, overlay in zip(DEMO_SYSTEMS, main, strict=True)
        for rate in SMALL_RATES[name]
    ]
    return [*product(main, each("seed", *SEEDS)), *others, *rates]


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
    "demo": demo,
    "voices": voices,
    "best": best,
    "small": small,
    "shares": shares,
    "patches": patches,
    "noise": noise,
    "laws": laws,
    "gpu": gpu,
}
