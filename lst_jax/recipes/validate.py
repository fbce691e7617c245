"""Whether a configuration keeps every rule: bounds, fields that cross, and what each chosen member asks."""

import math

from lst_jax.config import Config, flatten, rules, to_mapping
from lst_jax.core.strict import fail
from lst_jax.model.architectures.registry import architecture_named


def validate(config: Config) -> None:
    """Checks every rule, and changes nothing. Raises: ConfigError for the first field that breaks one."""
    for path, value in flatten(to_mapping(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            fail(path, value, "must be finite", "give a number")
    architecture = architecture_named(config.model.architecture)
    rules.check(config)
    architecture.check(config)
    strategy = config.data.patching.strategy
    if architecture.patches_speech != (strategy != "none"):
        fail(
            "data.patching.strategy",
            strategy,
            f"does not go with model.architecture={architecture.config_name!r}",
            "use static, aligned, mixed or curriculum" if architecture.patches_speech else 'use "none"',
        )
