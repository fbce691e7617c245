"""Whisper as a recogniser, from a local directory in Hugging Face's format, by transformers on the CPU.

torch and transformers are an extra (`requirements-whisper.txt`), imported only where `--recogniser whisper:DIR` asks.
"""

import hashlib
import importlib.metadata
import os
import pathlib
from typing import Any

import numpy as np

from lst_jax.core import json_files
from lst_jax.core.errors import DataError, first_line
from lst_jax.core.hashing import file_sha256
from lst_jax.prepare.audio import RATE
from lst_jax.storage.at_hand import at_hand

VERSION = 1  # of what is done here; raise it when any word heard could change
READ = (".json", ".txt", ".safetensors")  # what a model's directory is read from: weights, tokenizer and settings
QUIET_SEC = 0.2  # audio is cut in the middle of so much that is quietest


class Whisper:
    """A `Recogniser`: English, the likeliest token at a time, no timestamps, float32.

    Whisper hears 30 s at once; longer audio is cut where it is quietest, and the texts are joined.
    """

    def __init__(self, directory: str | os.PathLike):
        """Raises: DataError where the extra is not installed, or the directory has no whole Whisper."""
        try:
            import torch  # optional, as transformers
            import transformers
        except ModuleNotFoundError as error:
            raise DataError(
                f"--recogniser whisper:{directory}: needs torch and transformers, which are an extra; pip "
                "install 'lst_jax[whisper]', in a clone pip install -e '.[whisper]'"
            ) from error
        folder = at_hand(directory)
        config = json_files.read_model_file(folder / "config.json")
        if "model_type" not in config or config["model_type"] != "whisper":
            raise DataError(f"{directory}/config.json: model_type must be whisper; give the directory of such a model")
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            self._processor = transformers.WhisperProcessor.from_pretrained(folder, local_files_only=True)
            self._model, loaded = transformers.WhisperForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
            if loaded["missing_keys"]:  # which transformers would draw at random
                raise ValueError(f"the weights lack {min(loaded['missing_keys'])}")
            self._model.eval()
            self._hear(np.zeros(RATE, np.float32), max_new_tokens=1)
        except Exception as error:  # of any kind, as the files decide what fails
            raise DataError(
                f"{directory}: cannot be used as a Whisper ({first_line(error)}); download it again, with "
                "its safetensors, tokenizer and generation_config.json"
            ) from error
        version = importlib.metadata.version("transformers")
        self.name = f"whisper/transformers-{version}/{_fingerprint(folder)}/{VERSION}"

    def transcribe(self, audio: np.ndarray) -> str:
        """See `Recogniser`."""
        longest = self._processor.feature_extractor.n_samples
        heard = (self._hear(piece) for piece in pieces(np.asarray(audio, np.float32), longest))
        return " ".join(text for text in heard if text)

    def _hear(self, audio: np.ndarray, **limits: int) -> str:
        """The text of audio that Whisper hears at once."""
        features = self._processor(audio, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        settings: dict[str, Any] = {"do_sample": False, "num_beams": 1, "return_timestamps": False, **limits}
        if self._model.generation_config.is_multilingual:  # the others refuse to be told
            settings |= {"language": "en", "task": "transcribe"}
        tokens = self._model.generate(**features, **settings)
        return self._processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()


def pieces(audio: np.ndarray, longest: int) -> list[np.ndarray]:
    """`audio` cut into pieces of at most `longest` samples, about equally long, where it is quietest.

    A cut is looked for within a sixth of `longest` around the place that makes all pieces equal.
    Example: 40 s, silent from 18 s to 19 s, and 30 s at most -> 18.5 s and 21.5 s
    """
    found, half = [], round(QUIET_SEC * RATE) // 2
    while len(audio) > longest:
        equal = len(audio) // -(-len(audio) // longest)
        first, last = equal - longest // 6, min(equal + longest // 6, longest)
        energy = np.cumsum(np.square(audio[first - half : last + half], dtype=np.float64))
        around = energy[2 * half :] - energy[: -2 * half]
        quietest = np.flatnonzero(around == around.min())
        cut = first + int(quietest[len(quietest) // 2])
        found.append(audio[:cut])
        audio = audio[cut:]
    return [*found, audio] if len(audio) else found


def _fingerprint(directory: pathlib.Path) -> str:
    """Of all files that a model is read from."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.iterdir() if path.suffix in READ):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()[:16]
