"""Initial parameters from a text model, for Base or for the global transformer of an LST (`train.init_from`).

    source = warm_source(pathlib.Path("Llama-2-7b-hf"), recipe, recipe.seed)

The source is a Hugging Face directory with a text model of `hf_families` and the text tokenizer of the recipe. Base takes all of
it. Markers and units have no rows in a text model: their rows of the embedding and of the output matrix begin at the
mean of the text rows. An LST takes the layers, and draws all else as a fresh run with the same seed does. The
`origin` of the source lists what was taken, initialised and left out.
"""

import collections
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from lst_jax.config import Config
from lst_jax.convert import hf_llama
from lst_jax.convert.hf_families import Llama, check_fields
from lst_jax.convert.source import Source, Stored, check_shapes, expected_shapes
from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, ndarray
from lst_jax.data.byte_pieces import BytePieces
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.data.text import load_tokenizer, tokenizer_fingerprint
from lst_jax.data.text_tokenizer import TextTokenizer
from lst_jax.model.architectures.registry import ARCHITECTURES, architecture_named, build

EMBEDDING, OUTPUT = hf_llama.OUTER[hf_llama.EMBEDDING], hf_llama.OUTER[hf_llama.OUTPUT]
TOKENIZER_JSON = "tokenizer.json"
SHARED = ("k_proj.weight", "v_proj.weight", "k_proj.bias", "v_proj.bias")  # have rows for each key and value head alone


def warm_source(path: pathlib.Path, recipe: Config, seed: int) -> Source:
    """Opens a text model as parameters of the recipe; arrays are read or drawn later.

    Raises: DataError where recipe and model differ, naming the field and both values, and for missing or left-over
    tensors.
    """
    begun = architecture_named(recipe.model.architecture).conversions.warm_start
    if begun is None:
        able = [name for name, one in ARCHITECTURES.items() if one.conversions.warm_start is not None]
        raise DataError(
            f"model.architecture={recipe.model.architecture!r}: only {' and '.join(able)} can begin with a text "
            f"model's weights; use one of them"
        )
    llama = hf_llama.read_llama(path)
    check_fields(recipe, llama, path)
    if recipe.model.tied_output and not llama.tied:
        raise DataError(f"model.tied_output=True: {path} has an output matrix of its own; use False")
    check_tokenizer(recipe, path)
    if llama.vocab_size < recipe.vocab.text_size:
        raise DataError(
            f"vocab.text_size={recipe.vocab.text_size}: {path} has vocab_size={llama.vocab_size}; use the "
            "tokenizer that it was trained with"
        )
    tensors = _tensors(path, llama)
    if begun == "whole_model":
        return _whole_model(path, recipe, llama, tensors)
    return _global_transformer(path, recipe, llama, tensors, seed)


def check_tokenizer(recipe: Config, path: pathlib.Path) -> None:
    """Compares data.tokenizer with the directory's tokenizer.model, or with its tokenizer.json.

    Raises: DataError naming both fingerprints and what differs first.
    """
    model = open_tokenizer(recipe)
    ours, changed = _pieces(model), None
    if isinstance(model, BytePieces):
        file = _present(path / TOKENIZER_JSON)
        other = load_tokenizer(file)
        theirs = _pieces(other)
        changed = model.differs_from(other) if isinstance(other, BytePieces) else "it is of another kind"
    else:
        file, theirs = _pieces_of(path)
    differ = [i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]]
    if differ:
        changed = f"piece {differ[0]} is {ours[differ[0]]!r} here and {theirs[differ[0]]!r} there"
    elif len(ours) != len(theirs):
        changed = f"it has {len(ours)} pieces, the other one {len(theirs)}"
    if changed is None:
        return
    raise DataError(
        f"data.tokenizer={recipe.data.tokenizer} ({tokenizer_fingerprint(recipe.data.tokenizer)}): is "
        f"another tokenizer than {file} ({tokenizer_fingerprint(file)}): {changed}; use the text model's own file, "
        "and prepare the data with it"
    )


