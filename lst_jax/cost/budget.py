"""How long a recipe trains: a budget in parameters, tokens, FLOPs, or another recipe's steps, turned into steps.

    optimal                  30 tokens a parameter: 20 of text, half as many of interleaved speech and text (paper §8)
    tokens-per-parameter=R   R tokens a parameter
    tokens=D                 D tokens, also as 70e9
    flops=C                  C FLOPs, by the analytic count of the whole model (`scaling.flops`)
    steps-of=RECIPE          compute-controlled (paper §8): RECIPE's steps, of as many patch positions each
    tokens-of=RECIPE         data-controlled: RECIPE's tokens
    flops-of=RECIPE          FLOP-controlled: RECIPE's FLOPs

RECIPE is what --config takes, and may carry a budget of its own: flops-of=configs/lst.py:1b,base@optimal. A budget sets
train.steps. The curriculum's τ1 and τ2 and the decay of a WSD schedule keep their share of the steps. All else stays
what the recipe says.

What a step holds and costs comes from batches: some rows at equally spaced steps, because a curriculum's patches change
during training. They are of the recipe's own records where those are on this machine, else of made-up ones.
"""

import dataclasses
import functools
import math
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from lst_jax.config import Config, DataConfig, EvalConfig, MuonConfig, StackConfig, WsdConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import nearest
from lst_jax.cost.flops import model_flops
from lst_jax.cost.parameters import parameters
from lst_jax.data import made_up
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.rows import OPENED_STEP, Stats, add_stats
from lst_jax.data.sources import TFDS_PREFIX
from lst_jax.recipes.load import load_recipe
from lst_jax.recipes.validate import validate
from lst_jax.step.schedules.registry import schedule_of
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

