"""What a configuration field means, said where the field is declared.

A field of the schema is declared with one of these functions. Each says what the field is for the identity of a run,
that is, for what must be equal between a checkpoint and the run that resumes it:

    function   equal parameters compute another function where it differs: part of the identity
    computed   only how that function is computed: part of the identity, but a conversion may change it
    learned    what is learned, such as data and optimizer: part of the identity
    presence   a file that may move: only whether there is one is part of the identity
    free       what is recorded or how it is computed: no part of the identity
    part       a sub-configuration, whose own fields say it

All of them take the same notes:

    default      the value of a recipe that does not give the field; without it every recipe must
    since        the field was added when runs existed, and they mean this value: stored configurations may lack it, and
                 the identity leaves it out at this value, so that their hashes stay
    first_runs   likewise, for fields that came before identities were settled: the identity always holds them
    formerly     the field's former name, which stored files and identities keep
    former_values   former names of values, by present name: {"patches": "units"}
    at_least, at_most, below, positive   bounds of a number, which `lst_jax.config.rules` checks

Example: weight_decay: float = learned(default=0.1, at_least=0)
"""

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_NOTES = "lst_jax.config"  # the key of `Notes` in a field's metadata


class _Nothing:
    """The value of a note that is not given; None would be a value."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing()


@dataclasses.dataclass(frozen=True)
class Notes:
    """What the module's docstring lists; `meaning` is the name of the function that declared the field."""

    meaning: str
    since: Any = NOTHING
    first_runs: Any = NOTHING
    formerly: str | None = None
    former_values: Mapping[str, str] | None = None
    at_least: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None
    positive: bool = False

    @property
    def older(self) -> Any:
        """What a stored configuration without the field means; `NOTHING` where it must have the field."""
        return self.first_runs if self.since is NOTHING else self.since

    def former_value(self, value: Any) -> Any:
        """The value as identities keep it."""
        return self.former_values.get(value, value) if self.former_values else value

    def present_value(self, value: Any) -> Any:
        """The value that a possibly former one is called now."""
        if not self.former_values or not isinstance(value, str):
            return value
        return {old: new for new, old in self.former_values.items()}.get(value, value)


def _declared(meaning: str, default: Any, notes: dict[str, Any]) -> Any:
    metadata = {_NOTES: Notes(meaning, **notes)}
    if default is NOTHING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def function(default: Any = NOTHING, **notes: Any) -> Any:
    """A field by which equal parameters compute another function of the same tokens."""
    return _declared("function", default, notes)


def computed(default: Any = NOTHING, **notes: Any) -> Any:
    """A field that only says how the model's function is computed, but is part of the identity."""
    return _declared("computed", default, notes)


def learned(default: Any = NOTHING, **notes: Any) -> Any:
    """A field that changes what is learned."""
    return _declared("learned", default, notes)


def presence(default: Any = NOTHING, **notes: Any) -> Any:
    """A path that may change, while whether there is one may not."""
    return _declared("presence", default, notes)


def free(default: Any = NOTHING, **notes: Any) -> Any:
    """A field that may differ between a checkpoint and the run that resumes it."""
    return _declared("free", default, notes)


def part(default: Any = NOTHING, **notes: Any) -> Any:
    """A sub-configuration, or a list of them."""
    return _declared("part", default, notes)


class Declared(NamedTuple):
    """One field of a schema's class, with the classes of the sub-configurations that it may hold."""

    name: str
    notes: Notes
    inner: tuple[type, ...]
    is_list: bool
    optional: bool  # None is a value of the field

    @property
    def former_name(self) -> str:
        """The name in stored identities."""
        return self.notes.formerly or self.name


@functools.cache
def declared(kind: type) -> tuple[Declared, ...]:
    """The fields of a schema's class, in order. Raises: TypeError where one says nothing of its identity."""
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(kind):
        if _NOTES not in field.metadata:
            raise TypeError(f"{kind.__name__}.{field.name}: declare it with a function of lst_jax.config.fields")
        hint = hints[field.name]
        members = typing.get_args(hint)
        inner = tuple(member for member in (hint, *members) if dataclasses.is_dataclass(member))
        is_list = typing.get_origin(hint) is tuple
        found.append(Declared(field.name, field.metadata[_NOTES], inner, is_list, type(None) in members))
    return tuple(found)


class Leaf(NamedTuple):
    """A value of a configuration: its dotted path, the same path in former names, its field, and the value itself."""

    path: str
    former_path: str
    field: Declared
    value: Any
    is_free: bool  # it, or a field that it lies in, is no part of the identity


def leaves(config: Any, path: str = "", former_path: str = "", is_free: bool = False) -> Iterator[Leaf]:
    """Every value of a configuration that is not itself a sub-configuration.

    Example: a `MeshConfig` -> leaves of the paths "replica", "data" and "tensor"
    """
    for field in declared(type(config)):
        value = getattr(config, field.name)
        ours, theirs = path + field.name, former_path + field.former_name
        free_here = is_free or field.notes.meaning == "free"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{ours}.", f"{theirs}.", free_here)
        elif field.is_list:
            for i, item in enumerate(value):
                yield from leaves(item, f"{ours}.{i}.", f"{theirs}.{i}.", free_here)
        else:
            yield Leaf(ours, theirs, field, value, free_here)


def declared_leaves(kind: type, path: str = "", former_path: str = "") -> Iterator[tuple[str, str, Declared]]:
    """Path, former path and declaration of every field that a class can hold; items of a list have the index "*"."""
    for field in declared(kind):
        ours, theirs = path + field.name, former_path + field.former_name
        yield ours, theirs, field
        star = ".*" if field.is_list else ""
        for inner in field.inner:
            yield from declared_leaves(inner, f"{ours}{star}.", f"{theirs}{star}.")
