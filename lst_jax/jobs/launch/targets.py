"""The launch targets by the names that `--to` takes. To add one, write a module like `xpk.py` and list it here.

A program that is not part of this package calls `register` instead.
"""

from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import nearest
from lst_jax.jobs.launch import jobset, queued_resource, slurm, xpk
from lst_jax.jobs.launch.target import Target

_TARGETS: dict[str, Target] = {}


def register(target: Target) -> None:
    """Makes a target known to `lst launch` and `lst sweep render`.

    Raises: ConfigError where the name is taken, or the target has no name, no description or nothing that renders.
    """
    if target.name in _TARGETS:
        raise ConfigError(f"target {target.name!r}: is registered already; choose another name")
    if not (target.name and target.description and callable(target.render)):
        raise ConfigError(f"target {target.name!r}: must have a name, a description and a render function; give them")
    _TARGETS[target.name] = target


def target(name: str) -> Target:
    """The target of a name. Raises: ConfigError with the nearest name."""
    if name not in _TARGETS:
        fix = f"nearest: {nearest(name, _TARGETS)}"
        raise ConfigError(f"--to={name!r}: must be one of {', '.join(_TARGETS)}; {fix}")
    return _TARGETS[name]


def names() -> tuple[str, ...]:
    """Names of all targets."""
    return tuple(_TARGETS)


def descriptions() -> str:
    """All targets in one line, for `--help`."""
    return "; ".join(f"{target.name}: {target.description}" for target in _TARGETS.values())


for _target in (jobset.TARGET, queued_resource.TARGET, xpk.TARGET, slurm.TARGET):
    register(_target)