OPTIMAL_TOKENS = 30  # a parameter
EXAMPLES = {
    "optimal": "optimal",
    "tokens-per-parameter": "tokens-per-parameter=30",
    "tokens": "tokens=70e9",
    "flops": "flops=1e21",
    "steps-of": "steps-of=configs/lst.py:1b,base",
    "tokens-of": "tokens-of=configs/lst.py:1b,base",
    "flops-of": "flops-of=configs/lst.py:1b,base@optimal",
}
DERIVED = ("train.steps", "data.patching.tau1", "data.patching.tau2", "optim.wsd.decay_steps")
POINTS = 48  # of a run: thirds of it, where the paper's P(u) bends, fall between them
ROWS, SAMPLE_TOKENS = 8, 16_384  # of a sample at most, and about
MADE_UP = "made-up records"


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a whole run. FLOPs are those of `scaling.flops`: forward and backward, real tokens, visible pairs."""

    parameters: int
    steps: int
    tokens: float
    units: float  # patch positions
    flops: float
    flops_by_module: dict[str, float]
    tokens_by_source: dict[str, float]
    counts: dict[str, float]  # whatever rows count (`data.rows.Stats`): speech_units, speech_patches, ...
    content: str  # "measured from DIR, DIR", or "made-up records"


def load(reference: str, changes: Sequence[str] = (), budget: str | None = None) -> Config:
    """The recipe as `config.load_recipe` gives it, at the length that the budget says.

    Args: `changes` are of this recipe only, not of one that the budget names.
    Raises: ConfigError, also where the changes and the budget say the same thing; DataError where a record is wrong.
    """
    if budget is None:
        return load_recipe(reference, changes)
    for change in changes:
        path = change.partition("=")[0]
        for field in DERIVED:
            if field == path or field.startswith(f"{path}."):
                raise ConfigError(f"--set {change}: --budget {budget} decides {field}; leave one of the two out")
    return apply(load_recipe(reference, changes), budget)


def apply(config: Config, budget: str) -> Config:
    """The run at the length of the budget, to the nearest step.

    Raises: ConfigError where the budget cannot be read, is less than a step, or leaves no more steps than the warm-up.
    """
    steps, warmup = steps_of(config, budget), config.optim.warmup_steps
    if steps <= warmup:
        raise ConfigError(
            f"--budget {budget}: makes train.steps={steps:,}, which must be more than optim.warmup_steps="
            f"{warmup}; add --set optim.warmup_steps={steps // 10}, or give a larger budget"
        )
    config = with_steps(config, steps)
    validate(config)
    return config


def with_steps(config: Config, steps: int) -> Config:
    """The run with `steps` steps; a curriculum and a decay keep their shares of them."""
    patching, wsd, scale = config.data.patching, config.optim.wsd, steps / config.train.steps
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, steps=steps),
        optim=dataclasses.replace(
            config.optim, wsd=dataclasses.replace(wsd, decay_steps=round(wsd.decay_steps * scale))
        ),
        data=dataclasses.replace(
            config.data,
            patching=dataclasses.replace(
                patching, tau1=round(patching.tau1 * scale), tau2=round(patching.tau2 * scale)
            ),
        ),
    )


def changes_of(config: Config) -> list[str]:
    """What a budget has changed in this configuration, as --set takes it.

    Example: ["train.steps=2934", "data.patching.tau1=978", "data.patching.tau2=1956"]
    """
    patching, decay_steps = config.data.patching, config.optim.wsd.decay_steps
    values = (config.train.steps, patching.tau1, patching.tau2, decay_steps or None)
    return [f"{field}={value}" for field, value in zip(DERIVED, values, strict=True) if value is not None]


def cost(config: Config) -> Cost:
    """What the run holds and costs. Raises: DataError where a record is wrong."""
    counts, content = _mean_row(_of_one_content(config))
    rows = config.train.steps * config.data.rows
    by_source = counts["source_tokens"]
    total = {key: rows * float(value) for key, value in counts.items() if np.ndim(value) == 0}
    flops = model_flops(config.model, config.joint_vocab, total)
    return Cost(
        parameters(config.model, config.joint_vocab),
        config.train.steps,
        total["tokens"],
        total["units"],
        sum(flops.values()),
        flops,
        {s.name: rows * float(n) for s, n in zip(config.data.sources, by_source, strict=True)},
        total,
        content,
    )


def run_flops(config: Config) -> float:
    """FLOPs of all batches of a run, each of which is made. Raises: DataError where a record is wrong or missing."""
    stream = BatchStream(config)
    try:
        return sum(
            sum(model_flops(config.model, config.joint_vocab, next(stream).stats).values())
            for _ in range(config.train.steps)
        )
    finally:
        stream.close()


def sample(config: Config, steps: Sequence[int], rows: int) -> tuple[list[Stats], str]:
    """What batches of `rows` rows hold at each of these steps, and what records they are of (`Cost.content`).

    One stream goes from step to step, so that documents are read on, as in training. Sources are the configuration's:
    made-up utterances stand for all of its sources of utterances, texts likewise, by their shares.
    """
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, rows=rows))
    own = [s.path for s in config.data.sources]
    files = [name for name in (config.data.tokenizer, config.data.unit_tokenizer) if name]
    if all(_is_here(path) for path in own) and all(objects.exists(to_place(name)) for name in files):
        return _read(config, steps), f"measured from {', '.join(own)}"
    with tempfile.TemporaryDirectory(prefix="lst_made_up_") as folder:
        found = _read(made_up.over(config, folder), steps)
    kinds = [s.kind for s in config.data.sources]
    made = [kind for kind in ("utterance", "text") if kind in kinds]
    share = {kind: sum(s.share for s in config.data.sources if s.kind == kind) for kind in made}
    for stats in found:
        stats["source_tokens"] = np.array(
            [stats["source_tokens"][made.index(s.kind)] * s.share / share[s.kind] for s in config.data.sources]
        )
    return found, MADE_UP


def describe(config: Config, budget: str) -> str:
    """Two lines about the run at this budget: what it takes, and its schedule. Raises: as `cost` does."""
    found, steps = cost(config), config.train.steps
    sources = ", ".join(f"{_short(n)} {name}" for name, n in found.tokens_by_source.items())
    schedule = schedule_of(config.optim).describe(config.optim)
    if patching := strategy_of(config.data.patching).schedule:
        schedule += f"; {patching}"
    return (
        f"{config.name}, {budget}: {steps:,} steps, {_short(found.tokens)} tokens ({sources}) in "
        f"{_short(found.units)} patch positions, {found.flops:.3e} FLOPs, {_short(float(found.parameters))} "
        f"parameters\n{schedule}; {found.content}"
    )


def steps_of(config: Config, budget: str) -> int:
    """The steps that a budget buys. Raises: ConfigError where it cannot be read, or is less than a step."""
    mode, equals, text = budget.partition("=")
    if mode not in EXAMPLES or bool(equals) == (mode == "optimal"):
        near = mode if mode in EXAMPLES else nearest(mode, EXAMPLES)
        raise ConfigError(f"--budget {budget}: must be one of {', '.join(EXAMPLES)}; nearest: {EXAMPLES[near]}")
    if mode.endswith("-of"):
        return _steps_as(config, budget, mode, text)
    amount = float(OPTIMAL_TOKENS) if mode == "optimal" else _positive(budget, mode, text)
    if mode in ("optimal", "tokens-per-parameter"):
        amount *= parameters(config.model, config.joint_vocab)
    return _steps_for(config, budget, "flops" if mode == "flops" else "tokens", amount)


def _positive(budget: str, mode: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(f"--budget {budget}: must be a positive number; write {EXAMPLES[mode]}")
    return value


def _steps_as(config: Config, budget: str, mode: str, text: str) -> int:
    """Steps of a budget that is another run's."""
    reference, _, own = text.partition("@")
    other = load(reference, (), own or None)
    if mode != "steps-of":
        what = mode.removesuffix("-of")
        return _steps_for(config, budget, what, getattr(cost(other), what))
    ours, theirs = config.data, other.data
    if ours.rows * ours.row_patches != theirs.rows * theirs.row_patches:
        raise ConfigError(
            f"--budget {budget}: a step has {ours.rows} × {ours.row_patches} patch positions, there "
            f"{theirs.rows} × {theirs.row_patches}; add {_as_many_units(ours, theirs)}"
        )
    return other.train.steps


