"""`lst convert`: there and back is bit-equal, other commands take what is written, nothing half-made stays."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import training_run
from convert_cases import config_of, make_run, write_recipe

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.cli import convert as convert_cli
from lst_jax.cli import main
from lst_jax.convert import command, formats, orbax, proof
from lst_jax.convert.inputs import inputs_for
from lst_jax.core.errors import ConversionError, UserError
from lst_jax.runs.directory import RunDirectory
from lst_jax.train.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of system lst, with checkpoints at steps 3, 5 and 8."""
    return make_run(tmp_path_factory.mktemp("runs") / "lst", config_of("lst"), (3, 5, 8))


def convert(*args):
    """By the command line; its exit code."""
    return main.main(["convert", *map(str, args)])


def said(folder):
    return json.loads((folder / "conversion.json").read_text())


def params_of(run, step=None):
    source = orbax.open_source(pathlib.Path(run), None, step)
    return {path: one.read() for path, one in source.arrays.items()}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], strict=True, err_msg=path)


def test_orbax_to_ancestor_and_back_is_bit_equal(run, tmp_path, capsys):
    assert convert(run, tmp_path / "there", "--to", "ancestor") == 0
    assert "logits differ by 0 at most" in capsys.readouterr().out
    assert convert(tmp_path / "there", tmp_path / "back", "--to", "orbax") == 0
    assert_equal(params_of(tmp_path / "back"), params_of(run))
    there, back = said(tmp_path / "there"), said(tmp_path / "back")
    assert there["arrays_sha256"] == back["arrays_sha256"]
    assert there["source"] == {"format": "orbax", "path": str(run), "step": 8}
    assert back["source"] == {"format": "ancestor", "path": str(tmp_path / "there"), "step": 8}
    assert there["vocabulary"] == back["vocabulary"] and there["vocabulary"]["codebook"] == "0123456789abcdef"
    assert back["max_logit_error"] == 0 and back["largest_logit"] > 1 and back["logits"][:2] == [3, 61]
    assert set(there["files"]) == {"consolidated.pth", "params.json", "lst_config.json", "tokenizer.model"}
    assert there["parameters"] == sum(array.size for array in params_of(run).values())


# the next test but one writes both
@pytest.mark.parametrize("system", [pytest.param("lst", marks=pytest.mark.slow), "base"])
def test_bfloat16_halves_the_weights_and_comes_back_exactly(system, tmp_path, capsys):
    run = make_run(tmp_path / "run", config_of(system), [4])
    assert convert(run, tmp_path / "bfloat16", "--to", "hf", "--dtype", "bfloat16") == 0
    size, parameters = (
        (tmp_path / "bfloat16" / "model.safetensors").stat().st_size,
        said(tmp_path / "bfloat16")["parameters"],
    )
    assert 1.5 < 4 * parameters / size < 2.01
    mapping = json.loads((tmp_path / "bfloat16" / "config.json").read_text())
    assert (mapping["dtype"], mapping["torch_dtype"]) == ("bfloat16", "bfloat16")
    assert convert(tmp_path / "bfloat16", tmp_path / "back", "--to", "orbax") == 0
    back, exact = params_of(tmp_path / "back"), params_of(run)
    for path, array in back.items():
        assert not np.any(array.view(np.uint32) & 0xFFFF), path
        np.testing.assert_allclose(array, exact[path], rtol=2**-8)
    assert said(tmp_path / "bfloat16")["arrays_sha256"] == said(tmp_path / "back")["arrays_sha256"]
    # a directory of the other type is not taken for this one
    assert convert(run, tmp_path / "bfloat16", "--to", "hf") == 2  # of float32
    assert "is not empty, and this conversion did not make it" in capsys.readouterr().err


def test_bfloat16_does_not_belong_to_runs(run, tmp_path, capsys):
    assert convert(run, tmp_path / "there", "--to", "orbax", "--dtype", "bfloat16") == 2
    assert "--dtype: belongs to --to hf and --to ancestor, a run holds float32; leave" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), pytest.param(("--safetensors",), marks=pytest.mark.slow)])
