"""The systems of the paper as recipes: each is what its name says, and takes a training step on made-up records."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic_data

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.rows import Batch
from lst_jax.data.unit_pieces import token_frames
from lst_jax.model.architectures import registry
from lst_jax.parallel.sharding import one_device, replicated
from lst_jax.recipes.load import load_recipe
from lst_jax.recipes.validate import validate
from lst_jax.step import update

# argument -> strategy, units a static patch, what is aligned to, silence, P after tau2
SYSTEMS = {
    "": ("curriculum", 4, "word", "separate", 0.0),
    "base": ("none", 4, "word", "separate", 0.0),
    "static": ("static", 4, "word", "separate", 0.0),
    "static3": ("static", 3, "word", "separate", 0.0),
    "static12": ("static", 12, "word", "separate", 0.0),
    "aligned": ("aligned", 4, "word", "separate", 0.0),
    "aligned-merged": ("aligned", 4, "word", "merged", 0.0),
    "bpe-aligned": ("aligned", 4, "bpe", "separate", 0.0),
    "bpe-aligned-merged": ("aligned", 4, "bpe", "merged", 0.0),
    "mixed": ("mixed", 4, "word", "separate", 0.0),
    "mixed6-bpe-aligned": ("mixed", 6, "bpe", "separate", 0.0),
    "curriculum": ("curriculum", 4, "word", "separate", 0.0),
    "curriculum-from-aligned-merged": ("curriculum", 4, "word", "merged", 0.0),
    "curriculum3-from-bpe-aligned-to-mixed": ("curriculum", 3, "bpe", "separate", 0.5),
    "bpe": ("none", 4, "word", "separate", 0.0),
    "bpe5000": ("none", 4, "word", "separate", 0.0),
    "bypass": ("curriculum", 4, "word", "separate", 0.0),
    "bypass-static3": ("static", 3, "word", "separate", 0.0),
}
each_system = pytest.mark.parametrize("arg", SYSTEMS)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return synthetic_data.write_both(tmp_path_factory.mktemp("records"))


@each_system
def test_a_system_is_what_its_name_says(arg):
    config = load_recipe(f"configs/demo.py:{arg}")
    found = config.data.patching
    assert SYSTEMS[arg] == (found.strategy, found.static_size, found.aligned_to, found.silence, found.final_probability)
    assert config.model.architecture == (
        "base" if found.strategy == "none" else "lst_bypass" if "bypass" in arg else "lst"
    )
    assert config.name == f"demo-{arg or 'curriculum'}"


@pytest.mark.parametrize(
    "arg",
    [
        "statik",
        "static0",
        "static-3",
        "aligned4",
        "merged",
        "mixed-static",
        "mixed-merged",
        "curriculum-aligned",
        "static-to-mixed",
        "base4",
        "curriculum-to-mixed-from-aligned",
        "bypass-",
        "bypass-bypass",
        "static-bypass",
        "bypass-base",
        "bypass-bpe",
        "bypass-bpe1000",
        "bpe0",
        "bpe-1000",
    ],
)
def test_another_argument_is_refused_in_one_line_with_the_grammar(arg):
    with pytest.raises(ConfigError) as error:
        load_recipe(f"configs/demo.py:{arg}")
    message = str(error.value)
    assert message.startswith(f"configs/demo.py:{arg}: no such system; use base, bpe[SIZE], static[P]")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("100,base", "SIZE must be a multiple of 16, demo or demo-64; write for example 128,bypass"),
        ("demo-100,base", "SIZE must be a multiple of 16"),
        ("demo,base,1", "SHARE must be between 0 and 1; write for example demo,base,0.6"),
        ("demo,base,half", "SHARE must be between 0 and 1"),
        ("demo,base,0.6,3", "SHARE must be between 0 and 1"),
        ("demo,none", "no such system"),
    ],
)
def test_another_argument_of_the_made_up_world_is_refused_in_one_line(arg, said):
    with pytest.raises(ConfigError, match=said) as error:
        load_recipe(f"configs/world.py:{arg}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_rows_of_the_made_up_world_hold_the_same_tokens_for_each_share_of_speech(share):
    usual, config = (load_recipe(f"configs/world.py:demo,bypass-static{word}").data for word in ("", f",{share}"))
    assert [source.share for source in config.sources] == pytest.approx([share, 1 - share])
    assert config.row_tokens == usual.row_tokens
    assert (
        (config.row_patches < usual.row_patches)
        == (share > 0.8)
        == (config.row_speech_tokens > usual.row_speech_tokens)
    )


@pytest.mark.parametrize("arg, size", [("bpe", 1000), ("bpe1000", 1000), ("bpe10000", 10000), ("bpe500", 500)])
def test_pieces_of_units_have_a_file_and_a_vocabulary_of_their_size(arg, size):
    config = load_recipe(f"configs/demo.py:{arg}")
    assert config.data.unit_tokenizer == f"data/demo/units-{size}.model" and config.vocab.unit_slots == size
    base = load_recipe("configs/demo.py:base")
    assert base.data.unit_tokenizer is None and base.vocab.unit_slots == 500


def test_fewer_pieces_than_units_are_refused():
    with pytest.raises(ConfigError, match="demo.py:bpe499: each of the 500 units is a piece; use bpe500 at least"):
        load_recipe("configs/demo.py:bpe499")


def made_up(arg, root):
    """The recipe over made-up records, with smaller networks and rows."""
    config = load_recipe(f"configs/demo.py:{arg}")
    base, pieces = config.model.architecture == "base", config.data.unit_tokenizer is not None
    paths = {"utterance": str(root / "speech"), "text": str(root / "text")}
    sources = tuple(dataclasses.replace(s, path=paths[s.kind]) for s in config.data.sources)
    data = dataclasses.replace(
        config.data,
        tokenizer=synthetic_data.tokenizer_path(),
        sources=sources,
        row_tokens=160,
        row_patches=160 if base else 128,
        prefetch=0,
        unit_tokenizer=synthetic_data.unit_tokenizer_path() if pieces else None,
        row_speech_tokens=96 if "bypass" in arg else None,
        row_speech_patches=48 if "bypass" in arg else None,
    )
    local, wide = cfg.StackConfig(1, 48, 4, 128), cfg.StackConfig(1, 64, 4, None)
    local = None if base else local
    small = {"patch_encoder": local, "global_transformer": wide, "patch_decoder": local}
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, attention_block=256, **small),
        data=data,
        vocab=cfg.VocabConfig(synthetic_data.TEXT_SIZE, synthetic_data.UNIT_PIECES if pieces else 502),
    )


@functools.cache
def training(model_config, unit_slots, *row_sizes):
    """The first state, on the host, and a compiled step; patching is data: all systems of one model share them."""
    arg = {"base": "base" if unit_slots == 502 else "bpe", "lst": "", "lst_bypass": "bypass"}[model_config.architecture]
    config = made_up(arg, pathlib.Path("unused"))
    mesh = one_device()
    model = model_of(model_config, config.joint_vocab, *row_sizes)
    first_state = jax.device_get(update.init_state(config, model, mesh))
    return first_state, update.make_train_step(config, model, mesh, token_frames(config)), mesh


def training_of(config):
    return training(config.model, config.vocab.unit_slots, *row_sizes_of(config))


def model_of(model_config, vocab, row_patches, row_speech_tokens, row_speech_patches):
    return registry.build(model_config, vocab, row_patches, row_speech_tokens, row_speech_patches=row_speech_patches)


def row_sizes_of(config):
    return config.data.row_patches, config.data.row_speech_tokens, config.data.row_speech_patches


@each_system
def test_a_system_takes_a_training_step(arg, records):
    config = made_up(arg, records)
    validate(config)
    batch = next(BatchStream(config)).batch
    first_state, train_step, mesh = training_of(config)
    kernel = jax.tree.leaves(first_state.params)[-1]
    numbers = update.numbers_of(config)
    state = jax.device_put(first_state, replicated(mesh))
    state, metrics, _ = train_step(state, update.put_batch(batch, mesh), numbers)
    nats = {m: float(metrics[f"nll_{m}"] / metrics[f"count_{m}"]) for m in ("text", "speech", "marker")}
    assert all(0.5 < n / np.log(config.joint_vocab.size) < 1.6 for n in nats.values()), nats  # near even odds
    assert int(state.step) == 1 and float(metrics["grad_norm"]) > 0
    assert np.abs(np.asarray(jax.tree.leaves(state.params)[-1]) - kernel).max() > 0


@functools.cache
def influence_function(model_config, vocab, *row_sizes):
    """A row and positions -> [N, V]: whether the logits there have a gradient at each token id's embedding."""
    model = model_of(model_config, vocab, *row_sizes)
    params = training(model_config, vocab.unit_slots, *row_sizes)[0].params
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    tables = [i for i, (path, _) in enumerate(leaves) if path[-1].key == "embedding"]
    reading_V = jax.random.normal(jax.random.key(1), (vocab.size,))
    first_id = {"lst_bypass": vocab.speech_marker}.get(model_config.architecture, 0)  # of the local networks

    def touched(stored, batch, position_N):
        def reading(embeddings, t):
            values = list(stored)
            for i, table in zip(tables, embeddings, strict=True):
                values[i] = table
            logits_BTV = model(
                jax.tree.unflatten(tree, values),
                batch.token_BT,
                batch.doc_id_BT,
                batch.patch_start_BT,
                batch.patch_end_BT,
            )
            return logits_BTV[0, t] @ reading_V

        def row(t):
            found = [jnp.abs(g).max(-1) > 0 for g in jax.grad(reading)(own, t)]
            return jnp.concatenate(sorted(found, key=lambda g: len(g) != first_id)) if first_id else found[0]

        own = [stored[i] for i in tables]
        return jax.lax.map(row, position_N, batch_size=16)

    return functools.partial(jax.jit(touched), [leaf for _, leaf in leaves])