def _as_many_units(ours: DataConfig, theirs: DataConfig) -> str:
    """Changes that give a step the patch positions of theirs, and rows their proportions."""
    units = theirs.rows * theirs.row_patches
    if units % ours.row_patches == 0:
        return f"--set data.rows={units // ours.row_patches}"
    tokens = round(ours.row_tokens * theirs.row_patches / ours.row_patches)
    return f"--set data.rows={theirs.rows} --set data.row_patches={theirs.row_patches} --set data.row_tokens={tokens}"


def _steps_for(config: Config, budget: str, what: str, amount: float) -> int:
    """Steps that hold about so many tokens or FLOPs."""
    one = getattr(cost(config), what) / config.train.steps
    if amount < one:
        raise ConfigError(
            f"--budget {budget}: is less than one step, which has {one:.4g} {what}; give more, or lower data.rows"
        )
    return round(amount / one)


def _of_one_content(config: Config) -> Config:
    """The key of the cache: it drops every field that does not change the average contents of a row."""

    def least(stack: StackConfig | None) -> StackConfig | None:
        return stack and StackConfig(1, 2, 1, stack.window)

    model = config.model
    model = dataclasses.replace(
        model,
        patch_encoder=least(model.patch_encoder),
        global_transformer=least(model.global_transformer),
        patch_decoder=least(model.patch_decoder),
        cross_heads=1,
    )
    return with_steps(
        dataclasses.replace(
            config,
            name="",
            seed=0,
            model=model,
            data=dataclasses.replace(config.data, rows=1),
            optim=dataclasses.replace(
                config.optim, peak_lr=1.0, optimizer="adamw", muon=MuonConfig(), schedule="cosine", wsd=WsdConfig()
            ),
            train=dataclasses.replace(config.train, branch_from=None),
            eval=EvalConfig(1, (), 1, 0),
        ),
        10 * POINTS,
    )


@functools.cache
def _mean_row(config: Config) -> tuple[Stats, str]:
    """What a row holds on average over the run."""
    rows = max(1, min(ROWS, SAMPLE_TOKENS // config.data.row_tokens))
    points = [(2 * i + 1) * config.train.steps // (2 * POINTS) for i in range(POINTS)]
    found, content = sample(config, points, rows)
    return {key: value / (rows * POINTS) for key, value in add_stats(found).items()}, content


def _read(config: Config, steps: Sequence[int]) -> list[Stats]:
    stream, found = BatchStream(config, prefetch=0), []
    for step in steps:
        rows = stream.get_state()["rows"]
        rows[..., OPENED_STEP] = step  # documents that go on are patched as if they were opened now, or just before
        stream.set_state({"step": step, "rows": rows})
        found.append(next(stream).stats)
    return found


def _is_here(path: str) -> bool:
    return pathlib.Path(path.removeprefix(TFDS_PREFIX).partition("#")[0]).is_dir()


def _short(number: float) -> str:
    """Example: 4_800_000 -> "4.8M"."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
