"""The host itself: Python, packages, devices, and the other processes of the job."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lst_jax.core.errors import first_line
from lst_jax.cost.accelerators import registry
from lst_jax.doctor import clocks
from lst_jax.doctor.finding import Finding

PACKAGE = "lst_jax"
REINSTALL = "pip install --constraint constraints.txt with the extra that this host needs"


def packages() -> Iterator[Finding]:
    """Python and each package that `lst` needs everywhere, against the ranges that it was installed with."""
    try:
        metadata = importlib.metadata.metadata(PACKAGE)
        needed = [Requirement(line) for line in importlib.metadata.requires(PACKAGE) or ()]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("warn", "packages", "lst_jax runs without being installed, so no range is known", "pip install .")
        return
    version = platform.python_version()
    fits = version in SpecifierSet(metadata["Requires-Python"] or "")
    fix = None if fits else f"use Python {metadata['Requires-Python']}"
    yield Finding("ok" if fits else "fail", "python", version, fix)
    bad = [finding for need in needed if not need.marker for finding in _package(need)]
    yield from bad
    if not bad:
        count = sum(not need.marker for need in needed)
        yield Finding("ok", "packages", f"{count} packages, all within their ranges")


def _package(need: Requirement) -> Iterator[Finding]:
    try:
        version = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        yield Finding("fail", need.name, "is not installed", REINSTALL)
        return
    if not need.specifier.contains(version, prereleases=True):
        yield Finding("fail", need.name, f"version {version} is not {need.specifier}", REINSTALL)


def devices() -> Iterator[Finding]:
    """The devices of this process, and what drives them."""
    import jax

    asked = os.environ.get("JAX_PLATFORMS")
    try:
        found = jax.local_devices()
    except RuntimeError as error:  # what JAX raises where no backend starts
        fix = "install the extra tpu or cuda, end other programs that hold the devices, or unset JAX_PLATFORMS"
        yield Finding("fail", "devices", f"JAX_PLATFORMS={asked}: {first_line(error)}", fix)
        return
    kind, platform_name = found[0].device_kind, found[0].platform
    said = f"{len(found)} x {kind}, JAX {importlib.metadata.version('jax')}{_driver(platform_name)}"
    if platform_name == "cpu" and asked != "cpu":
        fix = "install the extra tpu or cuda, or set JAX_PLATFORMS=cpu if that is meant"
        yield Finding("warn", "devices", f"{said}: no accelerator", fix)
    elif platform_name != "cpu" and registry.find(kind) is None:
        yield Finding("warn", "devices", f"{said}: its peak is not known", "add it to lst_jax/cost/accelerators")
    else:
        yield Finding("ok", "devices", said)


def _driver(platform_name: str) -> str:
    """The package that drives the devices, with its version. Example: ", libtpu 0.0.42.1"."""
    names = {"tpu": ("libtpu",), "gpu": ("jax-cuda13-plugin", "jax-cuda12-plugin")}.get(platform_name, ())
    for name in names:
        try:
            return f", {name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def peers(count: int) -> Iterator[Finding]:
    """Whether the processes of the job hear each other, and have the same time: all wait here for all.

    Raises: PeerError where one is lost.
    """
    import jax

    from lst_jax.parallel import processes

    with processes.barrier({"version": importlib.metadata.version("jax")}):
        total = jax.device_count()
    yield Finding("ok", "processes", f"this is {jax.process_index()} of {count}, which have {total} devices together")
    yield clocks.between(processes.clocks())
