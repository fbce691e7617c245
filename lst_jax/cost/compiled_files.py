"""Files that keep a compiled program: its text for people, and its module for `cost.hlo.parse`."""

from typing import Any

from lst_jax.config import Config, config_hash
from lst_jax.cost import hlo
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place


def keep(directory: str, compiled: Any, config: Config) -> Place:
    """Writes NAME-HASH-REMAT-TENSORxPARTS.hlo and .pb into `directory`, and returns the path of the text.

    Neither remat nor the split over devices belongs to a configuration's hash, hence the rest of the name.
    """
    split = f"{config.mesh.tensor}x{config.train.accumulate}"
    path = to_place(directory) / f"{config.name}-{config_hash(config)}-{config.model.remat}-{split}.hlo"
    objects.write_text(path, compiled.as_text())
    objects.write_bytes(path.with_name(f"{path.name.removesuffix('.hlo')}.pb"), hlo.serialized(compiled))
    return path
