"""Which models and tokenizers the formats of LST hold: those of the paper, without other families' additions."""

import dataclasses

from lst_jax.config import Config, ModelConfig, StackConfig
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data.byte_pieces import BytePieces
from lst_jax.data.pipeline import open_tokenizer

NETWORKS = ("patch_encoder", "global_transformer", "patch_decoder")
PLAIN = StackConfig(1, 2, 1)
ADDITIONS = (  # fields of a stack
    *("head_width", "ffn_width", "qkv_bias", "qk_norm", "norm_place", "rope_scaling"),
    *("unrotated_every", "norm", "qkv_clip"),
)

FIX = "convert it to orbax, or ask it with `lst evaluate` and `lst generate`"


def check_plain(model: ModelConfig, form: str, fix: str = FIX) -> None:
    """Raises: DataError for the first network with an addition, which `form` has no word for."""
    if model.tied_output:
        raise DataError(f"model.tied_output=True: {form} has no such field; {fix}")
    for network in NETWORKS:
        stack = getattr(model, network)
        for name in ADDITIONS if stack is not None else ():
            if (value := getattr(stack, name)) != getattr(PLAIN, name):
                shown = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else repr(value)
                raise DataError(f"model.{network}.{name}={shown}: {form} has no such field; {fix}")


def check_sentence_pieces(config: Config, form: str) -> None:
    """Raises: DataError where the text tokenizer is no SentencePiece model with the usual ids, which `form` needs."""
    if isinstance(open_tokenizer(config), BytePieces):
        raise DataError(
            f"data.tokenizer={config.data.tokenizer}: is byte-level BPE, and {form} reads SentencePiece models alone; "
            "convert it to orbax or hf"
        )
    for name, usual in (("bos_id", BOS_ID), ("eos_id", EOS_ID)):
        if (value := getattr(config.vocab, name)) != usual:
            raise DataError(f"vocab.{name}={value}: {form} knows {usual} alone; convert it to orbax or hf")
