"""`lst bench step`: what one training step costs on this machine, whole and in parts.

The step is training's own, on batches that the data stream makes from made-up records. FLOPs are given twice: the
analytic ones that MFU is measured with (`scaling.flops`: real tokens, visible pairs), and XLA's own count of the same
step with nothing rolled up in a loop: layers one by one, attention and logits in one block, which counts padding,
hidden pairs and what the remat policy recomputes.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lst_jax.config import Config
from lst_jax.cost.flops import model_flops
from lst_jax.cost.peak import peak_flops
from lst_jax.data.made_up import made_up_batches
from lst_jax.data.rows import Batch
from lst_jax.model import lst
from lst_jax.model.patches import derive_patches
from lst_jax.parallel.sharding import check, make_mesh, one_device
from lst_jax.report import results_file
from lst_jax.step import objective, optim, update

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
PARTS = {
    "lst": {
        "patch encoder": ("patch_encoder",),
        "global transformer": ("global_transformer",),
        "patch decoder": ("patch_decoder",),
        "loss": ("patch_decoder",),
    },
    "base": {"global transformer": ("tok_embeddings", "global_transformer", "norm"), "loss": ("output",)},
}


def measure(config: Config, steps: int) -> dict[str, Any]:
    """All figures of the configuration's step as one JSON mapping; medians over `steps` timed steps."""
    mesh, one = make_mesh(config.mesh, jax.devices()[: math.gcd(config.data.rows, jax.device_count())]), one_device()
    check(config, mesh)
    made = made_up_batches(config, steps)
    batches = [update.put_batch(batch, mesh) for batch, _ in made]
    model = update.build_model(config, one, config.data.row_speech_tokens)
    params = update.init_state(config, model, one).params
    share = config.data.rows * config.mesh.tensor // mesh.size
    first = update.put_batch(jax.tree.map(lambda x: x[:share], made[0][0]), one)
    parts = {
        name: _time_part(function, args, steps)
        for name, (function, args) in part_functions(config, model, params, first).items()
    }
    model = update.build_model(config, mesh, config.data.row_speech_tokens)
    whole = _measure_step(config, model, mesh, batches)
    mean = {key: statistics.mean(int(stats[key]) for _, stats in made) for key in ("tokens", "units")}
    flops = [sum(model_flops(config.model, config.joint_vocab, stats).values()) for _, stats in made]
    peak, origin = peak_flops()
    rate = statistics.mean(flops) / whole["seconds"]
    return {
        "name": config.name,
        "devices": [d.device_kind for d in mesh.devices.flat],
        "steps": steps,
        "rows": config.data.rows,
        "row_tokens": config.data.row_tokens,
        "row_patches": config.data.row_patches,
        "scan_layers": config.model.scan_layers,
        "remat": config.model.remat,
        "parameters": sum(x.size for x in jax.tree.leaves(params)),
        **whole,
        **mean,
        "tokens_per_sec": mean["tokens"] / whole["seconds"],
        "units_per_sec": mean["units"] / whole["seconds"],
        "analytic_flops": statistics.mean(flops),
        "unrolled_flops": unrolled_flops(config, one, made[0][0]),
        "mfu": rate / (peak * mesh.size / jax.device_count()) if peak else None,
        "peak_flops": peak,
        "peak_source": origin,
        "parts": parts,
    }


def _measure_step(config: Config, model: lst.Model, mesh: Mesh, batches: Sequence[Batch]) -> dict[str, float]:
    """Median seconds of the compiled step, the seconds that compiling took, and the bytes it needs on a device."""
    state, hyper = update.init_state(config, model, mesh), optim.hyper_of(config.optim, config.train.steps)
    lowered = update.make_train_step(config, model, mesh).lower(state, batches[0], hyper)
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_sec = time.perf_counter() - start
    memory, seconds = compiled.memory_analysis(), []
    for batch in (batches[0], *batches):
        start = time.perf_counter()
        state, *_ = jax.block_until_ready(compiled(state, batch, hyper))
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(seconds[1:]),
        "compile_sec": compile_sec,
        "peak_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
    }


def unrolled_flops(config: Config, mesh: Mesh, batch: Batch) -> float:
    """XLA's count for the step with layers one by one, and attention and logits in one block; nothing is compiled."""
    tokens = config.data.row_tokens * config.model.queries_per_patch
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, scan_layers=False, attention_block=tokens, logits_chunk=tokens)
    )
    model = update.build_model(config, mesh, config.data.row_speech_tokens)
    state = update.state_shape(config, model, mesh)
    hyper = optim.hyper_of(config.optim, config.train.steps)
    return float(update.make_train_step(config, model, mesh).lower(state, batch, hyper).cost_analysis()["flops"])


