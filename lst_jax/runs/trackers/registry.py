"""The trackers by name. Each lives in a module of its own, which imports its package only when it is asked for."""

import importlib.util
import uuid
from collections.abc import Callable

from lst_jax.config import Config, flatten, to_mapping
from lst_jax.core.errors import ConfigError
from lst_jax.runs.trackers.aside import Aside
from lst_jax.runs.trackers.protocol import TrackedRun, Tracker
from lst_jax.storage import objects
from lst_jax.storage.place import Place

ID_FILE = "tracked.txt"  # of a run that a service has


def _wandb(run: TrackedRun) -> Tracker:
    from lst_jax.runs.trackers.weights_and_biases import WeightsAndBiases

    return WeightsAndBiases(run)


def _mlflow(run: TrackedRun) -> Tracker:
    from lst_jax.runs.trackers.ml_flow import MlFlow

    return MlFlow(run)


# name, which is that of its package and of its extra -> what opens it
TRACKERS: dict[str, Callable[[TrackedRun], Tracker]] = {"wandb": _wandb, "mlflow": _mlflow}


def names_of(text: str) -> list[str]:
    """The names in `train.trackers`. Raises: ConfigError for an unknown name, and where a package is not installed."""
    names = text.split()
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"train.trackers={text!r}: {name!r} is none of {', '.join(TRACKERS)}; use one of these")
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"train.trackers={text!r}: the package {name} is not installed; pip install 'lst_jax[{name}]'"
            )
    return names


def open_all(run_path: Place, config: Config) -> list[Aside]:
    """The trackers that the run asks for, each opened in a thread of its own."""
    names = names_of(config.train.trackers)
    if not names:
        return []
    run = TrackedRun(_id_of(run_path), f"{config.name} {run_path.name}", run_path, flatten(to_mapping(config)))
    return [Aside(name, lambda name=name: TRACKERS[name](run)) for name in names]


def _id_of(run_path: Place) -> str:
    """The run's own id, made at its first tracked start."""
    place = run_path / ID_FILE
    new = uuid.uuid4().hex[:12]
    if objects.create(place, new.encode()):
        return new
    return objects.read_text(place).strip()
