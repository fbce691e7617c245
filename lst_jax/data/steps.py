"""Steps made one after the other from the streams of rows, in this process."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.config import Config
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import Batch, Stats, add_stats, initial_state, stack_rows


class Step(NamedTuple):
    """One batch, and the state to store if training stops after it. The two travel together, whatever is prefetched."""

    step: int
    batch: Batch
    stats: Stats  # of this process's rows
    state_after: np.ndarray  # int64 [this process's rows, sources, 5]


class StepMaker:
    """Makes one step after the other. Its state is the number of the next step and the streams' integers."""

    def __init__(self, config: Config, streams: RowStreams, rows: Sequence[int]):
        """Stands at step 0. `rows` are the rows of the global batch that it makes."""
        self._streams, self._row_numbers = streams, rows
        self._step = 0
        self._state = initial_state(len(rows), len(config.data.sources))

    def make(self) -> Step:
        """The next step. Raises: DataError where a record cannot be used; the step is tried again then."""
        step = self._step
        made = [
            self._streams.next_row(state, row, step) for state, row in zip(self._state, self._row_numbers, strict=True)
        ]
        batches, stats, states = zip(*made, strict=True)
        self._step, self._state = step + 1, np.stack(states)
        return Step(step, stack_rows(batches), add_stats(stats), self._state.copy())

    def get_state(self) -> dict[str, Any]:
        """`{"step": next step, "rows": int64 [rows, sources, 5]}`, a copy."""
        return {"step": self._step, "rows": self._state.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a `get_state`."""
        self._step, self._state = int(state["step"]), np.array(state["rows"], np.int64)

    def close(self) -> None:
        """Stops the threads that read ahead."""
        self._streams.close()
