"""The register of architectures, and how a model is built from a configuration.

An architecture from outside the package registers itself before a recipe that names it is loaded:

    @register
    class Mine(Base):
        config_name = "mine"
        ...
"""

from typing import Any

from lst_jax.config import Config, ModelConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import fail, nearest
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.model.architectures.base import Base
from lst_jax.model.architectures.bypass import TextBypass
from lst_jax.model.architectures.latent import LatentSpeechText
from lst_jax.model.placement import ONE_DEVICE, Placement

ARCHITECTURES: dict[str, type[Architecture]] = {}  # value of model.architecture -> class

# What each class says itself. A subclass of another architecture computes another function: it must not inherit the
# other's name, or its claim that a foreign format can hold it.
SAID_ANEW = ("config_name", "conversions")
SAID_SOMEWHERE = ("patches_speech", "text_bypasses_local_networks", "output_network")


def register(architecture: type[Architecture]) -> type[Architecture]:
    """Makes a class available as its `config_name`. Raises: ConfigError where the class leaves something out."""
    missing = [name for name in SAID_ANEW if name not in vars(architecture)]
    missing += [name for name in SAID_SOMEWHERE if not hasattr(architecture, name)]
    missing += [
        name for name in dir(architecture) if getattr(getattr(architecture, name), "__isabstractmethod__", False)
    ]
    if missing:
        raise ConfigError(f"architecture {architecture.__name__}: lacks {', '.join(missing)}; define them in the class")
    known = ARCHITECTURES.setdefault(architecture.config_name, architecture)
    if known is not architecture:
        raise ConfigError(
            f"architecture {architecture.__name__}: config_name={architecture.config_name!r} is the name of "
            f"{known.__name__}; choose another name"
        )
    return architecture


def architecture_named(name: str) -> type[Architecture]:
    """The class that `model.architecture` names. Raises: ConfigError."""
    if name not in ARCHITECTURES:
        known = tuple(ARCHITECTURES)
        fail("model.architecture", name, f"must be one of {', '.join(known)}", f"nearest: {nearest(name, known)}")
    return ARCHITECTURES[name]


def build(
    config: ModelConfig,
    vocab: Vocab,
    row_patches: int,
    row_speech_tokens: int | None = None,
    placement: Placement = ONE_DEVICE,
    row_speech_patches: int | None = None,
) -> Architecture:
    """The model of a configuration, for rows of `row_patches` patch positions; parameters do not depend on rows.

    Args:
        row_speech_tokens: the most speech units and `<s>` that a row holds, where the architecture has such a bound;
            None = any number.
        row_speech_patches: likewise of the patches of these tokens.
        placement: how the model runs on the devices of a mesh; the result is the same (see `step.build_model`).
    Raises: ConfigError.
    """
    architecture = architecture_named(config.architecture)
    architecture.check_queries(config)
    return architecture(config, placement, vocab, row_patches, row_speech_tokens, row_speech_patches)


def init(config: Config, rng) -> Any:
    """Fresh parameters of a run's model from a PRNG key."""
    return build(config.model, config.joint_vocab, config.data.row_patches).init_params(rng)


for _member in (LatentSpeechText, TextBypass, Base):
    register(_member)
