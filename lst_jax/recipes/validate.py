"""Whether a configuration keeps every rule: bounds, rules that cross fields, and what each chosen member asks."""

from lst_jax.config import Config, rules
from lst_jax.core.strict import fail
from lst_jax.data.patching import STRATEGIES, strategy_of
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.step.optimizers.registry import optimizer_class
from lst_jax.step.schedules.registry import schedule_of


def validate(config: Config) -> None:
    """Checks every rule, and changes nothing. Raises: ConfigError for the first field that breaks one."""
    strategy, architecture = strategy_of(config.data.patching), architecture_named(config.model.architecture)
    optimizer_class(config.optim)
    schedule_of(config.optim)
    rules.check(config)
    architecture.check(config)
    if architecture.patches_speech != strategy.patches_speech:
        fitting = [name for name, kind in STRATEGIES.items() if kind.patches_speech == architecture.patches_speech]
        fail(
            "data.patching.strategy",
            strategy.name,
            f"does not go with model.architecture={architecture.config_name!r}",
            f"use {' or '.join(fitting)}",
        )
    strategy.check(config)
