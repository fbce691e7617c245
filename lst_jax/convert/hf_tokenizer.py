"""The joint vocabulary as a tokenizer of `transformers`: text pieces, markers and units in one id space.

    BOS <|text|> a word     encode("a word")                                          special tokens added
    <|speech|> 3 7          encode("<|speech|><|unit3|><|unit7|>", add_special_tokens=False)

Where speech is written in pieces of units (`data.unit_tokenizer`), these are <|piece0|> and so on: piece 3 is not unit 3.
Text between two markers is encoded by itself, as training encodes a span. A SentencePiece BPE model like those of
`lst prepare tokenizer` and Llama-2 becomes a tokenizer.json, which needs no code. The `tokenizers` library does not
encode exactly like SentencePiece models of other kinds. These get `tokenization_lst.py`, which runs SentencePiece.
"""

import pathlib
import shutil
from typing import Any

from lst_jax.config import Config
from lst_jax.convert import hf_byte_tokenizer
from lst_jax.convert.sentencepiece_model import read_model
from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, UNUSED_SLOTS, Vocab
from lst_jax.data.byte_pieces import BytePieces
from lst_jax.data.pipeline import open_tokenizer

TEXT_MARKER, SPEECH_MARKER = "<|text|>", "<|speech|>"
SPACE = "\u2581"  # the character that SentencePiece writes for a blank
BPE = 2  # TrainerSpec.ModelType
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # ModelProto.SentencePiece.Type
CODE = pathlib.Path(__file__).parent / "modeling" / "tokenization_lst.py"
ANY_NUMBER = 1 << 20  # of blanks that SentencePiece removes from the front of decoded text


