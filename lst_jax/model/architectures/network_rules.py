"""Rules about the local networks that several architectures share."""

from lst_jax.config import ModelConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import fail

LOCAL_NETWORKS = ("patch_encoder", "patch_decoder")


def check_no_local_networks(config: ModelConfig) -> None:
    """Raises: ConfigError where a local network is given."""
    for name in LOCAL_NETWORKS:
        if getattr(config, name) is not None:
            fail(
                f"model.{name}",
                "{...}",
                f'architecture "{config.architecture}" has no local networks',
                "set it to None",
            )


def check_local_networks(config: ModelConfig) -> None:
    """Raises: ConfigError where a local network is missing, or their widths do not fit together."""
    for name in LOCAL_NETWORKS:
        if getattr(config, name) is None:
            fail(
                f"model.{name}",
                None,
                f'architecture "{config.architecture}" needs it',
                "give layers, width, heads and window",
            )
    if config.tied_output:
        fail(
            "model.tied_output",
            True,
            f'the output matrix of architecture "{config.architecture}" is the patch decoder\'s own',
            "set it to False",
        )
    if config.patch_encoder.width != config.patch_decoder.width:
        fail(
            "model.patch_decoder.width",
            config.patch_decoder.width,
            "must equal model.patch_encoder.width (the decoder starts from the encoder's states)",
            f"use {config.patch_encoder.width}",
        )
    if config.patch_encoder.width % config.cross_heads:
        fail(
            "model.cross_heads",
            config.cross_heads,
            f"must divide the local width {config.patch_encoder.width}",
            f"use {config.patch_encoder.heads}",
        )


def check_one_query_where_widths_are_equal(config: ModelConfig) -> None:
    """Raises: ConfigError where several vectors per patch would have to come out of one of the same width."""
    if config.global_transformer.width == config.patch_decoder.width and config.queries_per_patch != 1:
        raise ConfigError(
            f"model.queries_per_patch={config.queries_per_patch}: must be 1 where the global and the "
            "local width are equal (nothing then splits a global output into several vectors); use 1"
        )
