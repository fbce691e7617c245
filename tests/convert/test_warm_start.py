"""A text model's weights in Base and in LST: what is taken, repeated, averaged and drawn. Logits: the torch test."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import synthetic_data
from flax import traverse_util
from llama_cases import STACK, base_config, source_of

from lst_jax import config as cfg
from lst_jax.convert import hf_llama
from lst_jax.convert.hf_llama import Llama
from lst_jax.convert.hf_tokenizer import added_tokens, tokenizer_json
from lst_jax.convert.safetensors_files import write_safetensors
from lst_jax.convert.sentencepiece_model import read_model
from lst_jax.convert.source import Stored, expected_shapes
from lst_jax.convert.warm_start import llama_shapes, repeated, warm_source, with_new_rows
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import Vocab
from lst_jax.data import text
from lst_jax.model.architectures.registry import build

TEXT = synthetic_data.TEXT_SIZE
GROUPED = Llama(TEXT, 48, 3, 4, 2, 128, 3e4, 3e-5, tied=False)


def write_llama(folder, llama=GROUPED, **changes):
    """A random text model as transformers saves one, and its tensors."""
    rng = np.random.default_rng(2)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in llama_shapes(llama).items()}
    write_safetensors(folder, {name: Stored(value.shape, lambda value=value: value) for name, value in tensors.items()})
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "vocab_size": llama.vocab_size,
                "hidden_size": llama.width,
                "intermediate_size": llama.ffn_width,
                "num_hidden_layers": llama.layers,
                "num_attention_heads": llama.heads,
                "num_key_value_heads": llama.kv_heads,
                "rms_norm_eps": llama.norm_eps,
                "rope_theta": llama.rope_theta,
                "tie_word_embeddings": llama.tied,
            }
            | changes
        )
    )
    shutil.copyfile(synthetic_data.tokenizer_path(), folder / "tokenizer.model")
    return tensors


def lst_config():
    """LST whose global transformer is Base's."""
    config = synthetic_data.make_config()
    local = cfg.StackConfig(1, 24, 2, 16)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model,
            global_transformer=STACK,
            patch_encoder=local,
            patch_decoder=dataclasses.replace(local, layers=2),
            queries_per_patch=2,
            norm_eps=3e-5,
            rope_theta=3e4,
            ffn_multiple=8,
        ),
    )


def read_all(source):
    found = {path: one.read() for path, one in source.arrays.items()}
    assert {path: value.shape for path, value in found.items()} == {p: one.shape for p, one in source.arrays.items()}
    return found


