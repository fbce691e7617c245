"""Random generators that are addressed by a key instead of a history, so that any draw can be repeated anywhere.

Example: `generator(seed, "mls", epoch, document, "interleave")` is the same generator on every host, in every process
and after every restart. `permuted(i, size, seed, "mls", epoch)` is the i-th index of one fixed shuffle of range(size).
"""

import hashlib
import math

import numpy as np
from numpy.random.bit_generator import ISeedSequence

ROUNDS = 6  # Luby and Rackoff need 4 for a strong pseudo-random permutation; small domains get two more


def generator(*key: int | str) -> np.random.Generator:
    """A Philox generator whose stream is a function of `key` alone."""
    return np.random.Generator(np.random.Philox(_Key(_digest(key))))


def permuted(index: int, size: int, *key: int | str) -> int:
    """The value at `index` of a permutation of range(size) chosen by `key`, in O(1) memory.

    This is a Feistel network over pairs of digits in base ceil(sqrt(size)). It is applied again as long as the result
    lies outside the range. Its domain is smaller than size + 2 sqrt(size) + 1, so that is rare.
    """
    assert 0 <= index < size, (index, size)
    base = math.isqrt(size - 1) + 1
    secret = _digest(key)
    while True:
        left, right = divmod(index, base)
        for number in range(ROUNDS):
            left, right = right, (left + _round(secret, number, right)) % base
        index = left * base + right
        if index < size:
            return index


class _Key(ISeedSequence):
    """Hands its sixteen bytes to Philox as the key, which `Philox(key=...)` does only after asking the system for entropy."""

    def __init__(self, key: bytes):
        self._key = key

    def generate_state(self, n_words, dtype=np.uint64):
        """The key as two numbers of 64 bits."""
        assert n_words == 2 and dtype == np.uint64, (n_words, dtype)
        return np.frombuffer(self._key, "<u8")


def _round(secret: bytes, number: int, value: int) -> int:
    data = number.to_bytes(1, "little") + value.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=secret).digest(), "little")


def _digest(key: tuple[int | str, ...]) -> bytes:
    """Sixteen bytes. Each part is tagged with its type and length, so that no two keys give the same text."""
    parts = []
    for part in key:
        data = part.encode() if isinstance(part, str) else str(int(part)).encode()
        parts.append(f"{'s' if isinstance(part, str) else 'i'}{len(data)}:".encode() + data)
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()
