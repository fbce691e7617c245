"""Which fields define what is learned, and which may differ between a checkpoint and the run that resumes it."""

import hashlib
import json
from typing import Any

from lst_jax.config.schema import Config, flatten, to_mapping
from lst_jax.core.errors import ConfigError

# Fields that may differ between a checkpoint and the run that resumes it: they change what is recorded or how it is
# computed, not what is learned. Everything else must be equal.
FREE_FIELDS = (
    "train.log_every",
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "train.checkpoint_keep",
    "train.checkpoint_keep_every",
    "eval.every",
    "eval.batches",
    "eval.completion_items",
    "data.prefetch",
    "data.tokenizer",
    "model.scan_layers",
    "model.remat",
    "train.bad_step",
    "train.accumulate",
    "train.offload_moments",
    "mesh.replica",
    "mesh.data",
    "mesh.tensor",
)
FREE_LEAVES = ("path",)  # of a source: directories may move; their fingerprints are checked instead
# Files that may move likewise, but whether there is one is a difference
FREE_IF_GIVEN = ("data.unit_tokenizer", "train.init_from", "train.branch_from")
# What must be equal for parameters to mean the same function of the same tokens, and what of it only says how it runs
ALIKE = ("model.", "vocab.", "data.unit_rate")
COMPUTED = ("model.compute_dtype", "model.attention_block", "model.logits_chunk")
# Fields that came when there were runs already, and the value that means what those runs do: a stored configuration
# without them is complete, and at this value they are no part of an identity, so that hashes stay as they were
LATER_FIELDS = {
    "data.documents": "interleaved",
    "train.init_from": None,
    "train.branch_from": None,
    "optim.optimizer": "adamw",
    "optim.muon.momentum": 0.95,
    "optim.muon.newton_schulz_steps": 5,
    "optim.muon.update_rms": 0.2,
    "optim.schedule": "cosine",
    "optim.wsd.decay_steps": 0,
    "optim.wsd.decay_shape": "1-sqrt",
}
# Those that came before, with what the first runs did: such a run is opened and converted, but none goes on from it, as
# these are part of identities
FIRST_FIELDS = {
    "model.scan_layers": False,
    "model.remat": "none",
    "data.unit_tokenizer": None,
    "data.mixture_measure": "tokens",
    "data.row_speech_tokens": None,
    "data.patching.aligned_to": "word",
    "data.patching.silence": "separate",
    "data.patching.boundary_noise_ms": 0.0,
    "data.patching.final_probability": 0.0,
    "optim.z_loss": 0.0,
    "optim.spike_factor": 0.0,
    "train.checkpoint_minutes": None,
    "train.checkpoint_keep_every": None,
    "train.bad_step": "skip",
    "train.accumulate": 1,
    "train.offload_moments": False,
    "mesh": {"replica": None, "data": None, "tensor": 1},
}


# Fields by the names they had before. Stored files keep the old ones; so do identities, so that hashes stay as they were.
RENAMED = {"data.row_units": "data.row_patches", "model.system": "model.architecture"}
FORMER = {new: old for old, new in RENAMED.items()}


def with_later_fields(mapping: dict[str, Any]) -> dict[str, Any]:
    """A stored run's mapping with those of `LATER_FIELDS` and `FIRST_FIELDS` that it is older than."""
    completed = json.loads(json.dumps(mapping))
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        if name in completed.get(section, {}):
            completed[section][new.partition(".")[2]] = completed[section].pop(name)
    for path, value in (LATER_FIELDS | FIRST_FIELDS).items():
        *parents, name = path.split(".")
        section = completed
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(name, value)
    return completed


def identity(config: Config) -> dict[str, Any]:
    """The flat fields that define what is learned, i.e. all but `FREE_FIELDS` and paths."""
    flat = flatten(to_mapping(config))
    return {
        FORMER.get(k, k): v and "FILE" if k in FREE_IF_GIVEN else v
        for k, v in flat.items()
        if k not in FREE_FIELDS
        and k.rpartition(".")[2] not in FREE_LEAVES
        and not k.startswith("eval.sources")
        and not (k in LATER_FIELDS and v == LATER_FIELDS[k])
    }


def other_function(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first field of two identities by which equal parameters would mean another function of the same tokens.

    Fields that one of them is older than are passed over: they read as what was done without them.
    """
    return next(
        (
            key
            for key in sorted(ours.keys() & theirs.keys())
            if key.startswith(ALIKE) and key not in COMPUTED and ours[key] != theirs[key]
        ),
        None,
    )


def config_hash(config: Config) -> str:
    """Sixteen hex digits of the identity; equal hashes train the same thing."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:16]


def check_same_identity(ours: Config, theirs: dict[str, Any], where: str) -> None:
    """Refuses a stored identity that differs from `ours`, naming the first differing field and both values."""
    mine = identity(ours)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise ConfigError(
                f"{RENAMED.get(key, key)}={mine.get(key)!r}: {where} was made with {theirs.get(key)!r}; "
                "use that value, or another run directory"
            )