def test_heads_are_repeated_where_they_are_shared():
    rows = np.arange(8.0, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(repeated(rows, 2, 4)[:, 0], [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7])
    assert repeated(rows, 4, 4) is rows


def test_new_rows_are_the_mean_of_the_text_rows():
    rows = np.array([[1, 2], [3, 6], [99, 99]], np.float32)
    np.testing.assert_array_equal(with_new_rows(rows, 2, 5), [[1, 2], [3, 6], [2, 4], [2, 4], [2, 4]])


def test_base_takes_everything(tmp_path):
    tensors, config = write_llama(tmp_path, dataclasses.replace(GROUPED, vocab_size=TEXT + 3)), base_config()
    source = warm_source(tmp_path, config, 0)
    found = read_all(source)
    expected = expected_shapes(config.model, config.joint_vocab)
    assert source.config == config and {p: v.shape for p, v in found.items()} == expected
    for path, name, axis in (
        ("tok_embeddings/embedding", "model.embed_tokens.weight", 0),
        ("output/kernel", "lm_head.weight", 1),
    ):
        rows = np.moveaxis(found[path], axis, 0)
        np.testing.assert_array_equal(rows[:TEXT], tensors[name][:TEXT])
        assert len(rows) == config.joint_vocab.size and (rows[TEXT:] == rows[-1]).all()
        np.testing.assert_allclose(rows[-1], tensors[name][:TEXT].mean(0), atol=1e-6)
    np.testing.assert_array_equal(found["norm/scale"], tensors["model.norm.weight"])
    layer = "global_transformer/layers_2"
    np.testing.assert_array_equal(
        found[f"{layer}/feed_forward/w2/kernel"].T, tensors["model.layers.2.mlp.down_proj.weight"]
    )
    wv = found[f"{layer}/attention/wv/kernel"].T.reshape(4, 12, 48)
    np.testing.assert_array_equal(wv[[0, 2]], tensors["model.layers.2.self_attn.v_proj.weight"].reshape(2, 12, 48))
    np.testing.assert_array_equal(wv[[1, 3]], wv[[0, 2]])
    assert source.origin["taken"][0] == (
        "global_transformer/layers_0..2: all arrays, each key and value head for the 2 query heads that share it"
    )
    assert source.origin["initialised"] == [
        "tok_embeddings/embedding: rows 400..907, the mean of those taken",
        "output/kernel: columns 400..907, the mean of those taken",
    ]
    assert source.origin["left_out"] == ["model.embed_tokens.weight and lm_head.weight: rows 400..402"]


def test_a_tied_output_matrix_is_the_embedding(tmp_path):
    tensors = write_llama(tmp_path, dataclasses.replace(GROUPED, tied=True))
    source = warm_source(tmp_path, base_config(), 0)
    np.testing.assert_array_equal(
        source.arrays["output/kernel"].read()[:, :TEXT].T, tensors["model.embed_tokens.weight"]
    )
    assert source.origin["taken"][-1] == "output/kernel: columns 0..399 (of model.embed_tokens.weight, which is tied)"


def fresh_arrays(config, seed):
    """Some of a fresh run's parameters: all of them take long to compile."""
    model = build(config.model, config.joint_vocab, config.data.row_patches)
    wanted = (
        "embedding",
        "patch_decoder/layers_1/feed_forward/w2/kernel",
        "cross_attn_layers_0/wq/kernel",
        "norm/scale",
        "patch_embedding_projection/kernel",
        "output/kernel",
    )

    def some(key):
        flat = traverse_util.flatten_dict(model.init_params(key), sep="/")
        return {path: value for path, value in flat.items() if path.endswith(wanted) and "global" not in path}

    found = jax.jit(some)(jax.random.key(seed))
    assert len(found) >= 8
    return found


def test_lst_takes_the_layers_and_draws_the_rest_as_a_fresh_run_does(tmp_path):
    write_llama(tmp_path)
    config = lst_config()
    source = warm_source(tmp_path, config, 5)
    found, base = read_all(source), read_all(warm_source(tmp_path, base_config(), 5))
    fresh = fresh_arrays(config, 5)
    assert found.keys() == expected_shapes(config.model, config.joint_vocab).keys() and fresh.keys() < found.keys()
    layers = [path for path in found if path.startswith("global_transformer/layers_")]
    assert len(layers) == 27 and "global_transformer/token_embedding_projection/kernel" not in layers
    for path, value in found.items():
        if path in layers:
            np.testing.assert_array_equal(value, base[path])
    for path, value in fresh.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-5, atol=1e-7, err_msg=path)
    assert source.origin["taken"][0].startswith("global_transformer/layers_0..2: all arrays")
    assert "patch_decoder/layers_*/attention/wq/kernel (2 arrays), drawn with seed 5" in source.origin["initialised"]
    assert source.origin["left_out"] == ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]


def changed(config, **fields):
    stack = {name: fields.pop(name) for name in ("layers", "width", "heads", "window") if name in fields}
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, global_transformer=dataclasses.replace(STACK, **stack), **fields),
    )


