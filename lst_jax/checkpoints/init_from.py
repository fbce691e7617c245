"""Beginning a run with the parameters of another one (`train.init_from`), and with nothing else of it.

Optimizer state, schedule and data begin afresh. Only the very first start of a run reads the other run: later starts
go on from the run's own checkpoints.
"""

from jax.sharding import Mesh

from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config, identity, other_function, value_in
from lst_jax.core.errors import CheckpointError
from lst_jax.data.pipeline import BatchStream, vocabulary_of
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import processes
from lst_jax.runs import directory
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update
from lst_jax.storage.place import Place

VOCABULARY_FORMAT = 3  # checkpoints below it do not know the fingerprints of their vocabulary
FIELDS = {"tokenizer": "data.tokenizer", "unit_tokenizer": "data.unit_tokenizer", "codebook": "data.sources"}


def initial_state(
    config: Config, model: Architecture, mesh: Mesh, stream: BatchStream
) -> tuple[update.TrainState, Place | None]:
    """The state before the first update, on the mesh, and the checkpoint that its parameters are from, if any.

    Parameters are read straight into their shardings, so that each device reads its part once.
    Raises: CheckpointError where there is no such checkpoint, it is damaged, or does not fit the run.
    """
    if config.train.init_from is None:
        return update.init_state(config, model, mesh), None
    with processes.barrier({}):
        run, number = find(config.train.init_from)
    # opening meets the other processes; a manager that saves nothing removes nothing
    with Checkpoints(run.checkpoints_path, keep=1) as checkpoints:
        facts: dict[str, int] = {}
        with processes.barrier(facts):
            facts["step of train.init_from"] = number = _present(checkpoints, number, config.train.init_from)
            check_fits(config, stream.vocabulary(), checkpoints.meta(number), run, number)
        with processes.barrier({}):
            params = checkpoints.restore_params(number, update.state_shape(config, model, mesh).params)
    return update.state_from(config, model, mesh, params), run.checkpoint_path(number)


def find(path: str) -> tuple[RunDirectory, int | None]:
    """The run that `path` names, and the step if it names one of its checkpoints.

    Raises: CheckpointError where there is neither.
    """
    found = directory.find(path)
    if found is None:
        raise CheckpointError(
            f"train.init_from={path!r}: is neither a run with checkpoints nor one of them; give a "
            "run directory, or RUN/checkpoints/STEP"
        )
    return found


def check_fits(config: Config, vocabulary: dict[str, str | None], meta: dict, run: RunDirectory, number: int) -> None:
    """Refuses parameters of another model or over other tokens, naming the field and both sides.

    Args: `vocabulary` of this run, as `BatchStream.vocabulary` tells it; `meta` of the checkpoint.
    """
    folder, ours = run.checkpoint_path(number), identity(config)
    if key := other_function(ours, meta["identity"]):
        raise CheckpointError(
            f"{key}={value_in(ours, key)!r}: {folder} (train.init_from) was trained with "
            f"{value_in(meta['identity'], key)!r}; use that value, or begin from another run"
        )
    if meta["format_version"] >= VOCABULARY_FORMAT:
        theirs = meta["vocabulary"]
    else:
        theirs = vocabulary_of(run.load_config())
    for name, field in FIELDS.items():
        unknown = name == "codebook" and None in (vocabulary[name], theirs[name])
        if vocabulary[name] != theirs[name] and not unknown:
            raise CheckpointError(
                f"{field}: {name.replace('_', ' ')} has the fingerprint {vocabulary[name]}, {folder} "
                f"(train.init_from) was trained with {theirs[name]}; use that one, or begin from "
                "another run"
            )


def _present(checkpoints: Checkpoints, number: int | None, path: str) -> int:
    found = checkpoints.latest() if number is None else number
    if found is None:
        raise CheckpointError(f"train.init_from={path!r}: holds no checkpoint; train it first, or give another run")
    return found
