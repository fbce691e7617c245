"""The paper's models at the paper's training (§6, §8): `configs/lst.py:SIZE[,SYSTEM]`.

    lst train runs/1b --config configs/lst.py:1b,curriculum

SIZE is 1b (A.2, Table 7), 7b (BLT's own sizes), or one of the scaling study and above: 420m, 630m, 810m, 1.1b, 1.4b,
1.8b, 3b, 5b. Of these the paper gives the parameters only; here they keep the proportions of 1b: depth about
width / 82, nine decoder layers to 25 global ones, local width half the global one, heads of 128 and 64, so that all
parameters of an LST are within 2% of the name. SYSTEM is one of `lst_jax.systems`; width, depth and unit positions a
step are the same for all. Data is expected in data/lst, prepared as README says.
"""

from ml_collections import ConfigDict

from lst_jax import systems
from lst_jax.config import row_speech_tokens_for, row_tokens_for
from lst_jax.errors import ConfigError

ROW_UNITS = 4096
UNITS = 501
UNIT_SLOTS = 502  # of the released vocabulary, 32,508
TOKENS_A_PARAMETER = 30  # compute-optimal (§8): 20 of text, and half as many of interleaved speech and text
LOCAL_WINDOW = 512
# stacks as (layers, width, heads), queries a patch, rows (0.5M unit positions a step; 7b: 4M), steps
SIZES = {
    "1b": dict(encoder=(1, 1024, 16), main=(25, 2048, 16), decoder=(9, 1024, 16), queries=2, rows=128, steps=200_000),
    "7b": dict(encoder=(1, 1280, 20), main=(32, 4096, 32), decoder=(6, 1280, 20), queries=4, rows=1024, steps=25_000),
}
# parameters, global width, global layers, decoder layers
STUDY = {"420m": (420e6, 1280, 16, 6), "630m": (630e6, 1536, 18, 6), "810m": (810e6, 1664, 19, 7),
         "1.1b": (1.1e9, 1792, 23, 8), "1.4b": (1.4e9, 2048, 23, 8), "1.8b": (1.8e9, 2176, 26, 9),
         "3b": (3e9, 2560, 32, 12), "5b": (5e9, 3072, 38, 14)}


def study_size(parameters: float, width: int, layers: int, decoder_layers: int) -> dict:
    """The entry of `SIZES` of a model in the proportions of 1b, trained compute-optimally."""
    rows, local = 128, width // 2
    steps = round(TOKENS_A_PARAMETER * parameters / (rows * row_tokens_for(ROW_UNITS, 4)))
    return dict(encoder=(1, local, local // 64), main=(layers, width, width // 128),
                decoder=(decoder_layers, local, local // 64), queries=2, rows=rows, steps=steps)


SIZES |= {name: study_size(*numbers) for name, numbers in STUDY.items()}


def get_config(arg: str) -> ConfigDict:
    """`arg`: SIZE[,SYSTEM]. Raises: ConfigError."""
    name, _, rest = arg.partition(",")
    if name not in SIZES:
        raise ConfigError(f"configs/lst.py:{arg}: no such size; use one of {', '.join(SIZES)}, then a system: "
                          "1b,curriculum")
    size, system = SIZES[name], systems.parse(rest, UNITS, f"configs/lst.py:{arg}")
    base, pieces = system.kind == "base", system.pieces
    row_tokens = row_tokens_for(ROW_UNITS, system.mean_patch)
    return ConfigDict(dict(
        name=f"lst-{name}-{system.name}",
        seed=0,
        vocab=dict(text_size=32_000, unit_slots=max(UNIT_SLOTS, pieces or 0)),
        model=dict(
            system=system.kind,
            patch_encoder=None if base else stack(*size["encoder"], LOCAL_WINDOW),
            global_transformer=stack(*size["main"], None),
            patch_decoder=None if base else stack(*size["decoder"], LOCAL_WINDOW),
            queries_per_patch=size["queries"], cross_heads=size["encoder"][2], encoder_cross_window=1,
            decoder_cross_window=1, encoder_cross_all_layers=False, decoder_cross_all_layers=True,
            rope_theta=500_000.0, norm_eps=1e-5, ffn_multiple=256,
            compute_dtype="bfloat16", attention_block=512, logits_chunk=1024,
            scan_layers=True, remat="attention",
        ),
        data=dict(
            tokenizer="data/lst/text.model",
            unit_tokenizer=f"data/lst/units-{pieces}.model" if pieces else None,
            sources=[
                dict(name="speech_text", kind="utterance", path="data/lst/train/speech", share=1.0),
                dict(name="text", kind="text", path="data/lst/train/text", share=2.0),
            ],
            mixture_measure="tokens", rows=size["rows"], unit_rate=25.0, row_tokens=row_tokens, row_units=ROW_UNITS,
            row_speech_tokens=row_speech_tokens_for(row_tokens) if system.kind == "lst_bypass" else None,
            patching=system.patching(size["steps"]),
            interleave=dict(text_words_min=5, text_words_max=30, text_fraction_max=0.6, speech_ratio=0.5,
                            first_speech_words_min=2, first_speech_words_max=15, block_words_min=2,
                            last_block_words_min=3),
            prefetch=8,
        ),
        optim=dict(peak_lr=4e-4, warmup_steps=2000, final_lr_ratio=0.01, beta1=0.9, beta2=0.95, eps=1e-8,
                   weight_decay=0.1, clip_norm=1.0, z_loss=0.0, spike_factor=0.0),
        eval=dict(
            every=5000, batches=16, completion_items=1000,
            sources=[
                dict(name="valid", kind="utterance", path="data/lst/valid/speech", share=1.0),
                dict(name="text", kind="text", path="data/lst/valid/text", share=1.0),
            ],
        ),
        train=dict(steps=size["steps"], log_every=10, checkpoint_every=1000, checkpoint_minutes=30.0, checkpoint_keep=3,
                   checkpoint_keep_every=10_000, bad_step="skip", accumulate=1, offload_moments=False),
        mesh=dict(replica=None, data=None, tensor=1),
    ))


def stack(layers: int, width: int, heads: int, window: int | None) -> dict:
    """The fields of a `StackConfig`."""
    return dict(layers=layers, width=width, heads=heads, window=window)
