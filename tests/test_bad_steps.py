"""A run that meets a batch without a finite loss stops there, or goes on without it, as configured."""

import dataclasses

import numpy as np
import pytest
from training_run import make_config, make_data

from lst_jax import train
from lst_jax.data.pipeline import BatchStream
from lst_jax.errors import BadStepError
from lst_jax.run_dir import RunDirectory

BAD_STEP, BAD_ROWS = 5, [1, 6]


class Poisoned(BatchStream):
    """One batch has weights that are not numbers."""

    def __next__(self):
        item = super().__next__()
        if item.step == BAD_STEP - 1:
            item.batch.weight_BT[BAD_ROWS] = np.nan
        return item


def test_a_bad_step_halts_the_run_and_its_batch_can_be_made_again_then_it_is_skipped(tmp_path, monkeypatch):
    make_data(tmp_path)
    config, run = make_config(tmp_path, log_every=4), RunDirectory(tmp_path / "run")
    monkeypatch.setattr(train, "BatchStream", Poisoned)
    with pytest.raises(BadStepError) as error:
        train.train(run, config)
    assert str(error.value).startswith(f"{run.path}: step 5: the loss is not finite in rows 1, 6; look at its batch")
    assert f"rebuild_batch({str(run.path)!r}, 5)" in str(error.value) and "\n" not in str(error.value)
    bad = [r for r in run.read_metrics() if r["kind"] == "bad"]
    assert [(r["step"], r["rows"]) for r in bad] == [(5, BAD_ROWS)]
    assert [p.name for p in run.checkpoints_path.iterdir()] == ["00000003"]

    monkeypatch.setattr(train, "BatchStream", BatchStream)
    rebuilt, stream = train.rebuild_batch(str(run.path), 5), BatchStream(config, prefetch=0)
    expected = [next(stream) for _ in range(5)][-1]
    for ours, theirs in zip(rebuilt.batch, expected.batch, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    monkeypatch.setattr(train, "BatchStream", Poisoned)
    skipping = dataclasses.replace(config, train=dataclasses.replace(config.train, bad_step="skip"))
    assert train.train(run, skipping) == 0
    records = run.read_metrics()
    assert [r["step"] for r in records if r["kind"] == "bad"] == [5]
    last = [r for r in records if r["kind"] == "train"][-1]
    assert last["step"] == 8 and last["skipped_steps"] == 1 and np.isfinite(last["loss"])
