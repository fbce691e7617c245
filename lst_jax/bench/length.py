"""`lst bench length`: what doubling a row costs each part of the model, and what document masks cost.

One run times rows of T and of 2T tokens in turns. Attention within windows and cross-attention must cost about twice as
much; the attention of the global transformer costs more. The run also times a step over rows of many documents beside a
step over the same rows with one document each.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.bench.step import PACKAGES, part_functions
from lst_jax.config import Config
from lst_jax.data.made_up import made_up_batches
from lst_jax.data.rows import Batch
from lst_jax.parallel.sharding import one_device
from lst_jax.report import results_file
from lst_jax.step import update

__all__ = ["PACKAGES", "markdown", "measure"]


def measure(config: Config, steps: int) -> dict[str, Any]:
    """Medians of `steps` rounds, in seconds: each part at both lengths, forward and backward; a step on both kinds of
    rows.
    """
    mesh = one_device()
    lengths = (config, doubled(config))
    batches = [made_up_batches(c, 1)[0][0] for c in lengths]
    models = [update.build_model(c, mesh, training_rows=True) for c in lengths]
    state = update.init_state(config, models[0], mesh)
    functions: dict[str, list[Callable[[], Any]]] = {}
    for c, model, batch in zip(lengths, models, batches, strict=True):
        for name, (function, args) in part_functions(c, model, state.params, update.put_batch(batch, mesh)).items():
            functions.setdefault(name, []).append(_both_ways(function, args))
    parts = {name: in_turns(pair, steps) for name, pair in functions.items()}
    train_step, numbers = (
        update.make_train_step(config, models[0], mesh),
        update.numbers_of(config),
    )

    def one_step(batch: Batch) -> Callable[[], Any]:
        placed = update.put_batch(batch, mesh)

        def run():
            nonlocal state
            state, metrics, _ = train_step(state, placed, numbers)
            return metrics

        return run

    masked, whole = in_turns([one_step(batches[0]), one_step(one_document(batches[0]))], steps)
    return {
        "name": config.name,
        "steps": steps,
        "rows": config.data.rows,
        "row_tokens": [c.data.row_tokens for c in lengths],
        "device": jax.devices()[0].device_kind,
        "parts": parts,
        "documents": int(batches[0].doc_id_BT.max(1).sum()),
        "masked_sec": masked,
        "one_document_sec": whole,
    }


def doubled(config: Config) -> Config:
    """The configuration with rows of twice the length."""
    data = config.data
    sizes = ("row_tokens", "row_patches", "row_speech_tokens", "row_speech_patches")
    twice = {name: size and 2 * size for name in sizes for size in [getattr(data, name)]}
    return dataclasses.replace(config, data=dataclasses.replace(data, **twice))


def one_document(batch: Batch) -> Batch:
    """The same rows, each with all of its tokens in one document."""
    return batch._replace(doc_id_BT=(batch.doc_id_BT > 0).astype(batch.doc_id_BT.dtype))


def in_turns(functions: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of each function. Every round calls all of them; the first round, which compiles, does not count."""
    seconds = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, taken in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function())
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in seconds]


def _both_ways(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    def both(*args):
        out, backward = jax.vjp(function, *args)
        return backward(jax.tree.map(jnp.ones_like, out))

    compiled = jax.jit(both)
    return lambda: compiled(*args)


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    short, long = measured["row_tokens"]
    rows = [
        [name, *(f"{1000 * s:.1f} ms" for s in pair), f"{pair[1] / pair[0]:.2f}"]
        for name, pair in measured["parts"].items()
    ]
    ratio = measured["masked_sec"] / measured["one_document_sec"]
    return "\n\n".join(
        [
            f"`{measured['name']}`, {measured['rows']} rows on {measured['device']}; medians of {measured['steps']} "
            "rounds, forward and backward.",
            results_file.table(["part", f"T={short:,}", f"T={long:,}", "ratio"], rows),
            f"A training step over rows of T={short:,} that hold {measured['documents']} documents takes {ratio:.3f} of "
            "the time of a step over the same rows as one document each.",
        ]
    )