def test_a_checkpoint_of_the_ancestor_in_bfloat16_comes_back_bit_for_bit(run, options, tmp_path):
    assert convert(run, tmp_path / "there", "--to", "ancestor", "--dtype", "bfloat16", *options) == 0
    file = tmp_path / "there" / ("consolidated.safetensors" if options else "consolidated.pth")
    parameters = said(tmp_path / "there")["parameters"]
    assert 2 * parameters < file.stat().st_size < 2.3 * parameters
    assert convert(tmp_path / "there", tmp_path / "back", "--to", "orbax") == 0
    before = params_of(run)
    for path, array in params_of(tmp_path / "back").items():
        assert not np.any(array.view(np.uint32) & 0xFFFF), path
        np.testing.assert_allclose(array, before[path], rtol=2**-8)
    assert convert(tmp_path / "back", tmp_path / "again", "--to", "ancestor", "--dtype", "bfloat16", *options) == 0
    assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("system", ["lst", "base"])
def test_orbax_to_hf_and_back_is_bit_equal(system, tmp_path, capsys):
    run = make_run(tmp_path / "run", config_of(system), [4])
    assert convert(run, tmp_path / "there", "--to", "hf") == 0
    assert "parameters in " in capsys.readouterr().out
    assert convert(tmp_path / "there", tmp_path / "back", "--to", "orbax") == 0
    assert_equal(params_of(tmp_path / "back"), params_of(run))
    there, back = said(tmp_path / "there"), said(tmp_path / "back")
    assert there["arrays_sha256"] == back["arrays_sha256"] and there["vocabulary"] == back["vocabulary"]
    assert back["source"] == {"format": "hf", "path": str(tmp_path / "there"), "step": 4}
    assert (
        there["max_logit_error"] < 1e-4
        and json.loads((tmp_path / "there" / "config.json").read_text())["model_type"]
        == {"lst": "lst", "base": "llama"}[system]
    )


def test_the_same_conversion_does_nothing_the_second_time_and_another_is_refused(run, tmp_path, capsys):
    assert convert(run, tmp_path / "there", "--to", "ancestor") == 0
    first, times = capsys.readouterr().out, {p: p.stat().st_mtime_ns for p in (tmp_path / "there").iterdir()}
    assert convert(run, tmp_path / "there", "--to", "ancestor") == 0
    assert capsys.readouterr().out == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "there").iterdir()} == times
    assert convert(run, tmp_path / "there", "--to", "ancestor", "--step", "5") == 2
    assert "this conversion did not make it" in capsys.readouterr().err


def test_a_text_model_begins_a_recipe_s_run(tmp_path, capsys):
    text = make_run(tmp_path / "run", config_of("base"), [4])
    assert convert(text, tmp_path / "llama", "--to", "hf") == 0
    recipe = write_recipe(tmp_path / "recipe.py", config_of("lst"))
    other = ["--set", "model.rope_theta=10000"]
    assert convert(tmp_path / "llama", tmp_path / "begin", "--to", "orbax", "--warm-start") == 2
    assert "--config" in capsys.readouterr().err
    assert (
        convert(tmp_path / "llama", tmp_path / "begin", "--to", "orbax", "--warm-start", "--config", recipe, *other)
        != 0
    )
    assert "model.rope_theta=10000.0: " in capsys.readouterr().err
    assert convert(tmp_path / "llama", tmp_path / "begin", "--to", "orbax", "--warm-start", "--config", recipe) == 0
    printed = capsys.readouterr().out
    assert "taken: global_transformer/layers_0..1: all arrays" in printed and "initialised: patch_encoder/" in printed
    ours, theirs = params_of(tmp_path / "begin"), params_of(text)
    layers = [path for path in ours if path.startswith("global_transformer/layers_")]
    assert len(layers) == 18 and ours.keys() - theirs.keys()
    assert_equal({path: ours[path] for path in layers}, {path: theirs[path] for path in layers})


