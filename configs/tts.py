"""Fine-tuning to speak: text in, units out (paper §8, LibriSpeech, 20k steps). All else is as in configs/asr.py.

lst train runs/tts --config configs/tts.py:1b,curriculum --set train.init_from=runs/1b
lst evaluate runs/tts --tts data/librispeech/test-clean/speech --units units.safetensors
lst train runs/demo-tts --config configs/tts.py:demo
"""

import pathlib

from ml_collections import ConfigDict

from lst_jax.recipes.load import load_recipe_module

STEPS, DEMO_STEPS = 20_000, 200
ASR = load_recipe_module(str(pathlib.Path(__file__).with_name("asr.py")))


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM] or demo[,SYSTEM], of the run to begin from. Raises: ConfigError."""
    return ASR.adapted("tts", arg, STEPS, DEMO_STEPS)
