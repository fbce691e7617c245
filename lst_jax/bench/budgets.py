"""`lst bench budgets`: what each system sees and costs under the paper's ways to make runs comparable (§8).

Base trains on as many tokens as in the paper's main tables. The others take its steps (compute-controlled), its tokens
(data-controlled), its FLOPs, or 20 tokens of text a parameter of their own (compute-optimal). What batches hold is
sampled by `lst_jax.cost.budget`; nothing is trained.
"""

from typing import Any

from lst_jax.config import Config
from lst_jax.cost import budget
from lst_jax.report import results_file

PACKAGES = ("numpy", "grain")
SYSTEMS = ("base", "static", "aligned", "mixed", "curriculum", "bypass")
BASE_BUDGET = "tokens=262e9"  # 87 interleaved + 175 of text, in B (§8); 500k steps of 0.5M unit positions (§6)
CONTROLS = {
    "compute-controlled": "steps-of",
    "data-controlled": "tokens-of",
    "FLOP-controlled": "flops-of",
    "compute-optimal": "optimal",
}
PAPER_TOKENS = {
    "base": (87, 175),
    "static": (108, 217),
    "aligned": (108, 217),
    "mixed": (108, 217),
    "curriculum": (108, 217),
}  # B, interleaved and text, compute-controlled (§8)
PAPER_SAVED = {"static": 0.193, "curriculum": 0.197}  # data-controlled (§8)
SPEECH, WRITTEN, TEXT, PATCH = 0.77, 0.23, 2.0, 4  # token shares at 1:2, and units a patch (§5, Table 13)


def measure(recipe: str) -> dict[str, Any]:
    """Costs of every system of the recipe (`FILE.py:SIZE`, which takes `,SYSTEM`) under every control.

    Raises: ConfigError; DataError where a record is wrong.
    """
    base = f"{recipe},base@{BASE_BUDGET}"
    said = {control: mode if mode == "optimal" else f"{mode}={base}" for control, mode in CONTROLS.items()}
    runs = {
        control: {system: run(budget.load(f"{recipe},{system}", (), wanted)) for system in SYSTEMS}
        for control, wanted in said.items()
    }
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


def run(config: Config) -> dict[str, Any]:
    """What a run takes in all; tokens of utterances are interleaved ones. Raises: DataError."""
    found = budget.cost(config)
    tokens = dict.fromkeys(("utterance", "text"), 0.0)
    for source in config.data.sources:
        tokens[source.kind] += found.tokens_by_source[source.name]
    return {
        "steps": found.steps,
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
    """Unit positions of speech, of text beside it and of text alone, for each token of the interleaved source."""
    speech, text, interleaved = found["speech_patches"], found["text"], found["interleaved"]
    return [speech / interleaved, (found["units"] - speech - text) / interleaved, text / interleaved]


def saved(found: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """Shares saved a token: of unit positions, of the global transformer's FLOPs, of the whole model's."""
    ratios = {
        "unit positions": found["units"] / base["units"],
        "global transformer": found["flops_by_module"]["global_transformer"]
        / base["flops_by_module"]["global_transformer"],
        "whole model": found["flops"] / base["flops"],
    }
    return {name: 1 - ratio * base["tokens"] / found["tokens"] for name, ratio in ratios.items()}


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    rows = [
        [
            f"{control}, `{system}`",
            f"{r['steps']:,}",
            f"{r['interleaved'] / 1e9:.1f} / {r['text'] / 1e9:.1f}",
            _paper_tokens(control, system),
            f"{r['units'] / r['tokens']:.3f}",
            f"{r['flops']:.3e}",
            f"{r['flops'] / found['base']['flops']:.3f}",
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
            "20 tokens of text a parameter of their own. FLOPs are analytic, of the whole model, backward too; what "
            f"batches hold is of {measured['content']}, sampled at {measured['points']} equally spaced steps of a run.",
            results_file.table(
                [
                    "",
                    "steps",
                    "B tokens, interleaved / text",
                    "the paper's",
                    "unit positions a token",
                    "FLOPs",
                    "of Base",
                ],
                rows,
            ),
            "Unit positions for each token of the interleaved source, which are 1:2 words (Table 13: 3.00 and 2.42): by "
            "arithmetic from the paper's shares, and as batches hold them. Markers count as text; short last patches of "
            "spans make static patches shorter than 4.",
            results_file.table(["", "speech", "text beside it", "text alone", "all"], lengths),
            "Saved for the same tokens. The paper's figure counts positions of the global transformer alone; the whole "
            "model's also has what the local modules cost, which text passes too. FLOPs of the global transformer fall by "
            "less than its positions: patches are brought to its width, and attention within texts stays. Base's rows hold "
            "fewer tokens here, so that its texts are cut sooner and attend less; in rows of equal tokens patches save "
            "somewhat more (What patching saves).",
            results_file.table(
                ["", "unit positions", "global transformer's FLOPs", "whole model's FLOPs", "the paper's"], savings
            ),
        ]
    )


def _paper_tokens(control: str, system: str) -> str:
    if control != "compute-controlled" or system not in PAPER_TOKENS:
        return "–"
    return "{} / {}".format(*PAPER_TOKENS[system])
