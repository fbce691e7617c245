"""The records of a run: metrics of its steps, throughput, evaluations and bad steps."""

import collections
import time
from typing import Any

import jax
import numpy as np

from lst_jax.config import Config
from lst_jax.core.errors import BadStepError
from lst_jax.cost.flops import model_flops
from lst_jax.cost.peak import peak_flops
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import Step
from lst_jax.data.rows import CONSUMED, MEASURED, Stats
from lst_jax.parallel.host_times import HostTimes, PendingTimes
from lst_jax.parallel.processes import PendingTotals, RowTotals
from lst_jax.runs.metrics import MetricsWriter
from lst_jax.step import objective

RECENT = 20  # records that are remembered for whoever asks where a run stands
COUNTED = (
    "tokens",
    "units",
    "speech_frames",
    "speech_patches",
    "utterances_opened",
    "utterances_aligned",
    "utterances_skipped",
    "pieces",
    "pieces_cut",
    "speech_cut",
    "words_cut",
    "patches_split",
    "markers_repeated",
)


class Recorder:
    """Records the metrics of steps. They are read one record late, so that the host never waits for the newest step."""

    def __init__(
        self, writer: MetricsWriter | None, totals: RowTotals, config: Config, run: str, hosts: HostTimes | None = None
    ):
        """`writer`: None where another process writes the records. `hosts`: None where they are not compared."""
        self._writer = writer
        self._totals, self._hosts = totals, hosts
        self.recent: collections.deque[dict[str, Any]] = collections.deque(maxlen=RECENT)
        self._config = config
        self._run = run
        self._pending: tuple[int, dict[str, Any], PendingTotals, PendingTimes | None] | None = None
        self._watched: list[tuple[int, dict[str, Any]]] = []
        self._peak, _ = peak_flops()
        self.start()

    def start(self) -> None:
        """Starts the clock of the throughput figures."""
        self._clock, self._steps, self._own_sec = time.perf_counter(), 0, 0.0
        self._worked = {"worked/tokens": 0, "worked/units": 0, "worked/flops": 0}

    def count(self, stats: dict[str, Any]) -> None:
        """Adds this process's share of a step's work to the throughput since the last record."""
        for key in ("tokens", "units"):
            self._worked[f"worked/{key}"] += int(stats[key])
        self._worked["worked/flops"] += flops(self._config, stats)
        self._steps += 1

    def worked(self, seconds: float) -> None:
        """Adds the time that this host took for a step itself, without waiting for devices."""
        self._own_sec += seconds

    def watch(self, done: int, verdict: dict[str, Any]) -> None:
        """Keeps a step's verdict, on the device, for the next flush."""
        self._watched.append((done, verdict))

    def push(self, done: int, metrics: dict[str, Any], item: Step) -> str:
        """Takes a step's metrics and writes the ones taken before. Returns a text for the progress bar."""
        newest = self._watched.pop()  # the step that has just been started
        shown = self.flush()
        self._watched.append(newest)
        self.count(item.stats)
        totals = self._totals.start_sum(counts(self._config, item) | self._worked)
        hosts = self._hosts.start(self._own_sec / self._steps) if self._hosts else None
        self._pending = (done, metrics, totals, hosts)
        return shown

    def flush(self) -> str:
        """Waits for the steps that are pending, and writes their records.

        Raises: BadStepError where a step was bad and `train.bad_step` is "halt".
        """
        shown = self._write_pending() if self._pending else ""
        watched, self._watched = self._watched, []
        for done, verdict in jax.device_get(watched):
            if verdict["bad"]:
                self._bad_step(int(done), verdict)
        return shown

    def _bad_step(self, done: int, verdict: dict[str, Any]) -> None:
        rows, norm = np.flatnonzero(verdict["bad_rows_B"]).tolist(), float(verdict["grad_norm"])
        if rows:
            reason = f"the loss is not finite in row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}"
        elif not np.isfinite(norm):
            reason = "the gradient norm is not finite, though every loss is"
        else:
            reason = (
                f"the gradient norm {norm:.4g} is over optim.spike_factor={self._config.optim.spike_factor} "
                "times its running mean"
            )
        self._write(done, "bad", {"reason": reason, "rows": rows})
        if self._config.train.bad_step == "halt":
            raise BadStepError(
                f"{self._run}: step {done}: {reason}; look at its batch, lst_jax.train.loop.rebuild_batch({self._run!r}, "
                f'{done}), or go on without it: train.bad_step="skip"'
            )

    def _write_pending(self) -> str:
        done, metrics, pending, hosts = self._pending
        self._pending = None
        metrics, total = {k: float(v) for k, v in jax.device_get(metrics).items()}, pending.wait()
        summary = objective.summarize(metrics, self._config.data.unit_rate)
        seconds = time.perf_counter() - self._clock
        values = summary | {
            "grad_norm": metrics["grad_norm"],
            "learning_rate": metrics["learning_rate"],
            "skipped_steps": int(metrics["skipped_steps"]),
            **data_metrics(self._config, done - 1, total),
            "seconds_per_step": seconds / max(self._steps, 1),
            "tokens_per_second": total["worked/tokens"] / seconds,
            "patches_per_second": total["worked/units"] / seconds,
        }
        if self._peak:
            values["mfu"] = total["worked/flops"] / seconds / self._peak
        if hosts is not None:
            values |= hosts.wait()
        self._write(done, "train", values)
        self.start()
        return f"loss {summary['loss']:.3f}"

    def evaluation(self, done: int, values: dict[str, Any]) -> None:
        """Writes an evaluation's record after the step's own; the time of the evaluation does not count as training."""
        self.flush()
        self._write(done, "eval", values)
        self.start()

    def _write(self, done: int, kind: str, values: dict[str, Any]) -> None:
        self.recent.append({"step": done, "kind": kind, **values})
        if self._writer is not None:
            self._writer.write(done, kind, values)

    def sync(self) -> None:
        """Returns when every record written is on the disk, so that a checkpoint may be saved. Raises: StorageError."""
        if self._writer is not None:
            self._writer.sync()

    def close(self) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()


