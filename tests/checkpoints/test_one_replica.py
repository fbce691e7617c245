"""One replica reads for the others only where each has processes of its own; `tests/train/test_jobs.py` reads so."""

import pytest

from lst_jax.checkpoints import one_replica
from lst_jax.config import MeshConfig
from lst_jax.core.errors import ConfigError
from lst_jax.parallel import sharding


@pytest.mark.parametrize("replicas", [1, 2])
def test_replicas_of_one_process_are_refused(replicas):
    mesh = sharding.make_mesh(MeshConfig(replicas, None, 1))
    with pytest.raises(ConfigError, match=rf"train.restore_one_replica=True: .* {replicas} replica\(s\) on 1 process"):
        one_replica.check(mesh)
