"""Small random models of every family, written by transformers: equal logits on text before training, and back again.

Needs torch, transformers and tokenizers. The tokenizer is byte-level BPE, as that of most of these families.
"""

import dataclasses
import functools
import shutil

import byte_tokenizer
import numpy as np
import pytest
from byte_tokenizer import with_bytes
from convert_cases import write_recipe
from llama_cases import base_config, inputs_for, our_logits

from lst_jax import config as cfg
from lst_jax.convert import hf, hf_llama
from lst_jax.convert.command import Options, convert
from lst_jax.convert.hf_families import differences, read_llama
from lst_jax.convert.warm_start import warm_source
from lst_jax.core.errors import DataError
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.runs.directory import RunDirectory

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-5  # of logits up to 4; the command's own limit is 1e-4
SIZES = dict(
    vocab_size=byte_tokenizer.SIZE + 3,
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=3e-5,
    initializer_range=0.15,
    pad_token_id=None,
    bos_token_id=0,
    eos_token_id=0,
)
PLAIN = {"rope_type": "default", "rope_theta": 3e4}
SCALED = PLAIN | {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
PROJECTIONS = {*("q_proj", "k_proj", "v_proj", "o_proj"), *("gate_proj", "up_proj", "down_proj")}
# name -> class in transformers, its own settings, and the class as which it is exported
CASES = {
    "llama": ("Llama", {}, "Llama"),
    "llama-3.1": ("Llama", {"rope_parameters": SCALED, "head_dim": 16}, "Llama"),
    "llama-3.2": ("Llama", {"rope_parameters": SCALED, "tie_word_embeddings": True}, "Llama"),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 16}, "Llama"),
    "mistral-window": ("Mistral", {"sliding_window": 16}, None),
    "olmo": ("Olmo", {"clip_qkv": 0.5}, "Olmo"),
    "olmo-tied": ("Olmo", {"tie_word_embeddings": True}, "Olmo"),
    "olmo2": ("Olmo2", {}, "Olmo2"),
    "qwen2": ("Qwen2", {}, "Qwen2"),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}, "Qwen2"),
    "qwen3": ("Qwen3", {"head_dim": 16}, "Qwen3"),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5, "tie_word_embeddings": True}, "SmolLM3"),
    "smollm3-rotated": ("SmolLM3", {"no_rope_layers": [1, 1], "tie_word_embeddings": True}, "Llama"),
}


def sizes_of(kind):
    """OLMo 1 has its epsilon in its code."""
    return {name: value for name, value in SIZES.items() if (kind, name) != ("Olmo", "rms_norm_eps")}


def text_model(folder, kind, **changes):
    """A random model as transformers saves it, whose norms and biases matter, and its tokenizer."""
    torch.manual_seed(0)
    settings = sizes_of(kind) | {"rope_parameters": PLAIN} | changes
    model = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    shutil.copyfile(byte_tokenizer.path(), folder / "tokenizer.json")
    return model


def recipe_for(folder, config=None, tied=False):
    """Base, or `config`, with all that the model asks for: each difference set to the value that is named."""
    config = with_bytes(config or base_config())
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, tied_output=tied))
    mapping = cfg.to_mapping(config)
    for _, field, _, value in differences(config, read_llama(folder)):
        *path, last = field.split(".")
        functools.reduce(lambda inner, name: inner[name], path, mapping)[last] = value
    return cfg.from_mapping(mapping)


def theirs_of(model, inputs):
    with torch.inference_mode():
        return model(torch.from_numpy(inputs.token_BT.astype(np.int64))).logits.numpy()[..., : byte_tokenizer.SIZE]


