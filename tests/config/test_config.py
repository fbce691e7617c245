import copy
import pathlib

import pytest

from lst_jax import config as config_lib
from lst_jax.core.errors import ConfigError
from lst_jax.recipes.load import load_recipe
from lst_jax.recipes.row_sizes import row_tokens_for
from lst_jax.recipes.validate import validate

RECIPES = sorted(pathlib.Path("configs").glob("*.py"))


@pytest.fixture
def mapping():
    return config_lib.to_mapping(load_recipe("configs/demo.py"))


def put(mapping, path, value):
    *parents, leaf = path.split(".")
    for key in parents:
        mapping = mapping[int(key)] if isinstance(mapping, list) else mapping[key]
    mapping[leaf] = value


@pytest.mark.parametrize("arg", ["", "static", "aligned", "mixed", "base"])
def test_demo_recipes_load_and_survive_a_round_trip(arg):
    config = load_recipe(f"configs/demo.py:{arg}")
    assert config_lib.from_mapping(config_lib.to_mapping(config)) == config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("optim.peek_lr", 1.0, "optim.peek_lr=1.0: unknown field; nearest: optim.peak_lr"),
        ("optim.peak_lr", "fast", "optim.peak_lr='fast': must be float, not str"),
        ("train.steps", True, "train.steps=True: must be int, not bool"),
        ("train.steps", 0, "train.steps=0: must be at least 1"),
        ("data.patching.strategy", "alligned", "nearest: aligned"),
        ("data.sources.0.share", -1.0, "data.sources.0.share=-1.0: must be positive"),
        ("data.sources", [], "must name at least one directory"),
        ("model.global_transformer.width", 190, "must be a multiple of 2 × heads=12; use 180"),
        (
            "model.global_transformer.unrotated_every",
            9,
            "must be at most model.global_transformer.layers=4, or None; use None: all layers have rotary positions",
        ),
        ("model.global_transformer.qkv_clip", 0.0, "qkv_clip=0.0: must be positive, or None"),
        ("model.patch_decoder", None, 'architecture "lst" needs it'),
        ("model.patch_decoder.width", 136, "must equal model.patch_encoder.width"),
        ("model.architecture", "base", 'architecture "base" has no local networks'),
        ("data.patching.tau2", 3, "must be at least 150"),
        ("optim.warmup_steps", 450, "must be less than train.steps=450; use 449"),
        ("optim.eps", float("nan"), "must be finite"),
        ("data.row_speech_tokens", 300, "has no meaning for model.architecture='lst'; set it to None"),
        (
            "model.architecture",
            "lst_bypass",
            "data.row_speech_tokens=None: must be from 16 to data.row_tokens=640; use 320",
        ),
        ("data.row_speech_patches", 100, "has no meaning for model.architecture='lst'; set it to None"),
        ("data.row_speech_patches", 7, "must be at least 8, or None; use 8"),
        (
            "data.unit_tokenizer",
            "u.model",
            "unit_tokenizer='u.model': its unit pieces are patches already, and data.patching.strategy"
            "='curriculum' patches units; set it to None, or use strategy \"none\"",
        ),
        ("optim.z_loss", -1.0, "must be at least 0"),
        ("optim.spike_factor", 0.5, "must be greater than 1, or 0 for off; use 10.0"),
        ("model.remat", "ful", "nearest: full"),
        ("train.bad_step", "stop", "must be one of skip, halt"),
        ("train.checkpoint_minutes", 0.0, "train.checkpoint_minutes=0.0: must be positive, or None"),
        ("train.checkpoint_keep_every", 120, "must be a multiple of train.checkpoint_every=50, or None; use 100"),
        ("train.checkpoint_keep_every", -50, "must be a multiple of train.checkpoint_every=50, or None; use 50"),
        ("data.row_patches", 700, "must not exceed data.row_tokens=640"),
        ("data.mixture_measure", "hours", "data.mixture_measure='hours': must be one of tokens, words, patches"),
        ("data.patching.aligned_to", "pieces", "must be one of word, bpe"),
        ("data.patching.silence", "merge", "nearest: merged"),
        ("data.patching.final_probability", 1.5, "must be at most 1; use 1"),
        ("data.patching.final_probability", -0.5, "must be at least 0"),
        ("data.patching.boundary_noise_ms", -20.0, "must be at least 0"),
        ("optim.beta1", 1.0, "optim.beta1=1.0: must be less than 1; use a number below 1"),
        ("optim.beta2", -0.1, "optim.beta2=-0.1: must be at least 0; use 0"),
        ("optim.weight_decay", -0.1, "optim.weight_decay=-0.1: must be at least 0; use 0"),
        ("optim.final_lr_ratio", 1.01, "optim.final_lr_ratio=1.01: must be at most 1; use 1"),
        ("optim.final_lr_ratio", -0.01, "optim.final_lr_ratio=-0.01: must be at least 0; use 0"),
        ("model.global_transformer.width", 0, "model.global_transformer.width=0: must be at least 1; use 1"),
        ("model.patch_encoder.heads", 0, "model.patch_encoder.heads=0: must be at least 1; use 1"),
        ("model.patch_encoder.window", 0, "model.patch_encoder.window=0: must be at least 1, or None; use 1"),
        ("model.rope_theta", None, "model.rope_theta=None: must be float, not None; give a number"),
        ("model.rope_theta", 10**400, "…: must be finite; give a smaller number"),
        pytest.param("seed", 10**5000, "seed=an integer of thousands of digits: must be at most", id="huge seed"),
        ("eval.sources.1.share", 0.0, "eval.sources.1.share=0.0: must be positive"),
        ("mesh.data", 0, "mesh.data=0: must be at least 1, or None"),
        pytest.param("name", "\udcff", "is not UTF-8; write it in UTF-8", id="surrogate"),
    ],
)
def test_a_broken_rule_names_the_field_and_the_fix_in_one_line(mapping, path, value, message):
    put(mapping, path, value)
    with pytest.raises(ConfigError) as error:
        validate(config_lib.from_mapping(mapping))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_marker_opens_static_patches_alone(mapping):
    put(mapping, "data.patching.marker_opens_patch", True)
    validate(config_lib.from_mapping(mapping))
    put(mapping, "data.patching.strategy", "aligned")
    with pytest.raises(ConfigError, match="marker_opens_patch=True: is about static patches, and strategy='aligned'"):
        validate(config_lib.from_mapping(mapping))


