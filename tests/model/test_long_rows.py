"""Five minutes of speech as one document of a row of 2,048 patches: what is said last learns from what was said first."""

import functools

import jax
import numpy as np
import pytest
from synthetic_data import make_config

from lst_jax.core.vocab import BOS_ID
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import StaticRule
from lst_jax.data.records import Utterance
from lst_jax.data.row_builder import RowBuilder
from lst_jax.data.rows import windows_of
from lst_jax.model.architectures.registry import build

TOKENS, PATCHES, UNITS = 8192, 2048, 5 * 60 * 25
RARE, AT = 500, 10  # a unit that is said once, at this frame
CONFIG = make_config(tokens=TOKENS, units=PATCHES, rows=1, strategy="static")


class NoText:
    """No tokenizer: all is speech."""

    piece_chars = staticmethod(tuple)


@functools.cache
def row():
    units = np.random.default_rng(0).integers(0, RARE, UNITS).astype(np.uint16)
    units[AT] = RARE
    example = ExampleBuilder(CONFIG.joint_vocab, NoText()).speech_only(
        Utterance("five minutes", units, (), None, None), StaticRule(4)
    )
    builder = RowBuilder(TOKENS, PATCHES, 1, CONFIG.joint_vocab, windows_of(CONFIG))
    builder.add(example, 0, len(example.token), 0)
    batch, stats = builder.finish()
    assert stats["units"] == UNITS // 4 + 3 and batch.token_BT[0] == BOS_ID and batch.doc_id_BT.max() == 1
    return batch


@functools.cache
def gradient():
    """Of the nats of the last 500 units, for the embedding of the rare unit."""
    model = build(CONFIG.model, CONFIG.joint_vocab, PATCHES)
    params = model.init_params(jax.random.key(0))
    token, target = row().token_BT[None], row().target_BT[None]
    rare = CONFIG.joint_vocab.unit_offset + RARE

    def nats(table_VE, doc_id, starts, ends):
        encoder = params["patch_encoder"] | {"tok_embeddings": {"embedding": table_VE}}
        changed = params | {"patch_encoder": encoder}
        hidden = model.hidden(changed, token, doc_id, starts, ends)[:, UNITS - 500 : UNITS]
        likelihood = jax.nn.log_softmax(model.logits(changed, hidden))
        return -likelihood[0, np.arange(500), target[0, UNITS - 500 : UNITS]].sum()

    def of_rare(doc_id):
        table_VE = params["patch_encoder"]["tok_embeddings"]["embedding"]
        return jax.grad(nats)(table_VE, doc_id, row().patch_start_BT[None], row().patch_end_BT[None])[rare]

    return jax.jit(of_rare)


@pytest.mark.parametrize("documents", [1, 2])
def test_the_end_of_a_row_learns_from_its_beginning_within_a_document_alone(documents):
    doc_id_BT = row().doc_id_BT[None].copy()
    if documents == 2:
        doc_id_BT[:, 4002:] = 2 * (doc_id_BT[:, 4002:] > 0)  # behind BOS, <s> and a thousand patches
    change_E = np.asarray(gradient()(doc_id_BT))
    assert np.isfinite(change_E).all() and np.abs(change_E).any() == (documents == 1)
