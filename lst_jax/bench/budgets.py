"""`lst bench budgets`: what each system reads and costs under the paper's ways to make runs comparable (§8).

Base trains on as many tokens as in the paper's main tables. The other systems get the same steps (compute-controlled),
the same tokens (data-controlled), the same FLOPs, or 20 tokens of text per parameter of their own (compute-optimal).
Nothing is trained: `lst_jax.cost.budget` samples what batches hold. Times are those that `lst bench patching --json` read
from compiled programs; with them there are runs of equal time, and each run has its time beside its FLOPs.
"""

from collections.abc import Mapping
from typing import Any

from lst_jax.bench import patching_time
from lst_jax.config import Config
from lst_jax.cost import budget
from lst_jax.report import results_file

PACKAGES = ("numpy", "grain")
SYSTEMS = ("base", "static", "aligned", "mixed", "curriculum", "bypass")
BASE_BUDGET = "tokens=262e9"  # 87 interleaved + 175 of text, in B (§8); 500k steps of 0.5M patch positions (§6)
CONTROLS = {
    "compute-controlled": "steps-of",
    "data-controlled": "tokens-of",
    "FLOP-controlled": "flops-of",
    "compute-optimal": "optimal",
}
TIME_CONTROLLED = "time-controlled"
PROGRAM = {"base": "base", "bypass": "bypass-static"}  # system -> whose time it has; all others have that of static
PAPER_TOKENS = {
    "base": (87, 175),
    "static": (108, 217),
    "aligned": (108, 217),
    "mixed": (108, 217),
    "curriculum": (108, 217),
}  # B, interleaved and text, compute-controlled (§8)
PAPER_SAVED = {"static": 0.193, "curriculum": 0.197}  # data-controlled (§8)
SPEECH, WRITTEN, TEXT, PATCH = 0.77, 0.23, 2.0, 4  # token shares at 1:2, and units per patch (§5, Table 13)