@pytest.mark.parametrize("name", CASES)
def test_base_begins_as_the_text_model_and_goes_back_as_its_family(tmp_path, name):
    kind, changes, exported = CASES[name]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    model = text_model(tmp_path / "theirs", kind, **changes)
    recipe = recipe_for(tmp_path / "theirs", tied="tie_word_embeddings" in changes)
    source = warm_source(tmp_path / "theirs", recipe, 0)
    inputs = inputs_for(recipe, length=90, highest=byte_tokenizer.SIZE)
    ours, theirs = our_logits(source, inputs), theirs_of(model, inputs)
    assert np.abs(theirs).max() > 1
    np.testing.assert_allclose(ours[..., : byte_tokenizer.SIZE], theirs, rtol=0, atol=TOLERANCE)
    assert source.origin["left_out"] == [
        f"model.embed_tokens.weight and lm_head.weight: rows {byte_tokenizer.SIZE}..{byte_tokenizer.SIZE + 2}"
    ]
    if exported is None:
        with pytest.raises(DataError, match="window=16: a LlamaForCausalLM has no window"):
            hf_llama.write(source, tmp_path / "ours")
        return
    hf.write(source, tmp_path / "ours")
    again, _ = hf.logits(tmp_path / "ours", inputs)
    np.testing.assert_allclose(again, ours, rtol=0, atol=TOLERANCE)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", local_files_only=True)
    assert type(loaded).__name__ == f"{exported}ForCausalLM"
    assert loaded.is_backend_compatible()  # as vLLM and SGLang ask of classes that they have no code for
    assert {name.rpartition(".")[2] for name in loaded.config.base_model_tp_plan} >= PROJECTIONS
    assert loaded.config.base_model_pp_plan.keys() == {"embed_tokens", "layers", "norm"}
    assert loaded.config.tie_word_embeddings is recipe.model.tied_output
    assert loaded.config.pad_token_id == loaded.get_input_embeddings().padding_idx == byte_tokenizer.SIZE
    assert (loaded.generation_config.bos_token_id, loaded.generation_config.pad_token_id) == (0, byte_tokenizer.SIZE)
    back = hf.open_source(tmp_path / "ours")
    for path, one in source.arrays.items():
        np.testing.assert_array_equal(back.arrays[path].read(), one.read(), path)


def test_the_tokenizer_goes_with_the_model(tmp_path):
    text_model(tmp_path / "theirs", "Qwen2")
    (tmp_path / "ours").mkdir()
    config = recipe_for(tmp_path / "theirs")
    hf.write(warm_source(tmp_path / "theirs", config, 0), tmp_path / "ours")
    joint = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours", local_files_only=True)
    vocab, ours = config.joint_vocab, byte_tokenizer.tokenizer()
    for text in ("the river", "naïve  日本\n", *byte_tokenizer.TEXTS[:5]):
        assert joint.encode(text) == [0, vocab.text_marker, *ours.encode(text)]
        assert joint.decode(joint.encode(text), skip_special_tokens=True) == text
    spoken = joint.encode("<|speech|><|unit3|><|unit7|><|text|> river", add_special_tokens=False)
    assert spoken == [
        *(vocab.speech_marker, vocab.unit_offset + 3, vocab.unit_offset + 7, vocab.text_marker),
        *ours.encode_behind("river"),
    ]
    assert len(joint) == vocab.size
    assert (joint.bos_token_id, joint.eos_token_id, joint.pad_token_id) == (0, 0, byte_tokenizer.SIZE)


