"""Fine-tuning to recognise speech: units in, text out (paper §8, LibriSpeech).

    lst train runs/asr --config configs/asr.py:1b,curriculum --set train.init_from=runs/1b
    lst evaluate runs/asr --asr data/librispeech/test-clean/speech
    lst train runs/demo-asr --config configs/asr.py:demo          # from runs/demo, on its data: a minute or two
    lst sweep run runs/asr --config configs/asr.py:runs/world,base,bypass-static-4      # every run of a sweep, adapted

The argument is SIZE[,SYSTEM] as in configs/lst.py, or demo[,SYSTEM] as in configs/demo.py, or world-ARGUMENT with an
argument of configs/world.py, such as world-demo,base. It must be the argument of the run whose parameters this one
begins with.

A sweep is SWEEP[,WHICH,…]. SWEEP is the folder of a sweep that pre-trained, and WHICH are labels or names of its runs:
each is adapted over an eighth, a quarter, a half and all of the recipe's steps.

The paper's batch has 4 rows of 4,096 patch positions, and it trains for 1k, 2k and 4k steps: `--set train.steps=1000`.
The paper does not give a learning rate; here it is a quarter of the one in pre-training. Patches are those that
pre-training ends with. This command prepares LibriSpeech's folders and alignments:

    lst prepare speech --manifest librispeech.jsonl --units units.safetensors --aligner librispeech:ALIGNMENTS --out …
"""

import json
import pathlib

from ml_collections import ConfigDict

from lst_jax.core.errors import ConfigError
from lst_jax.jobs.sweeps.grid import Overlay
from lst_jax.jobs.sweeps.trials import Trial, read_sweep
from lst_jax.recipes.inherit import named, sibling
from lst_jax.recipes.load import split
from lst_jax.recipes.row_sizes import row_patches_for, row_tokens_for
from lst_jax.storage.place import to_place

DEMO, LST = sibling(__file__, "demo.py"), sibling(__file__, "lst.py")
STEPS, DEMO_STEPS, WORLD_STEPS = 4000, 200, 400
PARTS = (1 / 8, 1 / 4, 1 / 2, 1)  # of the steps, in a sweep
RATE_SHARE = 1 / 4  # of the peak learning rate in pre-training
DATA = "data/librispeech"
# Share of speech in the tokens of a LibriSpeech document, which has 12.3 s and about 45 text tokens on average
SPEECH_SHARE = 0.86


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM], demo[,SYSTEM] or world-ARGUMENT. Raises: ConfigError."""
    return adapted("asr", arg, STEPS, DEMO_STEPS)


def adapted(documents: str, arg: str, steps: int, demo_steps: int) -> ConfigDict:
    """The recipe that pre-trains `arg`, changed to train on `documents` from that run's checkpoint on."""
    size, _, system = arg.partition(",")
    if size.startswith("world-"):
        world = sibling(__file__, "world.py")  # needed for this alone
        config, steps = world.get_config(arg.removeprefix("world-")), WORLD_STEPS
        config.data.sources = named(config.data.sources, "speech_text")
        config.eval.sources = named(config.eval.sources, "valid")
        _resize_world_rows(config, world.ROW_PATCHES, world.SPEECH_SHARE)
    elif size == "demo":
        config, steps = DEMO.get_config(system), demo_steps
        config.data.sources = named(config.data.sources, "speech_text")
        config.eval.sources = named(config.eval.sources, "valid", "test")
        _resize_rows(config, 256, shorter_base=False)
    else:
        config = LST.get_config(arg)
        config.data.sources = [dict(name="speech", kind="utterance", path=f"{DATA}/train/speech")]
        config.eval.sources = [dict(name="dev", kind="utterance", path=f"{DATA}/dev/speech")]
        _resize_rows(config, 4096, shorter_base=True)
    config.name = f"{documents}-{config.name}"
    config.data.documents = documents
    config.data.patching.update(tau1=0, tau2=0)
    config.optim.update(peak_lr=config.optim.peak_lr * RATE_SHARE, warmup_steps=steps // 20)
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
    """Four rows of `patches` patch positions that documents of LibriSpeech fill.

    Base has one token per patch position: with `shorter_base` as many as there are patches, else as many as LST has.
    """
    data = config.data
    tokens = row_tokens_for(patches, data.patching.static_size, 1.0, SPEECH_SHARE)
    if config.model.architecture == "base":
        patches = tokens = patches if shorter_base else tokens
    data.rows = 4
    _set_rows(config, tokens, patches)


def _resize_world_rows(config: ConfigDict, patches: int, speech_share: float) -> None:
    """Rows of one number of tokens for every system, as in configs/world.py, with the patch positions that they need."""
    tokens = row_tokens_for(patches, 4, 1.0, speech_share)
    mean_patch = 1 if config.model.architecture == "base" else config.data.patching.static_size
    _set_rows(config, tokens, row_patches_for(tokens, mean_patch, 1.0, speech_share))


def _set_rows(config: ConfigDict, tokens: int, patches: int) -> None:
    # these rows are nearly all speech, and take documents whole
    speech = tokens if config.model.architecture == "lst_bypass" else None
    config.data.update(row_patches=patches, row_tokens=tokens, row_speech_tokens=speech, row_speech_patches=None)


def sweep(add, name: str) -> None:
    """`name`: SWEEP[,WHICH,…], see above. Raises: ConfigError."""
    folder, *wanted = name.split(",")
    trials = read_sweep(to_place(folder)).trials
    trunks = {trial.trunk for trial in trials}
    trials = [trial for trial in trials if trial.name not in trunks]
    for word in wanted:
        if not any(word in (trial.label, trial.name) for trial in trials):
            known = ", ".join(dict.fromkeys(trial.label for trial in trials))
            raise ConfigError(f"configs/asr.py:{name}: {folder} has no run {word!r}; use a name of one, or of {known}")
    for trial in trials:
        if not wanted or trial.label in wanted or trial.name in wanted:
            for overlay in _adaptations(trial, folder, name):
                add(overlay)


def _adaptations(trial: Trial, folder: str, name: str) -> list[Overlay]:
    """One run for each of PARTS, from the last checkpoint of a run of a sweep, with what the sweep changed in its model."""
    path, arg = split(trial.recipe)
    kinds = {"lst": arg, "demo": f"demo,{arg}", "world": f"world-{arg}"}
    recipe = kinds.get(pathlib.Path(path).stem)
    if recipe is None:
        raise ConfigError(f"configs/asr.py:{name}: {trial.name} is of {path}; use runs of {', '.join(kinds)}.py")
    before, steps = trial.config(), get_config(recipe).train.steps
    changes = [change.partition("=") for change in trial.changes]
    model = {field: json.loads(text) for field, _, text in changes if field.startswith(("model.", "vocab."))}
    return [
        {
            "recipe": recipe,
            "label": trial.label,
            "seed": before.seed,
            "train.init_from": str(to_place(folder) / "runs" / trial.name),
            "optim.peak_lr": before.optim.peak_lr * RATE_SHARE,
            "train.steps": round(part * steps),
            **model,
        }
        for part in PARTS
    ]
