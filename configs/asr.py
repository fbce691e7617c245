"""Fine-tuning to recognise speech: units in, text out (paper §8, LibriSpeech).

    lst train runs/asr --config configs/asr.py:1b,curriculum --set train.init_from=runs/1b
    lst evaluate runs/asr --asr data/librispeech/test-clean/speech
    lst train runs/demo-asr --config configs/asr.py:demo          # from runs/demo, on its data: a minute or two

The argument is SIZE[,SYSTEM] as in configs/lst.py, or demo[,SYSTEM] as in configs/demo.py, and is that of the run whose
parameters this one begins with. The paper's batch is 4 rows of 4,096 unit positions and its steps are 1k, 2k and 4k:
`--set train.steps=1000`. Its learning rate is not told; here it is a quarter of pre-training's. Patches are what
pre-training ends with. LibriSpeech's folders and alignments come in by

    lst prepare speech --manifest librispeech.jsonl --units units.safetensors --aligner librispeech:ALIGNMENTS --out …
"""

import pathlib

from ml_collections import ConfigDict

from lst_jax.recipes.load import load_recipe_module
from lst_jax.recipes.row_sizes import row_tokens_for

STEPS, DEMO_STEPS = 4000, 200
DATA = "data/librispeech"
# Of a document of LibriSpeech (12.3 s on average, about 45 text tokens) so much is speech
SPEECH_SHARE = 0.86


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM] or demo[,SYSTEM]. Raises: ConfigError."""
    return adapted("asr", arg, STEPS, DEMO_STEPS)


def adapted(documents: str, arg: str, steps: int, demo_steps: int) -> ConfigDict:
    """The recipe that pre-trains `arg`, turned to `documents` from its checkpoint on."""
    name, _, system = arg.partition(",")
    demo = name == "demo"
    folder = pathlib.Path(__file__).parent
    config = load_recipe_module(str(folder / ("demo.py" if demo else "lst.py"))).get_config(system if demo else arg)
    data, units = config.data, 256 if demo else 4096
    config.name = f"{documents}-{config.name}"
    steps = demo_steps if demo else steps
    tokens = row_tokens_for(units, data.patching.static_size, 1.0, SPEECH_SHARE)
    base = config.model.architecture == "base"
    data.update(
        documents=documents,
        rows=4,
        row_patches=tokens if demo and base else units,
        row_tokens=tokens if demo or not base else units,
        row_speech_tokens=tokens if config.model.architecture == "lst_bypass" else None,
    )
    data.patching.update(tau1=0, tau2=0)
    if not demo:
        data.sources = [dict(name="speech", kind="utterance", path=f"{DATA}/train/speech", share=1.0)]
        config.eval.sources = [dict(name="dev", kind="utterance", path=f"{DATA}/dev/speech", share=1.0)]
    else:
        data.sources, config.eval.sources = data.sources[:1], config.eval.sources[:2]
    config.optim.update(peak_lr=config.optim.peak_lr / 4, warmup_steps=steps // 20)
    config.eval.update(every=steps // 4, completion_items=0)
    config.train.update(
        steps=steps,
        init_from="runs/demo" if demo else f"runs/{name}",
        checkpoint_every=steps // 4,
        checkpoint_keep=4,
        checkpoint_keep_every=None,
    )
    return config
