"""The recognisers by name. Each is imported only where `--recogniser` asks for it: some need large packages."""

from collections.abc import Callable

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.evals.recognisers.kind import Recogniser

DEFAULT = "pocketsphinx"
Load = Callable[[str], Recogniser]  # what follows the colon of --recogniser, "" where there is none


def _pocketsphinx(argument: str) -> Recogniser:
    from lst_jax.evals.recognisers.embedded import PocketSphinx

    return PocketSphinx()


def _whisper(directory: str) -> Recogniser:
    from lst_jax.evals.recognisers.whisper import Whisper

    return Whisper(directory)


_LOADERS: dict[str, tuple[Load, str | None]] = {"pocketsphinx": (_pocketsphinx, None), "whisper": (_whisper, "DIR")}


def register(name: str, load: Load, argument: str | None = None) -> None:
    """Makes a recogniser known as `name`, or as `name:ARGUMENT` where `argument` says what that is.

    Raises: ConfigError where the name is taken, or `load` cannot be called.
    """
    if name in _LOADERS or ":" in name or not callable(load):
        raise ConfigError(
            f"recogniser {name}: the name is taken or holds a colon, or `load` is no function; correct it"
        )
    _LOADERS[name] = load, argument


def load_recogniser(spec: str) -> Recogniser:
    """The recogniser of a spec such as `pocketsphinx` or `whisper:DIR`.

    Raises: DataError where no recogniser has this name, or it cannot be used.
    """
    name, _, argument = spec.partition(":")
    if name not in _LOADERS or bool(argument) != (_LOADERS[name][1] is not None) or spec.endswith(":"):
        known = " or ".join(name if what is None else f"{name}:{what}" for name, (_, what) in _LOADERS.items())
        raise DataError(f"--recogniser {spec}: must be {known}; correct it")
    return _LOADERS[name][0](argument)
