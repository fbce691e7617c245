"""The aligners that `--aligner SPEC` can name, and how a new one is added.

SPEC is a name, `NAME:PATH` where the words come from files, or the directory of a CTC model. Each import format of
alignments (`lst_jax.data.importers.registry`) is an aligner by its own name. To add another aligner, write a class with
the members of `protocol.Aligner`, and register a function that makes it:

    register("mfa", lambda argument, settings: MfaAligner(argument))
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lst_jax.core.errors import DataError
from lst_jax.data.importers import registry as formats
from lst_jax.prepare.aligners.from_files import FileAligner
from lst_jax.prepare.aligners.of_corpus import NAME, CorpusAligner
from lst_jax.prepare.aligners.pocket_sphinx import EMBEDDED, PocketSphinxAligner
from lst_jax.prepare.aligners.protocol import Aligner
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says beside SPEC; an aligner refuses what is not for it."""

    least_score: float | None = None
    most_outside_sec: float | None = None
    pronunciations: Mapping[str, str] | None = None
    any_language: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of import formats, those that were given


ALIGNERS: dict[str, Callable[[str, Settings], Aligner]] = {}


def register(name: str, make: Callable[[str, Settings], Aligner]) -> None:
    """Adds an aligner; `make` takes what stands behind the colon of SPEC ("" where there is none), and the settings.

    Raises: ValueError where it is not complete, or its name is taken.
    """
    if not name or ":" in name or not callable(make):
        raise ValueError(f"aligner {name!r}: a name without a colon and a function that makes it are needed")
    if name in ALIGNERS or name in formats.ALIGNMENT_FORMATS:
        raise ValueError(f"aligner {name!r}: the name is registered already")
    ALIGNERS[name] = make


def load_aligner(
    spec: str,
    least_score: float | None = None,
    pronunciations: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    most_outside_sec: float | None = None,
    any_language: bool = False,
) -> Aligner:
    """The aligner of SPEC (see the module). Raises: DataError where there is none, or a setting is not for it."""
    settings = Settings(least_score, most_outside_sec, pronunciations, any_language, options or {})
    name, colon, argument = spec.partition(":")
    if name in ALIGNERS and (spec == name or name != EMBEDDED):
        return ALIGNERS[name](argument, settings)
    if pronunciations is not None:
        raise DataError(f"--pronunciations: are for --aligner {EMBEDDED}, not for {spec}; leave them out")
    if most_outside_sec is not None:
        raise DataError(f"--most-outside: is for --aligner {EMBEDDED}, not for {spec}; leave it out")
    if any_language:
        raise DataError(f"--any-language: is for --aligner {EMBEDDED}, not for {spec}, which takes any; leave it out")
    if colon and name in formats.ALIGNMENT_FORMATS:
        if least_score is not None:
            raise DataError(f"--least-score={least_score:g}: words of files have no score; leave it out")
        return FileAligner(formats.ALIGNMENT_FORMATS[name], argument, settings.options)
    _refuse_options(spec, settings)
    if objects.look(to_place(spec) / "config.json"):
        from lst_jax.prepare.acoustic.align import CtcAligner  # here alone: models import JAX

        return CtcAligner(spec, least_score)
    raise DataError(
        f"--aligner {spec}: must be {', '.join(ALIGNERS)}, a model's directory (with config.json), or "
        f"{', '.join(f'{name}:PATH' for name in formats.ALIGNMENT_FORMATS)}; correct it"
    )


def _embedded(argument: str, settings: Settings) -> Aligner:
    _refuse_options(EMBEDDED, settings)
    return PocketSphinxAligner(
        settings.least_score, settings.pronunciations, settings.most_outside_sec, settings.any_language
    )


def _of_corpus(argument: str, settings: Settings) -> Aligner:
    _refuse_options(NAME, settings)
    if argument or (settings.least_score, settings.most_outside_sec, settings.pronunciations) != (None, None, None):
        raise DataError(f"--aligner {NAME}: takes no path and no --least-score, --most-outside or --pronunciations")
    return CorpusAligner()


def _refuse_options(spec: str, settings: Settings) -> None:
    for option in settings.options:
        takers = " or ".join(f"{name}:PATH" for name in formats.formats_with(option))
        raise DataError(f"--{option.replace('_', '-')}: is for --aligner {takers}, not for {spec}; leave it out")


register(EMBEDDED, _embedded)
register(NAME, _of_corpus)
