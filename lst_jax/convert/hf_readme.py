"""The README of a directory for `transformers`, from templates beside its model code. Tests run every command in it."""

import pathlib
import string

from lst_jax.config import Config
from lst_jax.convert import hf_families
from lst_jax.convert.hf_tokenizer import pad_id
from lst_jax.core.vocab import PAD_ID
from lst_jax.data.byte_pieces import BytePieces
from lst_jax.data.pipeline import open_tokenizer

FOLDER = pathlib.Path(__file__).parent / "modeling"
VERSIONS = "It was tried with transformers {}4.57.6 and 5.23.0, and torch 2.13."
LATER = {"smollm3"}  # model types that transformers 4.51 has not
ALIGNED = (
    "This model was trained on patches of aligned words: give them. Without them patches are static, and a unit whose\n"
    "`patch_starts` is given ends its patch where the token behind it opens another."
)
STATIC = "Without `patch_ends`, the unit number $size of a patch ends it."
LORA = {
    "lst": ("wq", "wk", "wv", "wo", "w1", "w2", "w3"),
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


def readme(config: Config, model_type: str, bos: str, aligned: bool = False) -> str:
    """The text for a model.

    Args: `bos` is the name of the token that opens a document; `aligned`: it was trained on patches of words alone.
    """
    data, vocab, pieces = config.data, config.joint_vocab, config.data.unit_tokenizer is not None
    family = None if model_type == "lst" else hf_families.family_of(config)
    values = {
        "name": config.name,
        "versions": VERSIONS.format("" if family in LATER else "4.51.3, "),
        "class": "" if family is None else hf_families.FAMILIES[family].class_name,
        "size": str(data.patching.static_size),
        "rate": f"{data.unit_rate:g}",
        "row": str(min(data.row_tokens, data.row_patches)),
        "unit": str(vocab.unit_offset),
        "pad": str(pad_id(config)),
        "vocab": str(vocab.size),
        "never": "".join(f"{i}, " for i in sorted({PAD_ID, config.vocab.bos_id} - _texts(config))),
        "bos": bos,
        "eos": str(config.vocab.eos_id),
        "lora": ", ".join(f'"{name}"' for name in LORA[model_type]),
        "marker": ", which holds its <|speech|> too" * data.patching.marker_opens_patch,
    }
    kind = "piece" if pieces else "unit"
    values["ids"] = (
        f"Ids: text pieces, then <|text|> = {vocab.text_marker} and <|speech|> = {vocab.speech_marker}, "
        f"then {kind} n = {vocab.unit_offset} + n."
    )
    values["aligned"] = _filled(ALIGNED if aligned else STATIC, values)
    values["units"] = _filled(_template("README_pieces.md" if pieces else "README_units.md"), values)
    values["both"] = _filled(_template("README_both.md"), values)
    return _filled(_template("README.md" if model_type == "lst" else "README_llama.md"), values)


def _texts(config: Config) -> set[int]:
    """Of the ids that texts of SentencePiece never hold, those that this tokenizer's texts do."""
    byte_level = isinstance(open_tokenizer(config), BytePieces)
    return {config.vocab.eos_id} | ({PAD_ID} if byte_level else set())


def _template(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _filled(text: str, values: dict[str, str]) -> str:
    return string.Template(text).substitute(values)
