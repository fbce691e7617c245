"""`lst bench patching`: what patching saves, in FLOPs that XLA counts in compiled TPU programs, and in time.

`bench.patching_time` measures the time; this module counts the FLOPs.

All systems read the same content: rows of the paper's mixture of made-up records. A system's cost is the FLOPs of its
compiled training step over the real tokens in the row. Base has rows of as many tokens as LST, so that documents are
cut at the same length.

XLA counts a loop's body once, and it does not count what Pallas kernels do. Therefore layers are not scanned and logits
are not chunked. The layers of a stack are alike, so three shallow programs give the FLOPs of any depth; a fourth, deeper
program checks that. `lst_jax.cost.flops` counts the pairs of the splash kernels, from the documents of the batches.
"""

import dataclasses
import functools
import statistics
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from lst_jax.bench import patching_time
from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.cost import hlo
from lst_jax.cost.flops import model_flops
from lst_jax.cost.kernels import stated_flops
from lst_jax.cost.topology import QUICKLY, devices
from lst_jax.data.made_up import made_up_batches
from lst_jax.data.rows import BATCH_TYPES, Batch
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.parallel.sharding import one_device
from lst_jax.recipes.row_sizes import row_speech_patches_for, row_speech_tokens_for, row_tokens_for
from lst_jax.report import results_file
from lst_jax.step import update

SYSTEMS = {
    "base": "base",
    "static": "LST, static patches of 4",
    "static1": "Base with LST's local modules",
    "bypass-static": "LST, text past the local modules",
}
PACKAGES = ("jax", "jaxlib", "libtpu", "flax")
ROW_PATCHES, PATCH = 4096, 4  # of LST's interleaved rows (paper §6)
PAIRS = ("encoder_pairs", "global_pairs", "decoder_pairs")
CHECK_RTOL = 0.005  # largest relative difference between a deeper program and the sum of layers


class Cost(NamedTuple):
    """FLOPs per real token, of the whole step and of the global transformer's layers."""

    whole: float
    global_layers: float
    patches_per_token: float
    checked: float | None  # the deeper program's FLOPs over those that the shallow ones predict


def measure(recipes: dict[str, Config], topology: str, batches: int) -> dict[str, Any]:
    """Costs of each of `SYSTEMS` over the whole mixture, and over its interleaved part alone; the time of the mixture."""
    mesh = one_device(devices(topology)[0])
    time = patching_time.measure(recipes, topology)
    recipes = {name: with_tokens(recipes[name], recipes["static"].data.row_tokens) for name in SYSTEMS}
    found: dict[str, dict[str, Cost]] = {"mixture": {}, "interleaved": {}}
    with tqdm(total=2 * len(SYSTEMS), desc="bench patching", unit="system") as progress:
        for content, costs in found.items():
            for name in SYSTEMS:
                config = recipes[name] if content == "mixture" else interleaved_only(recipes[name])
                costs[name] = cost(config, mesh, batches, check=content == "mixture" and name == "static")
                progress.update()
    return {
        "topology": topology,
        "batches": batches,
        "row_tokens": recipes["base"].data.row_tokens,
        "time": time,
        **{content: {name: c._asdict() for name, c in costs.items()} for content, costs in found.items()},
    }


def interleaved_only(config: Config) -> Config:
    """Rows of the same size that the interleaved source fills alone."""
    data = config.data
    sources = tuple(s for s in data.sources if s.kind == "utterance")
    if not sources:
        raise DataError(f"data.sources: {config.name} has no utterances; add a source of them")
    tokens = row_tokens_for(ROW_PATCHES, PATCH, interleaved_share=1.0)
    architecture = architecture_named(config.model.architecture)
    data = dataclasses.replace(data, sources=sources, row_patches=ROW_PATCHES)
    if architecture.text_bypasses_local_networks:
        speech = row_speech_tokens_for(tokens, interleaved_share=1.0)
        patches = row_speech_patches_for(speech, PATCH)
        data = dataclasses.replace(data, row_speech_tokens=speech, row_speech_patches=patches)
    return with_tokens(dataclasses.replace(config, data=data), tokens)


def with_tokens(config: Config, tokens: int) -> Config:
    """The run with rows of `tokens` tokens, and as many patch positions where every patch is one token."""
    data = config.data
    single = not architecture_named(config.model.architecture).patches_speech or data.patching.static_size == 1
    return dataclasses.replace(
        config, data=dataclasses.replace(data, row_tokens=tokens, row_patches=tokens if single else data.row_patches)
    )


