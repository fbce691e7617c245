"""Tables of what a sweep's runs cost and answered, as means over the runs of a system, which differ in their seeds."""

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import DataError
from lst_jax.evals.accuracy import items_worth, paired_interval, wilson_interval
from lst_jax.evals.conventions import RULES, Rule
from lst_jax.evals.records.choices import DirectionResult, Share
from lst_jax.evals.records.spoken import ErrorRateResult
from lst_jax.jobs.sweeps.outcomes import Earlier, Outcome, Outcomes
from lst_jax.report import results_file
from lst_jax.runs.ledger import in_words

Table = tuple[str, Sequence[str], list[list[str]]]  # title, header, rows
COSTS = (
    "system",
    "runs",
    "parameters",
    "steps",
    "tokens",
    "positions per token",
    "FLOPs",
    "time of all steps",
    "held-out speech, bits/s",
    "held-out text, bits/token",
)
NOTE = (
    "Means over the runs of a system; behind a loss stands the range over its runs. Accuracies are in percent, by {rule}. In "
    "square brackets is the 95% interval over the questions (Wilson), and in round brackets the range over runs."
)
AGAINST = (
    "Differences are paired: each question counts by what the mean over runs differs by, and the interval is over the "
    "questions (Agresti and Min)."
)


class Shown(NamedTuple):
    """What tables and pictures show: a row for each value of a band, the rule of accuracies, and whom to compare with."""

    band: str | None = None
    rule: Rule = "per_token"
    against: str | None = None  # the label of a system


def tables(outcomes: Outcomes, how: Shown) -> list[Table]:
    """What runs cost, and then each task; with `how.against` each task once more, as differences from that system.

    Raises: DataError where no run has that label, or no record keeps what each question was answered.
    """
    systems = outcomes.of_systems()
    if how.against is not None and how.against not in systems:
        raise DataError(f"--against {how.against}: no run has this label; use {' or '.join(systems)}")
    found = [("", COSTS, [_cost_row(label, runs) for label, runs in systems.items()])]
    found += [*_recognitions(systems), *_probes(systems)]
    for asked in asked_of(outcomes, how.band):
        header = ["system", *([how.band] if how.band else []), *DIRECTIONS.values()]
        found.append((asked.title(), header, _rows(systems, asked, how, cell)))
        if how.against is not None:
            others = {label: runs for label, runs in systems.items() if label != how.against}
            rows = _rows(others, asked, how, functools.partial(_difference, systems[how.against]))
            if rows and not any(cells for row in rows for cells in row[-len(DIRECTIONS) :]):
                raise DataError(
                    f"--against {how.against}: {asked.task}: records of older versions do not keep what each question was "
                    "answered; remove them from the runs' evaluations and run lst sweep evaluate"
                )
            found.append((f"{asked.task}, points more than {how.against}", header, rows))
    return found


def _rows(
    systems: Mapping[str, Sequence[Outcome]], asked: "Asked", how: Shown, shown: Callable[..., str]
) -> list[list[str]]:
    """A row for each system and value of the band, with `shown` (as `cell`) for each direction."""
    return [
        [label, *([value] if how.band else []), *(shown(runs, asked.task, way, how, value) for way in DIRECTIONS)]
        for label, runs in systems.items()
        for value in asked.values
    ]


class Asked(NamedTuple):
    """A task, how many items it has, what a guess gets right, and the values of a band (one empty one without a band)."""

    task: str
    items: int
    chance: float | None
    values: tuple[str, ...]

    def title(self) -> str:
        """Example: "world-storycloze, 400 items, chance 50%"."""
        return f"{self.task}, {self.items:,} items" + ("" if self.chance is None else f", chance {self.chance:.0%}")


def asked_of(outcomes: Outcomes, band: str | None) -> list[Asked]:
    """The tasks that any run was asked."""
    found = []
    for task in dict.fromkeys(record.task for run in outcomes.runs for record in run.tasks):
        answers = _results(outcomes.runs, task)
        values = tuple(dict.fromkeys(v for a in answers for v in a.bands.get(band, {}))) if band else ("",)
        chances = {a.chance for a in answers}
        found.append(Asked(task, answers[0].items, chances.pop() if len(chances) == 1 else None, values))
    return found


def _results(runs: Sequence[Outcome | Earlier], task: str) -> list[DirectionResult]:
    return [result for run in runs for record in run.tasks if record.task == task for result in record.results]


def as_markdown(tables: Sequence[Table], how: Shown) -> str:
    """What the numbers are, and the tables."""
    parts = [NOTE.format(rule=RULES[how.rule]) + (f" {AGAINST}" if how.against is not None else "")]
    for title, header, rows in tables:
        parts += [*([f"**{title}**"] if title else []), results_file.table(header, rows)]
    return "\n\n".join(parts)


def _cost_row(label: str, runs: Sequence[Outcome]) -> list[str]:
    return [
        label,
        str(len(runs)),
        f"{runs[0].parameters:,}",
        f"{statistics.fmean(run.steps for run in runs):,.0f}",
        f"{statistics.fmean(run.tokens for run in runs):.4g}",
        _mean([run.positions for run in runs[:1]], ".2f"),
        f"{statistics.fmean(run.flops for run in runs):.4g}",
        in_words(statistics.fmean(run.seconds for run in runs)),
        _mean([run.loss_speech for run in runs], ".2f"),
        _mean([run.loss_text for run in runs], ".2f"),
    ]


