"""Choices between responses, by direction: candidates for the scorer, and accuracies from its numbers."""

import math
from collections.abc import Sequence
from typing import Any

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import BoundaryRule, strategy_of
from lst_jax.data.tasks.items import Item, Part
from lst_jax.evals import accuracy, scorer
from lst_jax.evals.conventions import RULES
from lst_jax.evals.scorer import Amount, Candidate, Speech, Text

# Modalities of prompt and response. Choices without a prompt have the directions of one modality.
DIRECTIONS = {
    "s2s": ("speech", "speech"),
    "t2t": ("text", "text"),
    "s2t": ("speech", "text"),
    "t2s": ("text", "speech"),
}


def available(items: Sequence[Item]) -> list[str]:
    """The directions for which every prompt and choice has the text or the units that it needs."""

    def has(parts, modality):
        return all((p.text if modality == "text" else p.units) is not None for p in parts)

    prompts, choices = [i.prompt for i in items if i.prompt], [c for i in items for c in i.choices]
    return [
        name
        for name, (first, second) in DIRECTIONS.items()
        if has(prompts, first) and has(choices, second) and (prompts or first == second)
    ]


def candidates(item: Item, direction: str, builder: ExampleBuilder, rule: BoundaryRule, grid: str) -> list[Candidate]:
    """A sequence for each choice.

    Raises: DataError naming the item, where a text or units are missing, or units do not fit the run.
    """
    prompt_modality, response_modality = DIRECTIONS[direction]
    try:
        prompt = [] if item.prompt is None else [_span(item.prompt, prompt_modality, builder)]
        return [
            scorer.candidate(builder, prompt, [_span(choice, response_modality, builder)], rule, grid)
            for choice in item.choices
        ]
    except DataError as error:
        raise DataError(f"item {item.id}: {direction}: {error}") from error


def _span(part: Part, modality: str, builder: ExampleBuilder) -> Text | Speech:
    if modality == "text":
        if part.text is None:
            raise DataError("a prompt or choice has no text; add it, or leave this direction out")
        return Text(part.text)
    if part.units is None:
        raise DataError(
            "a prompt or choice has no units; make them with lst prepare spoken-task, or leave this direction out"
        )
    top = int(part.units.max(initial=0))
    if top >= builder.codebook_size:
        raise DataError(f"unit {top} is outside the codebook of {builder.codebook_size}; give units of the run's")
    return Speech(part.units, part.words)


def amounts(
    items: Sequence[Item], candidates: Sequence[Candidate], nats, builder: ExampleBuilder, unit_rate: float, scope: str
) -> list[list[Amount]]:
    """The scored amount of each choice of each item; `candidates` and `nats` are in the order of the items' choices."""
    all_amounts = iter(
        [scorer.amount(builder, one, values, unit_rate, scope) for one, values in zip(candidates, nats, strict=True)]
    )
    return [[next(all_amounts) for _ in item.choices] for item in items]


def accuracy_of_groups(items: Sequence[Item], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Accuracy and its 95% interval (Wilson); each group of items counts as one, by its mean.

    Items without a label are not counted; at least one item must have one.
    Returns: `groups`, `accuracy`, `low`, `high`, and `by_group`, the mean of each group by the groups' order.
    """
    groups: dict[str, list[float]] = {}
    for item, own in zip(items, scores, strict=True):
        if item.label is not None:
            groups.setdefault(_group(item), []).append(accuracy.correctness(own, item.label))
    means = [sum(some) / len(some) for _, some in sorted(groups.items())]
    right = math.fsum(means)
    low, high = accuracy.wilson_interval(right, len(groups))
    return {"groups": len(groups), "accuracy": right / len(groups), "low": low, "high": high, "by_group": means}


def judge(items: Sequence[Item], amounts: Sequence[Sequence[Amount]]) -> dict[str, Any]:
    """Accuracies by every rule that applies, over all items and over each band.

    Returns: `chance`, `rules` {rule: see `accuracy_of_groups`}, `bands` {name: {value: {rule: see `accuracy_of_groups`}}}.
    """
    labelled = [(item, own) for item, own in zip(items, amounts, strict=True) if item.label is not None]
    if not labelled:
        return {"chance": None, "rules": {}, "bands": {}}
    bands: dict[str, dict[str, list]] = {}
    for item, own in labelled:
        for name, value in item.bands.items():
            bands.setdefault(name, {}).setdefault(value, []).append((item, own))
    return {
        "chance": sum(1 / len(item.choices) for item, _ in labelled) / len(labelled),
        "rules": _by_rule(labelled),
        "bands": {
            name: {value: _by_rule(some) for value, some in sorted(values.items(), key=_by_number)}
            for name, values in bands.items()
        },
    }


def _by_number(band: tuple[str, object]) -> tuple[bool, int, str]:
    """Sorts whole numbers by size, then other values of a band as texts. Example: 9, 10, >100, oov."""
    value = band[0]
    return not value.isdecimal(), len(value) if value.isdecimal() else 0, value


def _by_rule(some: Sequence[tuple[Item, Sequence[Amount]]]) -> dict[str, dict[str, Any]]:
    items, found = [item for item, _ in some], {}
    for rule in RULES:
        scores = [[one.score(rule) for one in own] for _, own in some]
        if all(score is not None for own in scores for score in own):
            found[rule] = accuracy_of_groups(items, scores)
    return found


def describe_patching(config: Config) -> str:
    """The patches of speech at inference, in words: static ones for models that were trained on both kinds."""
    patches = strategy_of(config.data.patching).inference_rule.description
    return patches if config.data.unit_tokenizer is None else f"{patches}, pieces of units"


def _group(item: Item) -> str:
    return f"item {item.id}" if item.group is None else f"group {item.group}"
