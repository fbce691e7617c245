"""The formats by name. Each is a module with

NAME                                    its name
recognises(path) -> bool                is cheap and never raises
open_source(path, recipe) -> Source     raises DataError, ConfigError, CheckpointError; `recipe` may be None
write(source, out, progress)            writes into the empty directory `out`, with at most a shard or a layer in memory
logits(path, inputs) -> (array, who)    float32 logits of the model in `path`, from the format's own program if possible
"""

import pathlib
from types import ModuleType

from lst_jax.convert import ancestor_files, hf, orbax
from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FORMATS: dict[str, ModuleType] = {form.NAME: form for form in (orbax, ancestor_files, hf)}


def recognise(path: Place) -> ModuleType:
    """The format of the model in `path`. Raises: DataError where there is no model in a known format."""
    if not objects.exists(path):
        raise DataError(f"{path}: no such directory; correct the path")
    for form in FORMATS.values():
        if form.recognises(path):
            return form
    if isinstance(path, pathlib.Path) and (kind := hf.other_model_type(path)):
        raise DataError(
            f"{path / 'config.json'}: model_type={kind!r}: must be one of {', '.join(hf.KINDS)}; give such a model"
        )
    raise DataError(
        f"{path}: is in none of the formats {', '.join(FORMATS)}; give a run directory, RUN/checkpoints/"
        "STEP, a directory with params.json and consolidated.pth or "
        "consolidated.safetensors, or one that transformers loads as lst, llama or a relative of it"
    )
