"""Every setting of a run: the schema, its rules, and a run's identity. Pure data: nothing here computes."""

from lst_jax.config.identity import check_same_identity, config_hash, identity, other_function
from lst_jax.config.schema import (
    Config,
    DataConfig,
    EvalConfig,
    InterleaveConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    PatchingConfig,
    SourceConfig,
    StackConfig,
    TrainConfig,
    VocabConfig,
    flatten,
    from_mapping,
    to_mapping,
)
from lst_jax.config.stored import from_stored

__all__ = [
    "Config",
    "DataConfig",
    "EvalConfig",
    "InterleaveConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimConfig",
    "PatchingConfig",
    "SourceConfig",
    "StackConfig",
    "TrainConfig",
    "VocabConfig",
    "check_same_identity",
    "config_hash",
    "flatten",
    "from_mapping",
    "from_stored",
    "identity",
    "other_function",
    "to_mapping",
]
