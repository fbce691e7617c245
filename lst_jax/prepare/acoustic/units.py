"""Speech units from HuBERT or wav2vec2: a hidden state, then its nearest centroid or the best of a linear layer."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jax import lax
from jaxtyping import Array, Float, Int

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.acoustic import wav2vec2
from lst_jax.prepare.acoustic.encoder import Encoder
from lst_jax.storage import objects
from lst_jax.storage.at_hand import at_hand
from lst_jax.storage.place import Place, to_place

QUANTIZER_FILE = "units.safetensors"  # in the model's directory
FORMAT_VERSION = "1"
DEFAULT_LAYER = 11  # of 12; the layer that published 25 Hz units are made from


class Quantizer:
    """Frames to units: argmax of frame·kernel + bias. `layer` is the hidden state it was fitted to.

    With a `blank`, that output is no unit: such frames take the unit before them, leading ones the unit after.
    """

    kind = "acoustic_quantizer"

    def __init__(self, kernel_DV: np.ndarray, bias_V: np.ndarray, layer: int, blank: int | None = None):
        """`kernel_DV` float32 [width, outputs], `bias_V` float32 [outputs]."""
        self.kernel_DV = np.ascontiguousarray(kernel_DV, np.float32)
        self.bias_V = np.ascontiguousarray(bias_V, np.float32)
        self.layer, self.blank = layer, blank
        self.codebook_size = len(bias_V)
        digest = hashlib.sha256(f"{self.kind} {FORMAT_VERSION} {layer} {blank} {self.kernel_DV.shape}".encode())
        for array in (self.kernel_DV, self.bias_V):
            digest.update(array.astype("<f4").tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def from_centroids(cls, centroids_VD: np.ndarray, layer: int) -> "Quantizer":
        """k-means: the nearest centroid has the largest frame·centroid - |centroid|²/2."""
        centroids_VD = np.asarray(centroids_VD, np.float64)
        return cls(centroids_VD.T, -0.5 * np.square(centroids_VD).sum(1), layer)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Quantizer":
        """Reads what `save` wrote. Raises: DataError where the file is missing, another one or not whole."""
        hint = "make it with `lst prepare units-convert`"
        if not pathlib.Path(path).is_file():
            raise DataError(f"{path}: no such file; {hint}")
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
        except (safetensors.SafetensorError, OSError) as error:
            raise DataError(f"{path}: cannot be read as safetensors ({error}); {hint}") from error
        if (
            not {"kind", "version", "layer", "blank"} <= metadata.keys()
            or metadata["kind"] != cls.kind
            or metadata["version"] != FORMAT_VERSION
            or tensors.keys() != {"kernel", "bias"}
        ):
            raise DataError(f"{path}: is no quantizer of version {FORMAT_VERSION}; {hint}")
        blank = None if metadata["blank"] == "none" else int(metadata["blank"])
        return cls(tensors["kernel"], tensors["bias"], int(metadata["layer"]), blank)

    def save(self, path: str | os.PathLike | Place) -> None:
        """Writes safetensors, complete or not at all. Raises: StorageError."""
        settings = {
            "kind": self.kind,
            "version": FORMAT_VERSION,
            "layer": str(self.layer),
            "blank": "none" if self.blank is None else str(self.blank),
            "fingerprint": self.fingerprint,
        }
        with objects.filling(to_place(path)) as temporary:
            temporary.write_bytes(safetensors.numpy.save({"kernel": self.kernel_DV, "bias": self.bias_V}, settings))


class HubertKMeans:
    """Units of a model directory that also holds `units.safetensors`; a `UnitTokenizer` of preparation.

    The rate is the model's: strides that multiply to 640 samples give 25 Hz, 320 give 50 Hz. A recording's units do not
    depend on padding, but a frame halfway between two centroids may fall either way on another device or batch shape.
    """

    def __init__(self, encoder: Encoder, quantizer: Quantizer):
        """Raises: DataError where the two do not fit together."""
        width = encoder.arch.hidden_size
        if quantizer.kernel_DV.shape != (width, quantizer.codebook_size):
            raise DataError(
                f"quantizer: is for frames of width {len(quantizer.kernel_DV)}, the model's have {width}; "
                "fit one to this model"
            )
        if quantizer.layer != encoder.layer:
            raise DataError(f"quantizer: was fitted to layer {quantizer.layer}, not to {encoder.layer}; load that one")
        self.encoder, self.quantizer = encoder, quantizer
        self.unit_rate = encoder.arch.frame_rate
        self.codebook_size = quantizer.codebook_size
        joined = hashlib.sha256(f"{encoder.fingerprint} {quantizer.fingerprint}".encode())
        self.fingerprint = joined.hexdigest()[:16]
        affine = jax.device_put((quantizer.kernel_DV, quantizer.bias_V))
        self._function = functools.partial(_units, affine=affine, arch=encoder.arch, layer=quantizer.layer)

    @classmethod
    def load(cls, directory: str | os.PathLike | Place, quantizer: Quantizer | None = None) -> "HubertKMeans":
        """Loads a Hugging Face directory; without `quantizer`, its own `units.safetensors`. One in a bucket is copied here.

        Raises: DataError, StorageError.
        """
        folder = at_hand(directory)
        quantizer = quantizer or Quantizer.load(folder / QUANTIZER_FILE)
        return cls(Encoder(folder, quantizer.layer), quantizer)

    def encode(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """Units uint16 [frames] of float32 mono samples; `rate` must be 16000. Raises: RejectedItem."""
        units = self.encode_batch([audio], rate)[0]
        if isinstance(units, RejectedItem):
            raise units
        return units

    def encode_batch(self, recordings: Sequence[np.ndarray], rate: int) -> list[np.ndarray | RejectedItem]:
        """`encode` of several recordings, in batches of similar length; what has no units is a RejectedItem."""
        if rate != wav2vec2.SAMPLE_RATE:
            raise DataError(f"rate={rate}: units are made from {wav2vec2.SAMPLE_RATE} Hz; resample with load_audio")
        return [self._finish(units) for units in self.encoder.map(self._function, recordings)]

    def _finish(self, units: np.ndarray | RejectedItem) -> np.ndarray | RejectedItem:
        if isinstance(units, RejectedItem):
            return units
        try:
            return fill_blanks(units, self.quantizer.blank).astype(np.uint16)
        except RejectedItem as error:
            return error


def fill_blanks(units: np.ndarray, blank: int | None) -> np.ndarray:
    """Gives blanks the unit before them, leading ones the unit after.

    Example: with blank 0, 0 0 5 0 0 7 0 -> 5 5 5 5 5 7 7
    Raises: RejectedItem where there is nothing but blanks.
    """
    if blank is None:
        return units
    is_unit = units != blank
    if not is_unit.any():
        raise RejectedItem("no units", "every frame is the quantizer's blank; leave the recording out")
    source = np.maximum.accumulate(np.where(is_unit, np.arange(len(units)), -1))
    return units[np.where(source < 0, is_unit.argmax(), source)]


@functools.partial(jax.jit, static_argnames=("arch", "layer"))
def _units(
    params: wav2vec2.Params,
    audio_BS: Float[Array, "B S"],
    samples_B: Int[Array, "B"],
    *,
    affine: tuple[Array, Array],
    arch: wav2vec2.Architecture,
    layer: int,
) -> Int[Array, "B T"]:
    x_BTD = wav2vec2.hidden_state(params, audio_BS, samples_B, arch=arch, layer=layer)
    return (lax.dot_general(x_BTD, affine[0], (((2,), (0,)), ((), ())), precision="highest") + affine[1]).argmax(-1)