def _recognitions(systems: Mapping[str, Sequence[Outcome]]) -> list[Table]:
    """A table of error rates, if any run was asked to recognise speech."""
    rows = []
    for label, runs in systems.items():
        if found := [run.recognition for run in runs if run.recognition is not None]:
            rates = [_rate([getattr(one, name) for one in found]) for name in ("wer", "cer")]
            context = f"{statistics.fmean(one.context.ratio for one in found):.2f}"
            rows.append([label, str(len(found)), found[0].source, str(found[0].wer.utterances), *rates, context])
    header = [
        "system",
        "runs",
        "source",
        "utterances",
        "word error rate, %",
        "character error rate, %",
        "context of Base's",
    ]
    return [("Recognition", header, rows)] if rows else []


def _rate(found: Sequence[ErrorRateResult]) -> str:
    """With the 95% interval over the utterances of one run, or the range over several. Example: "44.7 [40.2, 49.3]"."""
    (one, *others) = found
    if others:
        return _mean([100 * one.rate for one in found], ".1f")
    return f"{100 * one.rate:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _probes(systems: Mapping[str, Sequence[Outcome]]) -> list[Table]:
    """A table of how alike a word's spoken and written states are, if any run was probed."""
    probed = {
        label: [run.probe.text_speech for run in runs if run.probe is not None] for label, runs in systems.items()
    }
    states = max((len(own) for found in probed.values() for own in found), default=0)
    rows = []
    for label, found in probed.items():
        if found:
            alike = [_mean([own[n].same_word for own in found if n < len(own)], ".3f") for n in range(states)]
            other = _mean([max((layer.other_word for layer in own), key=abs) for own in found], ".3f")
            rows.append([label, str(len(found)), *alike, other])
    header = ["system", "runs", "input", *(f"layer {n}" for n in range(1, states)), "of other words, at most"]
    return [("Cosine of a word's spoken and written states in the global transformer", header, rows)] if rows else []


def _mean(values: Sequence[float | None], form: str) -> str:
    """Of those that are there, with the range over several. Example: "18.00 (17.92–18.07)" of the form ".2f"."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    spread = f" ({min(found):{form}}–{max(found):{form}})" if len(found) > 1 else ""
    return f"{statistics.fmean(found):{form}}{spread}"


class Accuracy(NamedTuple):
    """Of the runs that were asked: how many, their mean, its 95% interval over the questions, and the least and most of a run.
    Shares are up to 1."""

    runs: int
    mean: float
    low: float
    high: float
    least: float
    most: float


def accuracy_of(
    runs: Sequence[Outcome | Earlier], task: str, direction: str, how: Shown, value: str
) -> Accuracy | None:
    """What runs of one system answered, to items with this value of the band if there is one; None where not asked.

    Where runs differ in their answers to one question, the interval is narrower than that of one run (`items_worth`).
    """
    found = _shares(runs, task, direction, how, value)
    if not found:
        return None
    shares = [share.accuracy for share in found]
    worth = items_worth([share.by_group for share in found]) if all(s.by_group for s in found) else found[0].groups
    mean = statistics.fmean(shares)
    return Accuracy(len(shares), mean, *wilson_interval(mean * worth, worth), min(shares), max(shares))


def cell(runs: Sequence[Outcome | Earlier], task: str, direction: str, how: Shown, value: str) -> str:
    """Example: "81.0 [75, 86] (79–83)"."""
    found = accuracy_of(runs, task, direction, how, value)
    if found is None:
        return ""
    asked, *shares = found
    mean, low, high, least, most = (100 * share for share in shares)
    spread = f" ({least:.0f}–{most:.0f})" if asked > 1 else ""
    return f"{mean:.1f} [{low:.0f}, {high:.0f}]{spread}"


def _difference(
    reference: Sequence[Outcome], runs: Sequence[Outcome], task: str, direction: str, how: Shown, value: str
) -> str:
    """Example: "+33.9 [18, 48]"; empty where a record has no means of groups."""
    own, others = (_shares(some, task, direction, how, value) for some in (runs, reference))
    if not own or not others or not all(share.by_group for share in (*own, *others)):
        return ""
    differences = [one - other for one, other in zip(_means(own), _means(others), strict=True)]
    low, high = paired_interval(differences)
    return f"{100 * statistics.fmean(differences):+.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def _means(shares: Sequence[Share]) -> list[float]:
    """Of each group, over the runs."""
    return [statistics.fmean(group) for group in zip(*(share.by_group for share in shares), strict=True)]


def _shares(runs: Sequence[Outcome | Earlier], task: str, direction: str, how: Shown, value: str) -> list[Share]:
    answers = [a for a in _results(runs, task) if a.direction == direction]
    rules = [a.bands.get(how.band, {}).get(value, {}) if how.band else a.rules for a in answers]
    return [some[how.rule] for some in rules if how.rule in some]
