"""`lst bench torch`: forward and backward of the JAX model beside a dense-mask PyTorch model of the same configuration.

Both models have the same parameters, read the same packed rows, and must give the same loss. Both compute gradients of
all parameters; the optimizer is left out. Both may use every core. PyTorch's model is `bench.dense_torch`. Its attention
is `scaled_dot_product_attention` with boolean masks. The step makes the masks, because they are new with every batch;
patch ids are made before the clock starts. The model is not the released code, which has other kernels on GPUs.

There are two kinds of rows: the recipe's, and one row of `--units` patch positions. PyTorch gets the latter twice:

    as packed here   T in the recipe's proportion to U, about 1.25: nearly no padding
    padded to 3·U    the same row with padding up to T = 3·U tokens (12,288 at U = 4,096). The ancestor lays rows of U
                     patches out in token arrays of that length (`alternatives.ANCESTOR_PADDING`), so that they are
                     mostly padding; the table tells how much. Base has no patches and is not padded.

Useful tokens are those of documents. Both sides alternate within each repetition; figures are medians.
"""

import dataclasses
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.bench import memory
from lst_jax.bench.alternatives import ANCESTOR_PADDING
from lst_jax.config import Config
from lst_jax.convert.plain import check_plain
from lst_jax.core.errors import DataError
from lst_jax.data.made_up import made_up_batches
from lst_jax.data.rows import Batch
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.parallel.sharding import one_device
from lst_jax.report import results_file
from lst_jax.step import update

PACKAGES = ("jax", "jaxlib", "flax", "torch", "numpy")
LONG_ROWS = 1  # of `--units`; dense masks of more would not fit into a laptop's memory
LONG_BLOCK = 256  # least attention_block of long rows: a block for short rows takes too many steps
SAME_LOSS = {"float32": 1e-3, "bfloat16": 3e-2}  # largest relative difference between losses of the same model
RECIPE_ROWS = "the recipe's rows"
JAX, TORCH, PADDED = "JAX", "PyTorch", "PyTorch, padded to 3·U"
Step = Callable[[int], float]  # forward and backward on the batch of that number; returns its loss when both are done


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    units: int | None  # patch positions of the long row; None = leave it out
    repeats: int
    device: str = "cpu"  # PyTorch's name of it
    compiled: bool = False  # PyTorch's model goes through torch.compile


def require_torch() -> None:
    """Raises: DataError where torch cannot be imported."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"torch: cannot be imported ({error}); pip install --editable '.[parity]', "
            "or run make test-extras once and use .venv-extras/bin/lst"
        ) from error


def measure(config: Config, settings: Settings) -> dict[str, Any]:
    """Figures of every kind of rows and side as one JSON mapping. Raises: DataError."""
    require_torch()
    _check_device(settings.device)
    cases = [_measure_case(RECIPE_ROWS, config, settings, padded=False)]
    if settings.units:
        cases.append(
            _measure_case(
                "long rows",
                with_long_rows(config, settings.units),
                settings,
                padded=architecture_named(config.model.architecture).patches_speech,
            )
        )
    return {
        "name": config.name,
        "repeats": settings.repeats,
        "device": jax.devices()[0].device_kind,
        "threads": _threads(),
        "compiled": settings.compiled,
        "dtype": config.model.compute_dtype,
        "cases": cases,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "peak_device_gib": _peak_device_gib(settings.device),
    }


def _check_device(device: str) -> None:
    import torch

    ours = {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if ours != device or (device == "cuda" and not torch.cuda.is_available()):
        raise DataError(
            f"--device {device}: JAX computes on {ours}, torch has CUDA: {torch.cuda.is_available()}; "
            "install both for the same device, or set JAX_PLATFORMS=cpu and use --device cpu"
        )


def with_long_rows(config: Config, units: int) -> Config:
    """The same model on one row of `units` patch positions, with T, S and P in proportion."""
    d = config.data
    sizes = ("row_tokens", "row_patches", "row_speech_tokens", "row_speech_patches")
    longer = {name: size and size * units // d.row_patches for name in sizes for size in [getattr(d, name)]}
    data = dataclasses.replace(d, rows=LONG_ROWS, **longer)
    block = max(config.model.attention_block, LONG_BLOCK)
    return dataclasses.replace(config, data=data, model=dataclasses.replace(config.model, attention_block=block))


def pad_like_the_ancestor(batch: Batch, units: int) -> Batch:
    """The same rows, padded to three times as many tokens as patch positions."""
    room = ANCESTOR_PADDING * units - batch.token_BT.shape[1]
    assert room >= 0, (units, batch.token_BT.shape)
    return Batch(*(np.pad(x, ((0, 0), (0, room))) for x in batch))  # token 0, document 0, no boundary, weight 0


def _measure_case(name: str, config: Config, settings: Settings, padded: bool) -> dict[str, Any]:
    model = update.build_model(config, one_device(), training_rows=True)
    params = jax.jit(model.init_params)(jax.random.key(config.seed))
    batches = [batch for batch, _ in made_up_batches(config, settings.repeats)]
    sides = {JAX: jax_step(config, model, params, batches), TORCH: torch_step(config, params, batches, settings)}
    if padded:
        units = config.data.row_patches
        sides[PADDED] = torch_step(config, params, [pad_like_the_ancestor(b, units) for b in batches], settings)
    fix = f"use --rows {max(1, config.data.rows // 2)}" if name == RECIPE_ROWS else "use fewer --units, or --units 0"
    with memory.one_line_if_memory_ends(name, fix):
        seconds = _alternate(name, sides, settings.repeats, SAME_LOSS[config.model.compute_dtype])
    tokens = statistics.mean(int(np.count_nonzero(batch.doc_id_BT)) for batch in batches)
    return {
        "name": name,
        "rows": config.data.rows,
        "row_patches": config.data.row_patches,
        "tokens": tokens,
        "row_tokens": config.data.row_tokens,
        "attention_block": config.model.attention_block,
        "parameters": sum(x.size for x in jax.tree.leaves(params)),
        "sides": {
            side: {"seconds": s, "tokens_per_sec": tokens / s, "ratio": s / seconds[JAX]} for side, s in seconds.items()
        },
    }


def jax_step(config: Config, model, params, batches: Sequence[Batch]) -> Step:
    """The compiled loss and gradients of the likelihoods that the training step computes."""

    def loss_fn(params, batch):
        nll_BT, _ = update.per_token_nll(config, model, params, batch)
        return jnp.sum(nll_BT * batch.weight_BT) / jnp.maximum(jnp.sum(batch.weight_BT), 1.0)

    both, device = jax.jit(jax.value_and_grad(loss_fn)), jax.devices()[0]
    on_device = [jax.device_put(batch, device) for batch in batches]
    return lambda number: float(jax.block_until_ready(both(params, on_device[number]))[0])


def torch_step(config: Config, params, batches: Sequence[Batch], settings: Settings) -> Step:
    """The same by the dense model. All of it, parameters and gradients too, is in the configuration's dtype."""
    import torch

    from lst_jax.bench import dense_torch

    check_plain(config.model, "PyTorch's model of this benchmark", "give a recipe without it")

    torch.set_num_threads(_threads())
    model = dense_torch.DenseModel(config.model, config.joint_vocab)
    ours = dense_torch.to_torch(jax.device_get(params), getattr(torch, config.model.compute_dtype), settings.device)
    leaves = list(dense_torch.leaves(ours).values())
    rows = [
        dense_torch.rows_of(
            batch,
            config.data.row_patches,
            config.joint_vocab,
            architecture_named(config.model.architecture).text_bypasses_local_networks,
            settings.device,
        )
        for batch in batches
    ]
    loss_fn = torch.compile(model.loss, dynamic=False) if settings.compiled else model.loss

    def run(number: int) -> float:
        loss = loss_fn(ours, rows[number])
        torch.autograd.grad(loss, leaves)
        if settings.device == "cuda":
            torch.cuda.synchronize()
        return float(loss.detach())

    if settings.compiled:
        run(len(batches) - 1)  # the compiler's processes are still busy after the first run
    return run


