"""What units are fitted to, of small corpora and of large ones."""

from lst_jax.prepare import fit
from lst_jax.prepare.corpora import choose, listed
from lst_jax.prepare.corpora.protocol import Item


def test_a_large_corpus_is_sampled_part_by_part(tones, tmp_path, monkeypatch):
    corpus = choose.open_corpus([tones(9)], "speech")
    small = [item.id for item in fit.drawn(corpus, 0)]
    assert sorted(small) == [item.id for item in corpus.items()] != small
    settings = fit.fit_identity(corpus, 5, 0, 100)
    monkeypatch.setattr("lst_jax.prepare.corpora.corpus.COMPARED_BYTES", 0)
    monkeypatch.setattr(fit, "PART_ITEMS", 3)
    monkeypatch.setattr(fit, "FROM_EACH", 2)
    drawn = [item.id for item in fit.drawn(corpus, 0)]
    assert len(set(drawn)) == len(drawn) == 6
    assert all(sum(int(name[4:]) // 3 == part for name in drawn) == 2 for part in range(3))
    assert drawn == [item.id for item in fit.drawn(corpus, 0)] != [item.id for item in fit.drawn(corpus, 1)]
    first, again = (
        fit.fit_identity(corpus, 5, 0, 100),
        fit.fit_identity(choose.open_corpus([tones(9)], "speech"), 5, 0, 100),
    )
    assert first == again != settings and first != fit.fit_identity(choose.open_corpus([tones(8)], "speech"), 5, 0, 100)
    monkeypatch.setattr(fit, "FROM_EACH", 99)
    assert len(list(fit.drawn(corpus, 0))) == 8  # all that are left of the manifest


def test_each_item_of_a_part_is_as_likely_as_the_others(monkeypatch, tmp_path):
    monkeypatch.setattr("lst_jax.prepare.corpora.corpus.COMPARED_BYTES", 0)
    monkeypatch.setattr(fit, "FROM_EACH", 3)
    corpus = listed.corpus_of([Item(str(i), tmp_path / "a.wav", "a", None) for i in range(12)], "speech")
    counts = [0] * 12
    for seed in range(800):
        for item in fit.drawn(corpus, seed):
            counts[int(item.id)] += 1
    assert sum(counts) == 2400 and all(150 < count < 250 for count in counts)  # 200, and four deviations of 12