def test_the_command_makes_a_run_that_finds_its_tokenizer_beside_itself(tmp_path):
    text_model(tmp_path / "theirs", "Qwen2", tie_word_embeddings=True)
    recipe = write_recipe(tmp_path / "recipe.py", recipe_for(tmp_path / "theirs", tied=True))
    report = convert(tmp_path / "theirs", tmp_path / "run", "orbax", Options(recipe=recipe, warm_start=True))
    config = RunDirectory(tmp_path / "run").load_config()
    assert config.data.tokenizer == str(tmp_path / "run" / "text_tokenizer.json")
    assert open_tokenizer(config).encode("the river") == byte_tokenizer.tokenizer().encode("the river")
    back = convert(tmp_path / "run", tmp_path / "hf", "hf")
    assert max(report["max_logit_error"], back["max_logit_error"]) < TOLERANCE
    assert back["arrays_sha256"] == report["arrays_sha256"] and "transformers" in back["computed_by"]
    assert (tmp_path / "hf" / "text_tokenizer.json").read_bytes() == (
        tmp_path / "theirs" / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize("name", ["llama-3.1", "olmo", "olmo2", "qwen2", "qwen3", "smollm3"])
def test_lst_takes_exactly_these_layers(tmp_path, name):
    kind, changes, _ = CASES[name]
    text_model(tmp_path, kind, **changes)
    base = base_config()
    local = cfg.StackConfig(1, 24, 2, 16)
    lst = dataclasses.replace(
        base,
        model=dataclasses.replace(
            base.model, architecture="lst", patch_encoder=local, patch_decoder=local, queries_per_patch=2
        ),
    )
    config = recipe_for(tmp_path, lst)
    source, whole = (warm_source(tmp_path, one, 5) for one in (config, recipe_for(tmp_path)))
    layers = [path for path in source.arrays if path.startswith("global_transformer/layers_")]
    assert layers == [path for path in whole.arrays if path.startswith("global_transformer/layers_")]
    names = [*hf_llama.OUTER.values()]
    assert source.origin["left_out"] == [one for one in names if one not in absent_of(kind, changes)]
    for path in layers:
        np.testing.assert_array_equal(source.arrays[path].read(), whole.arrays[path].read(), path)
    with pytest.raises(DataError, match="model.global_transformer.[a-z_]*=.*: the code for transformers has no such"):
        hf.write(source, tmp_path / "lst")


def absent_of(kind, changes):
    """Tensors of a Llama that such a model has not."""
    tied = {"lm_head.weight"} if "tie_word_embeddings" in changes else set()
    return tied | ({"model.norm.weight"} if kind == "Olmo" else set())


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "Qwen2",
            {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
            "use_sliding_window=True",
        ),
        ("Qwen3", {"attention_bias": True}, "attention_bias=True: only False"),
        ("SmolLM3", {"no_rope_layers": [1, 0, 0, 1]}, r"no_rope_layers=\[1, 0, 0, 1\]: only 0 at every n-th layer is"),
        ("SmolLM3", {"no_rope_layers": [0, 1, 1, 1]}, r"no_rope_layers=\[0, 1, 1, 1\]: only 0 at every n-th layer is"),
        (
            "SmolLM3",
            {"use_sliding_window": True, "sliding_window": 16},
            "use_sliding_window=True: only False is supported",
        ),
        ("Olmo", {"clip_qkv": -1.0}, "clip_qkv=-1.0: must be a positive number, or null"),
        ("Granite", {}, "model_type must be llama, mistral, olmo, olmo2, qwen2, qwen3 or smollm3, and is 'granite'"),
        ("Llama", {"rope_parameters": PLAIN | {"rope_type": "yarn", "factor": 2.0}}, "rope_type='yarn': only"),
    ],
)
def test_what_our_blocks_lack_is_named(tmp_path, kind, changes, message):
    settings = sizes_of(kind) | {"num_hidden_layers": 4, "rope_parameters": PLAIN} | changes
    getattr(transformers, f"{kind}Config")(**settings).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type"', '"architectures": [], "model_type"', 1))
    with pytest.raises(DataError, match=message) as error:
        read_llama(tmp_path)
    assert "\n" not in str(error.value)


def test_an_untied_model_and_another_tokenizer_are_refused(tmp_path):
    text_model(tmp_path, "Qwen2")
    with pytest.raises(DataError, match="model.tied_output=True: .* has an output matrix of its own; use False"):
        warm_source(tmp_path, recipe_for(tmp_path, tied=True), 0)
    with pytest.raises(
        DataError, match="layers=3: .* has 2; use that value in the recipe, and all 4 that differ: --set model"
    ):
        warm_source(tmp_path, with_bytes(dataclasses.replace(base_config(), model=changed_model())), 0)
    path = tmp_path / "tokenizer.json"
    text = path.read_text()
    path.write_text(text.replace('"use_regex":true', '"use_regex":false', 1))
    with pytest.raises(DataError, match="is another tokenizer than .*: its pre_tokenizer is another one; use the text"):
        warm_source(tmp_path, recipe_for(tmp_path), 0)
    path.unlink()
    with pytest.raises(DataError, match="tokenizer.json: no such file, so it is unknown"):
        warm_source(tmp_path, recipe_for(tmp_path), 0)


def changed_model():
    """Four fields that the model of `text_model` does not have; its bias is one of them."""
    model = base_config().model
    stack = dataclasses.replace(model.global_transformer, layers=3, ffn_width=96)
    return dataclasses.replace(model, rope_theta=1e4, norm_eps=1e-5, global_transformer=stack)
