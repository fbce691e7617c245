"""Runs to convert, without training: drawn parameters, saved as `lst train` saves them."""

import dataclasses
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import sentencepiece
import synthetic_data
from flax import traverse_util

from lst_jax import config as cfg
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config
from lst_jax.convert.source import expected_shapes
from lst_jax.data.pipeline import vocabulary_of
from lst_jax.data.rows import initial_state
from lst_jax.parallel.sharding import one_device
from lst_jax.runs.directory import RunDirectory
from lst_jax.step.optimizers.registry import make_optimizer
from lst_jax.step.update import state_around

STRATEGIES = {"lst": {}, "lst_bypass": {"speech_tokens": 80}, "base": {"strategy": "none", "tokens": 128}}


def config_of(system: str, **model) -> Config:
    """Two global layers of another width than the local ones, so that every kind of parameter is there."""
    config = synthetic_data.make_config(**STRATEGIES[system])
    model = {"global_transformer": cfg.StackConfig(2, 96, 2, None), "attention_block": 16, **model}
    if system != "base":
        model |= {"patch_decoder": cfg.StackConfig(2, 64, 2, 16), "queries_per_patch": 2}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **model))


def make_run(folder: pathlib.Path, config: Config, steps=(3,)) -> pathlib.Path:
    """A run directory with a checkpoint at each of the steps, each with parameters of its own."""
    RunDirectory(folder).write_config(config)
    checkpoints = Checkpoints(folder / "checkpoints", keep=len(steps))
    meta = {
        "identity": cfg.identity(config),
        "config_hash": cfg.config_hash(config),
        "data_fingerprint": "none",
        "commit": None,
        "vocabulary": vocabulary_of(config) | {"codebook": "0123456789abcdef"},
    }
    for number in steps:
        params = draw(config, number)
        state = state_around(make_optimizer(config.optim, one_device()), params)._replace(step=jnp.int32(number))
        checkpoints.save(state, initial_state(config.data.rows, len(config.data.sources)), meta)
        checkpoints.wait()
    checkpoints.close()
    return folder


def draw(config: Config, seed: int):
    """Parameters as large as initial ones, norms too, so that no layer is without effect."""
    rng = np.random.default_rng(seed)
    return traverse_util.unflatten_dict(
        {
            path: jnp.asarray(rng.normal(float(len(shape) == 1), shape[0] ** -0.5, shape), jnp.float32)
            for path, shape in expected_shapes(config.model, config.joint_vocab).items()
        },
        sep="/",
    )


def tokenizer_of(folder: pathlib.Path, size: int) -> str:
    """A SentencePiece model of so few pieces that it has no bytes."""
    path = folder / f"tokenizer-{size}.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(synthetic_data.WORDS)] * 20),
            model_writer=file,
            vocab_size=size,
            model_type="bpe",
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            character_coverage=1.0,
            minloglevel=2,
        )
    return str(path)


def write_recipe(path: pathlib.Path, config: Config) -> str:
    """A recipe that gives the configuration."""
    path.write_text(
        f"import json\nfrom ml_collections import ConfigDict\n\n\ndef get_config(arg):\n"
        f"    return ConfigDict(json.loads({json.dumps(cfg.to_mapping(config))!r}))\n"
    )
    return str(path)
