"""What a speech tokenizer is: it turns audio into one speech unit per frame."""

import typing
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lst_jax.core.errors import RejectedItem


@typing.runtime_checkable
class UnitTokenizer(typing.Protocol):
    """Audio to speech units. `fingerprint` (16 hex digits) changes whenever any unit could."""

    unit_rate: float  # units per second
    codebook_size: int
    fingerprint: str

    def encode(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """Units uint16 [frames] of float32 mono samples at `rate` Hz. Raises: RejectedItem."""


@typing.runtime_checkable
class BlockUnitTokenizer(UnitTokenizer, typing.Protocol):
    """A unit tokenizer that holds a part of a recording at a time, so that any length fits in memory."""

    def encode_blocks(self, blocks: Callable[[], Iterable[np.ndarray]], rate: int) -> np.ndarray:
        """`encode` of a recording in blocks. `blocks` may be called several times, each time from the start."""


@typing.runtime_checkable
class BatchUnitTokenizer(UnitTokenizer, typing.Protocol):
    """A model: it is faster with several recordings at a time, and it runs in one process."""

    def encode_batch(self, recordings: Sequence[np.ndarray], rate: int) -> list[np.ndarray | RejectedItem]:
        """`encode` of several recordings. A recording that has no units gets a RejectedItem in its place."""


@typing.runtime_checkable
class AudibleUnitTokenizer(UnitTokenizer, typing.Protocol):
    """A unit tokenizer whose units stand for sounds."""

    def decode_mel(self, units: np.ndarray) -> np.ndarray:
        """Log-mel float32 [frames of 10 ms, 80] that `units` stand for."""

    def resynthesise(self, units: np.ndarray) -> np.ndarray:
        """Audio float32 at 16 kHz, for the ear."""
