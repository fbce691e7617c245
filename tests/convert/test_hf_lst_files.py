"""An exported LST as files: there and back, other processes, earlier versions, and directories that are refused."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hf_lst_cases import (
    LENGTH,
    MODELS,
    VOCAB,
    built,
    config_of,
    documents,
    expected,
    random_params,
    small_config,
    source_of,
)

from lst_jax.convert import by_transformers, hf, hf_lst
from lst_jax.convert.inputs import Inputs, inputs_for
from lst_jax.core.errors import DataError
from lst_jax.model.architectures.registry import build

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-5  # logits are of the order of 1


def test_there_and_back_is_the_same_to_the_bit(folders, load, tmp_path):
    for name in MODELS:
        source = source_of(config_of(MODELS[name]), built(name)[1])
        back = hf_lst.open_source(folders(name), None)
        assert back.config.model == source.config.model and back.arrays.keys() == source.arrays.keys()
        for path, one in source.arrays.items():
            assert back.arrays[path].shape == one.shape
            np.testing.assert_array_equal(back.arrays[path].read(), one.read(), strict=True, err_msg=path)
    load(name).save_pretrained(tmp_path)  # transformers' own files open again, and with a recipe
    again = hf_lst.open_source(tmp_path, source.config)
    for path, one in source.arrays.items():
        np.testing.assert_array_equal(again.arrays[path].read(), one.read(), strict=True, err_msg=path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=True).requires_grad_(False)
    token = torch.tensor(documents()[2])[None].long()
    assert torch.equal(loaded(token).logits, load(name)(token).logits)


FRESH = """
import sys
sys.modules |= {"lst_jax": None, "jax": None}  # to import them is an error
import json, torch, transformers
folder, token, out = sys.argv[1:]
config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
ids = torch.tensor([json.loads(token)])
made = model.generate(ids, max_new_tokens=4, do_sample=False)
half = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.bfloat16)
with torch.no_grad():
    torch.save({"logits": model(ids).logits, "half": half(ids).logits, "made": made, "type": config.model_type,
                "half_made": half.generate(ids, max_new_tokens=4)}, out)
"""


def test_a_fresh_process_without_this_package_runs_the_directory(folders, load, tmp_path):
    """In bfloat16 too."""
    token = documents()[2][:9]
    env = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}
    subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            FRESH,
            str(folders("two-queries")),
            json.dumps(token.tolist()),
            str(tmp_path / "out"),
        ],
        check=True,
        cwd=tmp_path,
        env=env,
        timeout=300,
    )
    found = torch.load(tmp_path / "out")
    wanted = expected("two-queries")[2, : len(token)]
    np.testing.assert_allclose(found["logits"][0], wanted, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(found["half"][0].float(), wanted, atol=0.25, rtol=0)
    assert found["half"].dtype == torch.bfloat16 and found["half_made"].shape == (1, len(token) + 4)
    assert found["type"] == "lst"
    ids = torch.tensor(token)[None].long()
    assert torch.equal(found["made"], load("two-queries").generate(ids, max_new_tokens=4, do_sample=False))


def test_a_model_of_fresh_parameters_can_be_made_from_the_configuration(folders):
    config = transformers.AutoConfig.from_pretrained(folders("two-queries"), trust_remote_code=True)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    weight = model.requires_grad_(False).patch_decoder.layers[0].feed_forward["w2"].weight
    assert weight.std().item() == pytest.approx(weight.shape[1] ** -0.5, rel=0.1)
    assert weight.abs().max() <= 3 * weight.shape[1] ** -0.5 and (model.patch_decoder.norm.weight == 1).all()


def test_base_has_another_form(tmp_path):
    config = config_of(small_config("base"), strategy="none", units=160)
    with pytest.raises(DataError, match="model.architecture='base': has no form for transformers") as error:
        hf_lst.write(source_of(config, {}), tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_directories_of_earlier_versions_are_read(folders, tmp_path):
    """They lack the fields that say how the model differs from theirs."""
    folder = shutil.copytree(folders("two-queries"), tmp_path / "earlier")
    mapping = json.loads((folder / "config.json").read_text())
    for name in hf_lst.ADDED:
        assert mapping.pop(name) is False
    (folder / "config.json").write_text(json.dumps(mapping))
    assert hf_lst.open_source(folder, None).config.model == MODELS["two-queries"]


def test_logits_are_asked_of_transformers(folders):
    rows = np.stack([documents()[2][:8], documents()[4][:8]])
    found, who = hf_lst.logits(folders("two-queries"), Inputs(rows, rows > 0, rows > 0))
    np.testing.assert_allclose(found, expected("two-queries")[[2, 4], :8], atol=TOLERANCE, rtol=0)
    assert who == f"transformers {transformers.__version__}, torch {torch.__version__}"


def test_without_transformers_the_files_are_read_back(folders, monkeypatch):
    inputs = inputs_for(config_of(MODELS["two-queries"]))
    wanted, _ = hf_lst.logits(folders("two-queries"), inputs)
    monkeypatch.setitem(sys.modules, "transformers", None)
    found, who = hf_lst.logits(folders("two-queries"), inputs)
    assert who == by_transformers.MISSING
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


def test_code_that_we_did_not_write_is_not_run(folders, tmp_path):
    folder = shutil.copytree(folders("two-queries"), tmp_path / "changed")
    with open(folder / "modeling_lst.py", "a") as file:
        file.write("raise SystemExit")
    with pytest.raises(DataError, match="modeling_lst.py: is not what this version of lst_jax writes"):
        hf_lst.logits(folder, Inputs(np.ones((1, 3), np.int32), *[np.ones((1, 3), bool)] * 2))


def test_one_format_has_both_kinds(folders, tmp_path):
    assert hf.recognises(folders("two-queries")) and hf.NAME == "hf"
    assert hf.open_source(folders("two-queries"), None).config.model == MODELS["two-queries"]
    source = source_of(
        config_of(small_config("base"), strategy="none", units=160),
        random_params(build(small_config("base"), VOCAB, LENGTH)),
    )
    hf.write(source, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "llama" and hf.recognises(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ["lst"]}')
    assert not hf.recognises(tmp_path) and not hf.recognises(tmp_path / "nothing")
    with pytest.raises(DataError, match="model_type=.'lst'.: must be one of llama, .*, lst;"):
        hf.open_source(tmp_path, None)


def lacking(folder):
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    weights["patch_decoder.scale"] = weights.pop("patch_decoder.norm.weight")
    safetensors.numpy.save_file(weights, folder / "model.safetensors")


def narrower(folder):
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    weights["patch_decoder.output.weight"] = weights["patch_decoder.output.weight"][:-1]
    safetensors.numpy.save_file(weights, folder / "model.safetensors")


def larger_patches(folder):
    mapping = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(mapping | {"static_size": 4}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lacking,
            "1 tensors missing and 1 left over .missing: patch_decoder/norm/scale; left over: patch_decoder.scale.",
        ),
        (narrower, r"patch_decoder/output/kernel has the shape .16, 907., the configuration gives .16, 908.;"),
        (larger_patches, "config.json: static_size is 4 where the configuration gives 3;"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_directory_that_is_not_what_its_configuration_says_is_refused(folders, change, message, tmp_path):
    folder = shutil.copytree(folders("two-queries"), tmp_path / "changed")
    change(folder)
    with pytest.raises(DataError, match=message) as error:
        hf_lst.open_source(folder, None)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
