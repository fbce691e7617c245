"""Profiles of chosen steps, as XProf and TensorBoard read them: RUN/profiles/00000100-00000103/plugins/profile/steps/.

`train.profile_steps` chooses steps in advance. The signal SIGUSR2, sent to any process of a job, chooses the next three
steps of all. Each process traces its own devices. A profile that cannot be made is one line, and the run goes on.
"""

import contextlib
import pathlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

import jax

from lst_jax.config.rules import profiled_steps
from lst_jax.config.schema import TrainConfig
from lst_jax.core.errors import first_line
from lst_jax.parallel import processes
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SIGNAL = signal.SIGUSR2
STEPS_PER_SIGNAL = 3


@contextlib.contextmanager
def harmless_signal() -> Iterator[None]:
    """Within the block the signal does nothing, unless there are `Profiles`; by default it would end the process."""
    before = signal.signal(SIGNAL, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(SIGNAL, before)


class Profiles(contextlib.AbstractContextManager):
    """Starts and stops the profiler around the steps of the loop."""

    def __init__(self, folder: Place, train: TrainConfig, start: int):
        """Args: `folder` is RUN/profiles. `start` is the step that the run goes on from: steps up to it are passed over."""
        self._folder, self._tracing = folder, False
        self._first, self._last = profiled_steps(train.profile_steps) or (0, 0)
        self._first = max(self._first, start + 1)
        self._asked = False

    def __enter__(self) -> "Profiles":
        self._before = signal.signal(SIGNAL, self._note)
        return self

    def __exit__(self, *exception) -> None:
        """Keeps a profile whose last steps were not reached."""
        signal.signal(SIGNAL, self._before)
        if self._tracing:
            self._stop(self._done)

    def _note(self, number, frame) -> None:
        self._asked = True

    def take_request(self) -> bool:
        """Whether the signal has come since the last call."""
        asked, self._asked = self._asked, False
        return asked

    def ask(self, done: int) -> None:
        """Chooses the steps behind `done`, unless others are being profiled."""
        if not self._tracing:
            self._first, self._last = done + 1, done + STEPS_PER_SIGNAL

    @contextlib.contextmanager
    def around(self, step: int) -> Iterator[None]:
        """Around the work of a step on the host."""
        if step == self._first <= self._last:
            self._start()
        if not self._tracing:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield

    def reached(self, step: int, result: Any) -> bool:
        """Writes the profile behind its last step, once the devices have done it. Returns whether it did."""
        self._done = step
        if not self._tracing or step < self._last:
            return False
        jax.block_until_ready(result)
        self._stop(step)
        return True

    def _start(self) -> None:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every call of every Python function would be most of the file
        self._scratch = objects.scratch("profile")
        try:
            jax.profiler.start_trace(self._scratch.name, profiler_options=options)
            self._tracing = True
        except Exception as error:  # of the profiler, which the run does not need
            self._say(f"no profile of step {self._first} on ({first_line(error)})")
            self._scratch.cleanup()

    def _stop(self, last: int) -> None:
        self._tracing = False
        place = self._folder / f"{self._first:08d}-{last:08d}"
        try:
            jax.profiler.stop_trace()
            self._upload(place)
            self._say(f"profiled steps {self._first} to {last}: tensorboard --logdir {place}")
        except Exception as error:  # as above, and of the place
            self._say(f"{place}: the profile is lost ({first_line(error)})")
        finally:
            self._scratch.cleanup()

    def _upload(self, place: Place) -> None:
        """All processes write into one folder, which XProf shows as one profile: JAX names it by the time of each host."""
        process = f"process{jax.process_index():04d}-" if jax.process_count() > 1 else ""
        for path in sorted(pathlib.Path(self._scratch.name).glob("plugins/profile/*/*")):
            objects.upload(path, place / "plugins" / "profile" / "steps" / f"{process}{path.name}")

    def _say(self, line: str) -> None:
        if processes.is_leader():
            print(f"\n{line}; the run goes on", file=sys.stderr)
