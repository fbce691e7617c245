"""The ancestor's directories: the parity cases as files on disk, both ways; what is damaged or of another model."""

import dataclasses
import json
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
import synthetic_data
from convert_cases import config_of, make_run, tokenizer_of, write_recipe
from test_ancestor import CASES, TOLERANCE, boundaries, read_case

from lst_jax.checkpoints.stream import write_params
from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.cli import main
from lst_jax.config import identity
from lst_jax.convert import ancestor_files, command, orbax
from lst_jax.convert.ancestor import model_config_from_ancestor
from lst_jax.convert.sentencepiece_model import read_model
from lst_jax.convert.source import expected_shapes
from lst_jax.core.errors import CheckpointError, DataError, UserError
from lst_jax.model.architectures.registry import build
from lst_jax.runs.directory import RunDirectory


def write_case(case, folder, nested=False):
    """A directory as the ancestor leaves it, and a recipe for it; the weights themselves."""
    config, weights, _ = read_case(case)
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps({"model": config} if nested else config))
    safetensors.numpy.save_file(weights, folder / "consolidated.safetensors")
    recipe = synthetic_data.make_config(text_size=80, unit_slots=10)
    recipe = dataclasses.replace(
        recipe,
        model=model_config_from_ancestor(config),
        data=dataclasses.replace(recipe.data, tokenizer=tokenizer_of(folder.parent, 80)),
    )
    return recipe, write_recipe(folder.parent / "recipe.py", recipe), weights


@pytest.mark.parametrize(
    "case",
    [CASES[0], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[1:])],
    ids=lambda c: c.stem,
)
def test_parity_cases_pass_through_files_both_ways(case, tmp_path):
    _, recipe, weights = write_case(case, tmp_path / "theirs", nested=case is CASES[0])
    given = ["--tokenizer", str(tmp_path / "tokenizer-80.model")] if case is CASES[0] else ["--config", recipe]
    assert main.main(["convert", str(tmp_path / "theirs"), str(tmp_path / "run"), "--to", "orbax", *given]) == 0
    run = load_trained_model(RunDirectory(tmp_path / "run"), one_device=True)
    tensors = read_case(case)[2]
    token_BT = tensors["tokens"].astype(np.int32)
    start_BT, end_BT = boundaries(tensors["patch_lengths"], token_BT.shape[1])
    model = build(run.config.model, run.config.joint_vocab, tensors["patch_lengths"].shape[1])
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(model)(run.params, token_BT, np.ones_like(token_BT), start_BT, end_BT)
    assert np.abs(np.asarray(ours) - tensors["logits"]).max() <= TOLERANCE

    back = ["convert", str(tmp_path / "run"), str(tmp_path / "back"), "--to", "ancestor", "--safetensors"]
    assert main.main(back) == 0
    back = safetensors.numpy.load_file(tmp_path / "back" / "consolidated.safetensors")
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name], value, strict=True, err_msg=name)
    args, theirs = json.loads((tmp_path / "back" / "params.json").read_text())["model"], read_case(case)[0]
    attention = {"attn_impl": "xformers", "attn_bias_type": "block_causal", "cross_attn_use_flex_attention": True}
    assert {name: args[name] for name in attention} == attention
    for name in theirs.keys() - attention.keys() - {"patching_mode", "eos_id", "max_seqlen", "max_encoder_seq_length"}:
        assert args[name] == theirs[name], name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A directory written by `lst convert`."""
    folder = tmp_path_factory.mktemp("whole")
    run = make_run(folder / "run", config_of("lst"))
    command.convert(run, folder / "ancestor", "ancestor", command.Options(safetensors=True))
    return folder / "ancestor"


@pytest.fixture
def copy(whole, tmp_path):
    """It again, to be damaged."""
    (tmp_path / "copy").mkdir()
    for path in whole.iterdir():
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "copy"


def change_tensors(folder, change):
    path = folder / "consolidated.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def change_params(folder, **changes):
    """Changes the arguments of the model."""
    path = folder / "params.json"
    params = json.loads(path.read_text())
    path.write_text(json.dumps(params | {"model": params["model"] | changes}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def leave(folder, *names):
    """Removes every other file, and the tokenizer that params.json names."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    path = folder / "params.json"
    path.write_text(path.read_text().replace("tokenizer.model", "gone.model"))


