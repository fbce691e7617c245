"""The training checkpoint as a format: a run directory, one of its checkpoints, or the mean of several.

`write` makes a run directory that `lst evaluate`, `lst generate` and `train.init_from` take: config.json, the
tokenizers that it names, and one checkpoint with parameters alone.
"""

import functools
from collections.abc import Sequence

import numpy as np
import tqdm

from lst_jax.checkpoints import stream
from lst_jax.checkpoints.steps import copy_step, whole_steps
from lst_jax.checkpoints.stream import StepFolder
from lst_jax.config import Config, config_hash, identity, other_function, value_in
from lst_jax.convert import companions, streamed
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source, Stored, check_shapes, expected_shapes
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import CheckpointError, ConfigError
from lst_jax.runs import directory
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage.place import Place

NAME = "orbax"


def recognises(path: Place) -> bool:
    """Whether the path is a run directory with checkpoints, or one of its checkpoints."""
    return directory.find(path) is not None


def open_source(path: Place, recipe: Config | None = None, step: int | None = None, average: int = 1) -> Source:
    """The newest checkpoint up to `step`, or the mean of the `average` newest ones.

    Raises: CheckpointError where there is no such checkpoint, or it is damaged; ConfigError for a recipe.
    """
    if recipe is not None:
        raise ConfigError(f"--config: {path} has its own configuration; leave --config out")
    run, named = directory.find(path)
    if named is not None and step is not None:
        raise ConfigError(f"--step={step}: {path} names a checkpoint already; give the run, or leave --step out")
    steps = _choose(run, named if step is None else step, average)
    config = run.load_config()
    folders = [StepFolder(run.checkpoints_path, number) for number in steps]
    expected = expected_shapes(config.model, config.joint_vocab)
    for folder in folders:
        _check_identity(config, folder)
        check_shapes(folder.shapes("params"), expected, f"{folder.path}")
    newest = folders[-1]
    companions.check_vocabulary(config, newest.meta, newest.path)
    origin = {"format": NAME, "path": str(run.path), "step": newest.step}
    origin |= {"averaged": steps} if len(steps) > 1 else {}
    origin |= {"vocabulary": newest.meta["vocabulary"]} if "vocabulary" in newest.meta else {}
    return Source(
        config,
        {path: Stored(shape, functools.partial(_mean, folders, path)) for path, shape in expected.items()},
        origin,
    )


def write(source: Source, out: Place, progress: bool = False) -> None:
    """Writes the run directory, with the tokenizers that its config.json names beside it."""
    companions.copy_tokenizers(source.config, out)
    config = companions.with_files_of(source.config, out)
    RunDirectory(out).write_config(config)
    meta = {
        "identity": identity(config),
        "config_hash": config_hash(config),
        "data_fingerprint": None,
        "commit": code_commit(),
        "vocabulary": companions.vocabulary(source),
    }
    with tqdm.tqdm(total=2 * len(source.arrays), desc="write", unit="read", disable=not progress) as bar:
        watched = source.observed_by(lambda path, array: bar.update())
        stream.write_params(
            RunDirectory(out).checkpoints_path,
            source.origin["step"] or 0,
            {path: one.shape for path, one in watched.arrays.items()},
            lambda path: watched.arrays[path].read(),
            meta,
        )


def write_state(path: Place, step: int | None, out: Place) -> Source:
    """Copies the newest checkpoint up to `step` with its whole training state, after reading every array as a check.

    Raises: CheckpointError where the checkpoint is damaged, or holds parameters alone.
    """
    run, named = directory.find(path)
    source = open_source(path, None, step)
    folder = StepFolder(run.checkpoints_path, source.origin["step"])
    if "train" not in folder.items:
        raise CheckpointError(f"--state: {folder.path} holds parameters alone; leave --state out")
    for item in folder.items:
        for name in folder.shapes(item):
            folder.read(item, name)
    companions.copy_tokenizers(source.config, out)
    RunDirectory(out).write_config(companions.with_files_of(source.config, out))
    try:
        copy_step(folder.path, RunDirectory(out).checkpoint_path(folder.step))
    finally:
        folder.check_present()
    return source


def logits(path: Place, inputs: Inputs) -> tuple[np.ndarray, str]:
    """Float32 logits [B, T, V] of the newest checkpoint, read from disk again, and what computed them."""
    return streamed.logits(open_source(path), inputs), "lst_jax"


def _choose(run: RunDirectory, up_to: int | None, count: int) -> list[int]:
    """The `count` newest steps, ascending; the step `up_to` must be one of them."""
    there = whole_steps(run.checkpoints_path)
    steps = [s for s in there if up_to is None or s <= up_to]
    listed = ", ".join(map(str, there)) or "none"
    if not steps:
        raise CheckpointError(
            f"{run.checkpoints_path}: holds no checkpoint{f' up to {up_to}' if up_to else ''} "
            f"(there: {listed}); train first with lst train {run.path}, or give another --step"
        )
    if up_to is not None and steps[-1] != up_to:
        raise CheckpointError(f"--step={up_to}: {run.checkpoints_path} holds {listed}; give one of these")
    if not 1 <= count <= len(steps):
        raise ConfigError(
            f"--average={count}: must lie in 1..{len(steps)}, the checkpoints up to step {steps[-1]}; "
            "give as many, or keep more of them with train.checkpoint_keep"
        )
    return steps[-count:]


def _check_identity(config: Config, folder: StepFolder) -> None:
    """Raises: CheckpointError where config.json was changed since in a field that decides the function."""
    ours, theirs = identity(config), folder.meta["identity"]
    if key := other_function(ours, theirs):
        raise CheckpointError(
            f"{key}={value_in(ours, key)!r}: {folder.path} was trained with {value_in(theirs, key)!r}; put that value "
            "back into the run's config.json"
        )


def _mean(folders: Sequence[StepFolder], path: str) -> np.ndarray:
    """The mean of one array over all folders: summed in float64 and rounded once; unchanged for a single folder."""
    if len(folders) == 1:
        return folders[0].read("params", path)
    total = folders[0].read("params", path).astype(np.float64)
    for folder in folders[1:]:
        total += folder.read("params", path)
    return (total / len(folders)).astype(np.float32)
