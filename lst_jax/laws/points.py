"""Runs as points of a scaling law: JSON lines, one per run, read strictly (docs/formats.md, "Points").

`tables` reads the runs of other people, whose one loss is the measure "loss".

    {"run": "a1", "system": "lst", "parameters": 1.2e6, "text_tokens": 2.4e7, "speech_tokens": 1.2e7, "flops": 2.6e14,
     "loss_text": 3.91, "loss_speech": 2.75, "config_hash": "0123456789abcdef", "commit": null}

N is `parameters`, C is `flops` (or `seconds` of training, where time is compared), D is `tokens` or the sum of both
kinds: all tokens train the one model, whichever loss is fitted.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.laws import sheets
from lst_jax.storage.place import Place, to_place

MEASURES = ("loss_text", "loss_speech", "accuracy_text", "accuracy_speech")
REQUIRED = ("run", "system", "parameters", "flops", "config_hash", "commit")
SIZES = ("tokens", "text_tokens", "speech_tokens")
OPTIONAL = (*SIZES, "seconds", *MEASURES, "items")
SAME = 0.05  # sizes, budgets or tokens whose logs are closer than this are one


class Refused(DataError):
    """These runs cannot carry this law; other laws may still be fitted. The message is the reason, in one line."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One run. A measure that was not taken is absent from `measures`."""

    run: str
    system: str
    parameters: float
    tokens: float
    flops: float
    measures: dict[str, float]
    items: int | None
    config_hash: str | None  # None of other people's runs
    commit: str | None
    seconds: float | None = None  # of all steps, on the machine that trained it


def at_cost_of_time(points: Sequence[Point], source: str) -> list[Point]:
    """The runs with their seconds of training as C, in the place of FLOPs. Raises: DataError naming a run without."""
    for point in points:
        if point.seconds is None:
            raise DataError(
                f"{source}: run={point.run!r}: has no seconds; collect the points again, or fit with --cost flops"
            )
    return [dataclasses.replace(point, flops=point.seconds) for point in points]


def read_points(path: str | os.PathLike | Place) -> list[Point]:
    """The runs of a JSON-lines file, in its order. Raises: DataError naming the line and the field."""
    path = to_place(path)
    return parse_points(str(path), sheets.read_text(path))


def is_points(path: str, text: str) -> bool:
    """Whether a file is to be read by `parse_points`: JSON lines that have a configuration's hash, or are broken."""
    if not sheets.is_json(path, text) or text.lstrip().startswith("["):
        return False
    try:
        return "config_hash" in json_files.decode(text.lstrip().partition("\n")[0], strict_numbers=False)
    except json_files.NotJson:
        return True


def parse_points(path: str, text: str) -> list[Point]:
    """The runs of the text of a file. Raises: as `read_points`."""
    points: dict[str, Point] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            point = _point(f"{path}: line {number}", line)
            if point.run in points:
                raise DataError(f"{path}: line {number}: run={point.run!r}: is there twice; keep one of its lines")
            points[point.run] = point
    if not points:
        raise DataError(f"{path}: holds no runs; write one JSON object per line")
    return list(points.values())


def systems_of(points: Sequence[Point]) -> list[str]:
    """Names of the systems, in the order of their first runs."""
    return list(dict.fromkeys(p.system for p in points))


def logs(points: Sequence[Point], field: str) -> Float[np.ndarray, "runs"]:
    """Natural logarithms of `parameters`, `tokens`, `flops` or a measure. All `points` must have it."""
    return np.log([p.measures[field] if field in p.measures else getattr(p, field) for p in points])


def measure_of(what: str, kind: str) -> str:
    """Example: "loss", "text" -> "loss_text"; "loss", "" -> "loss", the one loss of other people's runs."""
    return f"{what}_{kind}" if kind else what


def spaced(values: Float[np.ndarray, "runs"], gap: float = SAME) -> list[np.ndarray]:
    """Indices of values that lie within `gap` of the least of their group, in rising order.

    Unlike `groups` it tells sizes apart that a dense row of others lies between.
    Example: spaced([1.0, 1.04, 1.08]) -> [[0, 1], [2]].
    """
    found: list[list[int]] = []
    for i in np.argsort(values, kind="stable"):
        if not found or values[i] - values[found[-1][0]] > gap:
            found.append([])
        found[-1].append(int(i))
    return [np.array(members) for members in found]


def groups(values: Float[np.ndarray, "runs"], gap: float = SAME) -> list[np.ndarray]:
    """Indices of values that lie within `gap` of their neighbours, in rising order.

    Example: groups([1.0, 3.0, 1.01]) -> [[0, 2], [1]].
    """
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order]) > gap) + 1)


def _point(where: str, line: str) -> Point:
    fields = json_files.parse(line, where, 'write one JSON object per line: {"run": ...}')
    for key in fields:
        if key not in REQUIRED + OPTIONAL:
            raise DataError(f"{where}: {key}: unknown field; the fields are {', '.join(REQUIRED + OPTIONAL)}")
    for key in REQUIRED:
        if key not in fields:
            raise DataError(f"{where}: {key}: missing; every run has {', '.join(REQUIRED)}")
    for key in ("run", "system", "config_hash", "commit"):
        if not (isinstance(fields[key], str) and fields[key]) and not (key == "commit" and fields[key] is None):
            raise DataError(f"{where}: {key}={fields[key]!r}: must be a string; write it in quotes")
    numbers = {
        key: _number(f"{where}: {key}", fields[key])
        for key in fields
        if key in ("parameters", "flops", *OPTIONAL) and fields[key] is not None
    }
    for key in ("parameters", "flops"):
        if key not in numbers:
            raise DataError(f"{where}: {key}=None: must be a number; every run has one")
    measures = {key: numbers[key] for key in MEASURES if key in numbers}
    if not measures:
        raise DataError(f"{where}: has no measure; give at least one of {', '.join(MEASURES)}")
    for key, value in measures.items():
        if key.startswith("accuracy") and value > 1:
            raise DataError(f"{where}: {key}={value:g}: must be at most 1; write 0.455 for 45.5%")
    items = numbers.get("items")
    return Point(
        fields["run"],
        fields["system"],
        numbers["parameters"],
        _tokens(where, numbers),
        numbers["flops"],
        measures,
        None if items is None else round(items),
        fields["config_hash"],
        fields["commit"],
        numbers.get("seconds"),
    )


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise DataError(f"{where}={value!r}: must be a number above 0; leave the run out if it has none")
    return float(value)


def _tokens(where: str, numbers: dict[str, float]) -> float:
    parts = [numbers[key] for key in SIZES[1:] if key in numbers]
    if "tokens" in numbers:
        if len(parts) == 2 and not math.isclose(sum(parts), numbers["tokens"], rel_tol=1e-6):
            raise DataError(
                f"{where}: tokens={numbers['tokens']:g}: is not text_tokens + speech_tokens = "
                f"{sum(parts):g}; leave tokens out"
            )
        return numbers["tokens"]
    if len(parts) < 2:
        raise DataError(f"{where}: tokens: missing; give tokens, or text_tokens and speech_tokens")
    return sum(parts)