TOKENIZER = "tokenizer.model"
NORM = "local_decoder.norm.weight"
WEIGHTS = "consolidated.safetensors"
DAMAGES = {
    "truncated": (lambda f: cut(f / WEIGHTS), f"{WEIGHTS}: has .* bytes where"),
    "missing": (lambda f: change_tensors(f, lambda t: t.pop(NORM)), f"0 left over .missing: {NORM}"),
    "extra": (lambda f: change_tensors(f, lambda t: t.update(more=np.ones(1, np.float32))), "left over: more"),
    "shape": (lambda f: change_tensors(f, lambda t: t.update({NORM: np.ones(3, np.float32)})), f"{NORM} has the shape"),
    "tokenizer": (lambda f: (f / TOKENIZER).write_bytes(other_tokenizer()), f"{TOKENIZER}: has the fingerprint"),
    "small": (lambda f: (f / TOKENIZER).write_bytes(small_tokenizer(f)), "has 80 pieces, the run has"),
    "no tokenizer": (lambda f: (f / TOKENIZER).write_bytes(b"x"), f"{TOKENIZER}: is not a SentencePiece model"),
    "vocabulary": (lambda f: change_params(f, vocab_size=96), "params.json: vocab_size=96, the config"),
    "model": (lambda f: change_params(f, rope_theta=1e4), "params.json: gives model.rope_theta=10000.0"),
    "json": (lambda f: (f / "params.json").write_text("{"), "params.json: is not JSON"),
    "config json": (lambda f: (f / "lst_config.json").write_text("{"), "lst_config.json: is not JSON"),
    "no tokenizer named": (
        lambda f: leave(f, "consolidated.safetensors", "params.json"),
        "the text tokenizer .* not here",
    ),
}


def other_tokenizer():
    """As many pieces, in another order."""
    model = read_model(synthetic_data.tokenizer_path())
    model.pieces[300].score, model.pieces[301].score = model.pieces[301].score, model.pieces[300].score + 1
    return model.SerializeToString()


def small_tokenizer(folder):
    return pathlib.Path(tokenizer_of(folder.parent, 80)).read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_of_another_model_is_named_in_one_line(copy, tmp_path, damage, capsys):
    harm, words = DAMAGES[damage]
    harm(copy)
    with pytest.raises(UserError, match=words) as error:
        ancestor_files.open_source(copy)
    assert "\n" not in str(error.value) and "; " in str(error.value)
    assert main.main(["convert", str(copy), str(tmp_path / "out"), "--to", "orbax"]) == error.value.exit_code
    assert not (tmp_path / "out").exists()