def write_tokenizer(config: Config, out: pathlib.Path) -> str:
    """Writes tokenizer_config.json and tokenizer.json, or tokenization_lst.py, which reads `out`'s tokenizer.model.

    Returns: the name of the token that opens a document.
    Raises: DataError where data.tokenizer does not fit the configuration.
    """
    kind = "unit" if config.data.unit_tokenizer is None else "piece"
    tokenizer, added = open_tokenizer(config), added_tokens(config.joint_vocab, kind)
    if isinstance(tokenizer, BytePieces):
        named = hf_byte_tokenizer.write(config, tokenizer, added, TEXT_MARKER, out)
        files.write_json(out / "tokenizer_config.json", named | _settings(config))
        return named["bos_token"]
    model = read_model(config.data.tokenizer)
    pieces = [piece.piece for piece in model.pieces]
    unk_id = next(i for i, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    if both := set(added) & set(pieces):
        raise DataError(
            f"{config.data.tokenizer}: has the piece {sorted(both)[0]}, which is the name of another "
            "token; train it on texts without it"
        )
    settings = {
        "bos_token": pieces[config.vocab.bos_id],
        "eos_token": pieces[config.vocab.eos_id],
        "unk_token": pieces[unk_id],
        **_settings(config),
    }
    if is_exact(model):
        files.write_json(out / "tokenizer.json", tokenizer_json(model, added, config.vocab.bos_id))
    else:
        own = sorted({unk_id, config.vocab.bos_id, config.vocab.eos_id})
        listed = _special({pieces[i]: i for i in own} | added)
        settings |= {
            "tokenizer_class": "LstTokenizer",
            "auto_map": {"AutoTokenizer": [f"{CODE.stem}.LstTokenizer", None]},
            "added_tokens_decoder": {str(one.pop("id")): one for one in listed},
        }
        shutil.copyfile(CODE, out / CODE.name)
    files.write_json(out / "tokenizer_config.json", settings)
    return settings["bos_token"]


def _settings(config: Config) -> dict[str, Any]:
    """What tokenizer_config.json says of every tokenizer that a tokenizer.json holds."""
    return {
        "pad_token": "<|unused0|>",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": config.data.row_tokens,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def pad_id(config: Config) -> int:
    """The first unused id. `generate` of transformers treats every pad id as padding, so no text may contain it."""
    return config.vocab.text_size


def added_tokens(vocab: Vocab, kind: str = "unit") -> dict[str, int]:
    """The id of every token that is not a text piece by its name, in the order of ids.

    Args: `kind` of what speech is written in: "unit", or "piece" (of units).
    """
    named = {f"<|unused{i}|>": vocab.text_size + i for i in range(UNUSED_SLOTS)}
    named |= {TEXT_MARKER: vocab.text_marker, SPEECH_MARKER: vocab.speech_marker}
    return named | {f"<|{kind}{u}|>": vocab.unit_offset + u for u in range(vocab.unit_slots)}


def is_exact(model: Any) -> bool:
    """Whether `tokenizer_json` encodes as the SentencePiece model does.

    The model must be BPE, must not rewrite text, and all of its pieces must come from merges, each with its own score.
    """
    trainer, normalizer, scores = (
        model.trainer_spec,
        model.normalizer_spec,
        [p.score for p in model.pieces if p.type == NORMAL],
    )
    return (
        trainer.model_type == BPE
        and not trainer.treat_whitespace_as_suffix
        and normalizer.escape_whitespaces
        and not normalizer.precompiled_charsmap
        and not model.denormalizer_spec.precompiled_charsmap
        and all(p.type in (NORMAL, UNKNOWN, CONTROL, BYTE) for p in model.pieces)
        and len(set(scores)) == len(scores)
    )


def tokenizer_json(model: Any, added: dict[str, int], bos_id: int = BOS_ID) -> dict[str, Any]:
    """The file of the `tokenizers` library for a model that `is_exact`."""
    ids = {piece.piece: i for i, piece in enumerate(model.pieces)}
    special = {p.piece: ids[p.piece] for p in model.pieces if p.type in (UNKNOWN, CONTROL)}
    bos, unk = model.pieces[bos_id].piece, next(p.piece for p in model.pieces if p.type == UNKNOWN)
    front = [{"SpecialToken": {"id": name, "type_id": 0}} for name in (bos, TEXT_MARKER)]
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _special(special | added),
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model.normalizer_spec)},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*front, first],
            "pair": [*front, first, second],
            "special_tokens": {
                name: {"id": name, "ids": [i], "tokens": [name]}
                for name, i in ((bos, bos_id), (TEXT_MARKER, added[TEXT_MARKER]))
            },
        },
        "decoder": {"type": "Sequence", "decoders": _decoders(model.normalizer_spec)},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unk,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": model.trainer_spec.byte_fallback,
            "ignore_merges": False,
            "vocab": ids,
            "merges": merges(model),
        },
    }


def merges(model: Any) -> list[list[str]]:
    """All pairs of pieces that make a piece, the best-scored piece first.

    SentencePiece joins any two neighbours that make the best-scored piece, the leftmost first; `tokenizers` joins
    listed pairs. They can differ only where overlapping neighbours make one piece in two ways, which needs periodic
    text; no such text has been found.
    """
    normal = [piece for piece in model.pieces if piece.type == NORMAL]
    known = {piece.piece for piece in normal}
    return [
        [text[:i], text[i:]]
        for text in (p.piece for p in sorted(normal, key=lambda p: -p.score))
        for i in range(1, len(text))
        if text[:i] in known and text[i:] in known
    ]


def _special(tokens: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for name, i in tokens.items()
    ]


def _normalizers(spec) -> list[dict[str, Any]]:
    """The normalization of SentencePiece: removes blanks at the ends, joins blanks in a row, puts one blank in front."""
    steps = []
    if spec.remove_extra_whitespaces:
        steps += [
            {"type": "Replace", "pattern": {"Regex": rf"\A +|[ {SPACE}]+\z"}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "},
        ]
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    return [*steps, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]


def _decoders(spec) -> list[dict[str, Any]]:
    steps = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if spec.remove_extra_whitespaces or spec.add_dummy_prefix:
        steps.append(
            {"type": "Strip", "content": " ", "start": ANY_NUMBER if spec.remove_extra_whitespaces else 1, "stop": 0}
        )
    return steps
