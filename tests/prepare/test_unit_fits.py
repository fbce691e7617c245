"""What units are fitted to, of small corpora and of large ones."""

import json

import numpy as np
import soundfile
from prepare_helpers import sweep

from lst_jax.cli.main import main
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


def test_channels_that_differ_are_chosen_or_refused(tmp_path, capsys):
    """A mean of two speakers would be features of neither."""
    left, right = sweep(1.0, 200), sweep(1.0, 900)
    soundfile.write(tmp_path / "both.wav", np.stack([left, right], axis=1), 16000)
    soundfile.write(tmp_path / "same.wav", np.stack([left, left], axis=1), 16000)
    soundfile.write(tmp_path / "left.wav", left, 16000)

    def fitted(name, *options, **fields):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"audio": f"{name}.wav", "text": "a", **fields}) + "\n")
        out = tmp_path / "units.safetensors"
        words = ["--manifest", str(path), "--out", str(out), "--k", "3", "--workers", "1", "--overwrite", *options]
        assert main(["prepare", "units-fit", *words]) == 0
        return out.read_bytes()

    mono = fitted("left")
    assert fitted("same") == fitted("both", "--channel", "left") == mono
    assert fitted("both", "--channel", "right", channel=1) == mono  # the field goes before the option
    assert fitted("both", "--channel", "B") != mono != fitted("both", "--channel", "mean")
    capsys.readouterr()
    out = ["--out", str(tmp_path / "none.safetensors"), "--k", "3", "--workers", "1"]
    assert main(["prepare", "units-fit", "--manifest", str(tmp_path / "both.jsonl"), *out]) != 0
    assert "both.wav: has 2 channels that say different things, choose one" in capsys.readouterr().err
    assert main(["prepare", "units-fit", "--manifest", str(tmp_path / "both.jsonl"), *out, "--channel", "?"]) != 0
    assert "--channel ?: names no channel" in capsys.readouterr().err


def test_the_channel_belongs_to_what_a_fit_is_made_from(tones):
    corpus = choose.open_corpus([tones(2)], "speech")
    before, left = fit.fit_identity(corpus, 5, 0, 100), fit.fit_identity(corpus, 5, 0, 100, "left")
    assert "channel" not in before and left == before | {"channel": "left"}
