"""Configurations that are older than the code keep being read, and keep their identity."""

import copy
import json

import pytest

from lst_jax import config as cfg
from lst_jax.config.fields import declared_leaves
from lst_jax.config.stored import in_present_names, path_in_present_names
from lst_jax.core.errors import ConfigError
from lst_jax.recipes.load import load_recipe

FORMER = {"data": {"row_patches": "row_units"}, "model": {"architecture": "system"}}


@pytest.fixture
def mapping():
    return cfg.to_mapping(load_recipe("configs/demo.py"))


def in_former_names(mapping):
    """The mapping as the first runs wrote it."""
    former = copy.deepcopy(mapping)
    for section, names in FORMER.items():
        for new, old in names.items():
            former[section][old] = former[section].pop(new)
    if former["data"]["mixture_measure"] == "patches":
        former["data"]["mixture_measure"] = "units"
    return former


def test_the_table_of_former_names_in_this_test_is_complete():
    found = {(path, old) for path, old, field in declared_leaves(cfg.Config) if path != old and not field.inner}
    assert found == {("data.row_patches", "data.row_units"), ("model.architecture", "model.system")}


@pytest.mark.parametrize("measure", ["tokens", "patches"])
def test_a_stored_configuration_in_former_names_is_the_same(mapping, measure):
    mapping["data"]["mixture_measure"] = measure
    assert cfg.from_stored(in_former_names(mapping)) == cfg.from_mapping(mapping)


def test_identities_keep_former_names_and_values(mapping):
    mapping["data"]["mixture_measure"] = "patches"
    found = cfg.identity(cfg.from_mapping(mapping))
    assert (found["data.mixture_measure"], found["data.row_units"], found["model.system"]) == ("units", 512, "lst")
    assert "data.row_patches" not in found and "model.architecture" not in found


def test_another_identity_is_told_in_present_names(mapping):
    ours = cfg.from_mapping(mapping)
    for path, value, message in (
        ("data.row_units", 256, "data.row_patches=512: there was made with 256"),
        ("data.mixture_measure", "units", "data.mixture_measure='tokens': there was made with 'patches'"),
        ("data.sources.1.share", 9.0, "data.sources.1.share=2.0: there was made with 9.0"),
        ("data.of_another_time", 1, "data.of_another_time=None: there was made with 1"),
    ):
        with pytest.raises(ConfigError) as error:
            cfg.check_same_identity(ours, cfg.identity(ours) | {path: value}, "there")
        assert str(error.value).startswith(message)


def test_a_configuration_of_the_first_runs_means_what_they_did(mapping):
    first = in_former_names(mapping)
    del first["mesh"]
    absent = {
        "model": ["scan_layers", "remat"],
        "data": ["unit_tokenizer", "mixture_measure", "row_speech_tokens", "documents"],
        "optim": ["z_loss", "spike_factor"],
        "train": [
            "init_from",
            "checkpoint_minutes",
            "checkpoint_keep_every",
            "bad_step",
            "accumulate",
            "offload_moments",
        ],
    }
    for section, names in absent.items():
        for name in names:
            del first[section][name]
    for name in ("aligned_to", "silence", "boundary_noise_ms", "final_probability"):
        del first["data"]["patching"][name]
    found = cfg.from_stored(first)
    assert cfg.config_hash(found) == cfg.config_hash(cfg.from_mapping(mapping))
    assert (found.model.scan_layers, found.model.remat, found.train.bad_step) == (False, "none", "skip")
    assert found.train.checkpoint_minutes is None and found.mesh == cfg.MeshConfig(None, None, 1)


@pytest.mark.parametrize("section, name", [("optim", "eps"), ("model", "rope_theta"), ("data", "interleave")])
def test_a_stored_configuration_has_no_defaults(mapping, section, name):
    """A file that lost a field must not turn into another run."""
    del mapping[section][name]
    cfg.from_mapping(mapping)
    with pytest.raises(ConfigError, match=rf"{section}\.{name}=None: missing; add it"):
        cfg.from_stored(mapping)


@pytest.mark.parametrize("mapping", [None, [], {"data": None}, {"data": {"patching": 3}}, {"data": {"sources": [1]}}])
def test_a_stored_configuration_of_another_kind_is_one_line(mapping):
    with pytest.raises(ConfigError) as error:
        cfg.from_stored(json.loads(json.dumps(mapping)))
    assert "\n" not in str(error.value)


def test_a_field_by_both_names_is_refused(mapping):
    mapping["data"]["row_units"] = 512
    with pytest.raises(ConfigError, match=r"data\.row_units=512: is called data\.row_patches now, which is given too"):
        in_present_names(mapping)


@pytest.mark.parametrize(
    "path, present",
    [
        ("data.row_units", "data.row_patches"),
        ("model.system", "model.architecture"),
        ("data.sources.0.share", "data.sources.0.share"),
        ("data.sources.system.share", "data.sources.system.share"),  # a source of that name
        ("system.row_units", "system.row_units"),
        ("", ""),
    ],
)
def test_paths_are_read_in_former_names(path, present):
    assert path_in_present_names(path) == present
