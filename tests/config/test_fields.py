"""What a field means for a run's identity stands at the field."""

import dataclasses

import pytest

from lst_jax import config as cfg
from lst_jax.config.fields import NOTHING, declared, declared_leaves, learned
from lst_jax.recipes.load import load_recipe

FREE = {  # what may differ between a checkpoint and the run that resumes it
    "data.tokenizer", "data.sources.*.path", "data.prefetch", "data.workers", "model.scan_layers", "model.remat",
    "eval.every", "eval.sources", "eval.batches", "eval.completion_items", "eval.sources.*.path",
    "train.log_every", "train.checkpoint_every", "train.checkpoint_minutes", "train.checkpoint_keep",
    "train.checkpoint_keep_every", "train.bad_step", "train.accumulate", "train.offload_moments",
    "train.compiler_options", "mesh.replica", "mesh.data", "mesh.tensor",
    "train.compilation_cache", "train.profile_steps", "train.hang_minutes", "train.hang_factor", "train.trackers",
    "train.rows_at_once", "train.restore_one_replica",
}  # fmt: skip


def paths_of(meaning):
    return {path for path, _, field in declared_leaves(cfg.Config) if field.notes.meaning == meaning}


NETWORKS = ("patch_encoder", "global_transformer", "patch_decoder")
LATER_OF_A_STACK = (
    *("head_width", "ffn_width", "qkv_bias", "qk_norm", "norm_place", "rope_scaling"),
    *("unrotated_every", "norm", "qkv_clip"),
    *(f"rope_scaling.{name}" for name in ("factor", "low_turns", "high_turns", "positions")),
)


def test_every_field_says_what_it_means():
    """Walking the schema raises TypeError at a field that says nothing."""
    assert len([*declared_leaves(cfg.Config)]) > 80


def test_a_field_that_says_nothing_is_refused_by_name():
    @dataclasses.dataclass(frozen=True)
    class Forgetful:
        rate: float = learned()
        steps: int = 3

    with pytest.raises(TypeError, match=r"Forgetful\.steps: declare it with a function of lst_jax\.config\.fields"):
        declared(Forgetful)


def test_fields_of_the_identity_are_those_of_the_runs_before():
    assert paths_of("free") == FREE
    assert paths_of("presence") == {"data.unit_tokenizer", "train.init_from", "train.branch_from"}
    assert paths_of("computed") == {"model.compute_dtype", "model.attention_block", "model.logits_chunk"}


def test_parameters_mean_a_function_of_the_model_the_vocabulary_and_the_unit_rate():
    assert {path.partition(".")[0] for path in paths_of("function")} == {"model", "vocab", "data"}
    assert {path for path in paths_of("function") if path.startswith("data")} == {"data.unit_rate"}


def test_the_identity_leaves_out_a_later_field_at_the_value_that_older_runs_mean():
    config = load_recipe("configs/demo.py")
    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, documents="asr"))
    assert "data.documents" not in cfg.identity(config)
    assert cfg.identity(changed) == cfg.identity(config) | {"data.documents": "asr"}
    later = {path for path, _, field in declared_leaves(cfg.Config) if field.notes.since is not NOTHING}
    assert later == {
        "data.documents",
        "data.interleave.rule",
        "data.interleave.text_ends_in_space",
        "data.patching.marker_opens_patch",
        "data.row_speech_patches",
        "data.whole_utterances",
        "train.init_from",
        "train.branch_from",
        "train.matmul",
        "optim.optimizer",
        "optim.muon",
        "optim.muon.momentum",
        "optim.muon.newton_schulz_steps",
        "optim.muon.update_rms",
        "optim.schedule",
        "optim.wsd",
        "optim.wsd.decay_steps",
        "optim.wsd.decay_shape",
        "vocab.bos_id",
        "vocab.eos_id",
        "model.tied_output",
        *(f"model.{network}.{name}" for network in NETWORKS for name in LATER_OF_A_STACK),
    }


def test_whether_there_is_a_file_is_part_of_the_identity_and_its_path_is_not():
    config = load_recipe("configs/demo.py")

    def begun_from(path):
        return cfg.config_hash(dataclasses.replace(config, train=dataclasses.replace(config.train, init_from=path)))

    assert begun_from("runs/a") == begun_from("runs/b") != begun_from(None) == cfg.config_hash(config)


def test_another_function_is_told_from_another_way_to_compute_it():
    config = load_recipe("configs/demo.py")
    ours = cfg.identity(config)
    for path, value, found in (
        ("model.global_transformer.width", 256, "model.global_transformer.width"),
        ("model.compute_dtype", "bfloat16", None),
        ("optim.peak_lr", 3.0, None),
        ("data.unit_rate", 50.0, "data.unit_rate"),
        ("model.system", "base", "model.system"),
        ("vocab.text_size", 5, "vocab.text_size"),
    ):
        assert cfg.other_function(ours, ours | {path: value}) == found
        older = {key: other for key, other in ours.items() if key != path}
        assert cfg.other_function(ours, older) is None


def test_a_later_field_that_only_one_run_has_is_compared_with_what_its_absence_means():
    config = load_recipe("configs/demo.py")
    stack = dataclasses.replace(config.model.global_transformer, qk_norm="head")
    changed = dataclasses.replace(config, model=dataclasses.replace(config.model, global_transformer=stack))
    ours, theirs = cfg.identity(config), cfg.identity(changed)
    path = "model.global_transformer.qk_norm"
    assert cfg.other_function(ours, theirs) == cfg.other_function(theirs, ours) == path
    assert (cfg.value_in(ours, path), cfg.value_in(theirs, path)) == ("none", "head")