def with_ids_of_their_own(batch, vocab):
    """The row with every text token and every unit another id, so that an embedding's gradient tells the position."""
    token = batch.token_BT[0].copy()
    for kind, first in ((vocab.is_text(token), 0), (vocab.is_speech(token), vocab.unit_offset)):
        token[kind] = first + np.arange(np.count_nonzero(kind))
    return batch._replace(token_BT=token[None])


# tests/model/test_bypass.py asks the same of the bypass
@pytest.mark.parametrize("arg", [pytest.param(arg, marks=[pytest.mark.slow] * ("bypass" in arg)) for arg in SYSTEMS])
def test_no_token_of_a_row_sees_what_comes_later_or_another_document(arg, records):
    config = made_up(arg, records)
    batch = with_ids_of_their_own(Batch(*(a[:1] for a in next(BatchStream(config)).batch)), config.joint_vocab)
    influence = influence_function(config.model, config.joint_vocab, *row_sizes_of(config))
    token, doc = batch.token_BT[0], batch.doc_id_BT[0]
    t = positions_to_read(doc)[:, None]
    marker = ~config.joint_vocab.is_text(token) & ~config.joint_vocab.is_speech(token)
    source = np.flatnonzero((doc > 0) & ~marker)
    seen = np.asarray(influence(batch, t[:, 0]))[:, token[source]]
    allowed = (source <= t) & (doc[source] == doc[t])
    assert not seen[~allowed].any()
    assert seen[source == t].all() and doc.max() > 1 and seen[allowed].mean() > 0.2


def positions_to_read(doc, count=40):
    """As many positions of a row: those around the edges of documents, and others spread evenly."""
    edges = np.flatnonzero(np.diff(doc, prepend=0, append=0))
    near = np.unique(np.clip(edges[:, None] + np.arange(-2, 3), 0, len(doc) - 1))
    others = np.setdiff1d(np.linspace(0, len(doc) - 1, count).astype(int), near)
    return np.concatenate([near, others])[:count]
