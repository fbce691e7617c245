"""Whether a configuration keeps every rule: bounds, fields that cross, and what each chosen member asks."""

import math

from lst_jax.config import Config, flatten, rules, to_mapping
from lst_jax.core.strict import fail


def validate(config: Config) -> None:
    """Checks the rules that cross fields or bound a value (`lst_jax.rules`). Raises ConfigError; changes nothing."""
    for path, value in flatten(to_mapping(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            fail(path, value, "must be finite", "give a number")
    rules.check(config)
