"""The budgets of compared runs, and a comparison of precisions end to end."""

import dataclasses

import pytest
import training_run

from lst_jax.bench import length, patching, systems
from lst_jax.core.errors import ConfigError
from lst_jax.cost import budget
from lst_jax.data.made_up import made_up_batches
from lst_jax.parallel import sharding
from lst_jax.parallel.sharding import one_device


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    training_run.make_data(folder)
    return training_run.make_config(folder)


def with_more_global_layers(config):
    model = config.model
    return dataclasses.replace(
        config,
        model=dataclasses.replace(model, global_transformer=dataclasses.replace(model.global_transformer, layers=3)),
    )


def test_a_costlier_system_takes_fewer_steps_of_the_same_flops(config):
    reference = systems.at_length(config, 40)
    flops = budget.run_flops(reference)
    other = systems.with_flops(with_more_global_layers(config), flops)
    assert other.train.steps < 40
    a_step = budget.run_flops(other) / other.train.steps
    assert abs(budget.run_flops(other) - flops) < 1.5 * a_step
    assert other.data.patching.tau2 == round(6 / 8 * other.train.steps) and other.eval.every == other.train.steps


def test_a_run_shorter_than_its_warm_up_is_refused(config):
    with pytest.raises(ConfigError, match="steps=1: must be more than optim.warmup_steps=1; use 10"):
        systems.at_length(config, 1)


def test_the_band_is_of_single_steps_and_of_means():
    ours, theirs = [2.0] * 40, [1.8, 2.2] * 20
    assert systems.band(ours, theirs) == pytest.approx({"step": 0.1, "mean": 0.0})
    assert systems.band(ours, [2.02] * 40) == pytest.approx({"step": 0.01, "mean": 0.01})


@pytest.mark.slow
def test_all_precisions_train_on_the_same_batches_and_stay_together(config, tmp_path, monkeypatch):
    mesh = one_device()  # a mesh of several would only compile longer
    monkeypatch.setattr(sharding, "make_mesh", lambda *_: mesh)
    monkeypatch.setattr(systems, "load_recipe", lambda reference, changes: config)
    measured = systems.precision("a recipe", [], 5, str(tmp_path))
    single, *others = measured["systems"]
    assert single["band"] == {"step": 0.0, "mean": 0.0}
    assert [other["system"] for other in others] == ["bfloat16", "int8", "fp8"]
    for other in others:
        assert single["tokens"] == other["tokens"] and single["steps"] == other["steps"] == 5
        assert 0 < other["band"]["mean"] <= other["band"]["step"] < 0.02
    text = systems.markdown(measured)
    assert "`bfloat16`" in text and "between means over 20 steps" in text


def test_a_slower_system_takes_fewer_steps_of_the_same_time(config, monkeypatch):
    """Runs are not trained here: each says what it was given, at a pace of its own."""
    pace = {"quick": 0.5, "slow": 1.0}
    made = []

    def trained(run, given):
        made.append(run.path.name)
        system = run.path.name.removesuffix("-equal-time")
        steps = given.train.steps
        return {"steps": steps, "tokens": 10 * steps, "flops": 1e12, "patches_per_token": 0.8, "loss": 3.0} | {
            "seconds_per_step": pace[system],
            "bits_per_second_speech": 100.0 / steps,
        }

    monkeypatch.setattr(systems, "trained", trained)
    monkeypatch.setattr(systems, "load_recipe", lambda reference: dataclasses.replace(config, name=reference))
    measured = systems.compare("r", ["quick", "slow"], 40, "runs")
    quick, slow = measured["systems"]
    assert measured["seconds"] == 20.0 and quick["equal_time"]["steps"] == quick["steps"] == 40
    assert slow["steps"] == 40 and slow["equal_time"]["steps"] == 20  # the same FLOPs per step, at half the pace
    assert slow["equal_time"]["bits_per_second_speech"] == 5.0 and made == ["quick", "slow", "slow-equal-time"]
    text = systems.markdown(measured)
    assert "| 1000 | 20 | 5.00 | – |" in text and "trains for 20.0 s of this machine" in text


def test_rows_of_twice_the_length_and_rows_of_one_document(config):
    longer = length.doubled(config)
    assert (longer.data.row_tokens, longer.data.row_patches) == (
        2 * config.data.row_tokens,
        2 * config.data.row_patches,
    )
    batch = made_up_batches(config, 1)[0][0]
    merged = length.one_document(batch)
    assert merged.doc_id_BT.max() == 1 < batch.doc_id_BT.max()
    assert ((merged.doc_id_BT > 0) == (batch.doc_id_BT > 0)).all()


def test_the_same_content_has_rows_of_the_same_tokens(config):
    base = with_strategy_none(config)
    assert patching.with_tokens(base, 200).data.row_patches == patching.with_tokens(base, 200).data.row_tokens == 200
    assert patching.with_tokens(config, 200).data.row_patches == config.data.row_patches
    for some in (config, base):
        only = patching.interleaved_only(some)
        assert [s.kind for s in only.data.sources] == ["utterance"] and only.data.row_tokens > 2 * patching.ROW_PATCHES
    assert only.data.row_patches == only.data.row_tokens


def with_strategy_none(config):
    model = dataclasses.replace(config.model, architecture="base", patch_encoder=None, patch_decoder=None)
    patch_none = dataclasses.replace(config.data.patching, strategy="none")
    return dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, patching=patch_none))
