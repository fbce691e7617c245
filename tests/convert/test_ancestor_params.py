"""params.json of the ancestor: what we write fits its validation, and what its trainer writes needs the tokenizer alone."""

import dataclasses
import json

import numpy as np
import pytest
import synthetic_data
from convert_cases import config_of, draw
from flax import traverse_util

from lst_jax.cli import main
from lst_jax.config import Config
from lst_jax.convert import ancestor_files, ancestor_params, torch_file
from lst_jax.convert.ancestor import to_ancestor
from lst_jax.convert.ancestor_fields import SECTIONS, problems, with_defaults
from lst_jax.convert.source import Stored
from lst_jax.core.errors import DataError, UserError


def written(**model) -> tuple[dict, Config]:
    config = config_of("lst", **model)
    return ancestor_params.params_of(config, "/there/tokenizer.model"), config


def part(params, path):
    for name in filter(None, path.split(".")):
        params = params[name]
    return params


def test_what_is_written_has_the_fields_and_types_of_its_validation():
    params, config = written()
    params = json.loads(json.dumps(params))
    for path in SECTIONS.keys() - {"optim"}:
        assert [*problems(part(params, path), SECTIONS[path])] == [], path
        for name, value in part(params, path).items():  # null only where that is allowed
            kind = SECTIONS[path][name].kind
            assert value is not None or kind.endswith("?") or kind == "any", (path, name)
    assert params["data"]["tokenizer_args"] == {
        "name": "lst",
        "init_kwargs": {
            "bpe_tokenizer_path": "/there/tokenizer.model",
            "speech_vocab_size_unit": config.vocab.unit_slots,
        },
    }
    model = params["model"]
    assert (model["attn_impl"], model["attn_bias_type"]) == ("xformers", "block_causal")
    assert model["cross_attn_use_flex_attention"] is True and model["vocab_size"] == config.joint_vocab.size
    assert params["data"]["patcher_args"]["patching_mode"] == "lst_static"
    # its trainer sets the two equal, and its evaluation asks for it
    assert params["data"]["seq_len"] == model["max_seqlen"] == config.data.row_patches
    assert params["data"]["max_encoder_seq_length"] == model["max_encoder_seq_length"] == config.data.row_tokens


@pytest.mark.parametrize(("dtype", "theirs"), [("float32", "fp32"), ("bfloat16", "bf16")])
def test_the_type_is_kept(tmp_path, dtype, theirs):
    params, config = written(compute_dtype=dtype)
    assert params["distributed"]["model_dtype"] == theirs
    (tmp_path / "params.json").write_text(json.dumps(params))
    found = ancestor_params.read(tmp_path / "params.json")
    assert found.model.compute_dtype == dtype
    assert (
        ancestor_params.params_of(found.config(config.data.tokenizer), "/there/tokenizer.model")["distributed"]
        == (params["distributed"])
    )


def trainer_folder(folder, change=lambda params: None):
    """What its trainer's consolidation leaves: every field is there, many of them null."""
    params, config = written(compute_dtype="bfloat16")
    params |= {"steps": 24033, "optim": with_defaults({"lr": 4e-4, "warmup": 500}, SECTIONS["optim"]), "eval": None}
    params["data"]["sources"] = {"text_data_source_1": 1.0, "mls_on_the_fly": 0.5}
    params["data"]["tokenizer_args"]["init_kwargs"]["bpe_tokenizer_path"] = "/cluster/tokenizer.model"
    change(params)
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    arrays = traverse_util.flatten_dict(draw(config, 0), sep="/")
    stored = {path: Stored(array.shape, lambda array=array: np.asarray(array)) for path, array in arrays.items()}
    torch_file.write_tensors(folder / "consolidated.pth", to_ancestor(stored, config.model), "model")
    return config, arrays


def test_a_directory_of_its_trainer_needs_its_tokenizer_alone(tmp_path):
    config, arrays = trainer_folder(tmp_path / "consolidated")
    assert "null" in (tmp_path / "consolidated" / "params.json").read_text()
    source = ancestor_files.open_source(tmp_path / "consolidated", tokenizer=config.data.tokenizer)
    for field in (
        "compute_dtype",
        "patch_encoder",
        "global_transformer",
        "patch_decoder",
        "rope_theta",
        "ffn_multiple",
    ):
        assert getattr(source.config.model, field) == getattr(config.model, field), field
    assert source.config.vocab == config.vocab and source.config.train.steps == 24033
    assert source.config.data.patching.static_size == config.data.patching.static_size
    assert source.config.data.patching.marker_opens_patch
    assert [(one.kind, one.share) for one in source.config.data.sources] == [("text", 1.0), ("utterance", 0.5)]
    assert (source.config.optim.peak_lr, source.config.optim.warmup_steps) == (4e-4, 500)
    assert source.arrays.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(source.arrays[path].read(), array, strict=True, err_msg=path)


