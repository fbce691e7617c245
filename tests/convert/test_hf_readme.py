"""Every command in the README of every kind of export runs, in a process of its own without this package."""

import json
import os
import pathlib
import shlex
import subprocess

import numpy as np
import pytest
import readme_blocks
from hf_lst_cases import MODELS, built, config_of, source_of
from llama_cases import FAMILIES, base_config, bpe_config, family_config
from llama_cases import source_of as base_source

from lst_jax.convert import hf
from lst_jax.convert.hf_tokenizer import added_tokens
from lst_jax.data.unit_pieces import open_unit_pieces

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = pathlib.Path(os.environ.get("LST_TRANSFORMERS_5", ROOT / ".venv-transformers-5" / "bin" / "python"))
KINDS = {
    "lst": lambda: source_of(config_of(MODELS["two-queries"]), built("two-queries")[1]),
    "bypass": lambda: source_of(config_of(MODELS["bypass"]), built("bypass")[1]),
    "aligned": lambda: source_of(config_of(MODELS["two-queries"], strategy="aligned"), built("two-queries")[1]),
    "llama": lambda: base_source(base_config()),
    "bpe": lambda: base_source(bpe_config()),
}
AFTERWARDS = """
import json, sys
json.dump({"modules": [m for m in ("jax", "lst_jax") if m in sys.modules], "found": found.tolist(),
           "heard": globals().get("heard"), "ids": globals().get("codes") and to_text([17, 17, 4])}, open("said.json", "w"))
"""
TASK = """
task: local_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {docs}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: c
doc_to_target: gold
metric_list: [{{metric: acc}}]
"""


def environment(folder):
    """Nothing of this process."""
    return {
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
    }


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    """(kind, directory, its source)."""
    out = tmp_path_factory.mktemp(request.param) / "model"
    out.mkdir()
    source = KINDS[request.param]()
    hf.write(source, out)
    return request.param, out, source


def test_the_readme_says_what_people_need(exported):
    kind, out, source = exported
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "$" not in text and "transformers 4.51.3, 4.57.6 and 5.23.0" in text
    assert ('"q_proj"' in text) == (kind in ("llama", "bpe")) and ('"wq"' in text) == (kind not in ("llama", "bpe"))
    assert ("aligned words: give them" in text) == (kind == "aligned")
    assert len(readme_blocks.blocks(out, "bash")) == 1
    assert all(word in text for word in ("Pad at the right", "suppress_tokens", "add_bos_token"))


def test_every_command_runs(exported, tmp_path):
    kind, out, source = exported
    if not PYTHON.is_file():
        pytest.skip(f"{PYTHON}: no such environment; run make test-extras, or set LST_TRANSFORMERS_5")
    program = "".join(readme_blocks.blocks(out, "python")) + AFTERWARDS
    ran = subprocess.run(
        [str(PYTHON), "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads((tmp_path / "said.json").read_text())
    assert not said["modules"]
    if kind == "bpe":
        pieces = open_unit_pieces(source.config)
        ids = pieces.encode(np.array([17, 17, 4], np.uint16))
        names = {i: name for name, i in added_tokens(source.config.joint_vocab, "piece").items()}
        assert said["ids"] == "".join(names[source.config.joint_vocab.unit_offset + int(i)] for i in ids)
        assert said["heard"][:3] == [17, 17, 4]


# what vLLM's and SGLang's models read of config.json; without one they take a default of their own, or stop
SERVED = {
    "architectures",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rope_parameters",
    "rope_theta",
    "tie_word_embeddings",
    "torch_dtype",
    "vocab_size",
}
OF_A_CLASS = {
    "LlamaForCausalLM": {"attention_bias", "mlp_bias", "rms_norm_eps"},
    "OlmoForCausalLM": {"attention_bias", "clip_qkv"},
    "SmolLM3ForCausalLM": {"attention_bias", "layer_types", "mlp_bias", "no_rope_layers", "use_sliding_window"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_base_has_what_servers_ask_for(name, tmp_path):
    hf.write(base_source(family_config(name)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.keys() >= SERVED | OF_A_CLASS.get(name, set()) and config["architectures"] == [name]
    assert ("rms_norm_eps" in config) == (name != "OlmoForCausalLM")
    assert f"`{name}`" in (tmp_path / "README.md").read_text()
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == config["eos_token_id"] == 2
    tokenizer = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast" and tokenizer["eos_token"] == "</s>"
    ids = json.loads((tmp_path / "tokenizer.json").read_text())
    highest = max(one["id"] for one in ids["added_tokens"])
    assert highest + 1 == config["vocab_size"]  # neither a token without a row, nor a row without a token


@pytest.mark.parametrize("name", ["lst", "llama"])
def test_the_harness_runs(name, tmp_path):
    if not PYTHON.is_file():
        pytest.skip(f"{PYTHON}: no such environment; run make test-extras, or set LST_TRANSFORMERS_5")
    out = tmp_path / "model"
    out.mkdir()
    hf.write(KINDS[name](), out)
    (tmp_path / "docs.jsonl").write_text(json.dumps({"q": "the river of", "c": ["little stream", "time"], "gold": 0}))
    (tmp_path / "local_choice.yaml").write_text(TASK.format(docs=tmp_path / "docs.jsonl"))
    (command,) = readme_blocks.blocks(out, "bash")
    words = shlex.split(command.replace("TASK", "local_choice"))
    ran = subprocess.run(
        [*words, "--include_path", str(tmp_path), "--device", "cpu", "--output_path", str(tmp_path / "results")],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert list((tmp_path / "results").glob("**/results*.json"))
