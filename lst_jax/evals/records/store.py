"""The one writer and the one reader of RUN/evaluations, and the registry of the kinds of record."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lst_jax.core import strict
from lst_jax.core.errors import UserError, first_line
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.records.kind import Record
from lst_jax.evals.records.likelihood import LikelihoodRecord
from lst_jax.evals.records.probe import ProbeRecord
from lst_jax.evals.records.spoken import RecognitionRecord, SynthesisRecord
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FOLDER = "evaluations"  # of a run
UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, UserError)  # by a strange file
LONGEST_CAUSE = 160  # characters of a message about a file that cannot be read
KINDS: dict[str, type[Record]] = {
    kind.KIND: kind for kind in (LikelihoodRecord, ChoicesRecord, RecognitionRecord, SynthesisRecord, ProbeRecord)
}  # in the order of the report's sections


class Found(NamedTuple):
    """The records of a run by file name, and one line for each file that was passed over."""

    records: list[Record]
    passed_over: list[str]


def build(kind: str, fields: Mapping[str, Any]) -> Record:
    """The record of these fields. Raises: ConfigError where a field is missing, unknown, or of another type."""
    return strict.build(KINDS[kind], dict(fields), "")


def write(run_path: Place, record: Record, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Writes the record's file, and beside it a .txt file for each of `others`, by suffix.

    Returns: the JSON object that was written. Raises: StorageError.
    """
    folder = run_path / FOLDER
    fields = as_json(record)
    objects.write_json(folder / f"{record.file_name()}.json", fields)
    for suffix, text in (others or {}).items():
        objects.write_text(folder / f"{record.file_name()}-{suffix}.txt", text)
    return fields


def as_json(record: Record) -> dict[str, Any]:
    """The JSON object of a record, its kind first."""
    return {"kind": record.KIND, **json.loads(json.dumps(dataclasses.asdict(record)))}


def read(run_path: Place) -> Found:
    """All records of a run, sorted by kind and then by file name.

    A file of an unknown kind, or one that is damaged, is named in `passed_over`: it must not hide the others.
    """
    found: list[Record] = []
    passed_over = []
    folder = run_path / FOLDER
    for path in [folder / name for name in objects.names(folder) if name.endswith(".json")]:
        try:
            found.append(parse(objects.read_text(path)))
        except UNREADABLE as error:
            passed_over.append(
                f"{path}: passed over ({first_line(error)[:LONGEST_CAUSE]}); remove it, or evaluate again"
            )
    return Found(sorted(found, key=lambda record: list(KINDS).index(record.KIND)), passed_over)


def earlier(run_path: Place, record: Record) -> Record | None:
    """The record that lies where this one will be written; None where there is none, or one that cannot be read."""
    try:
        return parse(objects.read_text(run_path / FOLDER / f"{record.file_name()}.json"))
    except UNREADABLE:
        return None


def parse(text: str) -> Record:
    """One record from its file's text. Raises: ValueError or UserError where it is not one."""
    fields = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(fields, dict):
        raise ValueError(f"it is a JSON {type(fields).__name__}, not an object")
    kind = fields.pop("kind", None) or _kind_without_field(fields)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
    return build(kind, KINDS[kind].upgrade(fields))


def _kind_without_field(fields: Mapping[str, Any]) -> Any:
    """The kind of a record that an older version wrote, which had no field for it."""
    return ChoicesRecord.KIND if "results" in fields else fields.get("task")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
