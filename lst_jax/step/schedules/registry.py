"""The learning-rate schedules by the names that `optim.schedule` takes."""

from lst_jax.config import OptimConfig
from lst_jax.core.strict import fail, nearest
from lst_jax.step.schedules.cosine import Cosine
from lst_jax.step.schedules.schedule import Schedule
from lst_jax.step.schedules.wsd import Wsd

_MEMBERS: dict[str, Schedule] = {}


def register(name: str, member: Schedule) -> None:
    """Makes `optim.schedule=NAME` mean this object. Raises: TypeError where the name is taken."""
    if name in _MEMBERS:
        raise TypeError(f"schedule {name!r}: is {type(_MEMBERS[name]).__name__} already; choose another name")
    _MEMBERS[name] = member


def schedule_of(config: OptimConfig) -> Schedule:
    """The schedule that the configuration names. Raises: ConfigError where there is none of that name."""
    name = config.schedule
    if name not in _MEMBERS:
        fail("optim.schedule", name, f"must be one of {', '.join(_MEMBERS)}", f"nearest: {nearest(name, _MEMBERS)}")
    return _MEMBERS[name]


register("cosine", Cosine())
register("wsd", Wsd())
