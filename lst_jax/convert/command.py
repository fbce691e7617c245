"""`lst convert`: a source opened, written in another format, proved, and given its name only then."""

import hashlib
import pathlib
import sys
import time
from typing import Any

import numpy as np

from lst_jax.code_version import code_commit
from lst_jax.config import config_hash, load_recipe
from lst_jax.convert import ancestor_files, companions, formats, orbax, proof
from lst_jax.convert.source import Source
from lst_jax.errors import ConfigError
from lst_jax.files import whole_directory, write_json

FORMAT_VERSION = 1
BLOCK = 1 << 24  # bytes of a file hashed at a time


def convert(src: pathlib.Path, dst: pathlib.Path, to: str, step: int | None = None, average: int = 1,
            recipe: str | None = None, state: bool = False, pth: bool = False) -> dict[str, Any]:
    """Converts, proves and writes conversion.json; returns what it says. `dst` is there as a whole or not at all.

    Raises: UserError, one line; nothing of `dst` is there then.
    """
    began = time.monotonic()
    form, target = formats.recognise(src), formats.FORMATS[to]
    _check_options(form, target, step, average, state, pth)
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise ConfigError(f"{dst}: is there and not empty; give a directory that is not, or remove this one")
    progress = sys.stderr.isatty()
    with whole_directory(dst, dst.with_name(f".{dst.name}.partial")) as out:
        if state:
            source = orbax.write_state(src, step, out)
        else:
            source = _open(form, src, step, average, recipe)
            target.write(source, out, progress, **({"pth": True} if pth else {}))
        hashes: dict[str, str] = {}
        hashed = source.seen(lambda path, array: hashes.update({path: _sha256(array)}))
        proved = proof.prove(hashed, target, out, progress)
        if target is orbax:
            orbax.settle(out, dst)
        report = _report(source, target.NAME, state, hashes, out) | proved | {"seconds": time.monotonic() - began}
        write_json(out / companions.CONVERSION, report)
    return report


def _check_options(form, target, step: int | None, average: int, state: bool, pth: bool) -> None:
    if form is not orbax and (step is not None or average != 1):
        raise ConfigError(f"--{'average' if step is None else 'step'}: belongs to a run and its checkpoints, the "
                          f"source is of format {form.NAME}; leave it out")
    if state and (form is not orbax or target is not orbax or average != 1):
        raise ConfigError("--state: the whole training state exists in orbax alone, and of one step; convert from "
                          "orbax --to orbax without --average, or leave --state out")
    if pth and target is not ancestor_files:
        raise ConfigError("--pth: belongs to --to ancestor; leave it out")


def _open(form, src: pathlib.Path, step: int | None, average: int, recipe: str | None) -> Source:
    config = None if recipe is None else load_recipe(recipe)
    return orbax.open_source(src, config, step, average) if form is orbax else form.open_source(src, config)


def _report(source: Source, to: str, state: bool, hashes: dict[str, str], out: pathlib.Path) -> dict[str, Any]:
    shapes = {path: one.shape for path, one in source.arrays.items()}
    canonical = "".join(f"{path} {'x'.join(map(str, shapes[path]))} {hashes[path]}\n" for path in sorted(shapes))
    origin = {key: value for key, value in source.origin.items() if key != "vocabulary"}
    return {
        "format_version": FORMAT_VERSION, "source": origin, "to": to, "whole_state": state,
        "system": source.config.model.system, "config_hash": config_hash(source.config),
        "vocabulary": companions.vocabulary(source), "arrays": len(shapes),
        "parameters": sum(int(np.prod(shape)) for shape in shapes.values()),
        "arrays_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "files": {str(path.relative_to(out)): _file_sha256(path) for path in sorted(out.rglob("*")) if path.is_file()},
        "lst_jax": code_commit(), "packages": proof.versions()}


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").data).hexdigest()


def _file_sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
