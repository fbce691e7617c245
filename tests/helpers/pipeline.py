"""A tiny corpus to a trained run: prepare text, prepare speech, train. `python pipeline.py FOLDER` goes on in FOLDER.

With `prepare` behind it the program ends before it trains.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import synthetic_data
import training_run

from lst_jax import config as cfg
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.cli import main
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.runs.directory import RunDirectory

CORPUS = pathlib.Path(__file__).parents[2] / "corpora" / "asterisk"
TIMES = ("seconds_per_step", "tokens_per_second", "units_per_second", "patches_per_second", "mfu", "peak_flops")
PROMPTS = {
    "conf-full": "that conference is full",
    "all-circuits-busy-now": "all circuits are busy now",
    "agent-pass": "please enter your password followed by the pound key",
}


def make_inputs(folder: pathlib.Path) -> None:
    """What the pipeline begins from: two manifests, a unit tokenizer and a text tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [{"id": n, "audio": str(CORPUS / "audio" / f"{n}.ogg"), "text": t} for n, t in PROMPTS.items()]
    (folder / "speech.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "text.txt").write_text("".join(document.text + "\n" for document in synthetic_data.texts(20)))
    rng = np.random.default_rng(0)
    centres = rng.normal(-5, 1, (40, 320)).astype(np.float32)
    LogMelKMeans(centres, np.zeros(320, np.float32), np.ones(320, np.float32)).save(folder / "units.safetensors")
    training_run.tokenizer_of(folder)


def prepare_text(inputs: pathlib.Path, out: pathlib.Path) -> list[str]:
    return ["prepare", "text", "--manifest", str(inputs / "text.txt"), "--shard-records", "5", "--out", str(out)]


def prepare_speech(inputs: pathlib.Path, out: pathlib.Path) -> list[str]:
    units = ["--units", str(inputs / "units.safetensors"), "--workers", "1", "--shard-records", "1"]
    return ["prepare", "speech", "--manifest", str(inputs / "speech.jsonl"), *units, "--out", str(out)]


def make_config(inputs: pathlib.Path, data: pathlib.Path) -> cfg.Config:
    """The run of `training_run` over what the pipeline prepares: 8 steps, a checkpoint every 3."""
    config = training_run.make_config(inputs)
    sources = tuple(dataclasses.replace(s, path=str(data / s.name)) for s in config.data.sources)
    heldout = tuple(dataclasses.replace(s, path=str(data / "speech")) for s in config.eval.sources)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, sources=sources),
        eval=dataclasses.replace(config.eval, sources=heldout),
    )


def run(folder: pathlib.Path, train: bool = True) -> int:
    """All of it in FOLDER, whose inputs are FOLDER/inputs; returns the first exit code that is not 0."""
    inputs = folder / "inputs"
    for name, command in (("text", prepare_text), ("speech", prepare_speech)):
        if code := main.main(command(inputs, folder / name)):
            return code
    if not train:
        return 0
    run_dir = RunDirectory(folder / "run")
    if not run_dir.config_path.exists():
        run_dir.write_config(make_config(inputs, folder))
    return main.main(["train", str(run_dir.path)])


def start(command: list[str], compiled: pathlib.Path, **options) -> subprocess.Popen:
    """A process of its own session, so that it can be killed with its workers; programs are compiled once for all."""
    paths = os.pathsep.join([str(CORPUS.parents[1]), str(pathlib.Path(__file__).parent)])
    env = {
        "PYTHONPATH": paths,
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | env,
        start_new_session=True,
        **options,
    )


def result(folder: pathlib.Path) -> dict[str, object]:
    """What must not depend on how often the pipeline was cut short: prepared bytes, records, checkpoints' checksums."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("text", "speech")
        for path in sorted((folder / name).iterdir())
        if path.is_file() and path.suffix == ".array_record"
    }
    if not (folder / "run").exists():
        return found
    records = RunDirectory(folder / "run").read_metrics()
    found["records"] = [{k: v for k, v in record.items() if k not in TIMES} for record in records]
    with Checkpoints(folder / "run" / "checkpoints", 2) as checkpoints:
        found["checksums"] = {step: checkpoints.meta(step)["checksums"] for step in (6, 8)}
    return found


if __name__ == "__main__":
    sys.exit(run(pathlib.Path(sys.argv[1]), train=sys.argv[2:] != ["prepare"]))