def test_a_recipe_is_for_directories_without_a_configuration(copy, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.py", config_of("lst"))
    with pytest.raises(UserError, match="lst_config.json is there already; leave --config out"):
        command.convert(copy, tmp_path / "out", "orbax", command.Options(recipe=recipe))
    for name in ("lst_config.json", "tokenizer.model", "conversion.json"):
        (copy / name).unlink()
    assert command.convert(copy, tmp_path / "out", "orbax", command.Options(recipe=recipe))["source"]["step"] is None
    assert orbax.open_source(tmp_path / "out").origin["step"] == 0


def test_systems_that_the_ancestor_lacks_are_refused(tmp_path):
    run = make_run(tmp_path / "run", config_of("base"))
    with pytest.raises(DataError, match="model.architecture='base': the ancestor has no such architecture"):
        command.convert(run, tmp_path / "out", "ancestor")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_pickled_checkpoint_is_what_is_written_and_is_read_again(whole, tmp_path):
    run = tmp_path / "run"
    there = command.convert(whole, run, "orbax")
    back = command.convert(run, tmp_path / "pth", "ancestor")
    assert set(back["files"]) == {"consolidated.pth", "params.json", "lst_config.json", "tokenizer.model"}
    again = command.convert(tmp_path / "pth", tmp_path / "again", "orbax")
    assert there["arrays_sha256"] == back["arrays_sha256"] == again["arrays_sha256"]


def test_pytorch_reads_the_pickled_checkpoint(whole, tmp_path):
    torch = pytest.importorskip("torch")
    command.convert(whole, tmp_path / "pth", "ancestor")
    path = tmp_path / "pth" / "consolidated.pth"
    theirs = safetensors.numpy.load_file(whole / "consolidated.safetensors")
    for options in ({"mmap": True}, {"mmap": False}):
        state = torch.load(path, weights_only=True, **options)
        assert state.keys() == {"model"} and state["model"].keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_array_equal(state["model"][name].numpy(), value, strict=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as torch wrote before 1.6: not mapped
    assert ancestor_files.open_source(tmp_path / "pth").arrays.keys() == ancestor_files.open_source(whole).arrays.keys()


class Malicious:
    """Runs a program when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(copy, tmp_path, new, capsys):
    torch = pytest.importorskip("torch")
    (copy / "consolidated.safetensors").unlink()
    path = copy / "consolidated.pth"
    torch.save({"model": {"a": Malicious(tmp_path / "harm")}}, path, _use_new_zipfile_serialization=new)
    assert main.main(["convert", str(copy), str(tmp_path / "out"), "--to", "orbax"]) == 3
    message = capsys.readouterr().err
    assert f"{path}: holds more than tensors" in message and message.count("\n") == 1
    assert not (tmp_path / "harm").exists() and not (tmp_path / "out").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "harm").exists()  # it would have run


@pytest.mark.parametrize("content", [b"", b"x" * 99, "cut", {"model": {"a": 1}}, [1], {"a": {"b": 2}}])
def test_other_pickles_are_refused_in_one_line(copy, content):
    torch = pytest.importorskip("torch")
    path = copy / "consolidated.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        torch.save({"model": {"a": torch.ones(10000)}}, path)
        cut(path)
    else:
        torch.save(content, path)
    with pytest.raises(DataError, match="consolidated.pth: ") as error:
        ancestor_files.open_source(copy)
    assert "\n" not in str(error.value)


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, halve, pathlib.Path.unlink])
def test_a_damaged_array_of_a_run_is_found_when_it_is_read(tmp_path, damage, capsys):
    run = make_run(tmp_path / "run", config_of("lst"))
    damage(largest(run / "checkpoints" / "00000003" / "params"))
    assert main.main(["convert", str(run), str(tmp_path / "out"), "--to", "ancestor"]) == CheckpointError.exit_code
    message = capsys.readouterr().err
    assert "00000003: cannot be read (" in message and message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def change_config(run, section, **changes):
    path = run / "config.json"
    mapping = json.loads(path.read_text())
    mapping[section] |= changes
    path.write_text(json.dumps(mapping))


def test_a_run_of_another_model_or_tokenizer_is_named(tmp_path):
    run = make_run(tmp_path / "run", config_of("lst"))
    for section, name, other, own in (("model", "rope_theta", 1e4, 500000.0), ("vocab", "text_size", 401, 400)):
        change_config(run, section, **{name: other})
        with pytest.raises(CheckpointError, match=f"{section}.{name}={other}: .*00000003 was trained with {own}; put"):
            orbax.open_source(run)
        change_config(run, section, **{name: own})
    other = tmp_path / "other.model"
    other.write_bytes(other_tokenizer())
    change_config(run, "data", tokenizer=str(other))
    with pytest.raises(DataError, match="other.model: has the fingerprint .* give that tokenizer"):
        orbax.open_source(run)
    change_config(run, "data", tokenizer=str(tmp_path / "none.model"))
    with pytest.raises(DataError, match="none.model: no such file"):
        orbax.open_source(run)


def test_a_checkpoint_that_lacks_an_array_is_named(tmp_path):
    run = make_run(tmp_path / "run", config_of("lst"))
    shutil.rmtree(run / "checkpoints")
    config = config_of("lst")
    shapes = dict(expected_shapes(config.model, config.joint_vocab))
    shapes.pop("patch_decoder/norm/scale")
    write_params(
        run / "checkpoints", 3, shapes, lambda path: np.ones(shapes[path], np.float32), {"identity": identity(config)}
    )
    with pytest.raises(DataError, match="00000003: 1 tensors missing .*missing: patch_decoder/norm/scale"):
        orbax.open_source(run)