def measure(recipe: str, times: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Costs of every system under every control. The recipe is `FILE.py:SIZE`, and takes `,SYSTEM`.

    Args: `times`: by system, as `bench.patching_time.measure` gives them.
    Raises: ConfigError; DataError where a record is wrong.
    """
    base = f"{recipe},base@{BASE_BUDGET}"
    said = {control: mode if mode == "optimal" else f"{mode}={base}" for control, mode in CONTROLS.items()}
    runs = {
        control: {system: run(budget.load(f"{recipe},{system}", (), wanted)) for system in SYSTEMS}
        for control, wanted in said.items()
    }
    if times:
        runs[TIME_CONTROLLED] = at_equal_time(recipe, base, times)
        for found in runs.values():
            for system, one in found.items():
                one["device_sec"] = one["rows"] * one["steps"] * row_sec(times, system)
    equal = runs["data-controlled"]
    return {
        "recipe": recipe,
        "base": base,
        "points": budget.POINTS,
        "content": equal["base"]["content"],
        "controls": runs,
        "positions": {
            "Base, the paper's shares": [SPEECH, WRITTEN, TEXT],
            "LST, the paper's shares": [SPEECH / PATCH, WRITTEN, TEXT],
            **{f"`{system}`": positions(found) for system, found in equal.items()},
        },
        "saved": {system: saved(found, equal["base"]) for system, found in equal.items() if system != "base"},
    }


def row_sec(times: Mapping[str, Any], system: str) -> float:
    """Seconds that one device takes for one row of a system: those of its program, which patching does not change."""
    return times[PROGRAM.get(system, "static")]["step_sec"] / patching_time.ROWS


def at_equal_time(recipe: str, base: str, times: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Runs of every system that take as long as Base's on the same devices."""
    reference = run(budget.load(base.partition("@")[0], (), BASE_BUDGET))
    seconds, found = reference["rows"] * reference["steps"] * row_sec(times, "base"), {"base": reference}
    for system in SYSTEMS:
        if system != "base":
            config = budget.load(f"{recipe},{system}", (), None)
            steps = round(seconds / (config.data.rows * row_sec(times, system)))
            found[system] = run(budget.with_steps(config, steps))
    return found


def run(config: Config) -> dict[str, Any]:
    """What a whole run reads and costs. Tokens of utterances count as interleaved. Raises: DataError."""
    found = budget.cost(config)
    tokens = dict.fromkeys(("utterance", "text"), 0.0)
    for source in config.data.sources:
        tokens[source.kind] += found.tokens_by_source[source.name]
    return {
        "steps": found.steps,
        "rows": config.data.rows,
        "parameters": found.parameters,
        "tokens": found.tokens,
        "units": found.units,
        "interleaved": tokens["utterance"],
        "text": tokens["text"],
        "speech_patches": found.counts["speech_patches"],
        "flops": found.flops,
        "flops_by_module": found.flops_by_module,
        "content": found.content,
    }


def positions(found: dict[str, Any]) -> list[float]:
    """Patch positions of speech, of text beside speech and of text alone, per token of the interleaved source."""
    speech, text, interleaved = found["speech_patches"], found["text"], found["interleaved"]
    return [speech / interleaved, (found["units"] - speech - text) / interleaved, text / interleaved]


def saved(found: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """Shares saved per token: of patch positions, of the global transformer's FLOPs, and of the whole model's."""
    ratios = {
        "patch positions": found["units"] / base["units"],
        "global transformer": found["flops_by_module"]["global_transformer"]
        / base["flops_by_module"]["global_transformer"],
        "whole model": found["flops"] / base["flops"],
    }
    return {name: 1 - ratio * base["tokens"] / found["tokens"] for name, ratio in ratios.items()}


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    timed = TIME_CONTROLLED in measured["controls"]
    rows = [
        [
            f"{control}, `{system}`",
            f"{r['steps']:,}",
            f"{r['interleaved'] / 1e9:.1f} / {r['text'] / 1e9:.1f}",
            _paper_tokens(control, system),
            f"{r['units'] / r['tokens']:.3f}",
            f"{r['flops']:.3e}",
            f"{r['flops'] / found['base']['flops']:.3f}",
            *([f"{r['device_sec'] / found['base']['device_sec']:.3f}"] if timed else []),
        ]
        for control, found in measured["controls"].items()
        for system, r in found.items()
    ]
    lengths = [
        [name, *(f"{x:.3f}" for x in parts), f"{sum(parts):.3f}"] for name, parts in measured["positions"].items()
    ]
    savings = [
        [
            f"`{system}`",
            *(f"{x:.1%}" for x in found.values()),
            f"{PAPER_SAVED[system]:.1%}" if system in PAPER_SAVED else "–",
        ]
        for system, found in measured["saved"].items()
    ]
    return "\n\n".join(
        [
            f"Systems of `{measured['recipe']}` with the steps, the tokens or the FLOPs of `{measured['base']}`, and with "
            "20 tokens of text per parameter of their own. FLOPs are analytic, of the whole model, backward too; what "
            f"batches hold is of {measured['content']}, sampled at {measured['points']} equally spaced steps of a run.",
            results_file.table(
                [
                    "",
                    "steps",
                    "B tokens, interleaved / text",
                    "the paper's",
                    "patch positions per token",
                    "FLOPs",
                    "of Base",
                    *(["time, of Base"] if timed else []),
                ],
                rows,
            ),
            "Patch positions for each token of the interleaved source, which are 1:2 words (Table 13: 3.00 and 2.42): by "
            "arithmetic from the paper's shares, and as batches hold them. Markers count as text; short last patches of "
            "spans make static patches shorter than 4.",
            results_file.table(["", "speech", "text beside it", "text alone", "all"], lengths),
            "Saved for the same tokens. The paper's figure counts positions of the global transformer alone; the whole "
            "model's also has what the local modules cost, which text passes too. FLOPs of the global transformer fall by "
            "less than its positions: patches are brought to its width, and attention within texts stays. Base's rows hold "
            "fewer tokens here, so that its texts are cut sooner and attend less; in rows of equal tokens patches save "
            "somewhat more (What patching saves).",
            results_file.table(
                ["", "patch positions", "global transformer's FLOPs", "whole model's FLOPs", "the paper's"], savings
            ),
        ]
    )


def _paper_tokens(control: str, system: str) -> str:
    if control != "compute-controlled" or system not in PAPER_TOKENS:
        return "–"
    return "{} / {}".format(*PAPER_TOKENS[system])
