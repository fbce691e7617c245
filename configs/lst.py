"""The paper's models at the paper's training (§6, §8): `configs/lst.py:SIZE[,SYSTEM]`.

    lst train runs/1b --config configs/lst.py:1b,curriculum
    lst sweep render runs/shares --config configs/lst.py:speech-share --cluster launch/v5p_gke.toml --to jobset

SIZE is one of these:
    1b                                          the paper's model (A.2, Table 7)
    7b                                          BLT's own sizes
    420m, 630m, 810m, 1.1b, 1.4b, 1.8b          the models of the scaling study
    3b, 5b                                      larger ones in the same proportions

Of the study the paper gives the parameters only. Here its models keep the proportions of 1b
(`lst_jax.recipes.defaults.shape_for`): the depth is about width / 82, nine decoder layers go with 25 global ones, the
local width is half the global one, and heads have 128 and 64 channels. The parameters of an LST are within 2% of the
name.

SYSTEM is one of `lst_jax.recipes.systems`. Width, depth and patch positions per step are the same for all systems. The
recipe expects the data in data/lst, prepared as README says.
"""

import functools

from ml_collections import ConfigDict

from lst_jax.config import ModelConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import build
from lst_jax.core.vocab import Vocab
from lst_jax.cost.parameters import parameters as count_parameters
from lst_jax.jobs.sweeps.grid import each, product
from lst_jax.recipes import systems
from lst_jax.recipes.defaults import decoder_layers_for, learning_rate_for, shape_for
from lst_jax.recipes.row_sizes import row_speech_patches_for, row_speech_tokens_for, row_tokens_for

ROW_PATCHES = 4096
TEXT_SIZE = 32_000
UNITS = 501
UNIT_SLOTS = 502  # as in the released vocabulary, which has 32,508 ids
TOKENS_PER_PARAMETER = 30  # compute-optimal (§8): 20 of text, and half as many of interleaved speech and text
LOCAL_WINDOW = 512
# Stacks as (layers, width, heads), queries per patch, rows (0.5M patch positions per step; 7b: 4M), steps
SIZES = {
    "1b": dict(
        patch_encoder=(1, 1024, 16),
        global_transformer=(25, 2048, 16),
        patch_decoder=(9, 1024, 16),
        queries=2,
        rows=128,
        steps=200_000,
    ),
    "7b": dict(
        patch_encoder=(1, 1280, 20),
        global_transformer=(32, 4096, 32),
        patch_decoder=(6, 1280, 20),
        queries=4,
        rows=1024,
        steps=25_000,
    ),
}
# Names of the other sizes, and how many parameters an LST has
STUDY = {"420m": 420e6, "630m": 630e6, "810m": 810e6, "1.1b": 1.1e9, "1.4b": 1.4e9, "1.8b": 1.8e9, "3b": 3e9, "5b": 5e9}


