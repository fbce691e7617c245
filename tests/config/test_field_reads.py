"""A knob that nothing reads is a lie: every field of the configuration is read by the code that trains or evaluates."""

import dataclasses
import pathlib

import field_reads
import pytest

from lst_jax.config import Config
from lst_jax.config.fields import learned, part

PACKAGE = pathlib.Path("lst_jax")
# Rooms that do what a configuration says. Rules, recipes, plans, reports and benchmarks only talk about it.
WORKING = ("data", "model", "step", "parallel", "train", "evals", "generate", "checkpoints", "runs", "prepare")
MESH_SIZES = PACKAGE / "config" / "mesh_sizes.py"  # arranges the devices, but knows no JAX
LABELS = {("Config", "name")}  # for people and file names alone


def test_every_field_is_read_by_code_that_acts_on_it():
    files = [path for room in WORKING for path in (PACKAGE / room).rglob("*.py")] + [MESH_SIZES]
    assert field_reads.fields_never_read(Config, PACKAGE / "config" / "schema.py", files) <= LABELS


@dataclasses.dataclass(frozen=True)
class Inner:
    size: int = learned()
    steps: int = learned()
    doubled_by: int = learned()


@dataclasses.dataclass(frozen=True)
class Outer:
    first: Inner = part()
    several: tuple[Inner, ...] = part()
    seed: int = learned()


SCHEMA = """
class Inner:
    def doubled(self):
        return 2 * self.doubled_by
"""


@pytest.mark.parametrize(
    "code, read",
    [
        ("def f(config: Outer):\n    return config.first.size", {"size"}),
        ("def f(other):\n    return other.size", set()),  # an attribute of the same name of another object
        ("def f(other: Shape, config: Outer):\n    return other.size + config.seed", {"seed"}),
        ("def f(config):\n    'reads config.first.size'", set()),
        ("def f(config: Outer):\n    config.seed = 3", set()),
        ("def f(a: 'Outer | None', b):\n    first, other = a.first, b\n    return first.size, other.steps", {"size"}),
        (
            "class A:\n    def __init__(self, c: Outer):\n        self._c = c\n    def f(self):\n        self._c.seed",
            {"seed"},
        ),
        ("def f(c: Outer):\n    return [i.size for n, i in enumerate(c.several)]", {"size"}),
        ("def f(c: Outer):\n    for i in c.several:\n        print(i.steps)", {"steps"}),
        ("def g() -> Outer: ...\ndef f():\n    return g().first.steps", {"steps"}),
        ("def f(c: Inner):\n    return [getattr(c, name) for name in ('size', 'steps')]", {"size", "steps"}),
        ("class N:\n    size: int\ndef f(c: Inner):\n    return [getattr(c, n) for n in N._fields]", {"size"}),
        ("def f(c: Inner):\n    return c.doubled()", {"doubled_by"}),
        ("def f(c: Outer):\n    return dataclasses.replace(c.first, size=2).steps", {"steps"}),
    ],
)
def test_a_read_is_one_of_a_field_of_the_configuration(tmp_path, code, read):
    (tmp_path / "schema.py").write_text(SCHEMA)
    (tmp_path / "code.py").write_text(code)
    missed = field_reads.fields_never_read(Outer, tmp_path / "schema.py", [tmp_path / "code.py"])
    every = {("Inner", "size"), ("Inner", "steps"), ("Inner", "doubled_by"), ("Outer", "seed")}
    assert {field for _, field in every - missed} == read


def test_a_knob_that_only_a_rule_reads_is_found(tmp_path):
    """The working rooms lose their reads of `spike_factor`; its rule still reads it, which must not count."""
    files = [path for room in WORKING for path in (PACKAGE / room).rglob("*.py")]
    copies = []
    for number, path in enumerate([*files, MESH_SIZES]):
        copies.append(tmp_path / f"{number}.py")
        copies[-1].write_text(path.read_text().replace("spike_factor", "something_else"))
    assert ".spike_factor" in (PACKAGE / "config" / "rules.py").read_text()
    missed = field_reads.fields_never_read(Config, PACKAGE / "config" / "schema.py", copies)
    assert missed - LABELS == {("OptimConfig", "spike_factor")}