def flops(config: Config, stats: Stats) -> int:
    """Analytic FLOPs of training on the tokens and patches that `stats` counts."""
    return int(sum(model_flops(config.model, config.joint_vocab, stats).values()))


def counts(config: Config, item: Step) -> dict[str, int]:
    """The data path's counts of this process's rows of a batch; the sum over processes is that of the batch."""
    measured_S = item.state_after[:, :, MEASURED].sum(0)
    return {
        **{key: int(item.stats[key]) for key in COUNTED},
        "flops": flops(config, item.stats),
        "consumed": int(item.state_after[:, :, CONSUMED].sum()),
        **{f"measured/{source.name}": int(n) for source, n in zip(config.data.sources, measured_S, strict=True)},
    }


def data_metrics(config: Config, step: int, total: dict[str, int]) -> dict[str, Any]:
    """The `counts` of all rows as metrics. Shares are of `data.mixture_measure`, so far; `step` counts from 0."""
    data = config.data
    measured = {source.name: total[f"measured/{source.name}"] for source in data.sources}
    return {
        "tokens": total["tokens"],
        "patches": total["units"],
        "flops": total["flops"],
        "tokens_so_far": total["consumed"],
        "token_fill": total["tokens"] / (data.rows * data.row_tokens),
        "patch_fill": total["units"] / (data.rows * data.row_patches),
        "mean_patch_frames": total["speech_frames"] / max(total["speech_patches"], 1),
        "aligned_probability": strategy_of(data.patching).aligned_probability(step),
        **{key: total[key] for key in COUNTED[4:]},
        **{f"share/{name}": n / max(sum(measured.values()), 1) for name, n in measured.items()},
    }
