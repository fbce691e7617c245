"""Every platform's self-attention against the dense float64 oracle, values and gradients."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from test_attention import assert_equals_oracle

from lst_jax.model import flat_attention, kernels
from lst_jax.model.rotary import rope

T = 300  # two tiles of the TPU kernel would be 256: padded
THETA = 1e4


def packed(rows, seed=0, heads=2, width=8):
    """q, k, v; documents of very different lengths, padding last; and the mask rule's ids."""
    rng = np.random.default_rng(seed)
    doc_BT = np.zeros((rows, T), np.int32)
    for row in doc_BT:
        edges = np.sort(rng.choice(np.arange(1, T - 5), 6, replace=False))
        row[: edges[-1]] = np.searchsorted(edges, np.arange(edges[-1]), "right") + 1
    arrays = tuple(rng.standard_normal((rows, T, heads, width)).astype(np.float32) for _ in range(3))
    position_BT = np.broadcast_to(np.arange(T, dtype=np.int32), (rows, T))
    return arrays, doc_BT, (position_BT, position_BT, doc_BT, doc_BT)


def over_rotated(kernel, doc_BT, window, exact=False):
    """The kernel as a function of queries and keys that are rotated already, as the oracle takes them.

    Args: `exact`: angles are rotated back in float64, for a kernel whose own are exact.
    """

    def back(x_BTHK):
        if not exact:
            return rope(x_BTHK, THETA, -jnp.arange(T))
        k = x_BTHK.shape[-1]
        angle_T1P = (np.arange(T)[:, None] * THETA ** (-np.arange(0, k, 2) / k))[:, None]
        even, odd = x_BTHK[..., ::2], x_BTHK[..., 1::2]
        cos, sin = np.cos(angle_T1P).astype(np.float32), np.sin(angle_T1P).astype(np.float32)
        return jnp.stack([even * cos + odd * sin, odd * cos - even * sin], -1).reshape(x_BTHK.shape)

    return lambda q, k, v: kernel(back(q), back(k), v, jnp.asarray(doc_BT), THETA, window, 64)


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("name", ["blocked", "splash"])
def test_kernels_equal_the_oracle(name, window):
    kernel = {"blocked": kernels.blocked, "splash": functools.partial(kernels.splash, interpret=True)}[name]
    arrays, doc_BT, rule = packed(2)
    assert_equals_oracle(over_rotated(kernel, doc_BT, window), arrays, rule, window)


@pytest.mark.parametrize(
    ("heads", "width", "window"),
    [
        (4, 64, None),
        (4, 64, 40),
        (1, 128, 200),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in [(4, 64, 200), (1, 128, None), (1, 128, 40)]),
    ],
)
def test_the_flat_kernel_equals_the_oracle(monkeypatch, heads, width, window):
    monkeypatch.setattr(flat_attention, "TILE", 128)  # three tiles a row, with padding in the last one
    monkeypatch.setattr(kernels, "splash", None)  # nothing goes elsewhere
    arrays, doc_BT, rule = packed(2, heads=heads, width=width)
    kernel = functools.partial(kernels.flat, interpret=True)
    assert_equals_oracle(over_rotated(kernel, doc_BT, window, exact=True), arrays, rule, window)


@pytest.mark.parametrize("window", [None, 40, 200])
@pytest.mark.parametrize("chunk", [1, 2])
def test_keys_in_chunks_and_rings_equal_the_oracle(monkeypatch, chunk, window):
    monkeypatch.setattr(flat_attention, "TILE", 128)
    monkeypatch.setattr(flat_attention, "CHUNK_BYTES", chunk * 128 * 128 * 4)
    monkeypatch.setattr(kernels, "splash", None)
    arrays, doc_BT, rule = packed(1, seed=1, heads=1, width=128)
    doc_BT[:, :250] = 1  # one document over all chunks
    plan = flat_attention.Plan(384, 128, 128, window, 4, True)
    assert (plan.chunks, plan.chunk) == {1: (3, 1), 2: (2, 2)}[chunk]
    assert plan.seen == {None: 3, 40: 2, 200: 3}[window]
    kernel = functools.partial(kernels.flat, interpret=True)
    oracle_rule = (*rule[:2], doc_BT, doc_BT)
    assert_equals_oracle(over_rotated(kernel, doc_BT, window, exact=True), arrays, oracle_rule, window)


def test_rotations_of_far_tiles_are_those_of_their_positions():
    tile, tiles, place = 512, 256, 255 * 512 + 300
    cos_SC, sin_SC, tile_cos_NC, tile_sin_NC = flat_attention.rotation(tiles, tile, 64, 5e5)
    angle_C = place * (5e5 ** (-np.arange(0, 64, 2) / 64)).repeat(2)
    cos_C = cos_SC[300] * tile_cos_NC[255] - sin_SC[300] * tile_sin_NC[255]
    sin_C = sin_SC[300] * tile_cos_NC[255] + cos_SC[300] * tile_sin_NC[255]
    np.testing.assert_allclose(cos_C[:64], np.cos(angle_C), atol=1e-6)
    np.testing.assert_allclose(sin_C[:64], np.sin(angle_C) * np.tile([-1, 1], 32), atol=1e-6)


def test_without_a_rotation_the_flat_kernel_turns_nothing():
    cos_SC, sin_SC, tile_cos_NC, tile_sin_NC = flat_attention.rotation(2, T, 64, None)
    assert (cos_SC == 1).all() and (tile_cos_NC == 1).all()
    assert (sin_SC == 0).all() and (tile_sin_NC == 0).all()


