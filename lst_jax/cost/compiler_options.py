"""XLA's options for the training step: the same for `lst train`, which runs it, and for all that compiles it to plan.

Each generation of TPUs has its own (`compiler_options` in `accelerators.tpus`); CPUs and GPUs have none. A run's
`train.compiler_options` takes their place. Options say how a step is compiled, so no identity has them, but the start
of a run is recorded with them.

Names of options belong to a version of the compiler. A version that does not know one must not end a run: such an
option is left out, and said.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.core.errors import first_line
from lst_jax.cost.accelerators import registry
from lst_jax.cost.accelerators.kinds import TpuGeneration
from lst_jax.parallel import sharding

# XLA's ways to refuse an option: by its name, and by its value
REFUSED = re.compile(r"No such compile option: '([^']+)'|Failed to parse .* into flag (\w+)|While setting option (\w+)")
BOOLS = {"true": True, "false": False}  # compilers for CPUs and GPUs take no words for these

Options = dict[str, bool | str]


def asked_for(own: str | None, device: Any) -> Options:
    """The options that a run asks for on devices such as this one: its own, or those of the chip where they are None.

    Example: "xla_a=true xla_b=2" -> {"xla_a": True, "xla_b": "2"}
    """
    if own is not None:
        pairs = (word.split("=", 1) for word in own.split())
        return {name: BOOLS.get(value, value) for name, value in pairs}
    tpu = registry.find(device.device_kind)
    return dict(tpu.compiler_options) if isinstance(tpu, TpuGeneration) else {}


def in_words(options: Mapping[str, bool | str]) -> str:
    """The options as `train.compiler_options` takes them."""
    return " ".join(f"{name}={_word(value)}" for name, value in options.items())


def _word(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def accepted(options: Mapping[str, bool | str], device: jax.Device) -> tuple[Options, list[str]]:
    """The options that this device's compiler takes, and one line about each of the others.

    They are tried on a program that adds one number.
    """
    if not options:
        return {}, []
    whole = sharding.replicated(sharding.one_device(device))
    tiny = jax.jit(lambda x: x + 1, in_shardings=whole).lower(jax.ShapeDtypeStruct((), jnp.float32))
    left, refused = dict(options), []
    while left:
        try:
            tiny.compile(compiler_options=left)
            break
        except jax.errors.JaxRuntimeError as error:
            found = REFUSED.search(str(error))
            name = found and next(filter(None, found.groups()))
            if name not in left:
                raise
            said = f"left out, as this compiler says: {first_line(error)}"
            refused.append(f"compiler option {name}={_word(left.pop(name))}: {said}")
    return left, refused


def options_of(own: str | None, device: jax.Device) -> tuple[Options, list[str]]:
    """The options that a run's step is compiled with on such devices, and one line about each that is left out.

    Args: `own`: the run's `train.compiler_options`.
    """
    return accepted(asked_for(own, device), device)
