"""The speech tokenizers that `--units PATH` can name, and how a new one is added.

A kind of speech tokenizer recognises its own files or directories. To add one, write a class with the members of
`protocol.UnitTokenizer`, and register a `Kind` whose `load` makes it:

    register(Kind("pitch", "a .pitch file", recognises=lambda path: path.suffix == ".pitch", load=PitchUnits.load))
"""

import dataclasses
import functools
import os
from collections.abc import Callable

from lst_jax.core.errors import DataError
from lst_jax.prepare.speech_tokenizers import log_mel_kmeans, onnx_model
from lst_jax.prepare.speech_tokenizers.protocol import UnitTokenizer
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of speech tokenizer. `what` names its files in messages, such as "a model's directory"."""

    name: str
    what: str
    recognises: Callable[[Place], bool]
    load: Callable[[str | os.PathLike], UnitTokenizer]


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Adds a kind. Raises: ValueError where it is not complete, or its name is taken."""
    if not (kind.name and kind.what and callable(kind.recognises) and callable(kind.load)):
        raise ValueError(f"speech tokenizer {kind.name!r}: name, what, recognises and load are all needed")
    if kind.name in KINDS:
        raise ValueError(f"speech tokenizer {kind.name!r}: the name is registered already")
    KINDS[kind.name] = kind


def load_unit_tokenizer(path: str | os.PathLike) -> UnitTokenizer:
    """Loads the speech tokenizer at `path`. Raises: DataError where no registered kind recognises it."""
    return loader(path)()


def loader(path: str | os.PathLike) -> Callable[[], UnitTokenizer]:
    """`load_unit_tokenizer` of `path`, to be called later, in another process as well. Raises: DataError."""
    place = to_place(path)
    for kind in KINDS.values():
        if kind.recognises(place):
            return functools.partial(kind.load, path)
    known = ", ".join(f"{kind.what} ({kind.name})" for kind in KINDS.values())
    if objects.is_folder(place):
        raise DataError(
            f"{path}: has no config.json; give a model's directory or a .safetensors file, or write {onnx_model.DESCRIPTION} "
            "beside an ONNX model"
        )
    if not objects.exists(place):
        raise DataError(f"{path}: no such file; make it with `lst prepare units-fit`")
    log_mel_kmeans.check_kind(path, known)
    raise DataError(f"{path}: is no speech tokenizer; give {known}")


def _is_model(path: Place) -> bool:
    return objects.look(path / "config.json") is not None


def _load_model(path: str | os.PathLike) -> UnitTokenizer:
    from lst_jax.prepare.acoustic.units import HubertKMeans  # here alone: models import JAX

    return HubertKMeans.load(path)


register(
    Kind(
        onnx_model.OnnxUnits.kind,
        f"a directory of an ONNX model with {onnx_model.DESCRIPTION}",
        onnx_model.recognises,
        onnx_model.OnnxUnits.load,
    )
)
register(Kind("hubert", "a HuBERT or wav2vec2 directory with units.safetensors", _is_model, _load_model))
register(
    Kind(
        log_mel_kmeans.LogMelKMeans.kind,
        "a file that `lst prepare units-fit` made",
        log_mel_kmeans.recognises,
        log_mel_kmeans.LogMelKMeans.load,
    )
)