def test_the_tokenizer_is_found_where_params_json_names_it_and_asked_for_elsewhere(tmp_path, capsys):
    place = synthetic_data.tokenizer_path()

    def change(params):
        params["data"]["tokenizer_args"]["init_kwargs"]["bpe_tokenizer_path"] = str(place)

    trainer_folder(tmp_path / "here", change)
    assert ancestor_files.open_source(tmp_path / "here").config.data.tokenizer == str(place)
    trainer_folder(tmp_path / "there")
    assert main.main(["convert", str(tmp_path / "there"), str(tmp_path / "out"), "--to", "orbax"]) == 3
    message = capsys.readouterr().err
    assert "/cluster/tokenizer.model is not here; give it, as --tokenizer FILE" in message and message.count("\n") == 1


def test_everything_that_stands_in_the_way_is_told_in_one_go(tmp_path):
    def change(params):
        params["model"] |= {
            "cross_attn_k": None,
            "encoder_hash_byte_group_size": [4],
            "dim_token": 32,
            "pm_size": 8,
            "n_kv_heads_global": 1,
        }
        params["distributed"]["model_dtype"] = "int8"
        params["data"]["tokenizer_args"]["name"] = "blt"

    trainer_folder(tmp_path / "x", change)
    with pytest.raises(DataError) as error:
        ancestor_files.open_source(tmp_path / "x")
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"{tmp_path / 'x' / 'params.json'}: ")
    for words in (
        "cross_attn_k: missing",
        "_size=[4]: must be []",
        "dim_token=32: must",
        "pm_size=8",
        "n_kv_heads_global=1",
    ):
        assert words in message, words
    wrong = {"model": {"vocab_size": "9", "dims": 4, "use_rope": 1}, "distributed": {"model_dtype": []}, "steps": "x"}
    (tmp_path / "x" / "params.json").write_text(json.dumps(wrong))
    with pytest.raises(DataError) as error:
        ancestor_files.open_source(tmp_path / "x")
    for words in (
        "vocab_size='9': must be a whole number",
        "dims=4: is not known",
        "use_rope=1: must be true or false",
    ):
        assert words in str(error.value)
    assert "distributed.model_dtype=[]: must be a text" in str(error.value)
    assert "steps='x': must be a whole number" in str(error.value)


def test_every_field_in_which_a_recipe_differs_is_told(tmp_path):
    config, _ = trainer_folder(tmp_path / "x")
    model = dataclasses.replace(config.model, rope_theta=1e4, queries_per_patch=1, compute_dtype="float32")
    with pytest.raises(
        UserError, match="gives model.queries_per_patch=2, .* 1; model.rope_theta=500000.0, .* 10000.0; give"
    ):
        ancestor_files.open_source(tmp_path / "x", dataclasses.replace(config, model=model))


def test_the_tokenizer_is_given_once(tmp_path):
    config, _ = trainer_folder(tmp_path / "x")
    with pytest.raises(UserError, match="--tokenizer: --config gives the tokenizer already; leave --tokenizer out"):
        ancestor_files.open_source(tmp_path / "x", config, config.data.tokenizer)
    (tmp_path / "x" / "lst_config.json").write_text("{}")
    with pytest.raises(UserError, match="--tokenizer: .*lst_config.json names the tokenizer already"):
        ancestor_files.open_source(tmp_path / "x", None, config.data.tokenizer)


