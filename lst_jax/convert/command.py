"""`lst convert`: opens a model, writes it in another format, and keeps the result only if it computes the same."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lst_jax.checkpoints.newest import read_newest
from lst_jax.config import config_hash
from lst_jax.convert import ancestor_files, companions, formats, hf, orbax, proof
from lst_jax.convert.source import Source, rounded
from lst_jax.convert.warm_start import warm_source
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError
from lst_jax.recipes.load import load_recipe
from lst_jax.storage import objects
from lst_jax.storage.folders import MARK, is_there, whole_folder
from lst_jax.storage.place import Place, to_run_place

FORMAT_VERSION = 1
BLOCK = 1 << 24  # bytes of a file hashed at a time


class Options(NamedTuple):
    """The options of `lst convert`; `lst_jax.cli.convert` has their help."""

    step: int | None = None
    average: int = 1
    recipe: str | None = None
    changes: tuple[str, ...] = ()  # of the recipe
    warm_start: bool = False
    state: bool = False
    safetensors: bool = False
    tokenizer: str | None = None
    dtype: str = "float32"  # of the weights in the files


PLAIN = Options()


def convert(src: Place, dst: Place, to: str, options: Options = PLAIN) -> dict[str, Any]:
    """Converts, compares both sides, and writes conversion.json; returns its contents.

    Where `dst` is what the same conversion has made, nothing is done. Where a training that goes on removes the newest
    checkpoint meanwhile, the conversion begins again with the one that is the newest then.
    Raises: UserError, one line; nothing of `dst` is there then.
    """
    target = formats.FORMATS[to]
    if target is orbax:
        to_run_place(dst)
    with _readable(src) as here:
        form = formats.recognise(here)
        _check_options(form, target, options)

        def opened() -> Source:
            source = _open(form, here, options)
            return source if here is src else dataclasses.replace(source, origin=source.origin | {"path": str(src)})

        return read_newest(lambda: _convert(opened, target, src, dst, to, options), src)


def _convert(
    opened: Callable[[], Source], target: Any, src: Place, dst: Place, to: str, options: Options
) -> dict[str, Any]:
    began = time.monotonic()
    source = rounded(opened(), options.dtype)
    origin = {key: value for key, value in source.origin.items() if key != "vocabulary"}
    asked = {
        "source": origin,
        "to": to,
        "whole_state": options.state,
        "pickled": target is ancestor_files and not options.safetensors,
        "dtype": options.dtype,
        "config_hash": config_hash(source.config),
    }
    if is_there(dst):
        return _earlier_report(dst, asked | {"vocabulary": companions.vocabulary(source)})
    progress = sys.stderr.isatty()
    with whole_folder(dst) as final, _writable(target, final) as out:
        if options.state:
            orbax.write_state(src, options.step, out)
        else:
            more: dict = {} if target is orbax else {"dtype": options.dtype}
            if target is ancestor_files:
                more |= {"home": dst, "safetensors": options.safetensors}
            target.write(source, out, progress, **more)
        hashes: dict[str, str] = {}
        hashed = source.observed_by(lambda path, array: hashes.update({path: _sha256(array)}))
        proved = proof.prove(hashed, target, out, progress)
        report = {
            "format_version": FORMAT_VERSION,
            **asked,
            **_report(source, hashes, out),
            **proved,
            "seconds": time.monotonic() - began,
        }
        objects.write_json(out / companions.CONVERSION, report)
    return report


@contextlib.contextmanager
def _readable(src: Place) -> Iterator[Place]:
    """The place itself where a run or a folder of this machine is read from it; else a copy, which is scratch."""
    if isinstance(src, pathlib.Path) or orbax.recognises(src) or not objects.is_folder(src):
        yield src
        return
    ancestor_files.refuse_shards(src)
    with objects.scratch("convert") as folder:
        objects.download(src, pathlib.Path(folder))
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _writable(target: Any, final: Place) -> Iterator[Place]:
    """The folder itself where the format writes into it; else a folder of this machine that is copied there."""
    if target is orbax or isinstance(final, pathlib.Path):
        yield final
        return
    with objects.scratch("convert") as folder:
        yield pathlib.Path(folder)
        objects.upload(pathlib.Path(folder), final)


def _earlier_report(dst: Place, asked: dict[str, Any]) -> dict[str, Any]:
    report = companions.read_report(dst) if objects.is_folder(dst) else {}
    report = {"dtype": "float32"} | report if report else {}  # of versions that wrote nothing else
    if {key: value for key, value in report.items() if key in asked} != json.loads(json.dumps(asked)):
        raise ConfigError(
            f"{dst}: is not empty, and this conversion did not make it; give the path of a new directory, or remove this one"
        )
    return report


def _check_options(form, target, options: Options) -> None:
    if form is not orbax and (options.step is not None or options.average != 1):
        raise ConfigError(
            f"--{'average' if options.step is None else 'step'}: belongs to a run and its checkpoints, "
            f"the source is of format {form.NAME}; leave it out"
        )
    if options.state and (form is not orbax or target is not orbax or options.average != 1):
        raise ConfigError(
            "--state: the whole training state exists in orbax alone, and of one step; convert from "
            "orbax --to orbax without --average, or leave --state out"
        )
    if options.safetensors and target is not ancestor_files:
        raise ConfigError("--safetensors: belongs to --to ancestor; leave it out")
    if options.tokenizer is not None and form is not ancestor_files:
        raise ConfigError(
            f"--tokenizer: belongs to a checkpoint of the ancestor, the source is of format {form.NAME}; leave it out"
        )
    if options.dtype != "float32" and target is orbax:
        raise ConfigError("--dtype: belongs to --to hf and --to ancestor, a run holds float32; leave it out")
    if options.changes and options.recipe is None:
        raise ConfigError("--set: changes a recipe; give --config beside it")
    if options.warm_start and (form is not hf or options.recipe is None):
        raise ConfigError(
            "--warm-start: begins the model of a recipe with a text model of transformers, the source is "
            f"of format {form.NAME}; give such a directory, and --config FILE.py[:ARG]"
        )


def _open(form, src: Any, options: Options) -> Source:
    config = None if options.recipe is None else load_recipe(options.recipe, options.changes)
    if options.warm_start:
        return warm_source(src, config, config.seed)
    if form is orbax:
        return orbax.open_source(src, config, options.step, options.average)
    if form is ancestor_files:
        return form.open_source(src, config, options.tokenizer)
    return form.open_source(src, config)


def _report(source: Source, hashes: dict[str, str], out: Place) -> dict[str, Any]:
    shapes = {path: one.shape for path, one in source.arrays.items()}
    canonical = "".join(f"{path} {'x'.join(map(str, shapes[path]))} {hashes[path]}\n" for path in sorted(shapes))
    return {
        "system": source.config.model.architecture,
        "vocabulary": companions.vocabulary(source),
        "arrays": len(shapes),
        "parameters": sum(int(np.prod(shape)) for shape in shapes.values()),
        "arrays_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "files": {name: objects.sha256(out / name) for name in objects.sizes(out) if name != MARK},
        "lst_jax": code_commit(),
        "packages": proof.versions(),
    }


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").data).hexdigest()
