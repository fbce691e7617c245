"""`lst bench decode`: what generation needs on TPUs, compiled for them on any machine.

The program is the one of `lst generate`: prompts, caches, and the loop over tokens, on the mesh of the recipe. The
compiler says how much memory a device needs. The least time of a token is the one in which a device reads its part of
the matrices once: the local networks' for every token, the global transformer's once per patch. Caches and collectives
are not in that time, so a real step takes longer. The estimated time is that of the two compiled steps of a token on
one device alone, as `cost.estimate` finds it for training.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from lst_jax.bench.memory import GIB, peak_bytes
from lst_jax.config import Config
from lst_jax.core.errors import ConfigError
from lst_jax.cost import hlo
from lst_jax.cost.accelerators import registry
from lst_jax.cost.estimate import estimate
from lst_jax.cost.topology import devices
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import Numbers
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import CachedModel, cached_model, matrices_in_compute_dtype
from lst_jax.parallel import sharding
from lst_jax.parallel.sharding import one_device
from lst_jax.report import results_file

PACKAGES = ("jax", "jaxlib", "libtpu", "flax")
PROMPT = 64  # tokens of a prompt
HEADER = [
    "recipe",
    "mesh",
    "parameters",
    "temporary",
    "memory a device",
    "read per token",
    "least time",
    "estimated time",
]


def measure(recipes: dict[str, Config], topology: str, rows: int, seconds: float) -> dict[str, Any]:
    """Memory and least time of each recipe by its reference, for `rows` rows of `seconds` of speech behind a prompt."""
    kind = registry.tpu(topology.partition(":")[0])
    return {
        "topology": topology,
        "rows": rows,
        "seconds": seconds,
        "hbm_bytes": kind.hbm_bytes_per_device,
        "recipes": {name: _plan(config, topology, rows, seconds, kind) for name, config in recipes.items()},
    }


def _plan(config: Config, topology: str, rows: int, seconds: float, kind) -> dict[str, Any]:
    mesh = sharding.make_mesh(config.mesh, devices(topology))
    if rows % sharding.row_parts(mesh):
        raise ConfigError(f"--rows {rows}: must be a multiple of {sharding.row_parts(mesh)}, the parts of the mesh")
    model = build(
        config.model, config.joint_vocab, config.data.row_patches, placement=sharding.placement_for_steps(mesh)
    )
    params = jax.eval_shape(lambda: matrices_in_compute_dtype(model, model.init_params(jax.random.key(0))))
    params = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        params,
        sharding.parameter_shardings(mesh, params),
    )
    compiled = _compile(config, model, mesh, params, rows, round(seconds * config.data.unit_rate))
    matrices = _bytes_read(params)
    every_token = sum(size for name, size in matrices.items() if name != "global_transformer")
    patch = config.data.patching.static_size if model.patches_speech else 1
    read = every_token + matrices["global_transformer"] / patch
    return {
        "mesh": list(mesh.shape.values()),
        "estimated_sec_per_token": _estimated_sec(config, one_device(mesh.devices.flat[0]), params, rows, seconds),
        "peak_bytes": peak_bytes(compiled),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "parameter_bytes": sum(
            int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize for x in jax.tree.leaves(params)
        ),
        "bytes_read_per_token": read,
        "least_sec_per_token": read / kind.device_hbm_bytes_per_sec,
    }


def _compile(config: Config, model, mesh: Mesh, params, rows: int, tokens: int):
    decoder, vocab = cached_model(model, config.data.patching.static_size), config.joint_vocab
    split, whole = sharding.batch_sharding(mesh), sharding.replicated(mesh)

    def like(shape, dtype, where):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    prompt = tuple(like((rows, PROMPT), kind, split) for kind in (jnp.int32, jnp.int32, bool, bool))
    limits = loop.Limits(
        like((rows,), jnp.int32, split), like((rows,), jnp.float32, split), like((vocab.size,), jnp.float32, whole)
    )
    numbers = Numbers(like((), jnp.float32, whole), like((), jnp.int32, whole), like((), jnp.float32, whole))
    settings = Settings(PROMPT, PROMPT + -(-tokens // decoder.patch_units) + 1, tokens, False)
    seed_B, allowed_CV = like((rows,), jnp.uint32, split), like((5, vocab.size), bool, whole)
    return continue_rows.lower(
        decoder, mesh, vocab, settings, params, prompt, limits, seed_B, allowed_CV, numbers
    ).compile()


def _estimated_sec(config: Config, mesh: Mesh, params, rows: int, seconds: float) -> float:
    """Seconds in which each row gets a token: a step of the local networks, and its share of a global step."""
    model = build(config.model, config.joint_vocab, config.data.row_patches)
    decoder = cached_model(model, config.data.patching.static_size)
    device = mesh.devices.flat[0]
    total = 0.0
    for function, shapes, times in steps_of_a_token(decoder, params, rows, seconds * config.data.unit_rate):
        here = SingleDeviceSharding(device)
        placed = jax.tree.map(lambda x, s=here: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes)
        compiled = jax.jit(function, donate_argnums=(1,)).lower(*placed).compile()
        kind = registry.tpu_of_device(device.device_kind)
        found = estimate(hlo.parse(hlo.serialized(compiled)), kind, mesh.shape, lambda axes: float("inf"))
        total += times * found.step_sec
    return total


def steps_of_a_token(decoder: CachedModel, params, rows: int, tokens: float) -> list[tuple[Callable, tuple, float]]:
    """The functions that a token of `rows` rows runs, the shapes of their arguments, and how often each runs per token.

    Args: `tokens` are those of speech that the caches of a row have room for.
    """
    slots = 2 + math.ceil(tokens / decoder.patch_units)
    ids_BT, flag_BT = (jax.ShapeDtypeStruct((rows, 2), kind) for kind in (jnp.int32, bool))
    id_B, on_B = (jax.ShapeDtypeStruct((rows,), kind) for kind in (jnp.int32, bool))
    local, main = jax.eval_shape(
        lambda params, *row: decoder.prefill(params, *row, 2, slots), params, ids_BT, ids_BT, flag_BT, flag_BT
    )

    def token_step(params, local, main, token_B, on_B):
        logits_BV, local = decoder.read(params, local, main, on_B)
        return logits_BV, decoder.encode(params, local, token_B, on_B, on_B)

    def patch_step(params, main, local, on_B):
        return decoder.advance(params, local, main, on_B)

    return [
        (token_step, (params, local, main, id_B, on_B), 1.0),
        (patch_step, (params, main, local, on_B), 1.0 / decoder.patch_units),
    ]


def _bytes_read(params) -> dict[str, int]:
    """Bytes of the matrices that a device multiplies with, by the top-level name; embeddings are only looked up."""
    found: dict[str, int] = dict.fromkeys(params, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "kernel":
            shape = leaf.shape if path[-2].key == "output" else leaf.sharding.shard_shape(leaf.shape)
            found[path[0].key] += int(np.prod(shape)) * leaf.dtype.itemsize
    return found


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    m, rows = measured, []
    for name, r in m["recipes"].items():
        fits = "fits" if r["peak_bytes"] <= m["hbm_bytes"] else "does not fit"
        rows.append(
            [
                f"`{name}`",
                " × ".join(map(str, r["mesh"])),
                f"{r['parameter_bytes'] / GIB:.2f} GiB",
                f"{r['temporary_bytes'] / GIB:.2f} GiB",
                f"{r['peak_bytes'] / GIB:.2f} GiB: {fits}",
                f"{r['bytes_read_per_token'] / GIB:.2f} GiB",
                f"{1000 * r['least_sec_per_token']:.2f} ms",
                f"{1000 * r['estimated_sec_per_token']:.2f} ms",
            ]
        )
    return "\n\n".join(
        [
            f"{m['rows']} rows of {m['seconds']:g} s of speech behind {PROMPT} tokens, on {m['topology']}, whose devices have "
            f"{m['hbm_bytes'] / GIB:.1f} GiB. The mesh is replica × data × tensor. The least time of a token is that of "
            "reading a device's matrices; caches and collectives come on top. The estimate is the compiler's own, "
            "of one device: a step of the local networks, and a step of the global transformer over the tokens per patch.",
            results_file.table(HEADER, rows),
        ]
    )
