"""Digests of the first batches of many kinds of runs, so that what makes batches faster cannot change them.

    python tests/data/test_golden_batches.py

writes the digests anew. That is right only where a change of batches is meant: every running training sees it.
"""

import dataclasses
import hashlib
import itertools
import json
import pathlib

import numpy as np
import pytest
import synthetic_data
from synthetic_data import make_bpe_config, make_config, texts, tokenizer, utterance, utterances

from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import initial_state
from lst_jax.data.steps import StepMaker

FILE = pathlib.Path(__file__).parent / "golden_batches.json"
ODD_WORDS = ("conference", "extraordinarily", "naïve", "xyzzy", "42nd", "a")
STEPS = 12  # past tau2 = 8 of the curriculum
SILENT = [utterance(100 + i, 30, silence=300 * (i % 2)) for i in range(9)]  # stretches that no row holds
SPELT = [  # words of several text pieces
    dataclasses.replace(
        u,
        words=tuple(dataclasses.replace(w, text=t) for w, t in zip(u.words, itertools.cycle(ODD_WORDS), strict=False)),
    )
    for u in [utterance(200 + i) for i in range(5)]
]
NO_TEXT = [
    synthetic_data.TextDocument("empty", ""),
    synthetic_data.TextDocument("odd", "  la rivière 123\n\tà l'aube "),
]
RUNS = {
    "static": {"strategy": "static"},
    "static of 3, wide rows": {"strategy": "static", "static_size": 3, "tokens": 700, "units": 500},
    "aligned": {"strategy": "aligned"},
    "aligned, merged": {"strategy": "aligned", "silence": "merged"},
    "aligned to text pieces": {"strategy": "aligned", "aligned_to": "bpe"},
    "aligned to text pieces, merged, with noise": {
        "strategy": "aligned", "aligned_to": "bpe", "silence": "merged", "noise_ms": 60.0,
    },
    "mixed with noise": {"strategy": "mixed", "noise_ms": 80.0},
    "curriculum": {},
    "curriculum to mixed": {"final_probability": 0.5, "static_size": 6},
    "curriculum by words": {"measure": "words"},
    "curriculum by patches": {"measure": "patches"},
    "bypass": {"speech_tokens": 90},
    "base": {"strategy": "none", "units": 160},
    "asr": {"documents": "asr", "tokens": 900, "units": 700},
    "tts": {"documents": "tts", "tokens": 900, "units": 700, "strategy": "aligned"},
    "unit pieces": None,
}  # fmt: skip


def digest(name: str) -> str:
    """Of batches, counts and states."""
    config = make_bpe_config() if RUNS[name] is None else make_config(**RUNS[name])
    records = [utterances(23) + SILENT + SPELT, texts(17) + NO_TEXT]
    maker = StepMaker(config, RowStreams(config, records, tokenizer()), range(config.data.rows))
    found = hashlib.sha256()
    assert np.array_equal(maker.get_state()["rows"], initial_state(config.data.rows, 2))
    for _ in range(STEPS):
        step = maker.make()
        for array in (
            *step.batch,
            step.state_after,
            *[np.asarray(step.stats[key], np.int64) for key in sorted(step.stats)],
        ):
            found.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
        found.update(" ".join(sorted(step.stats)).encode())
    return found.hexdigest()[:32]


@pytest.mark.parametrize("name", RUNS)
def test_batches_counts_and_states_are_what_they_were(name):
    assert digest(name) == json.loads(FILE.read_text())[name]


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: digest(name) for name in RUNS}, indent=1) + "\n")
