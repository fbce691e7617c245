"""Writes golden_transformers.npz: what transformers computes for the tiny models. Run where torch is installed:

PYTHONPATH=.:tests/prepare/acoustic python tests/prepare/acoustic/make_golden.py
"""

import pathlib
import tempfile

import numpy as np
import tiny_models
import torch
import transformers

arrays = {}
for variant in tiny_models.VARIANTS:
    with tempfile.TemporaryDirectory() as directory:
        tiny_models.write(pathlib.Path(directory), variant)
        kind = {"hubert": transformers.HubertForCTC, "wav2vec2": transformers.Wav2Vec2ForCTC}[variant.split("_")[0]]
        model = kind.from_pretrained(directory).eval()
        with torch.no_grad():
            out = model(torch.tensor(tiny_models.recordings()[1])[None], output_hidden_states=True)
        arrays[f"{variant}/2"] = out.hidden_states[2][0].numpy()
        arrays[f"{variant}/log_probs"] = out.logits[0].log_softmax(-1).numpy()
np.savez_compressed(pathlib.Path(__file__).with_name("golden_transformers.npz"), **arrays)
