"""Made-up records shaped like the paper's (words of about 5.8 frames, silences of about 3.7), and a run over them."""

import functools
import pathlib
import tempfile

import numpy as np

from lst_jax import config as cfg
from lst_jax.data import shards, text, unit_pieces
from lst_jax.data.records import TextDocument, Utterance, Word, encode
from lst_jax.recipes.validate import validate

TEXT_SIZE = 400
UNIT_PIECES = 2000
WORDS = tuple(
    "the of and to in he was that his it with is as had for her at on by which not or from this but she they "
    "pleasant time little river followed winding path waded stream pentecost anglers".split()
)
INTERLEAVE = cfg.InterleaveConfig(5, 30, 0.6, 0.5, 2, 15, 2, 3, rule="clipped_draw")


@functools.cache
def tokenizer_path() -> str:
    rng = np.random.default_rng(0)
    path = pathlib.Path(tempfile.mkdtemp(prefix="lst_jax_test_")) / "tokenizer.model"
    text.train_tokenizer([" ".join(rng.choice(WORDS, 20)) for _ in range(200)], path, TEXT_SIZE)
    return str(path)


@functools.cache
def tokenizer():
    return text.load_tokenizer(tokenizer_path())


@functools.cache
def unit_tokenizer_path() -> str:
    """Pieces that are frequent in these very utterances: their units are drawn at random."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="lst_jax_test_")) / "units.model"
    unit_pieces.train_unit_pieces([u.units for u in utterances(23)], path, UNIT_PIECES, unit_pieces.Codebook(501, None))
    return str(path)


def utterance(number: int, words: int = 36, silence: int = 0) -> Utterance:
    """`silence` frames more between the first word and the second."""
    rng = np.random.default_rng((1, number))
    pos, spoken = int(rng.integers(20)), []
    for i in range(words):
        length = max(1, round(rng.normal(5.8, 2.5)))
        spoken.append(Word(str(rng.choice(WORDS)), pos, pos + length))
        pos += length + int(rng.random() < 0.75) * int(rng.geometric(1 / 3.7)) + silence * (i == 0)
    units = rng.integers(0, 501, pos + int(rng.integers(1, 20))).astype(np.uint16)
    return Utterance(f"u{number}", units, tuple(spoken), None, None)


def utterances(count: int) -> list[Utterance]:
    return [utterance(i, int(np.random.default_rng((2, i)).integers(0, 70))) for i in range(count)]


def texts(count: int) -> list[TextDocument]:
    sizes = np.random.default_rng(3).integers(0, 400, count)
    return [
        TextDocument(f"t{i}", " ".join(np.random.default_rng((4, i)).choice(WORDS, size)))
        for i, size in enumerate(sizes)
    ]


def make_config(
    tokens=160,
    units=128,
    rows=4,
    strategy="curriculum",
    static_size=4,
    taus=(4, 8),
    sources=None,
    seed=0,
    prefetch=0,
    text_size=TEXT_SIZE,
    unit_slots=502,
    unit_rate=25.0,
    measure="tokens",
    aligned_to="word",
    silence="separate",
    noise_ms=0.0,
    final_probability=0.0,
    speech_tokens=None,
    speech_patches=None,
    unit_tokenizer=None,
    documents="interleaved",
    marker_opens_patch=False,
) -> cfg.Config:
    sources = sources or (
        cfg.SourceConfig("speech", "utterance", "speech", 1 / 3),
        cfg.SourceConfig("text", "text", "text", 2 / 3),
    )
    local = None if strategy == "none" else cfg.StackConfig(1, 64, 2, 16)
    system = "base" if strategy == "none" else "lst" if speech_tokens is None else "lst_bypass"
    model = cfg.ModelConfig(
        system,
        local,
        cfg.StackConfig(1, 64, 2, None),
        local,
        1,
        2,
        1,
        1,
        False,
        True,
        5e5,
        1e-5,
        256,
        "float32",
        128,
        128,
        False,
        "none",
    )
    patching = cfg.PatchingConfig(
        strategy, static_size, aligned_to, silence, noise_ms, *taus, final_probability, marker_opens_patch
    )
    data = cfg.DataConfig(
        tokenizer=tokenizer_path(),
        unit_tokenizer=unit_tokenizer,
        sources=sources,
        mixture_measure=measure,
        rows=rows,
        row_tokens=tokens,
        row_patches=units,
        row_speech_tokens=speech_tokens,
        row_speech_patches=speech_patches,
        unit_rate=unit_rate,
        patching=patching,
        interleave=INTERLEAVE,
        documents=documents,
        prefetch=prefetch,
    )
    config = cfg.Config(
        name="test",
        seed=seed,
        vocab=cfg.VocabConfig(text_size, unit_slots),
        model=model,
        data=data,
        optim=cfg.OptimConfig(1e-3, 1, 0.1, 0.9, 0.95, 1e-8, 0.1, 1.0, 0.0, 0.0),
        eval=cfg.EvalConfig(10, (), 2, 0),
        train=cfg.TrainConfig(
            steps=300,
            log_every=1,
            checkpoint_every=10,
            checkpoint_minutes=None,
            checkpoint_keep=1,
            bad_step="halt",
        ),
    )
    validate(config)
    return config


def make_bpe_config(tokens=160, **changes) -> cfg.Config:
    """A run whose speech is written in pieces of units."""
    return make_config(
        **{
            "tokens": tokens,
            "units": tokens,
            "strategy": "none",
            "unit_slots": UNIT_PIECES + 3,
            "unit_tokenizer": unit_tokenizer_path(),
            **changes,
        }
    )


def write_directory(path, record_lists, kind="utterance", **changes):
    """Writes one shard for each list of records, and metadata with `changes`."""
    path.mkdir(parents=True, exist_ok=True)
    infos = tuple(
        shards.write_shard(path / f"part-{i}.array_record", [encode(r) for r in some])
        for i, some in enumerate(record_lists)
    )
    speech = kind == "utterance"
    fields = {
        "kind": kind,
        "format_version": shards.FORMAT_VERSION,
        "records": sum(i.records for i in infos),
        "frames": 0,
        "words": 0,
        "unit_rate": 25.0 if speech else None,
        "codebook_size": 501 if speech else None,
        "codebook_fingerprint": None,
        "tokenizer_fingerprint": None,
        "aligner": None,
        "code_version": "test",
        "shards": infos,
    }
    shards.write_metadata(path, shards.Metadata(**{**fields, **changes}))


def write_both(root):
    """23 utterances in two shards under `root/speech`, and 17 texts under `root/text`."""
    speech = utterances(23)
    write_directory(root / "speech", [speech[:9], speech[9:]])
    write_directory(root / "text", [texts(17)], "text")
    return root


def config_over(root, **changes):
    """A run over what `write_both` wrote."""
    sources = (
        cfg.SourceConfig("speech", "utterance", str(root / "speech"), 1 / 3),
        cfg.SourceConfig("text", "text", str(root / "text"), 2 / 3),
    )
    return make_config(**{"tokens": 160, "units": 128, "rows": 4, "sources": sources, **changes})
