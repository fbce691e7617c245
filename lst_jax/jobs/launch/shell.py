"""The changing parts of shell scripts, as quoted values: the logic is in fixed files, which read them."""

import shlex

VALUES_ARE_QUOTED = "# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody"


def assignments(**values: str | int) -> str:
    """Lines that set variables. Example: assignments(RUN="my run") -> "RUN='my run'\\n"."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def set_arguments(words: list[str]) -> str:
    """A line that makes the words "$@". Example: ["lst", "a b"] -> "set -- lst 'a b'"."""
    return f"set -- {shlex.join(words)}\n"


def function(name: str, words: list[str]) -> str:
    """A function that runs the words, an option a line."""
    first, *options = [shlex.quote(word) for word in words]
    head = [first]
    while options and not options[0].startswith("-"):
        head.append(options.pop(0))
    return f"{name}() {{\n  " + " \\\n    ".join([" ".join(head), *options]) + "\n}\n"
