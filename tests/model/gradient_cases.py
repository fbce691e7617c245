"""Models, parameters and packed rows on which the gradients of every parameter are compared with float64 ones.

Nothing here depends on a random generator of JAX, so that the golden gradients stay what they are.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from model_cases import VOCAB, pack, random_params, small_config, stack, windows

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.vocab import Vocab
from lst_jax.data.rows import Batch
from lst_jax.model.architectures.registry import build
from lst_jax.step import objective

GOLDEN = pathlib.Path(__file__).with_name("golden_gradients.npz")
TOLERANCE = 1e-4  # of each tensor's largest gradient
NEGLIGIBLE = 1e-3  # of the largest gradient of all: tensors below are held to this scale (some are 0 but for rounding)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its rows."""

    config: ModelConfig
    vocab: Vocab = VOCAB
    units: int = 40


def _stacks(encoder: int, wide: int, decoder: int, width: int = 24, local: int = 16) -> dict[str, StackConfig]:
    """Layers of the three networks, and their widths."""
    return {
        "patch_encoder": StackConfig(encoder, local, 2, 4),
        "global_transformer": StackConfig(wide, width, 2, None),
        "patch_decoder": StackConfig(decoder, local, 2, 5),
    }


EVERY_LAYER = {"encoder_cross_all_layers": True, "decoder_cross_all_layers": True}
ONE_LAYER = {"encoder_cross_all_layers": False, "decoder_cross_all_layers": False}
# Rows of documents of patches (length, its end is known at its last token). Some documents open with a patch that ends
# late or never: their first tokens see no patch at all, and not the one before, which is another document's.
DOCUMENTS = (
    (
        [(1, True)] * 2 + [(3, True)] * 2 + [(2, False)] + [(1, True)] * 2,
        [(3, False), (1, True), (4, True), (1, True), (5, False)],
        [(1, True)] * 2 + [(9, True), (2, True), (1, True)],
    ),
    (
        [(2, False), (2, True)] + [(1, True)] * 3 + [(3, True)] * 2,
        [(1, True)] * 2 + [(3, True)] * 5 + [(1, False)],
        [(4, True)] + [(1, True)] * 4,
    ),
)
ROW_TOKENS = 48
FEW_IDS = Vocab(text_size=20, unit_slots=20)
CASES = {
    "own_patch_k1": Case(small_config(**_stacks(2, 1, 2, width=16), **EVERY_LAYER, queries_per_patch=1)),
    "own_patch_k2": Case(small_config(**_stacks(2, 2, 2, width=32), **ONE_LAYER)),  # Q·E = D
    "projected": Case(small_config(**_stacks(1, 2, 2))),
    "window_3": Case(small_config(**_stacks(3, 2, 2), **EVERY_LAYER, **windows(3))),
    "window_3_in_one_layer": Case(small_config(**_stacks(2, 1, 3), **ONE_LAYER, **windows(3), attention_block=16)),
    "window_512": Case(
        small_config(**_stacks(2, 1, 2), **EVERY_LAYER, **windows(512), queries_per_patch=3, attention_block=16)
    ),
    "scanned_and_recomputed": Case(
        small_config(
            **_stacks(3, 3, 3), **EVERY_LAYER, **windows(2), attention_block=16, scan_layers=True, remat="full"
        )
    ),
    "base": Case(small_config("base", scan_layers=True, remat="attention")),
    "bypass": Case(small_config("lst_bypass", **_stacks(2, 2, 2), **EVERY_LAYER)),
    "bypass_window_3": Case(small_config("lst_bypass", **_stacks(2, 1, 2, width=32), **ONE_LAYER, **windows(3))),
    # small enough to commit their gradients
    "golden_own_patch": Case(small_config(**_stacks(1, 1, 2, 12, 8), **EVERY_LAYER), FEW_IDS),
    "golden_window_3": Case(small_config(**_stacks(1, 1, 1, 12, 8), **windows(3), attention_block=16), FEW_IDS),
    "golden_base": Case(small_config("base", global_transformer=StackConfig(1, 16, 2, None)), FEW_IDS),
}
GOLDEN_CASES = [name for name in CASES if name.startswith("golden")]


def make_batch(case: Case) -> Batch:
    """Two rows with several documents each and padding at the end; the ids are random, of all kinds."""
    rows, rng = stack([pack(documents, ROW_TOKENS) for documents in DOCUMENTS]), np.random.default_rng(4)
    token = np.where(rows.doc_id > 0, rng.integers(1, case.vocab.size, rows.token.shape), 0).astype(np.int32)
    if case.config.architecture == "lst_bypass":
        token = _by_modality(rows, token, case.vocab)
    same = np.pad(rows.doc_id[:, 1:] == rows.doc_id[:, :-1], ((0, 0), (0, 1))) & (rows.doc_id > 0)
    target = np.where(same, np.roll(token, -1, 1), 0).astype(np.int32)
    weight = (same * rng.uniform(0.5, 1.5, same.shape)).astype(np.float32)  # not 0 or 1 only: weights must count
    return Batch(token, target, weight, rows.doc_id, rows.patch_start, rows.patch_end)


def _by_modality(rows, token, vocab: Vocab):
    """Speech ids in long or unended patches and some others, text elsewhere: a patch is of one modality as a whole."""
    rng, token = np.random.default_rng(5), token.copy()
    for b, patch in enumerate(rows.patch):
        for p in range(patch.max() + 1):
            inside = np.flatnonzero(patch == p)
            speech = len(inside) > 1 or not rows.patch_end[b, inside[-1]] or rng.random() < 0.3
            low, high = (vocab.speech_marker, vocab.size) if speech else (1, vocab.speech_marker)
            token[b, inside] = rng.integers(low, high, len(inside))
    return token


def make_params(case: Case):
    """Nested numpy parameters."""
    return random_params(build(case.config, case.vocab, case.units))


def jax_results(case: Case):
    """Logits, loss and flat gradients of the JAX model as training computes them, float32 throughout."""
    model, params, batch = build(case.config, case.vocab, case.units), make_params(case), make_batch(case)
    inputs = (batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)

    def loss_fn(params):
        nll_BT, _ = objective.token_nll(
            lambda h: model.logits(params, h),
            model.hidden(params, *inputs),
            jnp.asarray(batch.target_BT),
            case.config.logits_chunk,
        )
        return jnp.sum(nll_BT * batch.weight_BT) / jnp.sum(batch.weight_BT)

    with jax.default_matmul_precision("highest"):
        loss, grads = jax.jit(jax.value_and_grad(loss_fn))(params)
        logits = jax.jit(model)(params, *inputs)
    return np.asarray(logits), float(loss), traverse_util.flatten_dict(jax.tree.map(np.asarray, grads), sep="/")


def assert_gradients_equal(found, expected):
    """Every tensor is within the tolerance of its largest entry."""
    assert found.keys() == expected.keys()
    largest = max(np.abs(g).max() for g in expected.values())
    for path, gradient in expected.items():
        scale = max(np.abs(gradient).max(), NEGLIGIBLE * largest)
        np.testing.assert_allclose(found[path], gradient, rtol=0, atol=TOLERANCE * scale, err_msg=path)
