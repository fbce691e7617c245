"""lm-evaluation-harness's own model `hf` on an exported run gives the numbers of our adapter, where its README says so.

It runs in a process without this package, in the environment `.venv-transformers-5` of `make test-extras`.
"""

import functools
import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest
import saved_run
from flax import traverse_util

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.convert import hf
from lst_jax.convert.source import Source, Stored
from lst_jax.core.vocab import BOS_ID
from lst_jax.evals import harness

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = pathlib.Path(os.environ.get("LST_TRANSFORMERS_5", ROOT / ".venv-transformers-5" / "bin" / "python"))
OPENED = "<s><|text|>"  # the README's way to an empty context
PAIRS = [
    ("the river of", " little stream"),
    ("the river of ", "pleasant time"),
    ("winding", " path waded"),
    ("he was", " the pleasant river followed"),
]
EMPTY = ["the followed", "winding path"]
ROLLING = ["the river of little path", "winding path waded in time"]
CONTEXTS = ["the river of", "he was winding", "the pleasant"]
SCRIPT = """
import sys
sys.modules |= {"lst_jax": None, "jax": None}  # to import them is an error
import json
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
asked = json.loads(sys.argv[1])


def requests(kind, arguments):
    return [Instance(kind, {}, tuple(one), 0) for one in arguments]


def model(**more):
    return HFLM(pretrained=asked["folder"], trust_remote_code=True, device="cpu", batch_size=2, **more)


plain = model()
said = {
    "pairs": plain.loglikelihood(requests("loglikelihood", asked["pairs"])),
    "opened": plain.loglikelihood(requests("loglikelihood", asked["opened"])),
    "made": plain.generate_until(requests("generate_until", asked["made"])),
    "rolling": model(add_bos_token=False).loglikelihood_rolling(requests("loglikelihood_rolling", asked["rolling"])),
    "bos": model(add_bos_token=True).tok_encode("the river"),
}
import torch
marker = plain.model(torch.tensor([[1]])).logits[0, -1].log_softmax(-1)[asked["marker"]].item()
json.dump(said | {"marker": marker}, open("said.json", "w"))
"""


def test_numbers_and_texts_are_ours(tmp_path):
    if not PYTHON.is_file():
        pytest.skip(f"{PYTHON}: no such environment; run make test-extras, or set LST_TRANSFORMERS_5")
    run = saved_run.make(tmp_path)
    opened, out = load_trained_model(run), tmp_path / "hf"
    out.mkdir()
    flat = traverse_util.flatten_dict(jax.device_get(opened.params), sep="/")
    arrays = {path: Stored(x.shape, functools.partial(np.asarray, x)) for path, x in flat.items()}
    hf.write(Source(opened.config, arrays, {}), out)
    vocab = opened.config.joint_vocab
    generating = {"until": ["zz"], "max_gen_toks": 8, "do_sample": False}
    forbidden = [0, BOS_ID, *range(vocab.text_size, vocab.size)]
    texts = harness.RunTexts(opened)
    asked = {
        "folder": str(out),
        "pairs": PAIRS,
        "opened": [(OPENED, x) for x in EMPTY] + [(OPENED + a, b) for a, b in PAIRS],
        "rolling": [("<|text|>" + x,) for x in ROLLING],
        "made": [(x, generating | {"suppress_tokens": forbidden}) for x in CONTEXTS],
        "marker": vocab.text_marker,
    }
    ran = subprocess.run(
        [str(PYTHON), "-I", "-c", SCRIPT, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads((tmp_path / "said.json").read_text())
    wanted = texts.loglikelihood([*PAIRS, *[("", x) for x in EMPTY], *PAIRS])
    found = [*said["pairs"], *said["opened"]]
    np.testing.assert_allclose([x for x, _ in found], [x for x, _ in wanted], rtol=1e-5)
    assert [bool(greedy) for _, greedy in found] == [greedy for _, greedy in wanted]
    np.testing.assert_allclose(np.array(said["rolling"]) - said["marker"], texts.rolling(ROLLING), rtol=1e-5)
    assert vocab.text_marker not in said["bos"]  # which is why the README leaves add_bos_token=True out
    made = list(zip(said["made"], texts.generate([(x, ["zz"], 8) for x in CONTEXTS]), strict=True))
    # transformers writes every byte of a run that is no UTF-8 as one, SentencePiece those that are wrong
    assert all(theirs == ours or "\ufffd" in ours for theirs, ours in made)
    assert sum(theirs == ours != "" for theirs, ours in made) >= 2
