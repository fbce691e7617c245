"""`lst bench generate`: how fast the systems generate speech, and what one second of it costs.

It measures tokens per second of LST and of Base with caches, and of LST without a cache. Without a cache a token costs
the forward pass over a row of the final length, the one shape that serves every token. Parameters are drawn at random,
and EOS is not allowed, so that all rows have the same length.

It counts XLA's FLOPs of the compiled steps of one row, at the published shapes, after a context of some seconds. One
second of speech takes `unit_rate` local steps, and one global step per patch.
"""

import dataclasses
import statistics
import time
from typing import Any

import jax
import numpy as np

from lst_jax.bench import decode, memory
from lst_jax.config import Config
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import Numbers, allowed_ids
from lst_jax.model.cached_model import CachedModel, cached_model, matrices_in_compute_dtype
from lst_jax.parallel.sharding import one_device
from lst_jax.report import results_file
from lst_jax.step import update

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
SYSTEMS = {"lst": "static", "base": "base"}  # what is compared -> the recipe's argument
REPEATS = 3


def measure(recipes: dict[str, Config], rows: list[int], seconds: float) -> dict[str, Any]:
    """Tokens per second of each of `SYSTEMS`, for batches of each number of `rows`, with `seconds` of speech per row."""
    measured = {
        "name": {name: config.name for name, config in recipes.items()},
        "seconds": seconds,
        "device": str(jax.devices()[0].device_kind),
        "rows": [],
    }
    for count in rows:
        found: dict[str, Any] = {"rows": count}
        for name, config in recipes.items():
            found |= {f"{name}_{key}": value for key, value in speed(config, count, seconds).items()}
        found["uncached_tokens_per_sec"] = uncached_speed(recipes["lst"], count, seconds)
        measured["rows"].append(found)
    return measured


