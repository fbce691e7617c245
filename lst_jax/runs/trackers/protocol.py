"""What a tracker is: a client of a service that shows the records of runs, as Weights & Biases or MLflow do."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from lst_jax.storage.place import Place


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """What a service is told of a run. `id` is the same at every start, and unlike that of any other run."""

    id: str
    name: str
    place: Place
    settings: Mapping[str, Any]  # the configuration by dotted paths


class Tracker(Protocol):
    """One run at a service. It is used from one thread, and may raise what it likes."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Sends the numbers of one record, by names such as "train/loss"."""

    def close(self) -> None:
        """Sends what is left. Returns when the service has it."""
