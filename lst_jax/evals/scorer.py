"""The scorer of all evaluations: nats of each token of a response given its prompt, packed and sharded as in training.

Conventions, recorded beside every number (paper §9):

- A sequence is BOS, prompt, response, EOS. A modality marker opens every text and every speech, except where the
  modality stays the same. The marker that opens a response belongs to the prompt. EOS is not scored.
- `response` scores the tokens of the response. `whole` scores all tokens after the first marker, later markers included.
- Prompt and response are tokenised apart, as their units are (in the paper their waveforms are synthesised apart).
- `restart`: the first patch of a response begins with its first token. `continue`: where prompt and response are both
  speech, they are one run, so that one patch may hold the end of the prompt and the start of the response. Text and
  unit pieces have patches of one token, so that both grids are the same for them.

A prompt that choices share is computed once (`shared_prompts`), and so are equal sequences. An evaluation within a
training run computes prompts again for each choice, so that no second program is compiled.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int
from tqdm import tqdm

from lst_jax.config import Config
from lst_jax.core.errors import CheckpointError, DataError
from lst_jax.data.documents import Example, ExampleBuilder, Run
from lst_jax.data.interleave import Span
from lst_jax.data.packing import pack_examples
from lst_jax.data.patching import BoundaryRule, strategy_of
from lst_jax.data.records import Utterance, Word
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals.conventions import GRIDS, SCOPES
from lst_jax.evals.shared_prompts import Tree, content, group_by_prompt
from lst_jax.model.attention import BRANCH
from lst_jax.parallel import sharding
from lst_jax.step import update

TILE = 8  # rows are multiples of it
SLACKS = (1.0, 1.02, 1.05, 1.1, 1.17)  # T and U that are tried, as multiples of the least that is needed
FEW = 300  # sequences; with more of them fewer shapes are tried, as most shapes are full


class Text(NamedTuple):
    """A text; `token` are its ids where they differ from what the tokenizer gives."""

    text: str
    token: Int[np.ndarray, "n"] | None = None


class Speech(NamedTuple):
    """Units uint16 [frames], and the words over them in frames from the first unit; None where there is no alignment."""

    units: Int[np.ndarray, "frames"]
    words: tuple[Word, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A prompt and a response as one sequence, and where the response begins and ends in it."""

    example: Example
    response_start: int
    response_end: int

    def scored(self, scope: str) -> slice:
        """The tokens that `scope` scores."""
        assert scope in SCOPES, scope
        return slice(self.response_start if scope == "response" else 2, self.response_end)


def candidate(
    builder: ExampleBuilder,
    prompt: Sequence[Text | Speech],
    response: Sequence[Text | Speech],
    rule: BoundaryRule,
    grid: str = "restart",
) -> Candidate:
    """The sequence of a prompt, which may be empty, and a response; the module's text has the conventions.

    Args: `rule` cuts speech into patches, `grid` one of `conventions.GRIDS`.
    Raises: DataError where the response is empty, or `rule` needs words and speech has none.
    Example: [Text("a")], [Speech(7 7 9)], static patches of 2 -> |BOS |<t> |a |<s> |7 7 |9 |EOS, response [4, 7)
    """
    assert grid in GRIDS, grid
    spans = [*prompt, *response]
    joins = grid == "continue" and builder.pieces is None
    groups: list[list[Text | Speech]] = []
    place: list[tuple[int, int]] = []  # of each span: its group, and the tokens before it there
    for span in spans:
        if joins and groups and isinstance(span, Speech) and isinstance(groups[-1][-1], Speech):
            place.append((len(groups) - 1, sum(len(other.units) for other in groups[-1])))
            groups[-1].append(span)
        else:
            place.append((len(groups), 0))
            groups.append([span])
    runs = [_run(builder, group, rule, bool(number)) for number, group in enumerate(groups)]
    markers = [run.marker for run in runs]
    runs = [run._replace(marker=None) if i and markers[i - 1] == run.marker else run for i, run in enumerate(runs)]
    runs = builder.spaced(runs)
    starts, pos = [], 1
    for run in runs:
        starts.append(pos + (run.marker is not None))
        pos = starts[-1] + len(run.token)
    group, before = place[len(prompt)] if response else (0, 0)
    if not response or starts[group] + before >= pos:
        raise DataError("a response is empty; leave the item out")
    return Candidate(builder.join(runs), starts[group] + before, pos)


