"""Units to sound: by the unit tokenizer that knows what its units sound like, or by a vocoder."""

import os
from collections.abc import Callable

import numpy as np

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.shards import Metadata
from lst_jax.prepare import audio
from lst_jax.prepare.speech_tokenizers.protocol import AudibleUnitTokenizer, UnitTokenizer
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer

Speaker = Callable[[np.ndarray], tuple[np.ndarray, int]]  # units [frames] -> (float32 [samples], Hz)


def open_units_model(path: str | os.PathLike, metadata: Metadata | None) -> UnitTokenizer:
    """Loads a unit tokenizer, and holds it against what made the run's units. Raises: DataError naming both sides."""
    tokenizer = load_unit_tokenizer(path)
    theirs = metadata and metadata.codebook_fingerprint
    if theirs is not None and theirs != tokenizer.fingerprint:
        raise DataError(
            f"{path}: has fingerprint {tokenizer.fingerprint}, the run's units were made by {theirs}; give "
            "the unit tokenizer that prepared its data"
        )
    return tokenizer


def speaker(units_model: UnitTokenizer | None, vocoder: str | os.PathLike | None, unit_rate: float) -> Speaker:
    """How the run's units, `unit_rate` a second, become sound: by the vocoder where there is one.

    Raises: ConfigError where the units are of a model that cannot sound them and there is none; DataError where the
    vocoder's are of another rate.
    """
    if vocoder:
        from lst_jax.prepare.acoustic.vocoder import UnitVocoder

        voice = UnitVocoder.load(vocoder)
        if voice.unit_rate != unit_rate:
            raise DataError(
                f"{vocoder}: takes {voice.unit_rate:g} units a second, the run has data.unit_rate="
                f"{unit_rate:g}; use a vocoder of that rate"
            )
        return lambda units: (voice.synthesise(units), voice.shape.sampling_rate)
    if not isinstance(units_model, AudibleUnitTokenizer):
        raise ConfigError("--units-model: its units have no sound of their own; add --vocoder DIR")
    return lambda units: (units_model.resynthesise(units), audio.RATE)