def repeated(weight: Float[ndarray, "G *D"], kv_heads: int, heads: int) -> Float[ndarray, "F *D"]:
    """Repeats each key or value head once per query head that shares it. Example: 2 of 4 heads: a b -> a a b b"""
    g, *d = weight.shape
    if kv_heads == heads:
        return weight
    return weight.reshape(kv_heads, g // kv_heads, *d).repeat(heads // kv_heads, axis=0).reshape(-1, *d)


def with_new_rows(weight_ND: Float[ndarray, "N D"], text_size: int, size: int) -> Float[ndarray, "V D"]:
    """The first `text_size` rows, followed by copies of their mean up to `size` rows."""
    text_ND = weight_ND[:text_size]
    whole_VD = np.empty((size, weight_ND.shape[1]), np.float32)
    whole_VD[:text_size] = text_ND
    whole_VD[text_size:] = text_ND.mean(0, dtype=np.float64)
    return whole_VD


def fresh_parameters(recipe: Config, seed: int, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Fresh parameters by path, only those `wanted`, and of the global layers only the first.

    They equal those of a run with that seed: a parameter depends on the seed, its path and its shape alone.
    """
    one_layer = dataclasses.replace(recipe.model.global_transformer, layers=1)
    model = build(
        dataclasses.replace(recipe.model, global_transformer=one_layer), recipe.joint_vocab, recipe.data.row_patches
    )

    def some(key):
        flat = traverse_util.flatten_dict(model.init_params(key), sep="/")
        return {path: value for path, value in flat.items() if wanted(path)}

    return {path: np.asarray(value) for path, value in jax.jit(some)(jax.random.key(seed)).items()}


def _whole_model(path: pathlib.Path, recipe: Config, llama: Llama, tensors: Mapping[str, Stored]) -> Source:
    size, text_size = recipe.joint_vocab.size, recipe.vocab.text_size

    def with_rows(one):
        return Stored((size, llama.width), lambda: with_new_rows(one.read(), text_size, size))

    theirs = {name: with_rows(one) if name in (EMBEDDING, OUTPUT) else one for name, one in tensors.items()}
    rows = {hf_llama.EMBEDDING: "rows", hf_llama.OUTPUT: "columns"}
    outer = dict(hf_llama.OUTER)
    if recipe.model.tied_output:
        del outer[hf_llama.OUTPUT], rows[hf_llama.OUTPUT]
    arrays = _layers_and(outer, llama, theirs, expected_shapes(recipe.model, recipe.joint_vocab))
    taken = [
        _layers_taken(llama),
        *([hf_llama.LAST_NORM] if hf_llama.LAST_NORM in arrays else []),
        *(f"{ours}: {what} 0..{text_size - 1}" for ours, what in rows.items()),
    ]
    taken[-1] += f" (of {EMBEDDING}, which is tied)" if llama.tied and hf_llama.OUTPUT in rows else ""
    begun = [f"{ours}: {what} {text_size}..{size - 1}, the mean of those taken" for ours, what in rows.items()]
    unused = (
        [f"{EMBEDDING} and {OUTPUT}: rows {text_size}..{llama.vocab_size - 1}"] if llama.vocab_size > text_size else []
    )
    return Source(recipe, arrays, _origin(path, taken, begun, unused))


def _global_transformer(
    path: pathlib.Path, recipe: Config, llama: Llama, tensors: Mapping[str, Stored], seed: int
) -> Source:
    shapes = expected_shapes(recipe.model, recipe.joint_vocab)
    arrays = _layers_and({}, llama, tensors, shapes)
    rest = [ours for ours in shapes if ours not in arrays]
    values = functools.cache(lambda: fresh_parameters(recipe, seed, set(rest).__contains__))
    arrays |= {ours: Stored(shapes[ours], lambda ours=ours: values()[ours]) for ours in rest}
    begun = [f"{line}, drawn with seed {seed}" for line in _collapsed(rest)]
    unused = [one for one in hf_llama.names(llama, llama.tied).values() if one in hf_llama.OUTER.values()]
    return Source(recipe, arrays, _origin(path, [_layers_taken(llama)], begun, unused))


def _layers_and(
    outer: Mapping[str, str], llama: Llama, tensors: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Stored]:
    """The arrays of the layers and of the paths in `outer`, in our layout."""
    names = {
        ours: theirs for ours, theirs in hf_llama.names(llama).items() if ours in outer or ours not in hf_llama.OUTER
    }
    head = llama.size_of_head
    return {ours: hf_llama.to_ours(ours, tensors[theirs], shapes[ours], head) for ours, theirs in names.items()}


def _tensors(path: pathlib.Path, llama: Llama) -> dict[str, Stored]:
    """All tensors, as if no heads were shared and the output matrix were not tied to the embedding."""
    found = hf_llama.open_tensors(path)
    if llama.tied:
        found.pop(OUTPUT, None)  # some checkpoints hold the tied matrix twice
    check_shapes({name: one.shape for name, one in found.items()}, llama_shapes(llama), str(path))
    if llama.tied:
        found[OUTPUT] = found[EMBEDDING]

    shared = (*SHARED, "k_norm.weight") if llama.qk_norm == "all_heads" else SHARED

    def expanded(one):
        rows = llama.heads * llama.size_of_head
        return Stored((rows, *one.shape[1:]), lambda: repeated(one.read(), llama.kv_heads, llama.heads))

    return {name: expanded(one) if name.endswith(shared) else one for name, one in found.items()}


def llama_shapes(llama: Llama) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the directory must hold."""
    d, f, k = llama.width, llama.ffn_width, llama.size_of_head
    own, shared = llama.heads * k, llama.kv_heads * k
    q_norm, k_norm = (own, shared) if llama.qk_norm == "all_heads" else (k, k)
    inner = {
        "q_proj.weight": (own, d),
        "k_proj.weight": (shared, d),
        "v_proj.weight": (shared, d),
        "o_proj.weight": (d, own),
        "gate_proj.weight": (f, d),
        "up_proj.weight": (f, d),
        "down_proj.weight": (d, f),
        "q_proj.bias": (own,),
        "k_proj.bias": (shared,),
        "v_proj.bias": (shared,),
        "q_norm.weight": (q_norm,),
        "k_norm.weight": (k_norm,),
    }
    outer = {EMBEDDING: (llama.vocab_size, d), OUTPUT: (llama.vocab_size, d)}

    def shape(name):
        return outer[name] if name in outer else inner.get(".".join(name.split(".")[-2:]), (d,))  # a block's norms

    return {name: shape(name) for name in hf_llama.names(llama, llama.tied).values()}


def _pieces_of(path: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """The file that lists the text pieces, and the pieces."""
    model, listed = path / "tokenizer.model", path / TOKENIZER_JSON
    if model.is_file():
        return model, _pieces(load_tokenizer(model))
    if not listed.is_file():
        raise DataError(
            f"{model}: no such file, nor {listed.name}, so it is unknown what the rows of its vocabulary "
            "are; download it too"
        )
    try:
        vocab = json_files.read_model_file(listed)["model"]["vocab"]
        pairs = vocab.items() if isinstance(vocab, dict) else ((piece, i) for i, (piece, _) in enumerate(vocab))
        return listed, [piece for piece, _ in sorted(pairs, key=lambda pair: pair[1])]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{listed}: has no vocabulary of pieces; download it again") from error


def _pieces(tokenizer: TextTokenizer) -> list[str]:
    return [tokenizer.id_to_piece(i) for i in range(tokenizer.get_piece_size())]


def _present(file: pathlib.Path) -> pathlib.Path:
    if not file.is_file():
        raise DataError(f"{file}: no such file, so it is unknown what the rows of its vocabulary are; download it too")
    return file


def _layers_taken(llama: Llama) -> str:
    shared = llama.heads // llama.kv_heads
    return f"global_transformer/layers_0..{llama.layers - 1}: all arrays" + (
        f", each key and value head for the {shared} query heads that share it" if shared > 1 else ""
    )


def _collapsed(paths: Iterable[str]) -> list[str]:
    """Paths, with one line for all layers of a kind. Example: "patch_decoder/layers_*/ffn_norm/scale (4 arrays)"."""
    counts = collections.Counter(re.sub(r"layers_\d+", "layers_*", path) for path in paths)
    return [f"{path} ({count} arrays)" if count > 1 else path for path, count in counts.items()]


def _origin(path: pathlib.Path, taken: list[str], initialised: list[str], left_out: list[str]) -> dict[str, Any]:
    return {
        "format": "hf",
        "path": str(path),
        "step": None,
        "taken": taken,
        "initialised": initialised,
        "left_out": left_out,
    }
