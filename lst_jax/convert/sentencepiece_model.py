"""What a SentencePiece model's file says of itself, beyond what its processor tells.

`sentencepiece_model_pb2` of the package refuses to be imported beside an older protobuf, as Apache Beam needs one; the
fields that matter here, by their numbers in sentencepiece_model.proto, are read by any.
"""

import pathlib
from typing import Any

from google.protobuf import message

from lst_jax.core.errors import DataError
from lst_jax.core.protobuf import FIELD, message_class
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

# Our own name, because the sentencepiece package registers its messages under its own
PACKAGE = "lst_jax.sentencepiece"
# message -> field -> (number, type, default)
MESSAGES: dict[str, dict[str, tuple[int, Any, str | None]]] = {
    "Piece": {
        "piece": (1, FIELD.TYPE_STRING, None),
        "score": (2, FIELD.TYPE_FLOAT, None),
        "type": (3, FIELD.TYPE_INT32, "1"),
    },
    "TrainerSpec": {
        "model_type": (3, FIELD.TYPE_INT32, "1"),
        "treat_whitespace_as_suffix": (24, FIELD.TYPE_BOOL, "false"),
        "byte_fallback": (35, FIELD.TYPE_BOOL, "false"),
    },
    "NormalizerSpec": {
        "precompiled_charsmap": (2, FIELD.TYPE_BYTES, None),
        "add_dummy_prefix": (3, FIELD.TYPE_BOOL, "true"),
        "remove_extra_whitespaces": (4, FIELD.TYPE_BOOL, "true"),
        "escape_whitespaces": (5, FIELD.TYPE_BOOL, "true"),
    },
    "Model": {
        "pieces": (1, "Piece", None),
        "trainer_spec": (2, "TrainerSpec", None),
        "normalizer_spec": (3, "NormalizerSpec", None),
        "denormalizer_spec": (5, "NormalizerSpec", None),
    },
}


Model = message_class(PACKAGE, MESSAGES, "Model", repeated=("pieces",))


def read_model(path: str | pathlib.Path) -> Any:
    """The model's `pieces` (`piece`, `score`, `type`), `trainer_spec`, `normalizer_spec` and `denormalizer_spec`.

    Raises: DataError where the file is something else.
    """
    try:
        return Model.FromString(objects.read_bytes(to_place(path)))
    except message.DecodeError as error:
        raise DataError(f"{path}: is no SentencePiece model; give the tokenizer of the run") from error
