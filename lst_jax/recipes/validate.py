"""Whether a configuration keeps every rule: bounds, rules that cross fields, and what each chosen member asks."""

from lst_jax.config import Config, rules


def validate(config: Config) -> None:
    """Checks the rules of `lst_jax.config.rules`. Changes nothing. Raises: ConfigError."""
    rules.check(config)
