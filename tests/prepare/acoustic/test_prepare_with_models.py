"""`lst prepare` with models in place of the embedded unit tokenizer and aligner."""

import json
import pathlib

import numpy as np
import pytest
import soundfile
import tiny_models

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.data.alignment import to_frames
from lst_jax.prepare import makers, manifest, run
from lst_jax.prepare.acoustic.align import CtcAligner
from lst_jax.prepare.acoustic.units import HubertKMeans, Quantizer
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.engines import local
from lst_jax.prepare.engines.registry import load_beam
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans

LAYER = 2
TEXTS = ["hello you", "a cab", "far too many letters for a sound of this length", "no", "", "x"]


def contents(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path]:
    """Directories of a unit model and of a CTC model."""
    root = tmp_path_factory.mktemp("models")
    hubert = tiny_models.write(root / "hubert", "hubert_25hz")
    centroids = np.random.default_rng(3).normal(size=(20, 32))
    Quantizer.from_centroids(centroids, LAYER).save(hubert / "units.safetensors")
    return hubert, tiny_models.write(root / "ctc", "wav2vec2_base")


@pytest.fixture
def recorded(tmp_path) -> pathlib.Path:
    """A manifest of noises: two good, too many letters, too short, without text, without audio, and four good."""
    lengths, lines = (0.5, 0.3, 0.3, 0.02, 0.3, None, 0.5, 0.9, 0.6, 0.3), []
    for i, seconds in enumerate(lengths):
        if seconds is not None:
            soundfile.write(tmp_path / f"{i}.wav", tiny_models.recordings((seconds,))[0], 16000, subtype="FLOAT")
        lines.append(json.dumps({"id": f"u{i}", "audio": f"{i}.wav", "text": (TEXTS + ["we go"] * 4)[i]}))
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "m.jsonl"


def test_records_are_what_the_models_say_of_each_recording_alone(models, recorded, tmp_path, capsys):
    hubert, ctc = models
    assert (
        main.main(
            [
                "prepare",
                "speech",
                "--manifest",
                str(recorded),
                "--units",
                str(hubert),
                "--aligner",
                str(ctc),
                "--out",
                str(tmp_path / "out"),
                "--shard-records",
                "7",
                "--workers",
                "3",
            ]
        )
        == 0
    )
    assert "6 prepared, 4 rejected" in capsys.readouterr().out
    reasons = json.loads((tmp_path / "out" / "report.json").read_text())["reasons"]
    assert {name: list(entry["examples"]) for name, entry in reasons.items()} == {
        "too little audio": ["u2"],
        "too short": ["u3"],
        "empty transcript": ["u4"],
        "missing audio": ["u5"],
    }
    directory, tokenizer, aligner = shards.RecordDirectory(tmp_path / "out", "utterance"), *load(models)
    directory.verify()
    m = directory.metadata
    assert (m.unit_rate, m.codebook_size, m.codebook_fingerprint) == (25.0, 20, tokenizer.fingerprint)
    assert m.aligner == aligner.name and [s.records for s in m.shards] == [3, 3]
    items = {item.id: item for item in manifest.read_items(recorded, {})}
    for utterance in directory:
        item = items[utterance.id]
        samples, _ = soundfile.read(item.audio, dtype="float32")
        assert utterance.units.tolist() == tokenizer.encode(samples, 16000).tolist()
        placed = aligner.align(item.id, samples, item.text.split())
        assert utterance.words == to_frames(placed, 25.0, len(utterance.units))


def load(models):
    return HubertKMeans.load(models[0]), CtcAligner(models[1])


@pytest.mark.parametrize(("unit_model", "aligner_model"), [(True, True), (True, False), (False, True)])
def test_no_byte_depends_on_which_recordings_a_model_sees_together(
    models, recorded, tmp_path, monkeypatch, unit_model, aligner_model
):
    units_path, aligner_spec = map(str, models)
    if not unit_model:
        units_path = tmp_path / "units.safetensors"
        LogMelKMeans.fit([LogMelKMeans.features(tiny_models.recordings((3.0,))[0])], 12, seed=0).save(units_path)
    if not aligner_model:
        said = [(i, text.split()) for i, text in enumerate((TEXTS + ["we go"] * 4)[:9]) if len(text.split()) == 2]
        (tmp_path / "a.ctm").write_text(
            "".join(f"u{i} 1 0.0{i} 0.1 {first}\nu{i} 1 0.2 0.05 {second}\n" for i, (first, second) in said)
        )
        aligner_spec = f"ctm:{tmp_path / 'a.ctm'}"
    for group in (1, 4, 128):
        monkeypatch.setattr(makers, "GROUP", group)
        report = run.prepare_speech(
            manifest.read_items(recorded, {}),
            tmp_path / f"{group}",
            units_path,
            load_aligner(aligner_spec),
            local.Local(2),
        )
        assert report.prepared >= 5
    assert contents(tmp_path / "1") == contents(tmp_path / "4") == contents(tmp_path / "128")


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_models_on_beam_make_the_same_bytes(models, recorded, tmp_path):
    pytest.importorskip("apache_beam")
    items = manifest.read_items(recorded, {})
    for name, chosen in {"local": local.Local(), "beam": load_beam({})}.items():
        run.prepare_speech(items, tmp_path / name, models[0], CtcAligner(models[1]), chosen, shard_records=4)
    assert contents(tmp_path / "local") == contents(tmp_path / "beam")


def test_a_model_gets_its_quantizer_from_the_command_line(tmp_path, capsys):
    hubert = tiny_models.write(tmp_path / "hubert", "hubert_25hz")
    np.save(tmp_path / "km.npy", np.random.default_rng(3).normal(size=(20, 32)))
    convert = ["prepare", "units-convert", str(hubert), "--centroids", str(tmp_path / "km.npy"), "--layer"]
    assert main.main([*convert, str(LAYER)]) == 0
    assert "20 units of layer 2 at 25 Hz" in capsys.readouterr().out
    assert HubertKMeans.load(hubert).codebook_size == 20
    assert main.main([*convert, "9"]) == 3
    assert capsys.readouterr().err.startswith("lst prepare: --layer=9: must lie in 0..3")
    with pytest.raises(SystemExit):
        main.main(["prepare", "units-convert", "--help"])
    assert "--centroids FILE" in capsys.readouterr().out
