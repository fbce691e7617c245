"""Candidates that share a prompt become one document that branches, so that the prompt is computed once.

The trunk is what the candidates have in common, up to the last patch that begins before their responses. Each branch
begins with that patch, so that every token of a response has a position of its own that predicts it:

    prompt BOS <t> a b <s>, responses 7 7 9 and 8, static patches of 2 (| opens a patch)
    -> |BOS |<t> |a |b   |<s> |7 7 |9 |EOS   |<s> |8 |EOS      trunk, branch 1, branch 2
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from lst_jax.data.documents import Example

LEAST = 4  # tokens of a trunk; a shorter one saves less than what larger documents waste of their rows


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """One document for one or several candidates; `branch_n` is the branch of each token, 0 for the trunk."""

    example: Example
    branch_n: Int[np.ndarray, "n"]
    # For each candidate: its number, and the position of each of its tokens in the document.
    members: tuple[tuple[int, Int[np.ndarray, "_"]], ...]

    @property
    def shared(self) -> int:
        """The number of tokens that need not be computed again."""
        return sum(len(place) for _, place in self.members) - len(self.branch_n)


def group_by_prompt(
    examples: Sequence[Example], response_starts: Sequence[int], most_tokens: int, most_units: int
) -> list[Tree]:
    """Trees of all candidates; a tree of several candidates has at most so many tokens and patches."""
    groups: dict[bytes, list[int]] = {}
    forks = [_fork(example, start) for example, start in zip(examples, response_starts, strict=True)]
    for number, (example, fork) in enumerate(zip(examples, forks, strict=True)):
        key = content(example, fork) + example.token[fork].tobytes() if fork >= LEAST else str(number).encode()
        groups.setdefault(key, []).append(number)
    return [
        _tree(examples, forks[numbers[0]], part)
        for numbers in groups.values()
        for part in _parts(examples, forks[numbers[0]], numbers, most_tokens, most_units)
    ]


def content(example: Example, length: int | None = None) -> bytes:
    """Tokens and patches as bytes, up to `length` tokens; they are equal for equal sequences."""
    some = slice(0, length)
    return example.token[some].tobytes() + example.patch_start[some].tobytes() + example.patch_end[some].tobytes()


def _fork(example: Example, response_start: int) -> int:
    return int(np.flatnonzero(example.patch_start[:response_start])[-1])


def _parts(examples, fork: int, numbers: Sequence[int], most_tokens: int, most_units: int) -> list[list[int]]:
    """Shares the candidates of one trunk among few trees within the limits; a single candidate may exceed them."""
    parts: list[list[int]] = []
    tokens = units = 0
    for number in numbers:
        branch = examples[number].patch_start[fork:]
        more, wider = len(branch), int(np.count_nonzero(branch))
        if not parts or tokens + more > most_tokens or units + wider > most_units:
            parts.append([])
            tokens, units = fork, int(np.count_nonzero(examples[number].patch_start[:fork]))
        parts[-1].append(number)
        tokens, units = tokens + more, units + wider
    return parts


def _tree(examples, fork: int, numbers: Sequence[int]) -> Tree:
    first = examples[numbers[0]]
    if len(numbers) == 1:
        n = len(first.token)
        return Tree(first, np.zeros(n, np.int32), ((numbers[0], np.arange(n)),))
    lengths = [len(examples[number].token) - fork for number in numbers]
    starts = fork + np.cumsum([0, *lengths])
    columns = (
        np.concatenate([column(first)[:fork], *(column(examples[number])[fork:] for number in numbers)])
        for column in (lambda e: e.token, lambda e: e.patch_start, lambda e: e.patch_end, lambda e: e.cut)
    )
    branch_n = np.repeat(np.arange(len(numbers) + 1, dtype=np.int32), [fork, *lengths])
    members = tuple(
        (number, np.concatenate([np.arange(fork), np.arange(start, start + length)]))
        for number, start, length in zip(numbers, starts, lengths, strict=False)
    )
    return Tree(Example(*columns), branch_n, members)
