"""The optimizers by the names that `optim.optimizer` takes."""

import inspect

from jax.sharding import Mesh

from lst_jax.config import OptimConfig
from lst_jax.core.strict import fail, nearest
from lst_jax.step.optimizers.adamw import AdamW
from lst_jax.step.optimizers.muon import Muon
from lst_jax.step.optimizers.optimizer import Optimizer

_MEMBERS: dict[str, type[Optimizer]] = {}


def register(name: str, member: type[Optimizer]) -> None:
    """Makes `optim.optimizer=NAME` mean this class. Raises: TypeError where it lacks a method, or the name is taken."""
    if inspect.isabstract(member):
        raise TypeError(f"optimizer {name!r}: {member.__name__} lacks {', '.join(sorted(member.__abstractmethods__))}")
    if name in _MEMBERS:
        raise TypeError(f"optimizer {name!r}: is {_MEMBERS[name].__name__} already; choose another name")
    _MEMBERS[name] = member


def optimizer_class(config: OptimConfig) -> type[Optimizer]:
    """The class that the configuration names. Raises: ConfigError where there is none of that name."""
    name = config.optimizer
    if name not in _MEMBERS:
        fail("optim.optimizer", name, f"must be one of {', '.join(_MEMBERS)}", f"nearest: {nearest(name, _MEMBERS)}")
    return _MEMBERS[name]


def make_optimizer(config: OptimConfig, mesh: Mesh) -> Optimizer:
    """The optimizer that the configuration names, for parameters on this mesh."""
    return optimizer_class(config)(config, mesh)


register("adamw", AdamW)
register("muon", Muon)
