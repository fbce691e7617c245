"""The synthesisers that `--synthesiser NAME[:ARGUMENT]` can name, and how a new one is added.

To add one, write a class with the members of `protocol.Synthesiser`, and register a function that makes it from what
stands behind the colon ("" where there is no colon):

    register("morse", lambda argument: Morse(float(argument or 20)))
"""

from collections.abc import Callable

from lst_jax.core.errors import DataError
from lst_jax.prepare.synthesis.protocol import Synthesiser

SYNTHESISERS: dict[str, Callable[[str], Synthesiser]] = {}


def register(name: str, make: Callable[[str], Synthesiser]) -> None:
    """Adds a synthesiser. Raises: ValueError where it is not complete, or its name is taken."""
    if not name or ":" in name or not callable(make):
        raise ValueError(f"synthesiser {name!r}: a name without a colon and a function that makes it are needed")
    if name in SYNTHESISERS:
        raise ValueError(f"synthesiser {name!r}: the name is registered already")
    SYNTHESISERS[name] = make


def load_synthesiser(spec: str) -> Synthesiser:
    """The synthesiser of `NAME` or `NAME:ARGUMENT`. Raises: DataError where there is none, or it is not installed."""
    name, _, argument = spec.partition(":")
    if name not in SYNTHESISERS:
        raise DataError(f"--synthesiser {spec}: must be {' or '.join(sorted(SYNTHESISERS))}; correct it")
    return SYNTHESISERS[name](argument)


# Each member is imported when it is asked for: espeak and kokoro need extras, flite loads a library.
def _espeak(argument: str) -> Synthesiser:
    from lst_jax.prepare.synthesis.espeak import Espeak

    if argument:
        raise DataError(f"--synthesiser espeak:{argument}: espeak takes no argument; leave it out")
    return Espeak()


def _flite(argument: str) -> Synthesiser:
    from lst_jax.prepare.synthesis.flite import Flite

    if argument:
        raise DataError(f"--synthesiser flite:{argument}: flite takes no argument; give voices with --voice")
    return Flite()


def _kokoro(argument: str) -> Synthesiser:
    from lst_jax.prepare.synthesis.kokoro import Kokoro

    if not argument:
        raise DataError("--synthesiser kokoro: needs its model's directory; write kokoro:DIR")
    return Kokoro(argument)


register("espeak", _espeak)
register("flite", _flite)
register("kokoro", _kokoro)