def test_the_flat_kernel_visits_only_tiles_that_a_query_sees():
    doc_BT = jnp.asarray([[1] * 5 + [2] * 7 + [0] * 4])
    low_BT = flat_attention.first_key(doc_BT, None)
    assert low_BT.tolist() == [[0] * 5 + [5] * 7 + [16] * 4]
    assert flat_attention._first_tiles(low_BT, 4).tolist() == [[0, 0, 1, 4]]
    assert flat_attention.first_key(doc_BT, 3).tolist() == [[0, 0, 0, 1, 2, 5, 5, 5, 6, 7, 8, 9] + [16] * 4]


def test_what_the_flat_kernel_takes():
    for taken in ((5120, 16, 64, None, 4), (65_536, 1, 128, None, 2), (10**6, 16, 64, 512, 2)):
        assert flat_attention.takes(*taken)
    for length, heads, width in ((64, 2, 64), (10**5, 2, 64), (512, 3, 64), (512, 2, 80), (512, 1, 256)):
        assert not flat_attention.takes(length, heads, width, None, 2)
    assert not flat_attention.takes(65_536, 1, 128, None, 4)


def test_a_jax_without_what_the_flat_kernel_needs_gets_splash_attention_and_one_warning(monkeypatch):
    from jax.experimental.pallas import tpu

    monkeypatch.delattr(tpu, "CompilerParams")
    went = []
    monkeypatch.setattr(kernels, "splash", lambda q_BTHK, *rest: went.append(rest) or q_BTHK)
    kernels.flat_library.cache_clear()
    arrays, doc_BT, _ = packed(1, heads=1, width=128)
    arguments = (*map(jnp.asarray, arrays), jnp.asarray(doc_BT), THETA, 40, 64)
    with pytest.warns(RuntimeWarning, match="has no Pallas of the form.*uses splash attention") as seen:
        for _ in range(2):
            kernels.flat(*arguments)
    assert len(seen) == 1 and len(went) == 2
    kernels.flat_library.cache_clear()


def test_packed_documents_are_lengths_and_offsets():
    doc_BT = jnp.asarray([[1, 1, 2, 0], [1, 2, 2, 3]])
    length_BM, offset_BN = kernels.packed_documents(doc_BT, 3)
    assert length_BM.tolist() == [[2, 1, -1], [1, 2, 1]]
    assert offset_BN.tolist() == [[0, 2, 3, -1], [0, 1, 3, 4]]


def test_each_platform_gets_its_own_kernel():
    chosen = [kernels.for_platform(name) for name in ("cpu", "tpu", "gpu", "other")]
    assert chosen == [kernels.blocked, kernels.flat, kernels.cudnn, kernels.blocked]


def test_the_gpu_program_calls_cudnn_forward_and_backward(monkeypatch):
    from jax._src.cudnn import fused_attention_stablehlo as library

    monkeypatch.setattr(library, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(library, "check_compute_capability", lambda capability: True)
    arrays, doc_BT, _ = packed(2)
    q, k, v = (jnp.repeat(jnp.asarray(a, jnp.bfloat16), 8, axis=3) for a in arrays)

    def loss(q, k, v):
        return kernels.cudnn(q, k, v, jnp.asarray(doc_BT), THETA, 40, 64).astype(jnp.float32).sum()

    text = export.export(
        jax.jit(jax.grad(loss, (0, 1, 2))),
        platforms=["cuda"],
        disabled_checks=[
            export.DisabledSafetyCheck.custom_call("__cudnn$fmhaSoftmax"),
            export.DisabledSafetyCheck.custom_call("__cudnn$fmhaSoftmaxBackward"),
        ],
    )(q, k, v).mlir_module()
    assert text.count("@__cudnn$fmhaSoftmax(") == 1 and text.count("@__cudnn$fmhaSoftmaxBackward(") == 1


@pytest.fixture(params=["no module", "no such argument"])
def other_jax(request, monkeypatch):
    """A version of JAX without the two libraries, or with functions of another form."""
    from jax._src.cudnn import fused_attention_stablehlo
    from jax.experimental.pallas.ops.tpu import splash_attention

    if request.param == "no module":
        for name in ("jax.experimental.pallas.ops.tpu", "jax._src.cudnn"):
            monkeypatch.setitem(sys.modules, name, None)  # to import it is an error
    else:
        monkeypatch.setattr(splash_attention, "make_splash_mha", lambda mask: None)
        monkeypatch.setattr(fused_attention_stablehlo, "dot_product_attention", lambda q, k, v: None)
    libraries = kernels.splash_library, kernels.cudnn_library
    for library in libraries:
        library.cache_clear()
    yield
    for library in libraries:
        library.cache_clear()


@pytest.mark.parametrize(
    ("kernel", "what"), [(kernels.splash, "splash attention"), (kernels.cudnn, "cuDNN attention over packed documents")]
)
def test_a_jax_without_a_kernel_gets_the_blocked_one_and_one_warning(other_jax, kernel, what):
    arrays, doc_BT, _ = packed(1)
    arguments = (*(jnp.asarray(a, jnp.bfloat16) for a in arrays), jnp.asarray(doc_BT), THETA, 40, 64)
    with pytest.warns(RuntimeWarning, match=f"^jax {jax.__version__}: has no {what}.*uses the blocked kernel") as seen:
        found = [kernel(*arguments) for _ in range(2)]
    assert len(seen) == 1
    for out_BTHK in found:
        np.testing.assert_array_equal(out_BTHK, kernels.blocked(*arguments))
