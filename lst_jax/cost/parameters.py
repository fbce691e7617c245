"""How many parameters a model has, counted from its configuration; a test holds the count to the model's own."""

from lst_jax.config import ModelConfig
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import architecture_named


def parameters(config: ModelConfig, vocab: Vocab) -> int:
    """The number of all parameters, with embeddings, norms and the output projection.

    Example: parameters(config.model, config.joint_vocab) of configs/lst.py:1b -> 1_527_911_424 (paper §4)
    """
    return sum(parameters_by_network(config, vocab).values())


def parameters_by_network(config: ModelConfig, vocab: Vocab) -> dict[str, int]:
    """The number of parameters of each network, by the name of its part of the parameter tree."""
    return architecture_named(config.architecture).parameter_counts(config, vocab)
