"""A written directory in transformers: the same logits, and what a user does with it. Needs torch and transformers."""

import functools
import shutil
import sys

import llama_cases
import numpy as np
import pytest
import synthetic_data
from llama_cases import base_config, bpe_config, inputs_for, our_logits, source_of

from lst_jax.convert import by_transformers, hf_llama
from lst_jax.convert.safetensors_files import write_safetensors
from lst_jax.convert.warm_start import warm_source
from lst_jax.core.errors import DataError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-5  # of logits up to 4; the command's own limit is 1e-4


def written(config, out, flat=None):
    source = source_of(config, flat)
    hf_llama.write(source, out)
    return source


@pytest.mark.parametrize("make", [base_config, bpe_config])
def test_transformers_gives_our_logits(tmp_path, make):
    source = written(make(), tmp_path)
    inputs = inputs_for(source.config)
    theirs, who = hf_llama.logits(tmp_path, inputs)
    ours = our_logits(source, inputs)
    assert theirs.dtype == np.float32 and np.abs(ours).max() > 1
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE)
    assert who == f"transformers {transformers.__version__}, torch {torch.__version__}"


def test_the_comparison_notices_rows_that_were_not_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(hf_llama, "rotated_halves", lambda weight, heads: weight)
    source = written(base_config(), tmp_path)
    inputs = inputs_for(source.config)
    assert np.abs(hf_llama.logits(tmp_path, inputs)[0] - our_logits(source, inputs)).max() > 1e-2


def test_auto_classes_load_shards_and_generate_text_that_decodes(tmp_path, monkeypatch):
    monkeypatch.setattr(hf_llama, "write_safetensors", functools.partial(write_safetensors, shard_bytes=100_000))
    source = written(base_config(), tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert type(model) is transformers.LlamaForCausalLM and model.dtype == torch.float32
    assert model.config.max_position_embeddings == 160 and not model.config.tie_word_embeddings
    assert (model.config.rope_parameters["rope_theta"], model.config.rms_norm_eps) == (3e4, 3e-5)
    prompt = tokenizer(["the river", "his"], return_tensors="pt", padding=True)
    found = model.generate(**prompt, max_new_tokens=6, do_sample=False)
    assert found.shape[0] == 2 and isinstance(tokenizer.decode(found[0]), str)
    one = tokenizer("the river", return_tensors="pt")["input_ids"].numpy()
    inputs = llama_cases.Inputs(one.astype(np.int32), np.ones(one.shape, bool), np.ones(one.shape, bool))
    assert int(our_logits(source, inputs)[0, -1].argmax()) == int(found[0, prompt["input_ids"].shape[1]])


def test_what_transformers_saves_again_opens_as_the_same_model(tmp_path):
    (tmp_path / "ours").mkdir()
    source = written(base_config(), tmp_path / "ours")
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours", local_files_only=True)
    model.save_pretrained(tmp_path / "theirs")
    back = hf_llama.open_source(tmp_path / "theirs", source.config)
    for path, one in source.arrays.items():
        np.testing.assert_array_equal(back.arrays[path].read(), one.read(), path)


def test_bfloat16_that_transformers_saves_is_widened(tmp_path):
    (tmp_path / "ours").mkdir()
    source = written(base_config(), tmp_path / "ours")
    model = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path / "ours", local_files_only=True, dtype=torch.bfloat16
    )
    model.save_pretrained(tmp_path / "theirs")
    back = hf_llama.open_source(tmp_path / "theirs", source.config)
    for path, one in source.arrays.items():
        expected = torch.from_numpy(one.read().copy()).to(torch.bfloat16).float().numpy()
        np.testing.assert_array_equal(back.arrays[path].read(), expected, strict=True)


def test_tensors_that_transformers_would_draw_are_an_error(tmp_path):
    written(base_config(), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"lm_head.weight"', b'"lm_haed.weight"'))
    with pytest.raises(DataError, match="transformers does not find its tensors in lm_haed.weight, lm_head.weight"):
        hf_llama.logits(tmp_path, inputs_for(base_config()))


def test_without_transformers_the_files_are_read_back(tmp_path, monkeypatch):
    source = written(base_config(), tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    inputs = inputs_for(source.config)
    found, who = hf_llama.logits(tmp_path, inputs)
    assert who == by_transformers.MISSING
    np.testing.assert_allclose(found, our_logits(source, inputs), rtol=0, atol=1e-5)


def text_model(folder, **changes):
    """A random LlamaForCausalLM over text alone, in which heads share keys and values."""
    torch.manual_seed(0)
    settings = (
        dict(
            vocab_size=synthetic_data.TEXT_SIZE,
            hidden_size=48,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            rms_norm_eps=3e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 3e4},
            initializer_range=0.15,
        )
        | changes
    )
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings)).eval()
    model.save_pretrained(folder)
    shutil.copyfile(synthetic_data.tokenizer_path(), folder / "tokenizer.model")
    return model


@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}], ids=str)
def test_base_begins_as_the_text_model_on_text(tmp_path, changes):
    model = text_model(tmp_path, **changes)
    source = warm_source(tmp_path, base_config(), 0)
    inputs = inputs_for(source.config, highest=synthetic_data.TEXT_SIZE)
    with torch.inference_mode():
        theirs = model(torch.from_numpy(inputs.token_BT.astype(np.int64))).logits.numpy()
    ours = our_logits(source, inputs)
    assert np.abs(theirs).max() > 1
    np.testing.assert_allclose(ours[..., : synthetic_data.TEXT_SIZE], theirs, rtol=0, atol=TOLERANCE)
    new = ours[..., synthetic_data.TEXT_SIZE :]  # a mean row's logit is the mean of the others' logits
    np.testing.assert_allclose(new, np.broadcast_to(theirs.mean(-1, keepdims=True), new.shape), rtol=0, atol=TOLERANCE)
