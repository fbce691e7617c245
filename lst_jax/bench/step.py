"""`lst bench step`: what one training step costs on this machine, as a whole and in parts.

The step is the one of training, on batches that the data stream makes from made-up records. FLOPs are counted twice.
The analytic count is the one of MFU (`lst_jax.cost.flops`): real tokens and visible pairs. The other count is XLA's,
for the same step without loops: layers one by one, attention and logits in one block. It includes padding, masked
pairs, and what the remat policy recomputes.
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

from lst_jax.bench import memory
from lst_jax.config import Config
from lst_jax.cost import compiler_options
from lst_jax.cost.flops import model_flops
from lst_jax.cost.peak import peak_flops
from lst_jax.data.made_up import made_up_batches
from lst_jax.data.rows import Batch
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel.sharding import in_parts, make_mesh, one_device
from lst_jax.report import results_file
from lst_jax.step import objective, update

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def measure(config: Config, steps: int) -> dict[str, Any]:
    """All figures of the configuration's step as one JSON mapping. Times are medians over `steps` timed steps.

    Raises: DataError where the step does not fit in the memory of a device.
    """
    mesh, one = make_mesh(config.mesh, jax.devices()[: math.gcd(config.data.rows, jax.device_count())]), one_device()
    config = in_parts(config, mesh)
    made = made_up_batches(config, steps)
    share = config.data.rows * config.mesh.tensor // mesh.size
    whole = _measure_step(config, mesh, [batch for batch, _ in made], share)
    model = update.build_model(config, one, training_rows=True)
    params = jax.jit(model.init_params)(jax.random.key(config.seed))
    first = update.put_batch(jax.tree.map(lambda x: x[:share], made[0][0]), one)
    with memory.one_line_if_memory_ends(f"{config.name}, its parts", f"use --rows {max(1, config.data.rows // 2)}"):
        parts = {
            name: _time_part(function, args, steps)
            for name, (function, args) in part_functions(config, model, params, first).items()
        }
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
        "patches_per_sec": mean["units"] / whole["seconds"],
        "analytic_flops": statistics.mean(flops),
        "unrolled_flops": unrolled_flops(config, one, made[0][0]),
        "mfu": rate / (peak * mesh.size / jax.device_count()) if peak else None,
        "peak_flops": peak,
        "peak_source": origin,
        "parts": parts,
    }


def _measure_step(config: Config, mesh: Mesh, made: Sequence[Batch], share: int) -> dict[str, float]:
    """Median seconds of the compiled step, the seconds that compiling took, and memory on a device, in bytes and rows.

    Args: `share`: the rows of one device. Raises: DataError before anything runs, where the step does not fit.
    """
    model, device = update.build_model(config, mesh, training_rows=True), mesh.devices.flat[0]
    numbers, like = update.numbers_of(config), update.state_shape(config, model, mesh)
    start = time.perf_counter()
    with memory.one_line_if_memory_ends(
        f"{config.name}, its compilation", f"use --rows {max(1, config.data.rows // 2)}"
    ):
        lowered = update.make_train_step(config, model, mesh).lower(like, made[0], numbers)
        compiled = lowered.compile(
            compiler_options=compiler_options.options_of(config.train.compiler_options, device)[0]
        )
    compile_sec = time.perf_counter() - start
    peak, temporary = memory.peak_bytes(compiled), compiled.memory_analysis().temp_size_in_bytes
    memory.check_fits(config.name, peak, temporary, share, device, config.data.rows // share)
    state, seconds = update.init_state(config, model, mesh), []
    batches = [update.put_batch(batch, mesh) for batch in made]
    for batch in (batches[0], *batches):
        start = time.perf_counter()
        state, *_ = jax.block_until_ready(compiled(state, batch, numbers))
        seconds.append(time.perf_counter() - start)
    limit = memory.limit_bytes(device)
    return {
        "seconds": statistics.median(seconds[1:]),
        "compile_sec": compile_sec,
        "peak_bytes": peak,
        "temporary_bytes": temporary,
        "limit_bytes": limit,
        "rows_that_fit": memory.rows_that_fit(peak, temporary, share, limit),
    }


def unrolled_flops(config: Config, mesh: Mesh, batch: Batch) -> float:
    """XLA's count for the step with layers one by one, and attention and logits in one block. It compiles nothing."""
    tokens = config.data.row_tokens * config.model.queries_per_patch
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, scan_layers=False, attention_block=tokens, logits_chunk=tokens)
    )
    model = update.build_model(config, mesh, training_rows=True)
    state = update.state_shape(config, model, mesh)
    numbers = update.numbers_of(config)
    return float(update.make_train_step(config, model, mesh).lower(state, batch, numbers).cost_analysis()["flops"])


def part_functions(
    config: Config, model: Architecture, params: Any, batch: Batch
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """The function and the arguments of each part. Its own parameters come first; other arguments are what earlier
    parts return.
    """
    ids = (batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)

    def loss(own, hidden_BTE):
        return objective.token_nll(
            lambda h: model.logits(own, h), hidden_BTE, batch.target_BT, config.model.logits_chunk
        )[0]

    output = {model.output_part: params[model.output_part]}
    hidden_BTE = jax.jit(lambda p: model.hidden(p, *ids))(params)
    return {**model.timed_parts(params, *ids), "loss": (loss, (output, hidden_BTE))}


def _time_part(function: Callable[..., Any], args: tuple[Any, ...], repeats: int) -> dict[str, float]:
    """Median seconds of a part: its forward pass alone, and forward and backward."""

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
        ["patch positions/s", f"{m['patches_per_sec']:,.0f}"],
        ["MFU", mfu],
        ["FLOPs a step, analytic", f"{m['analytic_flops'] / 1e9:,.2f} G"],
        ["FLOPs a step, XLA's count, unrolled", f"{m['unrolled_flops'] / 1e9:,.2f} G"],
        ["memory a device, compiled", f"{m['peak_bytes'] / 2**20:,.1f} MiB"],
        ["of it temporary", f"{m['temporary_bytes'] / 2**20:,.1f} MiB"],
        ["rows that fit on a device", f"about {m['rows_that_fit']} in {m['limit_bytes'] / 2**30:,.1f} GiB"],
        ["compilation", f"{m['compile_sec']:.1f} s"],
    ]
    parts = [[name, ms(p["forward_sec"]), ms(p["forward_backward_sec"])] for name, p in m["parts"].items()]
    return "\n\n".join(
        [
            f"`{m['name']}`: {m['parameters']:,} parameters, {m['rows']} rows of T={m['row_tokens']}, U={m['row_patches']} "
            f"with {m['tokens']:,.0f} real tokens and {m['units']:,.0f} patch positions a step; scan_layers="
            f"{m['scan_layers']}, remat={m['remat']}; {len(m['devices'])} × {m['devices'][0]}. Medians of {m['steps']} "
            f"steps on made-up batches; the peak is {m['peak_source']}.",
            results_file.table(["", "measured"], rows),
            "Each part alone, compiled by itself, over one device's rows:",
            results_file.table(["part", "forward", "forward and backward"], parts),
        ]
    )