@pytest.mark.parametrize(
    ("patcher", "strategy", "size"),
    [
        ({"patching_mode": "lst_static", "patch_size": 3.0}, "static", 3),
        ({"patching_mode": "lst_align"}, "aligned", 4),
        (
            {
                "patching_mode": "lst_curriculum",
                "patch_size": 6,
                "patcher_curr_align_steps": 10,
                "patcher_curr_mixed_steps": 20,
            },
            "curriculum",
            6,
        ),
        (
            {
                "patching_mode": "lst_curriculum",
                "patch_size": 4,
                "patcher_curr_align_steps": 20,
                "patcher_curr_mixed_steps": 10,
            },
            "curriculum",
            4,
        ),
        (None, "static", 4),
    ],
)
def test_patches_are_those_of_its_training(tmp_path, patcher, strategy, size):
    def change(params):
        params["data"]["patcher_args"] = patcher
        params["model"]["patch_size"] = None

    config, _ = trainer_folder(tmp_path / "x", change)
    found = ancestor_files.open_source(tmp_path / "x", tokenizer=config.data.tokenizer).config.data.patching
    assert (found.strategy, found.static_size, found.marker_opens_patch) == (strategy, size, strategy != "aligned")
    steps = [(patcher or {}).get(f"patcher_curr_{name}_steps", 0) for name in ("align", "mixed")]
    assert (found.tau1, found.tau2) == (steps[0], max(steps))


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("patcher_args", "patching_mode", "space", "patching_mode='space': must be one of lst_static"),
        ("patcher_args", "patch_size", 4.5, "patch_size=4.5: must be a whole number"),
        ("tokenizer_args", "name", "blt", "tokenizer_args.name='blt': must be 'lst'"),
        ("sources", "a", "b", "data.sources: must be numbers"),
        ("tokenizer_args", "init_kwargs", {"bpe_tokenizer_path": 3}, "bpe_tokenizer_path=3: must be a text"),
        ("tokenizer_args", "init_kwargs", {"speech_vocab_size_unit": "5"}, "unit='5': must be a whole number"),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path, section, name, value, words):
    trainer_folder(tmp_path / "x", lambda params: params["data"][section].update({name: value}))
    with pytest.raises(DataError, match=words):
        ancestor_files.open_source(tmp_path / "x")


def test_sources_that_are_not_read_and_arguments_that_are_null_do_not_stand_in_the_way(tmp_path):
    def change(params):
        params["data"]["sources"] = {"switched_off": 0, "mls_on_the_fly": 0.5}
        params["data"]["tokenizer_args"]["init_kwargs"] = {"bpe_tokenizer_path": None, "speech_vocab_size_unit": None}

    config, _ = trainer_folder(tmp_path / "x", change)
    found = ancestor_files.open_source(tmp_path / "x", tokenizer=config.data.tokenizer).config
    assert [(one.name, one.share) for one in found.data.sources] == [("mls_on_the_fly", 0.5)]
    assert found.vocab == config.vocab


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_layers_global": 10**9}, "holds 2 layers of global_transformer, the configuration has 1000000000"),
        ({"cross_attn_window_encoder": 1 << 63}, "cross_attn_window_encoder=9223372036854775808: must be below 2"),
    ],
)
def test_numbers_without_end_are_refused_at_once(tmp_path, changes, words):
    config, _ = trainer_folder(tmp_path / "x", lambda params: params["model"].update(changes))
    with pytest.raises(DataError, match=words):
        ancestor_files.open_source(tmp_path / "x", tokenizer=config.data.tokenizer)


@pytest.mark.parametrize("slots", [501, 99999])
def test_a_tokenizer_of_another_size_is_refused(tmp_path, slots):
    def change(params):
        params["data"]["tokenizer_args"]["init_kwargs"]["speech_vocab_size_unit"] = slots

    config, _ = trainer_folder(tmp_path / "x", change)
    with pytest.raises(
        DataError, match=f"vocab_size={config.joint_vocab.size} is not the 400 pieces .*={slots}; give the tok"
    ):
        ancestor_files.open_source(tmp_path / "x", tokenizer=config.data.tokenizer)


def test_shards_of_its_trainer_are_named_with_its_own_command(tmp_path, capsys):
    folder = tmp_path / "0000024000"
    folder.mkdir()
    for name in ("params.json", ".metadata", "__0_0.distcp", "__1_0.distcp"):
        (folder / name).write_text("{}")
    convert = ["convert", str(folder), str(tmp_path / "out"), "--to", "orbax"]
    assert main.main(convert) == 3
    assert f"`python -m lst.checkpoint consolidate {folder}`" in capsys.readouterr().err
    (folder / "consolidated").mkdir()
    (folder / "consolidated" / "consolidated.pth").write_text("")
    assert main.main(convert) == 3
    assert f"not one file; give {folder / 'consolidated'}\n" in capsys.readouterr().err
