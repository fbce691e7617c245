"""A run whose speech is in pieces of units: it goes on bit for bit, and its bits are over seconds of speech."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest
import synthetic_data
from training_run import make_data, tokenizer_of

from lst_jax import config as cfg
from lst_jax.core.errors import RESTART_EXIT_CODE, CheckpointError
from lst_jax.data.packing import eval_batches
from lst_jax.data.patching import EachUnitRule
from lst_jax.data.pipeline import open_source
from lst_jax.data.shards import RecordDirectory
from lst_jax.data.unit_pieces import Codebook, UnitPieces, train_unit_pieces
from lst_jax.evals import evaluator
from lst_jax.model.architectures import registry
from lst_jax.parallel import sharding
from lst_jax.parallel.sharding import one_device
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update
from lst_jax.train import loop
from lst_jax.train.session import open_session

TIMES = ("seconds_per_step", "tokens_per_second", "patches_per_second", "mfu", "peak_flops")


@pytest.fixture(scope="module", autouse=True)
def a_single_device():
    """Nothing here is about the mesh."""
    mesh = one_device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", lambda *_: mesh)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    sources = (
        cfg.SourceConfig("speech", "utterance", str(folder / "speech"), 1.0),
        cfg.SourceConfig("text", "text", str(folder / "text"), 2.0),
    )
    held_out = (cfg.SourceConfig("valid", "utterance", str(folder / "valid"), 1.0),)
    spoken = [*RecordDirectory(folder / "speech", "utterance"), *RecordDirectory(folder / "valid", "utterance")]
    train_unit_pieces([u.units for u in spoken], folder / "units.model", 2000, Codebook(501, None))  # of its very data
    config = synthetic_data.make_bpe_config(
        224, rows=8, sources=sources, prefetch=2, unit_tokenizer=str(folder / "units.model")
    )
    return dataclasses.replace(
        config,
        train=cfg.TrainConfig(
            steps=5, log_every=1, checkpoint_every=2, checkpoint_minutes=None, checkpoint_keep=2, bad_step="halt"
        ),
        eval=cfg.EvalConfig(5, held_out, 1, 2),
        data=dataclasses.replace(config.data, tokenizer=str(tokenizer_of(folder))),
    )


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert loop.train(RunDirectory(run), config) == 0
    return run


def learned(run):
    return [{k: v for k, v in r.items() if k not in TIMES} for r in RunDirectory(run).read_metrics()]


def speech_bits(config, params, batch):
    """Bits of the scored speech tokens, and the frames that these stand for by their own units."""
    model = registry.build(config.model, config.joint_vocab, config.data.row_patches)
    nll_BT, _ = jax.jit(lambda p, b: update.per_token_nll(config, model, p, b))(params, batch)
    scored = (batch.weight_BT == 1) & (batch.target_BT >= config.joint_vocab.unit_offset)
    pieces = UnitPieces(config.data.unit_tokenizer)
    frames = len(pieces.decode(batch.target_BT[scored] - config.joint_vocab.unit_offset))
    return float(np.asarray(nll_BT)[scored].sum()) / np.log(2), frames, int(scored.sum())


def test_training_records_bits_over_seconds_of_speech(config, unbroken):
    batch = loop.rebuild_batch(str(unbroken), 1).batch
    model = registry.build(config.model, config.joint_vocab, config.data.row_patches)
    bits, frames, tokens = speech_bits(config, update.init_state(config, model, one_device()).params, batch)
    first = learned(unbroken)[0]
    assert frames > 1.05 * tokens  # else this test says nothing
    assert first["bits_per_second_speech"] == pytest.approx(bits / (frames / 25), rel=1e-5)
    assert 1.05 < first["mean_patch_frames"] < 3


def test_held_out_bits_are_over_the_seconds_of_the_utterances(config, unbroken):
    with contextlib.ExitStack() as held:
        session = open_session(RunDirectory(unbroken), config, held)
    source = config.eval.sources[0]
    ((batch, stats),) = eval_batches(source, config, EachUnitRule(), 9, "speech")
    bits, frames, tokens = speech_bits(config, session.state.params, batch)
    session.stream.close()
    session.checkpoints.close()
    seconds = sum(len(u.units) for u in open_source(source, config)) / 25
    assert stats["pieces_cut"] == 0 and frames / 25 == seconds and frames > 1.05 * tokens
    last = learned(unbroken)[-1]
    assert last["heldout/valid-speech/bits_per_second_speech"] == pytest.approx(bits / seconds, rel=1e-5)
    assert all(last[f"completion/{d}/items"] == 2 for d in ("s2s", "t2t", "s2t", "t2s"))


@pytest.mark.slow  # test_train.py holds it of units, tests/data/test_unit_pieces.py of the stream of pieces
def test_a_stopped_run_goes_on_bit_for_bit(config, unbroken, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    monkeypatch.setattr(loop.StopRequest, "requested", True, raising=False)
    monkeypatch.setattr(loop.StopRequest, "__init__", lambda self, doing: None)
    assert loop.train(run, config) == RESTART_EXIT_CODE  # after its first step
    monkeypatch.undo()
    assert loop.train(run, None) == 0
    assert learned(run.path) == learned(unbroken)


def test_other_pieces_are_refused(config, unbroken, tmp_path):
    train_unit_pieces([u.units for u in synthetic_data.utterances(9)], tmp_path / "u.model", 1999, Codebook(501, None))
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, unit_tokenizer=str(tmp_path / "u.model")))
    with pytest.raises(CheckpointError, match="was trained on data"):
        loop.train(RunDirectory(unbroken), other)


def test_evaluating_a_checkpoint_gives_the_run_s_own_last_numbers(unbroken, capsys):
    assert evaluator.evaluate_run(RunDirectory(unbroken), as_json=True) == 0
    assert {**json.loads(capsys.readouterr().out), "kind": "eval"} == learned(unbroken)[-1]
