"""Fine-tuning to speak: text in, units out (paper §8, LibriSpeech, 20k steps). All else is as in configs/asr.py.

lst train runs/tts --config configs/tts.py:1b,curriculum --set train.init_from=runs/1b
lst evaluate runs/tts --tts data/librispeech/test-clean/speech --units units.safetensors
lst train runs/demo-tts --config configs/tts.py:demo
"""

from ml_collections import ConfigDict

from lst_jax.recipes.inherit import sibling

ASR = sibling(__file__, "asr.py")
STEPS, DEMO_STEPS = 20_000, 200


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM] or demo[,SYSTEM], the argument of the run to begin from. Raises: ConfigError."""
    return ASR.adapted("tts", arg, STEPS, DEMO_STEPS)