@functools.cache
def study_size(parameters: float) -> dict:
    """An entry like those of `SIZES` for a model in the proportions of 1b, trained compute-optimally."""

    def stacks(width: int, layers: int) -> dict:
        local = width // 2
        return dict(
            patch_encoder=(1, local, local // 64),
            global_transformer=(layers, width, width // 128),
            patch_decoder=(decoder_layers_for(layers), local, local // 64),
            queries=2,
        )

    def count(width: int, layers: int) -> int:
        return count_parameters(
            build(ModelConfig, model(stacks(width, layers), "lst"), "model"), Vocab(TEXT_SIZE, UNIT_SLOTS)
        )

    shape, rows = shape_for(parameters, count), 128
    steps = round(TOKENS_PER_PARAMETER * parameters / (rows * row_tokens_for(ROW_PATCHES, 4)))
    return stacks(shape.width, shape.layers) | dict(rows=rows, steps=steps)


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM]. Raises: ConfigError."""
    name, _, rest = arg.partition(",")
    if name not in SIZES | STUDY:
        raise ConfigError(
            f"configs/lst.py:{arg}: no such size; use one of {', '.join(SIZES | STUDY)}, then a system: 1b,curriculum"
        )
    size = SIZES[name] if name in SIZES else study_size(STUDY[name])
    system = systems.parse(rest, UNITS, f"configs/lst.py:{arg}")
    pieces = system.pieces
    row_tokens, bypass = row_tokens_for(ROW_PATCHES, system.mean_patch), system.kind == "lst_bypass"
    speech_tokens = row_speech_tokens_for(row_tokens) if bypass else None
    return ConfigDict(
        dict(
            name=f"lst-{name}-{system.name}",
            vocab=dict(text_size=TEXT_SIZE, unit_slots=max(UNIT_SLOTS, pieces or 0)),
            model=model(size, system.kind),
            data=dict(
                tokenizer="data/lst/text.model",
                unit_tokenizer=f"data/lst/units-{pieces}.model" if pieces else None,
                sources=[
                    dict(name="speech_text", kind="utterance", path="data/lst/train/speech"),
                    dict(name="text", kind="text", path="data/lst/train/text", share=2.0),
                ],
                rows=size["rows"],
                row_tokens=row_tokens,
                row_patches=ROW_PATCHES,
                row_speech_tokens=speech_tokens,
                row_speech_patches=row_speech_patches_for(speech_tokens, system.mean_patch) if bypass else None,
                patching=system.patching(size["steps"]),
            ),
            optim=dict(peak_lr=4e-4, warmup_steps=2000),
            eval=dict(
                every=5000,
                sources=[
                    dict(name="valid", kind="utterance", path="data/lst/valid/speech"),
                    dict(name="text", kind="text", path="data/lst/valid/text"),
                ],
            ),
            train=dict(steps=size["steps"], checkpoint_keep_every=10_000),
        )
    )


def model(size: dict, architecture: str) -> dict:
    """The fields of a `ModelConfig` of a size and an architecture."""
    base = architecture == "base"
    return dict(
        architecture=architecture,
        patch_encoder=None if base else stack(*size["patch_encoder"], LOCAL_WINDOW),
        global_transformer=stack(*size["global_transformer"], None),
        patch_decoder=None if base else stack(*size["patch_decoder"], LOCAL_WINDOW),
        queries_per_patch=size["queries"],
        cross_heads=size["patch_encoder"][2],
    )


def stack(layers: int, width: int, heads: int, window: int | None) -> dict:
    """The fields of a `StackConfig`."""
    return dict(layers=layers, width=width, heads=heads, window=window)


def sweep(add, name: str) -> None:
    """`name`: one of `SWEEPS`. Raises: ConfigError."""
    if name not in SWEEPS:
        raise ConfigError(f"configs/lst.py:{name}: no such sweep; use one of {', '.join(SWEEPS)}")
    for overlay in SWEEPS[name]():
        add(overlay)


def runs_of(sizes, names, **overlay) -> list[dict]:
    """An overlay for each system at each size, labelled with its system; `overlay` is common to all."""
    return [{"recipe": f"{size},{system}", "label": system, **overlay} for system in names for size in sizes]


def speech_shares() -> list[dict]:
    """Interleaved documents to text from 1:4 to 1:1 (paper §5), in rows that fill with that mixture."""
    return [
        {
            "recipe": "1b,curriculum",
            "label": f"1:{text:g}",
            "data.sources.text.share": text,
            "data.row_tokens": row_tokens_for(ROW_PATCHES, 4, 1 / (1 + text)),
        }
        for text in (4.0, 3.0, 2.0, 1.0)
    ]


def curricula() -> list[dict]:
    """τ1 and τ2 (paper §3.1) at sixths of the training."""
    sixth = SIZES["1b"]["steps"] // 6
    return [
        {
            "recipe": "1b,curriculum",
            "label": f"tau {first}/6 to {last}/6",
            "data.patching.tau1": first * sixth,
            "data.patching.tau2": last * sixth,
        }
        for first in range(4)
        for last in range(2, 7)
        if first < last
    ]


def learning_rates() -> list[dict]:
    """Peak learning rates around the default of each size's width: half to twice as much, in factors of √2."""
    overlays = []
    for size in ("420m", "810m", "1.4b"):
        _, width, _ = study_size(STUDY[size])["global_transformer"]
        for half_octaves in (-2, -1, 0, 1, 2):
            rate = float(f"{learning_rate_for(width) * 2 ** (half_octaves / 2):.3g}")
            overlay = {"recipe": f"{size},curriculum", "label": size, "budget": "tokens-per-parameter=5"}
            overlays.append(overlay | {"optim.peak_lr": rate})
    return overlays


STRATEGIES = (
    "static",
    "aligned",
    "aligned-merged",
    "mixed",
    "curriculum",
    "curriculum-from-aligned-merged",
    "bpe-aligned",
    "curriculum-from-bpe-aligned",
)
PAPERS_SIZES = tuple(STUDY)[:6]  # 420m to 1.8b
SWEEPS = {
    # LST and Base at 20 text tokens per parameter and half as many interleaved ones (paper §8)
    "compute-optimal": lambda: runs_of(PAPERS_SIZES, ["base", "curriculum"], budget="optimal"),
    # All sizes at the FLOPs of 630m, 810m, 1.1b and 1.4b with 30 tokens per parameter, about 180·N²
    "iso-flop": lambda: product(
        runs_of(PAPERS_SIZES, ["base", "curriculum"]),
        each("budget", "flops=7e19", "flops=1.2e20", "flops=2.2e20", "flops=3.5e20"),
    ),
    "speech-share": speech_shares,
    "static-size": lambda: runs_of(["1b"], ["static3", "static4", "static6", "static9"]),
    "strategies": lambda: runs_of(["1b"], STRATEGIES),  # paper Table 6
    "curriculum": curricula,
    "seeds": lambda: product(runs_of(["1b"], ["curriculum", "static", "base"]), each("seed", 0, 1, 2)),  # Table 9
    "learning-rate": learning_rates,
}
