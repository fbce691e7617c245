"""Finds accelerators by the name of a TPU generation or by JAX's `device_kind`, and takes new ones."""

import dataclasses

from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import nearest
from lst_jax.cost.accelerators.gpus import GPUS
from lst_jax.cost.accelerators.kinds import Gpu, TpuGeneration, sides_of
from lst_jax.cost.accelerators.tpus import TPUS

_TPUS: dict[str, TpuGeneration] = {}
_BY_DEVICE_KIND: dict[str, TpuGeneration | Gpu] = {}


def register(accelerator: TpuGeneration | Gpu) -> None:
    """Adds an entry to the table.

    Raises: ConfigError where the entry is incomplete, or where its name or a device kind is taken.
    """
    what = accelerator.name if isinstance(accelerator, TpuGeneration) else ", ".join(accelerator.device_kinds)
    taken = [kind for kind in accelerator.device_kinds if kind in _BY_DEVICE_KIND]
    if taken or what in _TPUS:
        raise ConfigError(f"accelerator {what}: {(taken or [what])[0]!r} is registered already; choose another name")
    if not accelerator.device_kinds:
        raise ConfigError(f"accelerator {what}: device_kinds=(): must not be empty; give JAX's `device_kind`")
    for field in dataclasses.fields(accelerator):
        value = getattr(accelerator, field.name)
        if isinstance(value, (int, float)) and not value > 0:
            raise ConfigError(f"accelerator {what}: {field.name}={value!r}: must be above 0; give the chip's figure")
    if isinstance(accelerator, TpuGeneration):
        _check_topologies(accelerator)
        _TPUS[accelerator.name] = accelerator
    _BY_DEVICE_KIND.update(dict.fromkeys(accelerator.device_kinds, accelerator))


def _check_topologies(tpu: TpuGeneration) -> None:
    for topology in (*tpu.topologies, *tpu.chips_of_single_hosts):
        if len(sides_of(topology)) != tpu.torus_axes:
            raise ConfigError(
                f"accelerator {tpu.name}: topology {topology!r}: must have {tpu.torus_axes} sides, as the torus has "
                f"axes; write {'x'.join(['4'] * tpu.torus_axes)}, for example"
            )


def tpu_names() -> tuple[str, ...]:
    """Names of all generations of TPUs."""
    return tuple(_TPUS)


def tpu(name: str) -> TpuGeneration:
    """The generation of a name. Raises: ConfigError with the nearest name."""
    if name not in _TPUS:
        raise ConfigError(f"accelerator={name!r}: must be one of {', '.join(_TPUS)}; nearest: {nearest(name, _TPUS)}")
    return _TPUS[name]


def tpu_of_device(device_kind: str) -> TpuGeneration:
    """The generation of a JAX device. Raises: ConfigError where the table does not have it."""
    found = _BY_DEVICE_KIND.get(device_kind)
    if not isinstance(found, TpuGeneration):
        raise ConfigError(f"device_kind={device_kind!r}: no figures of it; use one of {', '.join(_TPUS)}")
    return found


def find(device_kind: str) -> TpuGeneration | Gpu | None:
    """The accelerator of a JAX device, or None where the table does not have it."""
    return _BY_DEVICE_KIND.get(device_kind)


for _accelerator in (*TPUS, *GPUS):
    register(_accelerator)