def test_noise_without_aligned_boundaries_is_refused(mapping):
    put(mapping, "data.patching.boundary_noise_ms", 40.0)
    validate(config_lib.from_mapping(mapping))
    put(mapping, "data.patching.strategy", "static")
    with pytest.raises(ConfigError, match=r"boundary_noise_ms=40\.0: moves aligned .*='static' has none; use 0"):
        validate(config_lib.from_mapping(mapping))


@pytest.mark.parametrize(
    "units, mean_patch, tokens", [(4096, 4, 5120), (512, 4, 640), (4096, 9.4, 5376), (4096, 1, 4096)]
)
def test_row_tokens_follow_from_unit_positions_and_the_mean_patch(units, mean_patch, tokens):
    assert row_tokens_for(units, mean_patch) == tokens


def test_a_missing_field_is_named(mapping):
    del mapping["train"]["steps"]
    with pytest.raises(ConfigError, match=r"train\.steps=None: missing; it has no default: add it"):
        config_lib.from_mapping(mapping)


def test_a_field_with_a_default_may_be_absent(mapping):
    del mapping["optim"]["eps"], mapping["mesh"], mapping["data"]["interleave"]["speech_ratio"]
    found = config_lib.from_mapping(mapping)
    assert (found.optim.eps, found.data.interleave.speech_ratio) == (1e-8, 0.5)
    assert found.mesh == config_lib.MeshConfig(None, None, 1)


def test_validation_changes_nothing(mapping):
    before = copy.deepcopy(mapping)
    validate(config_lib.from_mapping(mapping))
    assert mapping == before


def test_identity_ignores_what_does_not_change_learning_and_sees_what_does(mapping):
    ours = config_lib.from_mapping(mapping)
    put(mapping, "train.log_every", 7)
    put(mapping, "data.sources.0.path", "elsewhere")
    same = config_lib.from_mapping(mapping)
    assert config_lib.config_hash(ours) == config_lib.config_hash(same)
    config_lib.check_same_identity(ours, config_lib.identity(same), "there")
    put(mapping, "optim.beta2", 0.99)
    other = config_lib.from_mapping(mapping)
    assert config_lib.config_hash(ours) != config_lib.config_hash(other)
    with pytest.raises(ConfigError, match=r"optim\.beta2=0\.95: there was made with 0\.99"):
        config_lib.check_same_identity(ours, config_lib.identity(other), "there")
