"""What a recogniser is."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Recogniser(Protocol):
    """Audio to text."""

    name: str  # with its version; recorded beside the numbers

    def transcribe(self, audio: np.ndarray) -> str:
        """The words of float32 mono samples at 16 kHz; "" where none is heard."""
