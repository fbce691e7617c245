"""Fine-tuning to recognise speech: units in, text out (paper §8, LibriSpeech).

    lst train runs/asr --config configs/asr.py:1b,curriculum --set train.init_from=runs/1b
    lst evaluate runs/asr --asr data/librispeech/test-clean/speech
    lst train runs/demo-asr --config configs/asr.py:demo          # from runs/demo, on its data: a minute or two

The argument is SIZE[,SYSTEM] as in configs/lst.py, or demo[,SYSTEM] as in configs/demo.py. It must be the argument of
the run whose parameters this one begins with.

The paper's batch has 4 rows of 4,096 patch positions, and it trains for 1k, 2k and 4k steps: `--set train.steps=1000`.
The paper does not give a learning rate; here it is a quarter of the one in pre-training. Patches are those that
pre-training ends with. This command prepares LibriSpeech's folders and alignments:

    lst prepare speech --manifest librispeech.jsonl --units units.safetensors --aligner librispeech:ALIGNMENTS --out …
"""

from ml_collections import ConfigDict

from lst_jax.recipes.inherit import named, sibling
from lst_jax.recipes.row_sizes import row_tokens_for

DEMO, LST = sibling(__file__, "demo.py"), sibling(__file__, "lst.py")
STEPS, DEMO_STEPS = 4000, 200
DATA = "data/librispeech"
# Share of speech in the tokens of a LibriSpeech document, which has 12.3 s and about 45 text tokens on average
SPEECH_SHARE = 0.86


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM] or demo[,SYSTEM]. Raises: ConfigError."""
    return adapted("asr", arg, STEPS, DEMO_STEPS)


def adapted(documents: str, arg: str, steps: int, demo_steps: int) -> ConfigDict:
    """The recipe that pre-trains `arg`, changed to train on `documents` from that run's checkpoint on."""
    size, _, system = arg.partition(",")
    if size == "demo":
        config = DEMO.get_config(system)
        config.data.sources = named(config.data.sources, "speech_text")
        config.eval.sources = named(config.eval.sources, "valid", "test")
        steps, patches = demo_steps, 256
    else:
        config = LST.get_config(arg)
        config.data.sources = [dict(name="speech", kind="utterance", path=f"{DATA}/train/speech")]
        config.eval.sources = [dict(name="dev", kind="utterance", path=f"{DATA}/dev/speech")]
        patches = 4096
    config.name = f"{documents}-{config.name}"
    _resize_rows(config, patches, shorter_base=size != "demo")
    config.data.update(documents=documents, rows=4)
    config.data.patching.update(tau1=0, tau2=0)
    config.optim.update(peak_lr=config.optim.peak_lr / 4, warmup_steps=steps // 20)
    config.eval.update(every=steps // 4, completion_items=0)
    config.train.update(
        steps=steps,
        init_from=f"runs/{size}",
        checkpoint_every=steps // 4,
        checkpoint_keep=4,
        checkpoint_keep_every=None,
    )
    return config


def _resize_rows(config: ConfigDict, patches: int, shorter_base: bool) -> None:
    """Rows of `patches` patch positions that documents of LibriSpeech fill.

    Base has one token per patch position: with `shorter_base` as many as there are patches, else as many as LST has.
    """
    data, architecture = config.data, config.model.architecture
    tokens = row_tokens_for(patches, data.patching.static_size, 1.0, SPEECH_SHARE)
    if architecture == "base":
        patches = tokens = patches if shorter_base else tokens
    data.update(row_patches=patches, row_tokens=tokens)
    # these rows are nearly all speech, and take documents whole
    data.row_speech_tokens, data.row_speech_patches = tokens if architecture == "lst_bypass" else None, None