def _run(builder: ExampleBuilder, group: Sequence[Text | Speech], rule: BoundaryRule, behind: bool) -> Run:
    """Spans of one run, all but one of speech, as tokens behind their marker."""
    first = group[0]
    if isinstance(first, Text):
        if first.token is None:
            return builder.text_run(first.text, behind)
        return Run(builder.vocab.text_marker, np.array(first.token, np.int32), None)
    if rule.needs_words and any(speech.words is None for speech in group):
        raise DataError(
            "the run's patches follow aligned words, and speech has none; give its words as [[word, "
            "start_sec, end_sec], ...]"
        )
    offsets = itertools.accumulate((len(speech.units) for speech in group), initial=0)
    words = tuple(
        Word(word.text, word.start_frame + offset, word.end_frame + offset)
        for offset, speech in zip(offsets, group, strict=False)
        for word in speech.words or ()
    )
    units = np.concatenate([speech.units for speech in group])
    return builder.run(Utterance("", units, words, None, None), Span("speech", 0, len(words), 0, len(units)), rule)


class Amount(NamedTuple):
    """The nats that were scored, and their numbers of tokens, patches and seconds; no seconds unless all is speech."""

    nats: float
    tokens: int
    patches: int
    seconds: float | None

    def score(self, rule: str) -> float | None:
        """The log-likelihood by a rule of `conventions.RULES`, the higher the likelier; None where it does not apply."""
        over = {"sum": 1, "per_token": self.tokens, "per_patch": self.patches, "per_second": self.seconds}[rule]
        return None if over is None else -self.nats / over


def amount(
    builder: ExampleBuilder, one: Candidate, nats: Float[np.ndarray, "n"], unit_rate: float, scope: str = "response"
) -> Amount:
    """Sums a candidate's `nats` (of its tokens from the second on) over a scope.

    A patch counts where any token of it is scored, so one that prompt and response share counts.
    """
    here = one.scored(scope)
    token, starts = one.example.token[here], one.example.patch_start[here]
    speech = builder.vocab.is_speech(token)
    all_speech = bool(np.all(speech | (token == builder.vocab.speech_marker)))
    seconds = builder.speech_frames(token) / unit_rate if all_speech else None
    return Amount(
        float(nats[here.start - 1 : here.stop - 1].sum()), len(token), int(np.count_nonzero(starts[1:])) + 1, seconds
    )


class Fill(NamedTuple):
    """How full the rows were, and how much was computed more than once.

    token_fill, unit_fill: shares of the T and U positions that are real. prompt_shared: share of the tokens of distinct
    sequences that were not computed, as their prompt is shared. prompt_again: share of the computed tokens that belong
    to a prompt which had been computed before. longest: tokens of the longest sequence.
    """

    sequences: int
    distinct: int
    batches: int
    rows: int
    row_tokens: int
    row_patches: int
    token_fill: float
    unit_fill: float
    prompt_shared: float
    prompt_again: float
    longest: int


class Scorer:
    """Scores candidates in rows that suit them; each shape of rows is compiled once."""

    def __init__(self, config: Config, mesh: Mesh, make_step: Callable[..., Any] = update.make_eval_step):
        """`make_step(config, model, mesh, frames_V)` gives `(params, batch) -> ([B, T] or a tuple of them, ...)`."""
        self._config, self._mesh, self._make_step = config, mesh, make_step
        self._steps: dict[tuple[int, ...], Any] = {}

    def nats(
        self, params, candidates: Sequence[Candidate], label: str | None = None
    ) -> tuple[list[Float[np.ndarray, "_"]], Fill]:
        """For each candidate, in order, the nats of each token but BOS; and how full the rows were.

        Args: `label` of a progress bar, None = no bar.
        Raises: CheckpointError where a likelihood is not finite.
        """
        (nats,), fill = self.values(params, candidates, 1, label)
        return nats, fill

    def values(
        self, params, candidates: Sequence[Candidate], count: int, label: str | None = None
    ) -> tuple[list[list[np.ndarray]], Fill]:
        """The first `count` results of the step for each token but BOS; they stand at the position before the token."""
        trees = candidate_trees(self._config, candidates, shared=True)
        config = fitted(self._config, [tree.example for tree in trees], sharding.row_parts(self._mesh))
        shape = (config.data.rows, config.data.row_tokens, config.data.row_patches)
        if shape not in self._steps:
            model = update.build_model(config, self._mesh, branched=True)
            self._steps[shape] = self._make_step(config, model, self._mesh, token_frames(config))
        return packed_values(self._steps[shape], params, candidates, config, self._mesh, count, label, trees)