def test_what_is_restored_of_a_converted_run_is_what_was_saved(run, tmp_path):
    assert convert(run / "checkpoints" / "00000005", tmp_path / "5", "--to", "orbax") == 0
    ours, theirs = load_trained_model(RunDirectory(tmp_path / "5"), one_device=True), params_of(run, 5)
    assert ours.step == 5
    assert_equal(
        {
            jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_flatten_with_path(ours.params)[0]
        },
        theirs,
    )
    assert ours.config.data.tokenizer == str(tmp_path / "5" / "tokenizer.model")
    assert pathlib.Path(ours.config.data.tokenizer).is_file()


def test_the_mean_of_checkpoints_is_rounded_once(run, tmp_path):
    assert convert(run, tmp_path / "mean", "--to", "ancestor", "--average", "2", "--step", "5") == 0
    assert said(tmp_path / "mean")["source"]["averaged"] == [3, 5]
    sources = [orbax.open_source(run, None, step) for step in (3, 5)]
    mean = formats.recognise(tmp_path / "mean").open_source(tmp_path / "mean").arrays
    for path, one in mean.items():
        three, five = (source.arrays[path].read() for source in sources)
        np.testing.assert_array_equal(one.read(), three / 2 + five / 2, strict=True)
    path = "patch_encoder/tok_embeddings/embedding"
    parts = [source.arrays[path].read() for source in (*sources, orbax.open_source(run))]
    exact = np.sum(parts, 0, dtype=np.float64) / 3
    ours = orbax.open_source(run, None, None, 3).arrays[path].read()
    np.testing.assert_array_equal(ours, exact.astype(np.float32), strict=True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--average", "4"), "--average=4: must lie in 1..3"),
        (("--average", "0"), "--average=0: must lie in 1..3"),
        (("--step", "4"), "--step=4: "),
        (("--step", "2"), "holds no checkpoint up to 2 (there: 3, 5, 8)"),
        (("--config", "x.py"), "x.py: no such recipe"),
        (("--state", "--average", "2"), "--state: "),
        (("--safetensors",), "--safetensors: belongs to --to ancestor"),
        (("--tokenizer", "x.model"), "--tokenizer: belongs to a checkpoint of the ancestor"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(run, tmp_path, capsys, flags, words):
    assert convert(run, tmp_path / "out", "--to", "orbax", *flags) != 0
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_directory_that_is_not_empty_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("dear")
    assert convert(run, tmp_path, "--to", "ancestor") == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unknown_source_is_refused(tmp_path, capsys):
    assert convert(tmp_path, tmp_path / "out", "--to", "orbax") == 3
    assert "is in none of the formats" in capsys.readouterr().err
    assert convert(tmp_path / "none", tmp_path / "out", "--to", "orbax") == 3
    assert "no such directory" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_moe"}')
    assert convert(tmp_path, tmp_path / "out", "--to", "orbax") == 3
    assert "config.json: model_type='qwen3_moe': must be one of llama, " in capsys.readouterr().err


def test_what_computes_something_else_is_not_kept(run, tmp_path, monkeypatch):
    right_logits = formats.FORMATS["ancestor"].logits

    def off(error):
        def logits(path, inputs):
            right, who = right_logits(path, inputs)
            changed = right.copy()
            changed[1, 3, 7] += error
            return changed, who

        return logits

    wrong = types.SimpleNamespace(**vars(formats.FORMATS["ancestor"]))
    source = orbax.open_source(run)
    formats.FORMATS["ancestor"].write(source, tmp_path)
    wrong.logits = off(5e-5)
    assert 4e-5 < proof.prove(source, wrong, tmp_path)["max_logit_error"] < 6e-5
    for error in (2e-4, np.nan):
        wrong.logits = off(error)
        with pytest.raises(ConversionError, match="logits differ by up to"):
            proof.prove(source, wrong, tmp_path)
    monkeypatch.setitem(formats.FORMATS, "ancestor", wrong)
    with pytest.raises(ConversionError):
        command.convert(run, tmp_path / "out", "ancestor")
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


def test_inputs_are_text_speech_and_both(run):
    config = config_of("lst")
    token_BT, start_BT, end_BT = inputs_for(config)
    vocab = config.joint_vocab
    speech_BT = vocab.is_speech(token_BT)
    assert not speech_BT[0].any() and speech_BT[1, 2:].all() and 0.3 < speech_BT[2].mean() < 0.6
    assert start_BT[~speech_BT].all() and end_BT[~speech_BT].all()
    np.testing.assert_array_equal(np.flatnonzero(start_BT[1, 2:]), range(0, 59, 4))
    np.testing.assert_array_equal(np.flatnonzero(end_BT[1, 2:]), range(3, 59, 4))
    assert inputs_for(config_of("base")).patch_start_BT.all()
    assert token_BT.max() < vocab.size and (token_BT == vocab.text_marker).sum() == 3


def test_a_killed_conversion_leaves_nothing_under_its_name(run, tmp_path):
    program = (
        "import os, signal; from lst_jax.cli import main as cli; from lst_jax.convert import safetensors_files as f; "
        "f._append = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL); "
        f"cli.main(['convert', {str(run)!r}, {str(tmp_path / 'out')!r}, '--to', 'ancestor', '--safetensors'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / ".out.partial" / "consolidated.safetensors").exists() and not (tmp_path / "out").exists()
    assert convert(run, tmp_path / "out", "--to", "ancestor") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_converted_run_finds_its_tokenizer_wherever_it_is_moved(run, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert convert(run, "back", "--to", "orbax") == 0  # relative paths break as soon as the folder is another one
    assert json.loads(pathlib.Path("back/config.json").read_text())["data"]["tokenizer"] == "tokenizer.model"
    (tmp_path / "b").mkdir()
    pathlib.Path("back").rename(tmp_path / "b" / "moved")
    monkeypatch.chdir(tmp_path / "b")
    assert RunDirectory("moved").load_config().data.tokenizer == "moved/tokenizer.model"
    monkeypatch.chdir(tmp_path / "b" / "moved")
    assert_equal(params_of("."), params_of(run))
    config = RunDirectory(".").load_config()
    RunDirectory(".").write_config(config)  # as a run that goes on does
    assert json.loads(pathlib.Path("config.json").read_text())["data"]["tokenizer"] == "tokenizer.model"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was really trained, and its data."""
    folder = tmp_path_factory.mktemp("trained")
    training_run.make_data(folder)
    config = training_run.make_base_config(folder)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, completion_items=0))
    assert train(RunDirectory(folder / "run"), config) == 0
    return folder, config


def test_a_run_that_was_converted_is_evaluated_and_begun_from(trained, tmp_path, capsys):
    folder, config = trained
    assert convert(folder / "run", tmp_path / "there", "--to", "hf") == 0
    assert convert(tmp_path / "there", tmp_path / "back", "--to", "orbax") == 0
    capsys.readouterr()
    numbers = []
    for path in (folder / "run", tmp_path / "back"):
        assert main.main(["evaluate", str(path), "--json"]) == 0
        numbers.append(json.loads(capsys.readouterr().out))
    assert numbers[0] == numbers[1]
    begin = dataclasses.replace(config.train, init_from=str(tmp_path / "back"), steps=1)
    assert train(RunDirectory(tmp_path / "begun"), dataclasses.replace(config, train=begin)) == 0
    with pytest.raises(UserError, match="holds parameters alone") as error:
        train(RunDirectory(tmp_path / "back"), None)
    assert "train.init_from" in str(error.value) and "\n" not in str(error.value)


def test_the_whole_state_goes_on_as_the_run_itself(trained, tmp_path):
    folder, _ = trained
    assert convert(folder / "run", tmp_path / "copy", "--to", "orbax", "--state", "--step", "6") == 0
    assert said(tmp_path / "copy")["whole_state"]
    assert train(RunDirectory(tmp_path / "copy"), None) == 0
    assert_equal(params_of(tmp_path / "copy", 8), params_of(folder / "run", 8))


def test_the_command_offers_every_format():
    assert convert_cli.FORMATS == tuple(formats.FORMATS)
