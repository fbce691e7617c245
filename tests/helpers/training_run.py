"""A tiny run over made-up records; also a program, so that tests can kill it: `python training_run.py RUN DATA [SYSTEM [STEP]]`.

With STEP the program kills itself, as kill -9 does, in the middle of the save of that step. SYSTEM is lst or base.
"""

import dataclasses
import functools
import os
import pathlib
import signal
import sys

import fsspec.spec
import synthetic_data

from lst_jax import config as cfg
from lst_jax.runs.directory import RunDirectory


def make_data(folder: pathlib.Path) -> None:
    synthetic_data.write_directory(folder / "speech", [[synthetic_data.utterance(i) for i in range(12)]])
    synthetic_data.write_directory(folder / "valid", [[synthetic_data.utterance(i, 14) for i in range(100, 106)]])
    synthetic_data.write_directory(folder / "text", [synthetic_data.texts(20)], kind="text")


def make_config(folder: pathlib.Path, **train) -> cfg.Config:
    """8 steps by default, checkpoint every 3, evaluation every 4."""
    sources = (
        cfg.SourceConfig("speech", "utterance", str(folder / "speech"), 1.0),
        cfg.SourceConfig("text", "text", str(folder / "text"), 2.0),
    )
    config = synthetic_data.make_config(rows=8, sources=sources, taus=(2, 6), prefetch=2)
    settings = (
        dict(
            steps=8,
            init_from=None,
            log_every=1,
            checkpoint_every=3,
            checkpoint_minutes=None,
            checkpoint_keep=2,
            checkpoint_keep_every=None,
            bad_step="halt",
            accumulate=1,
            offload_moments=False,
        )
        | train
    )
    return dataclasses.replace(
        config,
        train=cfg.TrainConfig(**settings),
        data=dataclasses.replace(config.data, tokenizer=str(tokenizer_of(folder))),
        eval=cfg.EvalConfig(4, (cfg.SourceConfig("speech", "utterance", str(folder / "valid"), 1.0),), 1, 4),
    )


def make_base_config(folder: pathlib.Path, **train) -> cfg.Config:
    """The same run of Base, for tests that are not about patches: it compiles in a fraction of the time."""
    config = make_config(folder, **train)
    tokens = config.data.row_tokens
    base = synthetic_data.make_config(tokens=tokens, units=tokens, strategy="none")
    data = dataclasses.replace(config.data, row_patches=tokens, patching=base.data.patching)
    return dataclasses.replace(config, model=base.model, data=data)


def tokenizer_of(folder: pathlib.Path) -> pathlib.Path:
    """One file for all processes of a test."""
    path = folder / "tokenizer.model"
    if not path.exists():
        path.write_bytes(pathlib.Path(synthetic_data.tokenizer_path()).read_bytes())
    return path


def die_saving(step: int) -> None:
    """A save gives each of its items its name when the item is complete: the first of the step's is the end."""

    def rename(source, target, rename=os.rename):
        if f"{step:08d}" in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.rename = rename
    fsspec.spec.AbstractFileSystem.open = functools.partialmethod(
        _open_until, step, fsspec.spec.AbstractFileSystem.open
    )


def _open_until(self, step, opened, path, *words, **options):
    """In a bucket a save writes its commit file last."""
    if f"{step:08d}/commit_success.txt" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(self, path, *words, **options)


if __name__ == "__main__":
    from lst_jax.core.errors import UserError
    from lst_jax.train.loop import train

    run, data = sys.argv[1], pathlib.Path(sys.argv[2])
    if len(sys.argv) > 4:
        die_saving(int(sys.argv[4]))
    try:
        of_system = make_base_config if sys.argv[3:4] == ["base"] else make_config
        sys.exit(train(RunDirectory(run), of_system(data)))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
