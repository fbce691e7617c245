"""A process of a job that tries out what processes do together: `python peers.py PORT COUNT INDEX`; prints JSON."""

import json
import sys

import numpy as np

from lst_jax.config import MeshConfig
from lst_jax.core.errors import DataError, UserError
from lst_jax.parallel import host_times, processes, sharding

ROWS = 8


def refused(facts, error=None):
    """Message and code of what `barrier` raises."""
    try:
        with processes.barrier(facts):
            if error is not None:
                raise error
    except UserError as raised:
        return [str(raised), raised.exit_code]
    return None


def main(port, count, index):
    processes.join(count, f"127.0.0.1:{port}", index)
    mesh = sharding.make_mesh(MeshConfig(1, None, 1))
    mine = sharding.process_rows(mesh, ROWS)
    flags, totals = processes.SharedFlags(mesh), processes.RowTotals(mesh, ROWS)
    state = (np.arange(ROWS * 3, dtype=np.int64) * 10**12 - 5).reshape(ROWS, 3)
    return {
        "same": refused({"code": 1, "data": "x"}),
        "other": refused({"code": 1, "data": "y" if index == 1 else "x"}),
        "error": refused({"code": 1}, DataError("a.json: broken; mend it") if index == 1 else None),
        "flags": [flags.report(index == 1 and step == 2, False) for step in range(5)],
        "totals": totals.start_sum({"one": 10**17 + index, "none": 0}).wait(),
        "hosts": host_times.HostTimes(mesh).start(0.25 * (1 + index)).wait(),
        "state": processes.gather_rows(mesh, state[mine], ROWS).tolist() == state.tolist(),
        "rows": mine,
        "leader": processes.is_leader(),
    }


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
