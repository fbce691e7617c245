"""Files that keep a compiled program: its text for people, and its module for `cost.hlo.parse`."""

import pathlib
from typing import Any

from lst_jax.config import Config, config_hash
from lst_jax.core.files import replacing, write_text
from lst_jax.cost import hlo


def keep(directory: str, compiled: Any, config: Config) -> pathlib.Path:
    """Writes NAME-HASH-REMAT-TENSORxPARTS.hlo and .pb into `directory`, and returns the path of the text.

    Neither remat nor the split over devices belongs to a configuration's hash, hence the rest of the name.
    """
    split = f"{config.mesh.tensor}x{config.train.accumulate}"
    path = pathlib.Path(directory) / f"{config.name}-{config_hash(config)}-{config.model.remat}-{split}.hlo"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, compiled.as_text())
    with replacing(path.with_suffix(".pb")) as partial:
        partial.write_bytes(hlo.serialized(compiled))
    return path