def candidate_trees(config: Config, candidates: Sequence[Candidate], shared: bool) -> list[Tree]:
    """The distinct sequences of candidates as documents; their members are numbered as the candidates are.

    Args: `shared` makes one document of the sequences with one prompt, as far as a row of the config's shape holds it.
    """
    first = list({content(one.example): number for number, one in reversed(list(enumerate(candidates)))}.values())[::-1]
    examples = [candidates[number].example for number in first]
    most = (config.data.row_tokens, config.data.row_patches) if shared else (0, 0)
    return [
        dataclasses.replace(tree, members=tuple((first[i], place) for i, place in tree.members))
        for tree in group_by_prompt(examples, [candidates[number].response_start for number in first], *most)
    ]


def packed_values(
    eval_step,
    params,
    candidates: Sequence[Candidate],
    config: Config,
    mesh: Mesh,
    count: int = 1,
    label: str | None = None,
    trees: Sequence[Tree] | None = None,
) -> tuple[list[list[np.ndarray]], Fill]:
    """`Scorer.values` with a compiled step, in rows of the config's shape.

    Args: `trees` of `candidate_trees`; those with branches need a step whose model knows them. None = without branches.
    Raises: CheckpointError, DataError.
    """
    trees = candidate_trees(config, candidates, shared=False) if trees is None else trees
    examples = [tree.example for tree in trees]
    _check_room(config, examples)
    plan = plan_rows(*_sizes(examples), config.data.row_tokens, config.data.row_patches)
    order = [n for row in plan for n in row]
    found: list[dict[bytes, np.ndarray]] = [{} for _ in range(count)]
    batches = 0
    for batch, _, places in tqdm(
        pack_examples((examples[n] for n in order), config),
        desc=label,
        unit="batch",
        total=-(-len(plan) // config.data.rows),
        disable=label is None,
    ):
        batches += 1
        for place in places:
            branch_n = trees[order[place.example]].branch_n
            batch.doc_id_BT[place.row, place.position : place.position + len(branch_n)] += BRANCH * branch_n
        values = eval_step(params, update.put_whole_batch(batch, mesh))[:count]
        for kept, value_BT in zip(found, values, strict=True):
            value_BT = np.asarray(value_BT)
            for place in places:
                for number, at in trees[order[place.example]].members:
                    # position t is about token t + 1
                    kept[content(candidates[number].example)] = value_BT[place.row, place.position + at[:-1]]
    if not all(np.isfinite(values).all() for values in found[0].values()):
        raise CheckpointError("a likelihood is not finite: these parameters are of no use; take an earlier checkpoint")
    return [[kept[content(one.example)] for one in candidates] for kept in found], _fill(
        candidates, trees, batches, config
    )


def _fill(candidates: Sequence[Candidate], trees: Sequence[Tree], batches: int, config: Config) -> Fill:
    tokens, units = _sizes([tree.example for tree in trees])
    data, rows = config.data, batches * config.data.rows
    distinct = [candidates[number] for tree in trees for number, _ in tree.members]
    shared = sum(tree.shared for tree in trees)
    return Fill(
        len(candidates),
        len(distinct),
        batches,
        data.rows,
        data.row_tokens,
        data.row_patches,
        sum(tokens) / (rows * data.row_tokens),
        sum(units) / (rows * data.row_patches),
        shared / (shared + sum(tokens)),
        (_prompt_again(distinct) - shared) / sum(tokens),
        max(len(one.example.token) for one in distinct),
    )


def fitted(config: Config, examples: Sequence[Example], divisor: int) -> Config:
    """The config with rows that suit the examples: T and U full together, long enough for the longest example.

    A batch has no more positions than the run trains on, unless the longest example needs them. Of the shapes that are
    tried, the one with the highest share of real positions is taken, by the emptier of T and U. That share is above
    90% where a row holds several sequences.
    Args: `divisor` divides the number of rows.
    """
    tokens, units = _sizes(examples)
    data, patched = config.data, strategy_of(config.data.patching).patches_speech
    ratio = sum(units) / sum(tokens)
    most = int(max(max(tokens), min(data.row_tokens, data.row_patches / ratio)))  # T
    counts = range(divisor, data.rows + 1, divisor) if len(tokens) <= FEW else [data.rows]
    slacks = list(itertools.product(SLACKS, SLACKS)) if len(tokens) <= FEW else list(zip(SLACKS, SLACKS, strict=True))
    tried: dict[tuple[int, int, int], tuple[float, int]] = {}
    for rows, another, (more, wider) in itertools.product(counts, (0, 1), slacks):
        least = sum(tokens) / (-(-sum(tokens) // (most * rows)) + another) / rows
        length = _up(max(max(tokens), min(most, more * least)))
        wide = min(length, _up(max(max(units), wider * ratio * length))) if patched else length
        if (rows, length, wide) not in tried:
            needed = -(-len(plan_rows(tokens, units, length, wide)) // rows) * rows
            tried[rows, length, wide] = (min(sum(tokens) / (needed * length), sum(units) / (needed * wide)), rows)
    rows, length, wide = max(tried, key=lambda shape: tried[shape])
    return dataclasses.replace(config, data=dataclasses.replace(data, rows=rows, row_tokens=length, row_patches=wide))


def plan_rows(tokens: Sequence[int], units: Sequence[int], row_tokens: int, row_patches: int) -> list[list[int]]:
    """Packs examples into rows, the longest first, each into the first row with room for it; gives their numbers.

    `pack_examples` packs them into the same rows, as no example of a row had room in an earlier one.
    Example: tokens 5, 3, 9, 5 (units alike) into rows of 10 -> [[2], [0, 3], [1]]
    """
    order = sorted(range(len(tokens)), key=lambda i: (-tokens[i], -units[i], i))
    left = np.empty((len(tokens), 2), np.int64)
    rows: list[list[int]] = []
    for i in order:
        open_rows = left[: len(rows)]
        fits = (open_rows[:, 0] >= tokens[i]) & (open_rows[:, 1] >= units[i])
        row = int(fits.argmax()) if fits.any() else len(rows)
        if row == len(rows):
            rows.append([])
            left[row] = row_tokens, row_patches
        rows[row].append(i)
        left[row] -= tokens[i], units[i]
    return rows


def fits(config: Config, example: Example) -> bool:
    """Whether a row of the config's shape can hold the example."""
    return len(example.token) <= config.data.row_tokens and int(example.patch_start.sum()) <= config.data.row_patches


def shortened(config: Config, one: Candidate) -> Candidate | None:
    """The candidate, its response cut to what a row of the config's shape holds; None where nothing of it is left."""
    starts = np.flatnonzero(one.example.patch_start)
    room = config.data.row_tokens
    if len(starts) > config.data.row_patches:
        room = min(room, int(starts[config.data.row_patches]))
    if len(one.example.token) <= room:
        return one
    end = min(one.response_end, room)
    return Candidate(one.example.tail(0, room), one.response_start, end) if end > one.response_start else None


def _check_room(config: Config, examples: Sequence[Example]) -> None:
    for example in examples:
        if not fits(config, example):
            raise DataError(
                f"a sequence of {len(example.token)} tokens in {example.patch_start.sum()} patches does "
                f"not fit a row of data.row_tokens={config.data.row_tokens} and data.row_patches="
                f"{config.data.row_patches}; leave it out"
            )


def _prompt_again(candidates: Sequence[Candidate]) -> int:
    """The number of tokens in prompts that occur again."""
    seen: set[bytes] = set()
    again = 0
    for one in candidates:
        prompt = content(one.example, one.response_start)
        again += one.response_start * (prompt in seen)
        seen.add(prompt)
    return again


def _sizes(examples: Sequence[Example]) -> tuple[list[int], list[int]]:
    return [len(e.token) for e in examples], [int(np.count_nonzero(e.patch_start)) for e in examples]


def _up(length: int | float) -> int:
    return -(-int(np.ceil(length)) // TILE) * TILE
