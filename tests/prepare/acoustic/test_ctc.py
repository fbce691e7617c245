import itertools

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lst_jax.prepare.acoustic import ctc

FRAMES, CHARACTERS, LONGEST = 7, 3, 3  # what batches here are padded to; the blank is one of the characters


def collapse(path, blank):
    """What a path says: (character, start, end) without blanks."""
    said, t = [], 0
    for character, run in itertools.groupby(path):
        length = len(list(run))
        if character != blank:
            said.append((character, t, t + length))
        t += length
    return said


def best_by_enumeration(log_prob_TV, text, blank):
    """(total, [(character, start, end)]) of the best path among all V^T, or None where there is none."""
    best = None
    for path in itertools.product(range(log_prob_TV.shape[1]), repeat=len(log_prob_TV)):
        said = collapse(path, blank)
        if [character for character, *_ in said] == list(text):
            total = sum(row[character] for row, character in zip(log_prob_TV, path, strict=True))
            if best is None or total > best[0]:
                best = total, said
    return best


def align(log_probs, texts, blank=0, frames=FRAMES, longest=LONGEST):
    """Aligns recordings as one padded batch; padding is noise, which must not matter."""
    rng = np.random.default_rng(9)
    log_prob_BTV = rng.normal(size=(len(texts), frames, log_probs[0].shape[1])).astype(np.float32) - 3
    text_BN = rng.integers(0, log_probs[0].shape[1], (len(texts), longest)).astype(np.int32)
    for row, (log_prob_TV, text) in enumerate(zip(log_probs, texts, strict=True)):
        log_prob_BTV[row, : len(log_prob_TV)], text_BN[row, : len(text)] = log_prob_TV, text
    lengths = np.array([len(text) for text in texts], np.int32)
    return ctc.align(
        *map(jax.numpy.asarray, (log_prob_BTV, np.array([len(p) for p in log_probs], np.int32), text_BN, lengths)),
        blank=blank,
    )


cases = st.tuples(st.integers(1, FRAMES), st.lists(st.integers(1, CHARACTERS - 1), max_size=LONGEST))


@given(st.lists(cases, min_size=4, max_size=4), st.integers(0, CHARACTERS - 1), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_alignment_is_the_best_of_all_paths(shapes, blank, seed):
    rng = np.random.default_rng(seed)
    log_probs = [
        np.log(rng.dirichlet(np.full(CHARACTERS, 0.5), frames) + 1e-9).astype(np.float32) for frames, _ in shapes
    ]
    texts = [[(c + blank) % CHARACTERS for c in text] for _, text in shapes]
    found = align(log_probs, texts, blank)
    for row, (log_prob_TV, text) in enumerate(zip(log_probs, texts, strict=True)):
        best = best_by_enumeration(log_prob_TV, text, blank)
        assert bool(found.fits_B[row]) == (best is not None) == (ctc.needed_frames(text) <= len(log_prob_TV))
        if best is not None:
            np.testing.assert_allclose(found.total_B[row], best[0], rtol=1e-4, atol=1e-4)
            spans = list(zip(text, found.start_BN[row].tolist(), found.end_BN[row].tolist(), strict=False))
            assert spans == best[1]
            for n, (character, start, end) in enumerate(spans):
                mean = np.mean([log_prob_TV[t, character] for t in range(start, end)])
                np.testing.assert_allclose(found.score_BN[row, n], mean, rtol=1e-4, atol=1e-4)


def test_equal_characters_are_parted_by_a_blank():
    log_prob_TV = np.log(np.array([[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]], np.float32))
    found = align([log_prob_TV], [[1, 1]], frames=3, longest=2)
    assert found.start_BN.tolist() == [[0, 2]] and found.end_BN.tolist() == [[1, 3]]
    assert not align([log_prob_TV[:2]], [[1, 1]], frames=3, longest=2).fits_B


def test_long_recordings_lose_no_precision():
    """A text is planted with a margin below what float32 can tell in sums of this size, some -60000."""
    rng, frames = np.random.default_rng(0), 3000
    text = rng.integers(1, 20, 500)
    starts = np.sort(rng.choice(np.arange(0, frames, 3), len(text), replace=False))
    log_prob_TV = np.full((frames, 20), -20.002, np.float32)
    log_prob_TV[:, 0] = -20.001
    log_prob_TV[starts, text] = -20.0
    found = align([log_prob_TV], [text], frames=frames, longest=512)
    assert found.start_BN[0, :500].tolist() == starts.tolist()
    assert found.end_BN[0, :500].tolist() == (starts + 1).tolist()


def test_words_are_what_stands_between_separators():
    separator, text = 4, [7, 8, 4, 9, 4, 4, 5]
    starts, ends = np.array([1, 4, 6, 8, 9, 10, 12]), np.array([3, 5, 7, 9, 10, 11, 15])
    assert ctc.word_spans(starts, ends, text, separator) == [(1, 5), (8, 9), (12, 15)]
