"""docs/results.md: one section for each measurement, written by the command that measured.

    # Results
    ...
    ## Data stream
    `lst bench data --markdown docs/results.md`, 2026-01-31T12:00:00+00:00, commit 0123abc; CPU, cores, ...; versions.
    ...

Writing a section replaces the one of the same name, where it stands; all else in the file stays as it is.
"""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
from collections.abc import Sequence
from typing import Any

from lst_jax import __version__
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

TITLE = "# Results"
PREAMBLE = "Measured, each section by the command that it names. Run that command again rather than edit a number."


def describe_machine() -> dict[str, Any]:
    """CPU, cores this process may use, memory and system."""
    return {
        "cpu": _first_match("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def machine_in_words() -> str:
    """Example: "AMD EPYC, 2 cores, 24 GiB, Linux x86_64"."""
    return _in_words(describe_machine())


def describe_versions(packages: Sequence[str]) -> dict[str, str]:
    """Of this program, Python and `packages`."""
    return {
        "lst_jax": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def provenance(argv: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
    """Where numbers come from: command (`argv` comes after `lst`), time, commit, machine, versions of `packages`."""
    return {
        "command": shlex.join(["lst", *argv]),
        "machine": describe_machine(),
        "versions": describe_versions(packages),
        "commit": code_commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_section(path: str | os.PathLike | Place, name: str, body: str, origin: dict[str, Any]) -> None:
    """Puts `## name`, its origin (a `provenance`) and `body` into the Markdown file, which is made if need be.

    Raises: DataError where the file is not one of results; StorageError.
    """
    path = to_place(path)
    text = objects.read_text(path) if objects.look(path) else f"{TITLE}\n\n{PREAMBLE}\n"
    if not text.startswith(TITLE + "\n") and f"\n## {name}\n" not in text:
        raise DataError(
            f"{path}: does not start with {TITLE!r}, and has no section {name!r}; name docs/results.md, or a file to make"
        )
    assert not re.search(r"^## ", body, re.MULTILINE), "a section's own headings start at ###"
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    new = f"## {name}\n\n{_origin_line(origin)}\n\n{body.strip()}\n"
    names = [section.splitlines()[0].removeprefix("## ").strip() for section in sections]
    if name in names:
        sections[names.index(name)] = new
    else:
        sections.append(new)
    objects.write_text(path, "\n".join(part.strip() + "\n" for part in [head, *sections]))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _origin_line(origin: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    commit = f", commit {origin['commit']}" if origin["commit"] else ""
    return f"`{origin['command']}`, {origin['date']}{commit}; {_in_words(origin['machine'])}; {versions}."


def _in_words(machine: dict[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"


def _first_match(path: str, pattern: str) -> str | None:
    file = pathlib.Path(path)
    match = re.search(pattern, file.read_text()) if file.is_file() else None
    return match and match[1].strip()