def _alternate(name: str, sides: dict[str, Step], repeats: int, tolerance: float) -> dict[str, float]:
    """Median seconds of each side. A first run of each, which does not count, compiles and compares losses."""
    losses = {side: run(0) for side, run in sides.items()}
    for side, loss in losses.items():
        if not math.isclose(loss, losses[JAX], rel_tol=tolerance):
            raise DataError(
                f"{name}: the loss of {side} is {loss}, that of {JAX} is {losses[JAX]}; they must compute "
                "the same: run tests/model/test_gradients_torch.py"
            )
    seconds = {side: [] for side in sides}
    for number in range(repeats):
        for side, run in sides.items():
            start = time.perf_counter()
            run(number)
            seconds[side].append(time.perf_counter() - start)
        print(f"lst bench torch: {name}, {number + 1} of {repeats}", file=sys.stderr)
    return {side: statistics.median(s) for side, s in seconds.items()}


def _peak_device_gib(device: str) -> dict[str, float] | None:
    """The most memory that each side has had of a GPU; None on a CPU, where the process's peak says it."""
    if device != "cuda":
        return None
    import torch

    ours = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    return {JAX: ours / memory.GIB, TORCH: torch.cuda.max_memory_allocated() / memory.GIB}


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    m, rows = measured, []
    for case in m["cases"]:
        for side, s in case["sides"].items():
            length = ANCESTOR_PADDING * case["row_patches"] if side == PADDED else case["row_tokens"]
            rows.append(
                [
                    f"{case['rows']} × U={case['row_patches']}, {side}",
                    f"{length:,}",
                    f"{case['tokens'] / case['rows'] / length:.0%}",
                    f"{1000 * s['seconds']:,.0f} ms",
                    f"{s['tokens_per_sec']:,.0f}",
                    "" if side == JAX else f"{s['ratio']:.2f} ×",
                ]
            )
    blocks = ", ".join(f"{case['attention_block']} at U={case['row_patches']}" for case in m["cases"])
    size, compiled = m["cases"][0]["parameters"], " and torch.compile" if m["compiled"] else ""
    on_gpu = "".join(f", of the GPU {gib:.1f} GiB by {side}" for side, gib in (m["peak_device_gib"] or {}).items())
    return "\n\n".join(
        [
            f"`{m['name']}` ({size:,} parameters): forward and backward of the loss in {m['dtype']}, in JAX and in a "
            f"PyTorch model of the same parameters and the same loss, with dense masks{compiled} "
            f"(`lst_jax/bench/dense_torch.py`); {m['device']}, {m['threads']} threads each. "
            f"Medians of {m['repeats']} steps on made-up batches, taken in turns; "
            'both get the same rows, and "padded" is the same row in an array of 3·U tokens, as the ancestor lays '
            f"rows out. Attention blocks of the JAX model: {blocks}. Peak memory of the process "
            f"{m['peak_memory_gib']:.1f} GiB{on_gpu}.",
            results_file.table(["", "T", "filled", "step", "useful tokens/s", "JAX is faster by"], rows),
        ]
    )
