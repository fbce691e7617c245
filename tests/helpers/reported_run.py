"""A run directory that only a report would open: configuration, records and ledger, without a model."""

import json
import pathlib

from lst_jax.recipes.load import load_recipe
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import FileLines

SPEED = {"seconds_per_step": 0.5, "tokens_per_second": 2000.0, "patches_per_second": 800.0}
TRAINED = {
    "loss": 5.0,
    "bits_per_text_token": 7.0,
    "bits_per_second_speech": 200.0,
    "skipped_steps": 0,
    "aligned_probability": 1.0,
    "utterances_opened": 4,
    "utterances_aligned": 2,
    "mean_patch_frames": 4.0,
    "unit_fill": 0.95,
    "token_fill": 0.97,
}


def make(path: pathlib.Path, **values) -> RunDirectory:
    """Three steps of the demo's recipe; `values` replace those of the last step."""
    run = RunDirectory(path)
    run.write_config(load_recipe("configs/demo.py"))
    run.record_start(0, ["cpu:0"], (1e9, "measured"))
    with Ledger(FileLines(run.ledger_path), 0, 0.0, iter([float(n) for n in range(100)]).__next__) as ledger:
        ledger.reached(3, record=True)
    records = [{"step": step, "kind": "train", **TRAINED, **SPEED, "tokens_so_far": 100 * step} for step in (1, 2, 3)]
    records[-1] |= values
    run.metrics_path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return run