def cost(config: Config, mesh: Mesh, batches: int, check: bool) -> Cost:
    """FLOPs per real token of a step over one row, from shallow programs and the attention pairs of the batches."""
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, rows=1))
    stats = [s for _, s in made_up_batches(config, batches)]
    mean = {key: statistics.mean(int(s[key]) for s in stats) for key in stats[0] if np.ndim(stats[0][key]) == 0}
    m = config.model
    depth = (m.global_transformer.layers, m.patch_decoder.layers if m.patch_decoder else 0)
    shallow = (1, min(1, depth[1]))
    first = program_flops(config, mesh, *shallow)
    global_layer = program_flops(config, mesh, 2, shallow[1]) - first
    decoder_layer = program_flops(config, mesh, 1, 2) - first if depth[1] else 0.0
    products = first + (depth[0] - 1) * global_layer + (depth[1] - 1) * decoder_layer * bool(depth[1])
    checked = None
    if check:
        deeper = program_flops(config, mesh, 4, 3)
        checked = deeper / (first + 3 * global_layer + 2 * decoder_layer)
        if abs(checked - 1) > CHECK_RTOL:
            raise DataError(
                f"{config.name}: 4 and 3 layers have {checked:.3f} of the FLOPs that single ones predict; "
                "XLA no longer compiles layers alike, count the whole program"
            )
    pairs = {key: mean[key] if key in PAIRS else 0 for key in mean}
    attention = model_flops(config.model, config.joint_vocab, pairs)
    return Cost(
        (products + sum(attention.values())) / mean["tokens"],
        (depth[0] * global_layer + attention["global_transformer"]) / mean["tokens"],
        mean["units"] / mean["tokens"],
        checked,
    )


def program_flops(config: Config, mesh: Mesh, global_layers: int, decoder_layers: int) -> float:
    """XLA's count for the compiled step of a shallow model over one row, without attention kernels."""
    m, data = config.model, config.data
    decoder = m.patch_decoder and dataclasses.replace(m.patch_decoder, layers=decoder_layers)
    model_config = dataclasses.replace(
        m,
        global_transformer=dataclasses.replace(m.global_transformer, layers=global_layers),
        patch_decoder=decoder,
        scan_layers=False,
        remat="none",
        logits_chunk=data.row_tokens,
    )
    return _compiled_flops(
        dataclasses.replace(
            config, model=model_config, data=dataclasses.replace(data, sources=(), patching=patching_time.SHAPES_ONLY)
        ),
        mesh,
    )


@functools.cache
def _compiled_flops(config: Config, mesh: Mesh) -> float:
    """Compiles once for all contents and patchings of the same shapes."""
    model = update.build_model(config, mesh, training_rows=True)
    state = update.state_shape(config, model, mesh)
    shape = (config.data.rows, config.data.row_tokens)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, kind) for kind in BATCH_TYPES))
    numbers = update.numbers_of(config)
    lowered = update.make_train_step(config, model, mesh).lower(state, batch, numbers)
    compiled = lowered.compile(compiler_options=QUICKLY)
    return float(compiled.cost_analysis()["flops"]) - stated_flops(hlo.parse(hlo.serialized(compiled)))


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    rows = [
        [
            SYSTEMS[name],
            *(f"{measured[c][name]['patches_per_token']:.3f}" for c in ("mixture", "interleaved")),
            *(f"{measured[c][name]['whole'] / 1e9:.3f} G" for c in ("mixture", "interleaved")),
            *(f"{_ratio(measured, c, name, 'whole'):.3f}" for c in ("mixture", "interleaved")),
            *(f"{_ratio(measured, c, name, 'global_layers'):.3f}" for c in ("mixture", "interleaved")),
        ]
        for name in measured["mixture"]
    ]
    header = [
        "system",
        "patch positions per token",
        "interleaved",
        "FLOPs per real token",
        "interleaved",
        "of Base, whole model",
        "interleaved",
        "of Base, global layers alone",
        "interleaved",
    ]
    against = _whole(measured, "static") / _whole(measured, "static1")
    note = (
        f"Training steps over rows of T={measured['row_tokens']:,} tokens compiled for one {measured['topology']} "
        f"chip; real tokens from {measured['batches']} rows of made-up records. LST costs {against:.3f} of a Base "
        "that carries the same local modules. A program with 4 global and 3 decoder layers has "
        f"{measured['mixture']['static']['checked']:.4f} of the FLOPs that the shallow ones predict."
    )
    return "\n\n".join([note, results_file.table(header, rows), patching_time.markdown(measured["time"])])


def _whole(measured: dict[str, Any], name: str) -> float:
    return measured["mixture"][name]["whole"]


def _ratio(measured: dict[str, Any], content: str, name: str, key: str) -> float:
    return measured[content][name][key] / measured[content]["base"][key]