def speed(config: Config, rows: int, seconds: float) -> dict[str, float]:
    """Tokens per second over all rows, prefill included, and how many global steps they took."""
    decoder, params = _decoder(config)
    vocab, tokens = config.joint_vocab, round(seconds * config.data.unit_rate)
    one_BT = np.ones((rows, 2), np.int32)
    prompt = (one_BT * [[vocab.bos_id, vocab.speech_marker]], one_BT, one_BT > 0, one_BT > 0)
    limits = loop.Limits(
        np.full(rows, tokens, np.int32), np.full(rows, np.inf, np.float32), np.zeros(vocab.size, np.float32)
    )
    allowed_CV = allowed_ids(vocab, "speech", vocab.unit_slots)
    allowed_CV[:, vocab.eos_id] = False
    settings = Settings(2, 2 + -(-tokens // decoder.patch_units), tokens, False)
    fixed, mesh = (prompt, limits), one_device()
    drawn = allowed_CV, Numbers(np.float32(1), np.int32(0), np.float32(1))
    compiled = continue_rows.lower(
        decoder, mesh, vocab, settings, params, *fixed, np.zeros(rows, np.uint32), *drawn
    ).compile()
    peak = memory.peak_bytes(compiled)
    memory.check_fits(config.name, peak, compiled.memory_analysis().temp_size_in_bytes, rows, mesh.devices.flat[0])
    taken = []
    for seed in range(REPEATS + 1):
        seed_B = np.arange(rows, dtype=np.uint32) + np.uint32(seed * rows)
        begin = time.perf_counter()
        found, _, steps = jax.block_until_ready(compiled(params, *fixed, seed_B, *drawn))
        taken.append(time.perf_counter() - begin)
    assert (np.asarray(found.number_B) == tokens).all()
    return {
        "tokens_per_sec": rows * tokens / statistics.median(taken[1:]),
        "global_steps": int(steps),
        "peak_bytes": peak,
    }


def uncached_speed(config: Config, rows: int, seconds: float) -> float:
    """Tokens per second where each token takes the forward pass over a row of the final length."""
    mesh = one_device()
    tokens = 2 + round(seconds * config.data.unit_rate)
    units = 2 + -(-(tokens - 2) // config.data.patching.static_size)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, row_patches=units))
    model = update.build_model(config, mesh)
    params = matrices_in_compute_dtype(model, jax.jit(model.init_params)(jax.random.key(0)))
    token_BT = np.full((rows, tokens), config.joint_vocab.unit_offset, np.int32)
    place_T = np.arange(tokens) - 2
    start_BT = np.tile((place_T < 0) | (place_T % config.data.patching.static_size == 0), (rows, 1))
    end_BT = np.roll(start_BT, -1, 1)

    @jax.jit
    def last_logits(params, *row):
        return model.logits(params, model.hidden(params, *row)[:, -1:])

    taken = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        jax.block_until_ready(last_logits(params, token_BT, np.ones_like(token_BT), start_BT, end_BT))
        taken.append(time.perf_counter() - begin)
    return rows / statistics.median(taken[1:])


def count_flops(recipes: dict[str, Config], seconds: float) -> dict[str, Any]:
    """FLOPs of one second of speech in one row of each of `SYSTEMS`, after `seconds` of speech."""
    costs = {}
    for name, config in recipes.items():
        local, main, patch = step_flops(config, seconds)
        rate = config.data.unit_rate
        costs[name] = {
            "name": config.name,
            "local": local * rate,
            "global": main * rate / patch,
            "total": local * rate + main * rate / patch,
            "global_steps": rate / patch,
        }
    return {"seconds": seconds, **costs}


def step_flops(config: Config, seconds: float) -> tuple[float, float, int]:
    """XLA's FLOPs of a compiled local step and of a global step, and the tokens per patch. It runs nothing."""
    model = update.build_model(config, one_device())
    decoder = _decoder_of(config, model)
    params = jax.eval_shape(lambda: matrices_in_compute_dtype(model, model.init_params(jax.random.key(0))))
    local, main = (
        float(jax.jit(function).lower(*shapes).compile().cost_analysis()["flops"])
        for function, shapes, _ in decode.steps_of_a_token(decoder, params, 1, seconds * config.data.unit_rate)
    )
    return local, main, decoder.patch_units


def _decoder(config: Config) -> tuple[CachedModel, Any]:
    model = update.build_model(config, one_device())
    params = jax.jit(lambda: matrices_in_compute_dtype(model, model.init_params(jax.random.key(0))))()
    return _decoder_of(config, model), params


def _decoder_of(config: Config, model) -> CachedModel:
    return cached_model(model, config.data.patching.static_size)


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    rows = [
        [
            str(m["rows"]),
            f"{m['lst_tokens_per_sec']:,.0f}",
            f"{m['base_tokens_per_sec']:,.0f}",
            f"{m['uncached_tokens_per_sec']:,.1f}",
            f"{m['lst_tokens_per_sec'] / m['base_tokens_per_sec']:.2f}×",
            f"{m['lst_tokens_per_sec'] / m['uncached_tokens_per_sec']:.1f}×",
            f"{m['lst_global_steps'] / m['base_global_steps']:.3f}×",
            f"{m['lst_peak_bytes'] / memory.GIB:.2f}, {m['base_peak_bytes'] / memory.GIB:.2f} GiB",
        ]
        for m in measured["rows"]
    ]
    flops = measured["flops"]
    counted = [
        [
            flops[name]["name"],
            *(f"{flops[name][key] / 1e9:,.1f} G" for key in ("local", "global", "total")),
            f"{flops[name]['global_steps']:g}",
            f"{flops['base']['total'] / flops[name]['total']:.2f}×",
        ]
        for name in SYSTEMS
    ]
    return "\n\n".join(
        [
            f"`{measured['name']['lst']}` beside `{measured['name']['base']}` on {measured['device']}: speech of "
            f"{measured['seconds']:g} s a row behind `<s>`, fresh parameters, tokens per second over all rows, medians of "
            f"{REPEATS}. Without a cache, a token costs the forward over a row of the final length.",
            results_file.table(
                [
                    "rows",
                    "LST, cached",
                    "Base, cached",
                    "LST, no cache",
                    "LST over Base",
                    "cache over none",
                    "global steps of Base's",
                    "memory, LST and Base",
                ],
                rows,
            ),
            f"What one second of speech costs a row, by XLA's FLOPs of the compiled steps, behind {flops['seconds']:g} s:",
            results_file.table(
                ["system", "local networks", "global transformer", "all", "global steps", "Base over it"], counted
            ),
        ]
    )
