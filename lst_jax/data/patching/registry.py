"""Which patching strategies there are, by the value of `data.patching.strategy`.

A strategy of this package is a file beside this one and a name in the last line. One from outside is registered by
the module that defines it: `register(MyStrategy)`, or `@register` above the class.
"""

import inspect
import re

from lst_jax.config import PatchingConfig
from lst_jax.core.strict import fail, nearest
from lst_jax.data.patching.aligned import Aligned
from lst_jax.data.patching.base import Strategy
from lst_jax.data.patching.mixed import Curriculum, Mixed
from lst_jax.data.patching.none import NoPatches
from lst_jax.data.patching.static import Static

STRATEGIES: dict[str, type[Strategy]] = {}


def register(kind: type[Strategy]) -> type[Strategy]:
    """Makes a strategy known by its `name`, and returns it.

    Raises: TypeError where the class is not complete, ValueError where its name or its pattern cannot be used.
    """
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise TypeError(f"{kind!r}: is not a complete patching strategy; define {missing}")
    name = getattr(kind, "name", None)
    if not name or not isinstance(name, str):
        raise TypeError(f"{kind!r}: has no name; give it one, the value of data.patching.strategy")
    known = STRATEGIES.get(name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):  # else its file was loaded again
        raise ValueError(f"{kind!r}: {known!r} has the name {name!r} already; give it another one")
    if kind.pattern is not None:
        if not kind.usage:
            raise TypeError(f"{kind!r}: has a pattern but no usage; say how the names of its systems are spelt")
        re.compile(kind.pattern)
    STRATEGIES[name] = kind
    return kind


def strategy_of(config: PatchingConfig) -> Strategy:
    """The strategy of a run. Raises: ConfigError where no strategy of that name is registered."""
    if config.strategy not in STRATEGIES:
        fail(
            "data.patching.strategy",
            config.strategy,
            f"must be one of {', '.join(STRATEGIES)}",
            f"nearest: {nearest(config.strategy, STRATEGIES)}",
        )
    return STRATEGIES[config.strategy](config)


for _kind in (Static, Aligned, Mixed, Curriculum, NoPatches):
    register(_kind)
