"""MLflow. Its own environment variables choose the server and the experiment: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME."""

import os
import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import Metric, Param

from lst_jax.runs.trackers.protocol import TrackedRun

EXPERIMENT = "lst_jax"
TAG = "lst_run"  # by which a later start finds its run
LONGEST_VALUE = 500  # characters of a parameter, which every version of the server takes
MOST_PARAMS = 100  # of one request


class MlFlow:
    """One run of an experiment."""

    def __init__(self, run: TrackedRun):
        """Goes on with the run that has this id as a tag, if the server has it."""
        self._client = mlflow.MlflowClient()
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        found = self._client.search_runs([experiment], f"tags.{TAG} = '{run.id}'")
        if found:
            self._run = found[0].info.run_id
            return
        self._run = self._client.create_run(experiment, tags={TAG: run.id}, run_name=run.name).info.run_id
        params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in run.settings.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + MOST_PARAMS])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of a record."""
        now = int(1000 * time.time())
        self._client.log_batch(self._run, [Metric(key, float(value), now, step) for key, value in values.items()])

    def close(self) -> None:
        """Ends the run at the server; a later start begins it again."""
        self._client.set_terminated(self._run)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id
