"""Whole documents into rows, in a fixed order: what evaluation feeds the model.

A document goes into the first row of the batch that has room for all of it. Documents are masked from each other, so
packing changes no likelihood. The last batch is filled up with empty rows.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from lst_jax.config import Config, SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import PROMPTED, spans_of
from lst_jax.data.patching import BoundaryRule
from lst_jax.data.pipeline import open_source, open_tokenizer
from lst_jax.data.records import check_utterance
from lst_jax.data.rng import generator
from lst_jax.data.row_builder import Limit, RowBuilder
from lst_jax.data.rows import Batch, Stats, add_stats, stack_rows, windows_of

EvalMode = Literal["interleaved", "asr", "tts", "speech", "text"]


def eval_label(source: str, mode: EvalMode) -> str:
    """The name of a held-out source in a mode, as metrics have it after "heldout/".

    Example: eval_label("valid", "speech") -> "valid-speech"; eval_label("valid", "text") -> "valid"
    """
    return source if mode in (source, "text") else f"{source}-{mode}"


class Place(NamedTuple):
    """Where example number `example` (from 0) lies: in row `row` of the batch, its first token at `position`."""

    example: int
    row: int
    position: int


def pack_examples(examples: Iterable[Example], config: Config) -> Iterator[tuple[Batch, Stats, list[Place]]]:
    """Batches of the run's shape with every example once.

    An example that no row can hold is cut, and only its head is kept (counted as `pieces_cut`). Rows may be all speech:
    `data.row_speech_tokens` and `data.row_speech_patches` bound training rows only, so that every system gets the same
    questions.
    """
    numbered = enumerate(examples)
    waiting = next(numbered, None)
    while waiting is not None:
        builders = [
            RowBuilder(config.data.row_tokens, config.data.row_patches, 1, config.joint_vocab, windows_of(config))
            for _ in range(config.data.rows)
        ]
        places = []
        while waiting is not None and (place := _place(*waiting, builders)):
            places.append(place)
            waiting = next(numbered, None)
        rows, stats = zip(*[builder.finish() for builder in builders], strict=True)
        yield stack_rows(rows), add_stats(stats), places


def _place(number: int, example: Example, builders: list[RowBuilder]) -> Place | None:
    """Puts an example into the first row that takes all of it. Where no row ever can, its head goes into an empty row."""
    length = len(example.token)
    for row, builder in enumerate(builders):
        end = builder.fit(example, 0, Limit())
        position = len(builder.token) - builder.tokens_left
        if end == length or (position == 0 and end):
            builder.add(example, 0, end, 0)
            return Place(number, row, position)
    return None


def eval_batches(
    source: SourceConfig, config: Config, rule: BoundaryRule, count: int, mode: EvalMode
) -> Iterator[tuple[Batch, Stats]]:
    """Batches of whole documents in the source's order, always the same ones: `count`, or fewer if records run out.

    Args:
        rule: cuts speech into patches, see `Strategy.inference_rule`.
        mode: "interleaved", "asr" and "tts" are documents as in the first epoch of training with such
            `data.documents`; "speech" is BOS <s> units EOS; "text" is BOS <t> text EOS, the only mode of texts.
    """
    if source.kind == "text" and mode != "text":
        raise DataError(f"{source.path}: holds texts, which have no {mode!r} form; evaluate it as text")
    for _, (batch, stats, _) in zip(
        range(count), pack_examples(_eval_examples(source, config, rule, mode), config), strict=False
    ):
        yield batch, stats


def _eval_examples(source: SourceConfig, config: Config, rule: BoundaryRule, mode: EvalMode) -> Iterator[Example]:
    directory = open_source(source, config)
    builder = ExampleBuilder.of(config, open_tokenizer(config))
    for index, record in enumerate(directory):
        if source.kind == "text":
            yield builder.text(record)
            continue
        try:
            check_utterance(record, builder.codebook_size)
        except DataError as error:
            raise DataError(f"{source.path}: record {index}: {error}") from error
        if mode == "text":
            yield builder.text_only(record)
        elif mode == "speech":
            yield builder.speech_only(record, rule)
        else:
            rng = generator(config.seed, source.name, 0, index, "interleave")
            spans = spans_of(mode, record, config.data.interleave, rng)
            yield builder.interleaved(record, spans, rule, prompted=mode in PROMPTED)
