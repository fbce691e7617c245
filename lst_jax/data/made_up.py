"""Made-up records with the statistics of the paper's data, for measuring and planning without a corpus.

Words last 5.8 frames on average. Three gaps between words in four are a silence, of 3.7 frames on average (paper
Table 6). Utterances have 10 to 90 words; texts have 100 to 5,000 tokens, log-uniformly. Words follow Zipf's law and
consist of made-up syllables, so many that a text has about 1.3 SentencePiece tokens per word.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from lst_jax import __version__
from lst_jax.config import Config, SourceConfig, VocabConfig
from lst_jax.data import shards, text
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.records import TextDocument, Utterance, Word, encode
from lst_jax.data.rng import generator
from lst_jax.data.rows import Batch, Stats

UNIT_RATE = 25.0
CODEBOOK = 501
PIECES = 1536  # text pieces of the tokenizer: few enough for TOKENS_PER_WORD
WORD_FRAMES, WORD_FRAMES_SD = 5.8, 2.5
SILENCE_FRAMES, SILENCE_PROBABILITY = 3.7, 0.75
UTTERANCE_WORDS = (10, 90)
TEXT_TOKENS = (100, 5000)
TOKENS_PER_WORD = 1.3
LEXICON = 20_000
SHARDS = 4  # of each directory
UTTERANCES, TEXTS = 400, 100  # records that `over` makes; a batch needs a few of each
ONSETS = "b c d f g h j k l m n p r s t v w st tr th ch sh br pl".split()
VOWELS = "a e i o u ea ou ai".split()
CODAS = ["", "", "n", "r", "s", "t", "l"]


def write_records(directory: str | os.PathLike, utterances: int, texts: int, seed: int) -> tuple[list[str], str]:
    """Writes `speech`, `text` and `text.model` into `directory`. Equal arguments give equal records.

    Returns: the two directories of records, and the tokenizer's file.
    """
    directory = pathlib.Path(directory)
    lexicon = _lexicon(generator(seed, "lexicon"))
    _write_directory(directory / "speech", "utterance", _utterances(utterances, lexicon, generator(seed, "speech")))
    _write_directory(directory / "text", "text", _texts(texts, lexicon, generator(seed, "text")))
    sample = _draw(lexicon, 100_000, generator(seed, "tokenizer"))
    text.train_tokenizer(
        (" ".join(sample[i : i + 40]) for i in range(0, len(sample), 40)), directory / "text.model", PIECES
    )
    return [str(directory / "speech"), str(directory / "text")], str(directory / "text.model")


def over(config: Config, directory: str | os.PathLike) -> Config:
    """The configuration with records made up in `directory`, in its own mixture of utterances and texts.

    It has no unit pieces, because a token costs the same whatever it stands for.
    """
    (speech, written), tokenizer = write_records(directory, UTTERANCES, TEXTS, config.seed)
    share = {kind: sum(s.share for s in config.data.sources if s.kind == kind) for kind in ("utterance", "text")}
    sources = tuple(
        SourceConfig(kind, kind, path, share[kind])
        for kind, path in (("utterance", speech), ("text", written))
        if share[kind]
    )
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, tokenizer=tokenizer, unit_tokenizer=None, sources=sources, unit_rate=UNIT_RATE
        ),
        vocab=VocabConfig(PIECES, CODEBOOK),  # with the BOS and EOS of `text.train_tokenizer`
    )


def made_up_batches(config: Config, count: int) -> list[tuple[Batch, Stats]]:
    """The first batches of made-up records in the configuration's shape, patching and mixture, with their counts.

    The made-up tokenizer has ids of its own. Ids beyond the model's vocabulary are replaced by its last id.
    """
    with tempfile.TemporaryDirectory(prefix="lst_made_up_") as folder:
        stream = BatchStream(over(config, folder), prefetch=0)
        items = [next(stream) for _ in range(count)]
    last = config.joint_vocab.size - 1
    return [
        (
            item.batch._replace(
                token_BT=np.minimum(item.batch.token_BT, last), target_BT=np.minimum(item.batch.target_BT, last)
            ),
            item.stats,
        )
        for item in items
    ]


def _lexicon(rng: np.random.Generator) -> list[str]:
    """Words in order of rank. Rarer words are longer."""
    syllables = [onset + vowel + coda for onset in ONSETS for vowel in VOWELS for coda in CODAS]
    counts = np.minimum(rng.poisson(np.linspace(0.0, 1.6, LEXICON)), 3) + 1
    drawn = rng.integers(len(syllables), size=(LEXICON, 4))
    return ["".join([syllables[i] for i in row[:count]]) for row, count in zip(drawn.tolist(), counts, strict=True)]


def _draw(lexicon: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    weight = 1 / (np.arange(len(lexicon)) + 2.7)  # Zipf-Mandelbrot
    return [lexicon[i] for i in rng.choice(len(lexicon), size=count, p=weight / weight.sum()).tolist()]


def _utterances(count: int, lexicon: Sequence[str], rng: np.random.Generator) -> list[Utterance]:
    made = []
    sizes = rng.integers(*UTTERANCE_WORDS, size=count, endpoint=True)
    spoken = iter(_draw(lexicon, int(sizes.sum()), rng))
    for number, size in enumerate(sizes.tolist()):
        length = np.maximum(1, np.rint(rng.normal(WORD_FRAMES, WORD_FRAMES_SD, size))).astype(np.int64)
        silence = (rng.random(size) < SILENCE_PROBABILITY) * rng.geometric(1 / SILENCE_FRAMES, size)
        end = np.cumsum(silence + length)
        words = tuple(Word(next(spoken), s, e) for s, e in zip((end - length).tolist(), end.tolist(), strict=True))
        units = rng.integers(CODEBOOK, size=int(end[-1]) + int(rng.integers(1, 20)), dtype=np.uint16)
        made.append(Utterance(f"u{number}", units, words, None, None))
    return made


def _texts(count: int, lexicon: Sequence[str], rng: np.random.Generator) -> list[TextDocument]:
    tokens = np.exp(rng.uniform(*np.log(TEXT_TOKENS), size=count))
    end = np.cumsum(np.rint(tokens / TOKENS_PER_WORD).astype(np.int64)).tolist()
    words = _draw(lexicon, end[-1], rng)
    return [
        TextDocument(f"t{number}", " ".join(words[first:last]))
        for number, (first, last) in enumerate(zip([0, *end[:-1]], end, strict=True))
    ]


def _write_directory(path: pathlib.Path, kind: str, records: Sequence[Utterance | TextDocument]) -> None:
    infos = tuple(
        shards.write_shard(path / f"part-{i}.array_record", [encode(r) for r in records[i::SHARDS]])
        for i in range(SHARDS)
    )
    speech = kind == "utterance"
    shards.write_metadata(
        path,
        shards.Metadata(
            kind=kind,
            format_version=shards.FORMAT_VERSION,
            records=len(records),
            frames=sum(len(r.units) for r in records) if speech else 0,
            words=sum(len(r.words) for r in records) if speech else 0,
            unit_rate=UNIT_RATE if speech else None,
            codebook_size=CODEBOOK if speech else None,
            codebook_fingerprint=None,
            tokenizer_fingerprint=None,
            aligner=None,
            code_version=__version__,
            shards=infos,
        ),
    )
