"""`lst generate` on a run directory, and what a run with unit pieces gives."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import soundfile
import synthetic_data
import training_run

from lst_jax.checkpoints.store import Checkpoints
from lst_jax.cli import main
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.rows import initial_state
from lst_jax.generate.generator import Generator
from lst_jax.generate.sampling import Sampling
from lst_jax.parallel import sharding
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned nothing, and units that have a sound."""
    folder = tmp_path_factory.mktemp("generate")
    training_run.make_data(folder)
    config = training_run.make_config(folder)
    RunDirectory(folder / "run").write_config(config)
    mesh = sharding.one_device()
    state = update.init_state(config, update.build_model(config, mesh), mesh)
    checkpoints = Checkpoints(folder / "run" / "checkpoints", 1)
    checkpoints.save(state, initial_state(config.data.rows, 2), {})
    checkpoints.close()
    rng = np.random.default_rng(0)
    LogMelKMeans(
        rng.normal(-5, 1, (501, 320)).astype(np.float32), np.zeros(320, np.float32), np.ones(320, np.float32)
    ).save(folder / "units.safetensors")
    (folder / "prompt.txt").write_text("3 3, 500\n7 9")
    soundfile.write(folder / "prompt.wav", rng.normal(0, 0.1, 16000), 16000)
    return folder


def lst(capsys, *argv):
    """(exit code, standard output, standard error)"""
    code = main.main(["generate", *map(str, argv)])
    return code, *capsys.readouterr()


def test_text_becomes_text_and_seeds_count_up(run, capsys):
    argv = [run / "run", "--text", "the river", "--to", "text", "--max-tokens", 12, "--json"]
    code, out, _ = lst(capsys, *argv, "--count", 3, "--seed", 5)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [one["seed"] for one in found] == [5, 6, 7]
    assert all(one["stopped"] in ("eos", "tokens") and one["tokens"] <= 12 for one in found)
    assert all(run["modality"] == "text" and run["text"] for one in found for run in one["runs"])
    assert len({str(one["runs"]) for one in found}) == 3
    code, out, _ = lst(capsys, *argv, "--count", 3, "--seed", 6)
    assert json.loads(out.splitlines()[0])["runs"] == found[1]["runs"]


def test_units_and_sound_become_speech_that_can_be_heard(run, capsys):
    argv = [run / "run", "--to", "speech", "--max-seconds", 0.4, "--top-k", 50, "--json"]
    models = ["--units-model", run / "units.safetensors", "--wav", run / "sounds" / "out.wav"]
    _, out, _ = lst(capsys, *argv, "--units", run / "prompt.txt", *models, "--count", 2)
    for number, line in enumerate(out.splitlines(), 1):
        found = json.loads(line)
        units = sum((part["units"] for part in found["runs"]), [])
        assert found["stopped"] == "seconds" and len(units) == 10 and max(units) < 501
        samples, rate = soundfile.read(found["wav"])
        assert found["wav"].endswith(f"out-{number}.wav") and rate == 16000 and len(samples) == 10 * 640
    _, out, _ = lst(capsys, *argv, "--audio", run / "prompt.wav", *models, "--count", 2)
    assert all(soundfile.info(json.loads(line)["wav"]).frames == 10 * 640 for line in out.splitlines())


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--count", "0"], "--count 0: must be at least 1"),
        (["--seed", "-1"], "--seed -1: must lie in"),
        (["--audio", "prompt.wav"], "--audio: becomes units .* add --units-model PATH"),
        (["--wav", "out.wav", "--to", "text"], "--wav: text has no sound"),
        (["--wav", "out.wav"], "--wav: .*add --units-model PATH or --vocoder DIR"),
        (["--vocoder", "somewhere"], "--vocoder: makes sound; add --wav"),
        (["--temperature", "-1"], "temperature=-1.0: must be"),
        (["--max-seconds", "0"], "max_seconds=0.0: must be above 0"),
        (["--max-seconds", "1e12"], r"max_seconds=10+\.0: must be at most 5242.88; use less"),
        (["--max-seconds", "1e308"], "max_seconds=1e\\+308: must be at most"),
        (["--max-seconds", "nan"], "max_seconds=nan: must be above 0 and finite"),
        (["--max-seconds", "inf"], "max_seconds=inf: must be above 0 and finite"),
        (["--max-seconds", "-3"], "max_seconds=-3.0: must be above 0"),
        (["--max-tokens", "1000000000000"], "max_tokens=10+: must be at most 131072; use less"),
        (["--max-tokens", "1" + "0" * 30, "--max-seconds", "1"], "max_tokens=10+: must be at most 131072; use less"),
        (["--text", ""], "prompt: is empty; give words or units"),
        (["--units", "nothing.txt"], "nothing.txt: no such file; give a file of unit numbers"),
        (["--units", "tokenizer.model"], "tokenizer.model: is no list of unit numbers"),
        (["--units", "loud.txt"], "prompt: units 3..900 are outside the run's codebook of 502"),
    ],
)
def test_mistakes_are_one_line(run, capsys, monkeypatch, argv, line):
    monkeypatch.chdir(run)
    (run / "loud.txt").write_text("[3, 900]")
    code, out, err = lst(capsys, "run", *argv)
    assert code in (2, 3) and not out and len(err.splitlines()) == 1
    with pytest.raises(AssertionError, match=line):
        raise AssertionError(err)


def test_a_run_without_a_checkpoint_and_units_of_another_making_are_refused(run, capsys):
    (run / "empty").mkdir(exist_ok=True)
    (run / "empty" / "config.json").write_text((run / "run" / "config.json").read_text())
    code, _, err = lst(capsys, run / "empty")
    assert code == 4 and "holds no checkpoint; train first with lst train" in err
    config = RunDirectory(run / "run").load_config()
    sources = tuple(dataclasses.replace(s, path=str(run / "other")) for s in config.data.sources[:1])
    synthetic_data.write_directory(run / "other", [[synthetic_data.utterance(1)]], codebook_fingerprint="0123")
    from lst_jax.generate import sound
    from lst_jax.generate.generator import speech_metadata

    other = speech_metadata(dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources)))
    with pytest.raises(DataError, match="the run's units were made by 0123; give the unit tokenizer that"):
        sound.open_units_model(run / "units.safetensors", other)


def test_an_aligned_run_is_refused():
    config = synthetic_data.make_config(strategy="aligned")
    with pytest.raises(ConfigError, match="data.patching.strategy=aligned: .*generate with a static, mixed or"):
        Generator(config, sharding.one_device(), {})


def test_pieces_of_units_become_units_as_many_as_fit_the_seconds():
    config = synthetic_data.make_bpe_config()
    mesh = sharding.one_device()
    params = jax.jit(update.build_model(config, mesh).init_params)(jax.random.key(0))
    generator = Generator(config, mesh, params)
    units = synthetic_data.utterance(3).units[:20]
    prompt = generator.prompt([units], "speech")
    np.testing.assert_array_equal(
        generator.builder.pieces.decode(prompt.token[2:] - config.joint_vocab.unit_offset), units
    )
    found = generator.generate([prompt] * 2, "speech", Sampling(), [0, 1], max_seconds=1.2)
    for one in found:
        assert one.stopped == "seconds" and len(one.units) == 30 and one.units.max() < 501 and len(one.token) <= 30
