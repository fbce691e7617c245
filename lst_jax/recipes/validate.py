"""Whether a configuration keeps every rule: bounds, fields that cross, and what each chosen member asks."""

import math

from lst_jax.config import Config, flatten, rules, to_mapping
from lst_jax.core.strict import fail
from lst_jax.data.patching import STRATEGIES, NoPatches, strategy_of


def validate(config: Config) -> None:
    """Checks every rule, and changes nothing. Raises: ConfigError for the first field that breaks one."""
    for path, value in flatten(to_mapping(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            fail(path, value, "must be finite", "give a number")
    strategy = strategy_of(config.data.patching)
    rules.check(config)
    if (config.model.architecture == "base") == strategy.patches_speech:
        patching = ", ".join(name for name, kind in STRATEGIES.items() if kind.patches_speech)
        fail(
            "data.patching.strategy",
            strategy.name,
            f"does not go with model.architecture={config.model.architecture!r}",
            f'use "{NoPatches.name}" for base, and one of {patching} for the others',
        )
    strategy.check(config)
