"""How a recipe builds on another one: it loads the file beside it and changes what it names.

Example, in configs/mine.py:
    DEMO = sibling(__file__, "demo.py")

    def get_config(arg):
        config = DEMO.get_config(arg)
        config.train.steps = 1000
        config.eval.sources = named(config.eval.sources, "valid", "text")
        return config
"""

import pathlib
import types
from collections.abc import Sequence
from typing import Any

from lst_jax.core.errors import ConfigError
from lst_jax.recipes.load import load_recipe_module


def sibling(own_file: str, name: str) -> types.ModuleType:
    """The recipe `name` in the folder of `own_file`, as a module. Raises: ConfigError where there is none."""
    return load_recipe_module(str(pathlib.Path(own_file).with_name(name)))


def named(sources: Sequence[Any], *names: str) -> list[Any]:
    """Those of a recipe's sources that have these names, in the order of the names.

    Raises: ConfigError where there is no source of a name.
    """
    by_name = {source["name"]: source for source in sources}
    for name in names:
        if name not in by_name:
            raise ConfigError(f"source {name!r}: the recipe has none of this name; use one of {', '.join(by_name)}")
    return [by_name[name] for name in names]
