"""`lst prepare units-convert`: k-means centroids or a linear quantizer to `units.safetensors` in a model directory.

    lst prepare units-convert MODEL_DIR --centroids km500.npy --layer 11
    lst prepare units-convert MODEL_DIR --centroids km500.bin --layer 11      # a pickle: asks first
    lst prepare units-convert MODEL_DIR --linear quantizer.safetensors --blank 0

Files of numpy (.npy) and safetensors hold numbers only. A pickle (.pkl, .bin, .joblib, ...) is a program that runs when
it is read, so it is read only after a person said yes. Torch checkpoints (.pt, .pth) are read with `weights_only`.
"""

import os
import pathlib
import pickle
import sys
import warnings
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy

from lst_jax.core.errors import DataError
from lst_jax.prepare.acoustic import weights
from lst_jax.prepare.acoustic.units import DEFAULT_LAYER, QUANTIZER_FILE, Quantizer
from lst_jax.storage.at_hand import as_given, at_hand
from lst_jax.storage.place import Place, in_bucket, to_place

TORCH_SUFFIXES = (".pt", ".pth")


def read_centroids(path: pathlib.Path, trusted: bool) -> np.ndarray:
    """Centroids float [k, width] of a .npy, safetensors (one tensor) or scikit-learn pickle (only where `trusted`)."""
    if path.suffix == ".npy":
        try:
            centroids = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as numbers of numpy ({error}); save it with numpy.save") from error
    elif path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
        if len(tensors) != 1:
            raise DataError(f"{path}: has tensors {', '.join(sorted(tensors))}; leave the centroids alone in it")
        centroids = next(iter(tensors.values()))
    else:
        centroids = _unpickle_centroids(path, trusted)
    if centroids.ndim != 2 or not np.issubdtype(centroids.dtype, np.floating) or not np.isfinite(centroids).all():
        raise DataError(f"{path}: must hold finite centroids [k, width], not {centroids.dtype} {centroids.shape}")
    return centroids


def read_linear(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Weight [outputs, width] and bias [outputs] of the one linear layer in a safetensors or torch file."""
    if path.suffix in TORCH_SUFFIXES:
        tensors = _read_torch(path)
    elif path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    else:
        raise DataError(f"{path}: must end in .safetensors, .pt or .pth; save the layer's weight and bias so")
    matrices = [array for array in tensors.values() if array.ndim == 2]
    vectors = [array for array in tensors.values() if array.ndim == 1]
    if len(tensors) != 2 or not matrices or not vectors or len(matrices[0]) != len(vectors[0]):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in sorted(tensors.items()))
        raise DataError(f"{path}: must hold one weight [outputs, width] and its bias [outputs], not {shapes}")
    return matrices[0], vectors[0]


def confirm(path: pathlib.Path) -> bool:
    """Asks a person to type the file's name; False where nobody can be asked."""
    if not sys.stdin.isatty():
        return False
    print(
        f"{as_given(str(path))} is a pickle. Reading it runs whatever program it holds, with your rights on this machine.\n"
        f"Go on only if you trust where it comes from: type {path.name} to read it, anything else to stop."
    )
    return input("> ").strip() == path.name


def write_quantizer(
    model_dir: str | os.PathLike | Place,
    centroids: str | os.PathLike | Place | None,
    linear: str | os.PathLike | Place | None,
    layer: int | None = None,
    blank: int | None = None,
    trusted: bool = False,
) -> str:
    """Reads one of `centroids` and `linear`, checks it against the model and writes `units.safetensors`.

    `layer` is DEFAULT_LAYER unless given. `trusted`: a pickle is read without asking.
    Returns: the line that says what was written. Raises: UserError.
    """
    folder = to_place(model_dir)
    arch = weights.read_architecture(at_hand(folder / "config.json").parent if in_bucket(folder) else folder)
    source, layer = at_hand(centroids or linear), DEFAULT_LAYER if layer is None else layer
    if not source.is_file():
        raise DataError(f"{source}: no such file; correct the path")
    if not 0 <= layer <= arch.num_hidden_layers:
        raise DataError(f"--layer={layer}: must lie in 0..{arch.num_hidden_layers}; give the one it was fitted to")
    if centroids:
        if blank is not None:
            raise DataError(f"--blank={blank}: k-means has no blank; leave it out")
        trusted = trusted or (source.suffix not in (".npy", ".safetensors") and confirm(source))
        quantizer = Quantizer.from_centroids(read_centroids(source, trusted), layer)
    else:
        weight_VD, bias_V = read_linear(source)
        if blank is not None and not 0 <= blank < len(bias_V):
            raise DataError(f"--blank={blank}: must lie in 0..{len(bias_V) - 1}; give the output that is no unit")
        quantizer = Quantizer(weight_VD.T, bias_V, layer, blank)
    if len(quantizer.kernel_DV) != arch.hidden_size:
        raise DataError(
            f"{source}: is for frames of width {len(quantizer.kernel_DV)}, the model's have "
            f"{arch.hidden_size}; choose the model it was fitted to"
        )
    path = folder / QUANTIZER_FILE
    quantizer.save(path)
    return f"{path}: {quantizer.codebook_size} units of layer {quantizer.layer} at {arch.frame_rate:g} Hz"


def _unpickle_centroids(path: pathlib.Path, trusted: bool) -> np.ndarray:
    if not trusted:
        raise DataError(
            f"{path}: is a pickle, which runs code when it is read; pass --yes if you trust where it comes "
            "from, or convert the centroids to .npy there"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn about pickles of other versions: only numbers are taken
            model = _load_pickle(path)
    except ImportError as error:
        raise DataError(f"{path}: needs another package to be read ({error}); pip install scikit-learn") from error
    except Exception as error:  # a pickle can raise anything
        raise DataError(
            f"{path}: cannot be unpickled ({type(error).__name__}: {error}); save cluster_centers_ with "
            "numpy.save where it was made"
        ) from error
    if isinstance(model, np.ndarray):
        return model
    if not hasattr(model, "cluster_centers_"):
        raise DataError(f"{path}: holds a {type(model).__name__} without cluster_centers_; give a fitted k-means")
    return np.asarray(model.cluster_centers_)


def _load_pickle(path: pathlib.Path):
    """joblib's pickles need joblib (it comes with scikit-learn), which reads plain ones too."""
    try:
        import joblib
    except ImportError:
        with path.open("rb") as file:
            return pickle.load(file)
    return joblib.load(path)


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Tensors by name of a .safetensors file, or else of a torch state dictionary. Raises: DataError."""
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error}); save it again") from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    """A state dictionary, or the one under a key of its own; no code in the file runs."""
    try:
        import torch
    except ImportError as error:
        raise DataError(f"{path}: needs torch to be read; pip install torch, or save it as safetensors") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise DataError(f"{path}: holds more than tensors or is damaged; save state_dict() alone") from error
    nested = [value for value in state.values() if isinstance(value, Mapping)] if isinstance(state, Mapping) else []
    state = nested[0] if len(nested) == 1 else state
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path}: is no state dictionary of tensors; save the layer's state_dict() alone")
    return {name: value.float().numpy() for name, value in state.items()}
