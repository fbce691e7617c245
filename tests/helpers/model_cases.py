"""Small packed batches with all that they mean spelled out token by token, and small models to run them."""

import dataclasses

import jax
import numpy as np
from flax import traverse_util

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.vocab import Vocab

VOCAB = Vocab(text_size=200, unit_slots=50)  # more ids than positions in a batch: each position may have its own
STATIC_SIZE = 3


@dataclasses.dataclass
class Rows:
    """What the model is given, and the plain facts it must derive: patch and latest complete patch of each token."""

    token: np.ndarray
    doc_id: np.ndarray
    patch_start: np.ndarray
    patch_end: np.ndarray
    patch: np.ndarray  # -1 for padding
    visible: np.ndarray  # latest complete patch of the same document, -1 where there is none

    @property
    def inputs(self):
        """The model's arguments."""
        return self.token, self.doc_id, self.patch_start, self.patch_end


def random_document(rng):
    """Patches of one document as (length, its end is known at its last token): BOS first, the last run may be cut."""
    patches = [(1, True)]
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            patches += [(1, True)] * int(rng.integers(1, 5))
        else:
            units = int(rng.integers(1, 10))
            patches += [(1, True)] + [(STATIC_SIZE, True)] * (units // STATIC_SIZE)
            patches += [(units % STATIC_SIZE, False)] * (units % STATIC_SIZE > 0)
    return patches


def pack(documents, tokens):
    """One row of the given documents in order, padded to `tokens`."""
    row = Rows(
        np.zeros(tokens, np.int32),
        np.zeros(tokens, np.int32),
        np.zeros(tokens, bool),
        np.zeros(tokens, bool),
        np.full(tokens, -1),
        np.full(tokens, -1),
    )
    t = patch = 0
    for doc, patches in enumerate(documents, 1):
        complete = -1
        for length, known in patches:
            for i in range(length):
                row.doc_id[t], row.patch[t], row.patch_start[t] = doc, patch, i == 0
                row.patch_end[t] = known and i == length - 1
                complete = patch if row.patch_end[t] else complete if i else patch - 1 if complete >= 0 else -1
                row.visible[t] = complete
                t += 1
            complete, patch = patch, patch + 1
    return row


def stack(rows):
    """Rows to a batch; every position has a token id of its own."""
    batch = Rows(*(np.stack([getattr(r, f.name) for r in rows]) for f in dataclasses.fields(Rows)))
    batch.token = np.arange(batch.token.size, dtype=np.int32).reshape(batch.token.shape)
    return batch


def random_batch(seed, rows=2, tokens=61):
    """Packed rows with at least two documents each and some padding."""
    rng = np.random.default_rng(seed)
    batch = []
    while len(batch) < rows:
        documents, room = [], tokens - int(rng.integers(1, 8))
        while (document := random_document(rng)) and sum(n for n, _ in document) <= room:
            documents.append(document)
            room -= sum(n for n, _ in document)
        if len(documents) > 1:
            batch.append(pack(documents, tokens))
    return stack(batch)


def small_config(system="lst", **changes):
    """A model of a few thousand parameters; one block covers a row unless `attention_block` says otherwise."""
    local, wide = StackConfig(1, 16, 2, 4), StackConfig(2, 24, 2, None)
    fields = dict(
        architecture=system,
        patch_encoder=local,
        global_transformer=wide,
        patch_decoder=dataclasses.replace(local, layers=2),
        queries_per_patch=2,
        cross_heads=2,
        encoder_cross_window=1,
        decoder_cross_window=1,
        encoder_cross_all_layers=False,
        decoder_cross_all_layers=True,
        rope_theta=5e5,
        norm_eps=1e-5,
        ffn_multiple=8,
        compute_dtype="float32",
        attention_block=128,
        logits_chunk=64,
        scan_layers=False,
        remat="none",
    )
    if system == "base":
        fields |= {"patch_encoder": None, "patch_decoder": None}
    return ModelConfig(**fields | changes)


def windows(size):
    """Both cross-attention windows."""
    return {"encoder_cross_window": size, "decoder_cross_window": size}


def random_params(model):
    """Nested numpy parameters of the usual sizes; norm scales are not all 1. Drawn by numpy: JAX would compile it."""
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    rng, flat = np.random.default_rng(6), traverse_util.flatten_dict(shapes, sep="/")
    values = {
        path: (
            rng.normal(1, 0.2, flat[path].shape)
            if flat[path].ndim < 2
            else rng.normal(0, flat[path].shape[-1 if path.endswith("embedding") else 0] ** -0.5, flat[path].shape)
        )
        for path in sorted(flat)
    }
    return traverse_util.unflatten_dict({k: v.astype(np.float32) for k, v in values.items()}, sep="/")


def logits_and_pullback(model):
    """`(params, inputs, cotangent of the logits) -> (logits, gradients of params)`: one program for all questions."""

    @jax.jit
    def both(params, inputs, cotangent_BTV):
        logits_BTV, pullback = jax.vjp(lambda params: model(params, *inputs), params)
        return logits_BTV, pullback(cotangent_BTV)[0]

    return both
