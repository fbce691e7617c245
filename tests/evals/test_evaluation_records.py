"""Records of evaluations: what is written is read again, old files too; a strange file never hides the others."""

import dataclasses
import json

import pytest
from evaluation_records import FIELDS

from lst_jax.core.errors import ConfigError
from lst_jax.evals.records import store
from lst_jax.evals.records.kind import Record


@pytest.mark.parametrize("kind", store.KINDS)
def test_what_is_written_is_read_again_and_has_rows(kind, tmp_path):
    record = store.build(kind, FIELDS[kind])
    assert isinstance(record, Record) and dataclasses.is_dataclass(record)
    written = store.write(tmp_path, record, {"s2s-sum": "a -1.0\n"})
    assert store.read(tmp_path) == ([record], [])
    (path,) = (tmp_path / "evaluations").glob("*.json")
    assert json.loads(path.read_text()) == written and written["kind"] == kind
    assert path.with_name(f"{path.stem}-s2s-sum.txt").read_text() == "a -1.0\n"
    assert record.rows() and all("step 40" in row[2] for row in record.rows()[:1])


def test_files_of_older_versions_are_read():
    """They had no field `kind`, and rows had `row_units`."""
    for kind in ("choices", "asr", "tts", "probe"):
        old = json.loads(json.dumps(FIELDS[kind]))
        if kind == "choices":
            fill = old["results"][0]["fill"]
            fill["row_units"] = fill.pop("row_patches")
        assert store.parse(json.dumps(old)) == store.build(kind, FIELDS[kind])


def test_a_task_may_be_called_as_another_kind_is():
    fields = FIELDS["choices"] | {"task": "asr"}
    assert store.parse(json.dumps(fields)).KIND == "choices"


STRANGE = {
    "unknown.json": (
        '{"kind": "vision", "step": 1}',
        "kind='vision' is not one of likelihood, choices, asr, tts, probe",
    ),
    "none.json": ('{"step": 1}', "kind=None is not one of"),
    "list.json": ("[]", "it is a JSON list, not an object"),
    "cut.json": ('{"kind": "asr", "st', "passed over"),
    "missing.json": ('{"kind": "asr", "step": 1}', "source=None: missing"),
    "more.json": (json.dumps({"kind": "probe", "later": 1} | FIELDS["probe"]), "later=1: unknown field"),
    "type.json": (json.dumps({"kind": "probe"} | FIELDS["probe"] | {"occurrences": "12"}), "must be int, not str"),
    "nan.json": ('{"kind": "likelihood", "step": 1, "values": {"a": NaN}}', "NaN is not JSON"),
    "large.json": ('{"kind": "likelihood", "step": 1, "values": {"a": 1' + "0" * 400 + "}}", "passed over"),
    "direction.json": (json.dumps(FIELDS["choices"]).replace("s2s", "s2x"), "must be one of s2s, t2t, s2t, t2s"),
    "deep.json": ("[" * 100000, "passed over"),
    "kind.json": ('{"kind": ["asr"]}', "passed over"),
}


def test_a_strange_file_is_named_and_passed_over(tmp_path):
    record = store.build("asr", FIELDS["asr"])
    store.write(tmp_path, record)
    for name, (text, _) in STRANGE.items():
        (tmp_path / "evaluations" / name).write_text(text)
    (tmp_path / "evaluations" / "bytes.json").write_bytes(b'{"kind": "\xff"}')
    found = store.read(tmp_path)
    assert found.records == [record]
    assert len(found.passed_over) == len(STRANGE) + 1 and not any("\n" in line for line in found.passed_over)
    for name, (_, said) in STRANGE.items():
        (line,) = [line for line in found.passed_over if f"/{name}: " in line]
        assert said in line and len(line) < 400


def test_what_no_reader_could_read_is_not_written():
    with pytest.raises(ConfigError, match="wer=None: missing"):
        store.build("asr", {name: value for name, value in FIELDS["asr"].items() if name != "wer"})