def part_functions(
    config: Config, model: lst.Model, params: Any, batch: Batch
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Of each part its function and arguments, its own parameters first; arguments come from the parts before it."""
    ids = (batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)

    def apply(own, method, *args):
        return model.module.apply({"params": own}, *args, method=method)

    def loss(own, hidden_BTE):
        return objective.token_nll(
            lambda h: apply(own, "logits", h), hidden_BTE, batch.target_BT, config.model.logits_chunk
        )[0]

    own = {name: {key: params[key] for key in keys} for name, keys in PARTS[config.model.architecture].items()}
    hidden_BTE = jax.jit(lambda p: model.hidden(p, *ids))(params)
    last = {"loss": (loss, (own["loss"], hidden_BTE))}
    if config.model.architecture == "base":
        return {"global transformer": (lambda p: apply(p, "hidden", *ids), (own["global transformer"],)), **last}
    patches = derive_patches(*ids[1:], config.data.row_patches)

    def encode(p):
        return apply(p, lambda m: m.patch_encoder(ids[0], ids[1], patches))

    def transform(p, x_BUW):
        return apply(p, lambda m: m.global_transformer(x_BUW, patches.doc_id_BU))

    def decode(p, h_BTE, global_BUD):
        return apply(p, lambda m: m.patch_decoder(h_BTE, global_BUD, ids[1], patches))

    h_BTE, x_BUW = jax.jit(encode)(own["patch encoder"])
    global_BUD = jax.jit(transform)(own["global transformer"], x_BUW)
    return {
        "patch encoder": (encode, (own["patch encoder"],)),
        "global transformer": (transform, (own["global transformer"], x_BUW)),
        "patch decoder": (decode, (own["patch decoder"], h_BTE, global_BUD)),
        **last,
    }


def _time_part(function: Callable[..., Any], args: tuple[Any, ...], repeats: int) -> dict[str, float]:
    """Median seconds of a part forward ("in"), and forward and backward ("in and out")."""

    def both(*args):
        out, backward = jax.vjp(function, *args)
        return backward(jax.tree.map(jnp.ones_like, out))

    return {
        "forward_sec": _median_time(jax.jit(function), args, repeats),
        "forward_backward_sec": _median_time(jax.jit(both), args, repeats),
    }


def _median_time(function: Callable[..., Any], args: tuple[Any, ...], repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first compiles


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    m, ms = measured, lambda seconds: f"{1000 * seconds:.1f} ms"
    mfu = "unknown" if m["mfu"] is None else f"{m['mfu']:.1%} of {m['peak_flops'] / 1e9:,.0f} GFLOP/s"
    rows = [
        ["step", ms(m["seconds"])],
        ["real tokens/s", f"{m['tokens_per_sec']:,.0f}"],
        ["unit positions/s", f"{m['units_per_sec']:,.0f}"],
        ["MFU", mfu],
        ["FLOPs a step, analytic", f"{m['analytic_flops'] / 1e9:,.2f} G"],
        ["FLOPs a step, XLA's count, unrolled", f"{m['unrolled_flops'] / 1e9:,.2f} G"],
        ["memory a device, compiled", f"{m['peak_bytes'] / 2**20:,.1f} MiB"],
        ["of it temporary", f"{m['temporary_bytes'] / 2**20:,.1f} MiB"],
        ["compilation", f"{m['compile_sec']:.1f} s"],
    ]
    parts = [[name, ms(p["forward_sec"]), ms(p["forward_backward_sec"])] for name, p in m["parts"].items()]
    return "\n\n".join(
        [
            f"`{m['name']}`: {m['parameters']:,} parameters, {m['rows']} rows of T={m['row_tokens']}, U={m['row_patches']} "
            f"with {m['tokens']:,.0f} real tokens and {m['units']:,.0f} unit positions a step; scan_layers="
            f"{m['scan_layers']}, remat={m['remat']}; {len(m['devices'])} × {m['devices'][0]}. Medians of {m['steps']} "
            f"steps on made-up batches; the peak is {m['peak_source']}.",
            results_file.table(["", "measured"], rows),
            "Each part alone, compiled by itself, over one device's rows:",
            results_file.table(["part", "forward", "forward and backward"], parts),
        ]
    )
