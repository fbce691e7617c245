"""Rows for recordings of an hour: `configs/long.py:SIZE[-LENGTH][,SYSTEM]`.

    lst train runs/1b-32k --config configs/long.py:1b-32k,curriculum --set train.init_from=runs/1b
    lst plan --config configs/long.py:1b-32k --topology v5p:2x4x4 --set mesh.tensor=2
    lst train runs/demo-2k --config configs/long.py:demo          # from runs/demo, on data/long

A run of `configs/lst.py:SIZE[,SYSTEM]` goes on with long rows; or that of `configs/demo.py:[SYSTEM]`, where SIZE is demo.
LENGTH is the number of patch positions of a row: 2k, 8k, 16k or 32k (default: 32k, of the demo 2k).

An hour of speech has 90,000 units. As an interleaved document, with a third of its words as speech, it is about 38,000
tokens in 16,000 patch positions. A row of 32k has 55,296 tokens, seven tenths of them from recordings: one such hour, and
texts. Recordings that fit a row are not cut (`data.whole_utterances`). A longer one goes on in the next row of its
stream, without what came before. Speech that nobody wrote down is 22,500 static patches of four an hour. Rows for it
alone have four tokens per patch position: `--set data.row_tokens=131072`.

Patch positions per step are those of pre-training, so a step has few rows: 16 of 32k at 1b, 128 at 7b. The devices are as
many, or more with `mesh.tensor`. The learning rate is a quarter of pre-training's, for a twentieth of its steps. Patches
are those that pre-training ends with.
"""

from ml_collections import ConfigDict

from lst_jax.core.errors import ConfigError
from lst_jax.recipes.inherit import named, sibling
from lst_jax.recipes.row_sizes import row_tokens_for

DEMO, LST = sibling(__file__, "demo.py"), sibling(__file__, "lst.py")
LENGTHS = {f"{n}k": 1024 * n for n in (2, 8, 16, 32)}
DATA = "data/long"
SPEECH_SHARE = 0.7  # of tokens, in documents of recordings; the rest are texts


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[-LENGTH][,SYSTEM]. Raises: ConfigError."""
    name, _, system = arg.partition(",")
    size, _, length = name.partition("-")
    demo = size == "demo"
    length = length or ("2k" if demo else "32k")
    if length not in LENGTHS:
        raise ConfigError(f"configs/long.py:{arg}: no such length of rows; use one of {', '.join(LENGTHS)}: 1b-32k")
    config = DEMO.get_config(system) if demo else LST.get_config(f"{size},{system}" if system else size)
    config.name = f"long-{length}-{config.name}"
    if demo:
        config.data.rows = 2
        config.model.update(attention_block=512, remat="attention")  # blocks of 64, and no remat, are for short rows
    else:
        config.data.rows = config.data.rows * LST.ROW_PATCHES // LENGTHS[length]
    _resize_rows(config, LENGTHS[length])
    (text,) = named(config.data.sources, "text")
    text["share"] = 1 / SPEECH_SHARE - 1
    config.data.sources = [dict(name="long", kind="utterance", path=f"{DATA}/train/speech"), text]
    config.eval.sources = [dict(name="valid", kind="utterance", path=f"{DATA}/valid/speech")]
    config.data.patching.update(tau1=0, tau2=0)
    steps = max(20, config.train.steps // 20)
    config.optim.update(peak_lr=config.optim.peak_lr / 4, warmup_steps=steps // 20)
    config.eval.update(every=steps // 4, batches=4, completion_items=0)
    config.train.update(steps=steps, init_from=f"runs/{size}", checkpoint_every=steps // 4, checkpoint_keep_every=None)
    return config


def _resize_rows(config: ConfigDict, patches: int) -> None:
    """Rows of `patches` patch positions that hold such documents."""
    data, architecture = config.data, config.model.architecture
    mean_patch = 1 if architecture == "base" else data.patching.static_size
    tokens = row_tokens_for(patches, mean_patch, SPEECH_SHARE)
    data.update(row_patches=patches, row_tokens=tokens, whole_utterances=True)
    # these rows are mostly speech
    data.row_speech_tokens, data.row_speech_patches = tokens if architecture == "lst_bypass" else None, None
