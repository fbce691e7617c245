"""`lst plan --search`: the fastest mesh, remat policy and number of parts of a batch that fit.

Policies are tried from the one that recomputes least, each with as few parts (`train.accumulate`) as fit: more parts
only gather the parameters more often. Where a policy fits in one part and is slower than the one before it, the next
would only recompute more. The fastest of them is then tried with replicas within each slice, which gather and scatter
over fewer devices, and sum gradients over the replicas. Tensor parts are tried where nothing fits without them, or
where the network is what bounds the step. The fastest is the one of the shortest step by estimate.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator

from lst_jax.config import Config
from lst_jax.core.errors import ConfigError
from lst_jax.cost.plan import Plan

REMAT = ("none", "dots", "attention", "full")  # from the one that recomputes least
REPLICAS = (2, 4, 8)  # within a slice, besides the one that a slice is
TENSOR = (1, 2, 4)


def search(config: Config, make: Callable[[Config], Plan]) -> Iterator[Plan]:
    """The plans that are made on the way, one after the other. Args: `make` compiles one."""
    found: list[Plan] = []
    for tensor in TENSOR:
        fastest = _fastest(found)
        if fastest and fastest.floors_sec["network"] < fastest.bound_sec:
            return
        tried = []
        for plan in _policies(config, tensor, make):
            tried.append(plan)
            yield plan
        fastest = _fastest(tried)
        if fastest:
            for plan in _replicas(config, fastest, make):
                tried.append(plan)
                yield plan
        found += tried


def best(plans: list[Plan]) -> Plan:
    """The fastest that fits, or the one that misses by least. Raises: ConfigError where there is none."""
    if not plans:
        raise ConfigError(
            "--search: no mesh of these devices divides the recipe's rows, widths and heads; give "
            "another topology, or other data.rows"
        )
    return _fastest(plans) or min(plans, key=lambda plan: plan.hbm_bytes)


def changes(plan: Plan) -> tuple[str, ...]:
    """What a plan has changed in its recipe, or may have, as `lst train --set` takes it; nothing of a run's identity."""
    mesh = [f"mesh.{axis}={parts}" for axis, parts in plan.mesh.items()]
    return (*mesh, f"model.remat={json.dumps(plan.remat)}", f"train.accumulate={plan.accumulate}")


def _fastest(plans: list[Plan]) -> Plan | None:
    return min((plan for plan in plans if plan.fits), key=_speed, default=None)


def _speed(plan: Plan) -> float:
    return plan.step_sec


def _with(config: Config, replica: int | None, tensor: int, remat: str, accumulate: int) -> Config:
    return dataclasses.replace(
        config,
        mesh=dataclasses.replace(config.mesh, replica=replica, data=None, tensor=tensor),
        model=dataclasses.replace(config.model, remat=remat),
        train=dataclasses.replace(config.train, accumulate=accumulate),
    )


def _policies(config: Config, tensor: int, make: Callable[[Config], Plan]) -> Iterator[Plan]:
    before = None
    for remat in REMAT:
        last = None
        for last in _least_parts(_with(config, None, tensor, remat, 1), make):
            yield last
        if last is None or not last.fits:
            continue
        if before and last.accumulate == before.accumulate == 1 and _speed(last) > _speed(before):
            return
        before = last


def _replicas(config: Config, fastest: Plan, make: Callable[[Config], Plan]) -> Iterator[Plan]:
    """The plans of more and more replicas, up to the first that does not fit."""
    for within in REPLICAS:
        replica = fastest.slices * within
        try:
            plan = make(_with(config, replica, fastest.mesh["tensor"], fastest.remat, fastest.accumulate))
        except ConfigError:
            return
        yield plan
        if not plan.fits:
            return


def _least_parts(config: Config, make: Callable[[Config], Plan]) -> Iterator[Plan]:
    """Plans of more and more parts, up to the first that fits; none where the mesh does not divide the recipe."""
    accumulate = 1
    while True:
        try:
            plan = make(_with(config, config.mesh.replica, config.mesh.tensor, config.model.remat, accumulate))
        except ConfigError:
            return
        yield plan
        more = parts_that_fit(plan)
        if plan.fits or more is None:
            return
        accumulate = more


def parts_that_fit(plan: Plan) -> int | None:
    """How many parts a batch that does not fit should have: what rows need falls with them, and the state stays.

    None where a device has but one row at a time, or the state alone is too much.
    """
    rows = plan.rows // (plan.mesh["replica"] * plan.mesh["data"])  # of a device
    state = 2 * sum(plan.state_bytes.values())  # and gradients, and layers stacked in the compute dtype
    room = plan.hbm_capacity - state
    if room <= 0:
        return None
    needed = plan.accumulate * (plan.hbm_bytes - state) / room
    larger = [n for n in range(plan.accumulate + 1, rows + 1) if rows % n == 0 and n >= needed]
    return larger[0] if larger else None
