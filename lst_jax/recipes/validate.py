"""Whether a configuration keeps every rule: bounds, rules that cross fields, and what each chosen member asks."""

from lst_jax.config import Config, rules
from lst_jax.core.strict import fail
from lst_jax.data.patching import STRATEGIES, NoPatches, strategy_of


def validate(config: Config) -> None:
    """Checks every rule, and changes nothing. Raises: ConfigError for the first field that breaks one."""
    strategy = strategy_of(config.data.patching)
    rules.check(config)
    if (config.model.architecture == "base") == strategy.patches_units:
        patching = ", ".join(name for name, kind in STRATEGIES.items() if kind.patches_units)
        fail(
            "data.patching.strategy",
            strategy.name,
            f"does not go with model.architecture={config.model.architecture!r}",
            f'use "{NoPatches.name}" for base, and one of {patching} for the others',
        )
    strategy.check(config)