@pytest.mark.parametrize("make", [base_config, lst_config])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 4}, "model.global_transformer.layers=4: .* has 3; use that value"),
        ({"width": 96}, "model.global_transformer.width=96: .* has 48"),
        ({"heads": 2}, "model.global_transformer.heads=2: .* has 4"),
        ({"window": 9}, "model.global_transformer.window=9: .* has None"),
        ({"ffn_multiple": 256}, "model.ffn_multiple=256: a feed-forward width=256: .* has 128"),
        ({"rope_theta": 5e5}, "model.rope_theta=500000.0: .* has 30000.0"),
        ({"norm_eps": 1e-5}, "model.norm_eps=1e-05: .* has 3e-05"),
    ],
)
def test_a_recipe_that_differs_is_named_with_both_values(tmp_path, make, fields, message):
    write_llama(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        warm_source(tmp_path, changed(make(), **fields), 0)
    assert "\n" not in str(error.value)


def test_scaled_rotations_are_refused(tmp_path):
    write_llama(tmp_path, rope_scaling={"rope_type": "llama3", "factor": 8.0})
    with pytest.raises(DataError, match="rope_type='llama3'"):
        warm_source(tmp_path, base_config(), 0)


def test_missing_and_extra_tensors_are_named(tmp_path):
    write_llama(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"model.norm.weight"', b'"model.mron.weight"'))
    with pytest.raises(DataError, match=r"\(missing: model.norm.weight; left over: model.mron.weight\)"):
        warm_source(tmp_path, base_config(), 0)


def test_buffers_of_old_checkpoints_are_passed_over(tmp_path):
    write_llama(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = hf_llama.open_tensors(tmp_path)
    held = {name: Stored(one.shape, one.read().copy) for name, one in tensors.items()}
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    held[name] = Stored((6,), lambda: np.zeros(6, np.float32))
    path.unlink()
    write_safetensors(tmp_path, held)
    assert len(warm_source(tmp_path, base_config(), 0).arrays) == 30


@pytest.fixture
def other_tokenizer(tmp_path_factory):
    """As many pieces, from other texts."""
    path = tmp_path_factory.mktemp("other") / "other.model"
    words = [word[::-1] for word in synthetic_data.WORDS]
    text.train_tokenizer([" ".join(np.random.default_rng(i).choice(words, 20)) for i in range(200)], path, TEXT)
    return path


def test_another_tokenizer_is_refused_with_both_fingerprints_and_the_first_piece(tmp_path, other_tokenizer):
    write_llama(tmp_path)
    shutil.copyfile(other_tokenizer, tmp_path / "tokenizer.model")
    ours, theirs = map(text.tokenizer_fingerprint, (synthetic_data.tokenizer_path(), other_tokenizer))
    message = rf"{ours}.*another tokenizer than .*{theirs}.*piece 259 is '.*' here and"
    with pytest.raises(DataError, match=message) as error:
        warm_source(tmp_path, base_config(), 0)
    assert "\n" not in str(error.value)


def test_a_tokenizer_json_will_do(tmp_path, other_tokenizer):
    write_llama(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(DataError, match="tokenizer.model: no such file, nor tokenizer.json"):
        warm_source(tmp_path, base_config(), 0)
    for file in (synthetic_data.tokenizer_path(), other_tokenizer):
        model = read_model(file)
        (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(model, added_tokens(Vocab(TEXT, 0)))))
        if file == other_tokenizer:
            with pytest.raises(DataError, match="another tokenizer than .*tokenizer.json .*: piece 259 is"):
                warm_source(tmp_path, base_config(), 0)
        else:
            assert warm_source(tmp_path, base_config(), 0)


def test_fewer_rows_than_pieces_and_text_past_the_local_modules_are_refused(tmp_path):
    write_llama(tmp_path, dataclasses.replace(GROUPED, vocab_size=399))
    with pytest.raises(DataError, match="vocab.text_size=400: .* has vocab_size=399"):
        warm_source(tmp_path, base_config(), 0)
    with pytest.raises(DataError, match="model.architecture='lst_bypass': only lst and base can begin"):
        warm_source(tmp_path, synthetic_data.make_config(speech_tokens=80), 0)


def test_what_we_wrote_ourselves_begins_a_run_of_the_same_vocabulary(tmp_path):
    config = base_config()
    hf_llama.write(source_of(config), tmp_path)
    found = read_all(warm_source(tmp_path, config, 0))
    np.testing.assert_array_equal(found["norm/scale"], source_of(config).arrays["norm/scale"].read())
