"""A small LST with curriculum patching on the bundled corpus: `make demo`.

    lst train runs/demo --config configs/demo.py

It proves the machine, not the method: nineteen minutes of telephone prompts, a model of a few million parameters,
minutes on two CPU cores. The systems that the paper compares are arguments (`--config configs/demo.py:mixed3`):

    base                                     no patches, no local modules: every token is a unit position
    bpe[SIZE]                                base, its speech in SIZE (1000, 500 or more) SentencePiece pieces:
                                             `make demo-bpe PIECES=SIZE` trains them. So little speech is learned by
                                             heart: 10000 pieces are of 3.9 frames in training and 1.5 held out
    static[P]                                patches of P units (4)
    ALIGNED                                  aligned, aligned-merged, bpe-aligned or bpe-aligned-merged: a word or a
                                             text piece a patch, silence in patches of its own or merged into them
    mixed[P][-ALIGNED]                       each document static or ALIGNED (aligned), at even odds
    curriculum[P][-from-ALIGNED][-to-mixed]  from ALIGNED to static patches, or to half of each; the default
    bypass[-SYSTEM]                          any of these but base and bpe, with text going past the local modules
"""

import re

from ml_collections import ConfigDict

from lst_jax.config import row_tokens_for
from lst_jax.errors import ConfigError

STEPS = 450
ROW_UNITS = 512
MERGED_PATCH = 9.4  # units, paper Table 6
ALIGNED = "(?:bpe-)?aligned(?:-merged)?"
UNITS = 500
PIECES = 1000  # paper §7
SYSTEM = re.compile(rf"base|bpe(?P<pieces>[1-9]\d*)?|static(?P<p>[1-9]\d*)?|(?P<all>{ALIGNED})|"
                    rf"mixed(?P<q>[1-9]\d*)?(?:-(?P<some>{ALIGNED}))?|"
                    rf"curriculum(?P<r>[1-9]\d*)?(?:-from-(?P<first>{ALIGNED}))?(?P<to_mixed>-to-mixed)?")


def get_config(arg: str) -> ConfigDict:
    """`arg`: one of the systems above; "" is "curriculum". Raises: ConfigError."""
    system = arg or "curriculum"
    bypass = re.fullmatch(r"bypass(?:-(?!base|bpe\d*$)(.+))?", system)
    patching, pieces = patching_of(system, system if bypass is None else bypass[1] or "curriculum")
    base = patching["strategy"] == "none"
    local = dict(layers=1, width=128, heads=4, window=128)
    merged = patching["strategy"] == "aligned" and patching["silence"] == "merged"
    row_tokens = row_tokens_for(ROW_UNITS, MERGED_PATCH if merged else patching["static_size"])
    return ConfigDict(dict(
        name=f"demo-{system}",
        seed=0,
        vocab=dict(text_size=1024, unit_slots=pieces or UNITS),
        model=dict(
            system="base" if base else "lst_bypass" if bypass else "lst",
            patch_encoder=None if base else local,
            global_transformer=dict(layers=4, width=192, heads=6, window=None),
            patch_decoder=None if base else local | dict(layers=2),
            queries_per_patch=2, cross_heads=4, encoder_cross_window=1, decoder_cross_window=1,
            encoder_cross_all_layers=False, decoder_cross_all_layers=True,
            rope_theta=500_000.0, norm_eps=1e-5, ffn_multiple=64,
            # CPUs have no bf16 matrix units: a step in bfloat16 took 1.8 times as long as in float32
            compute_dtype="float32", attention_block=64, logits_chunk=128,
            scan_layers=False, remat="none",
        ),
        data=dict(
            tokenizer="data/demo/text.model",
            unit_tokenizer=f"data/demo/units-{pieces}.model" if pieces else None,
            sources=[
                dict(name="speech_text", kind="utterance", path="data/demo/train/speech", share=1.0),
                dict(name="text", kind="text", path="data/demo/train/text", share=2.0),
            ],
            mixture_measure="tokens", rows=4, unit_rate=25.0,
            row_tokens=640 if base else row_tokens, row_units=640 if base else ROW_UNITS,
            row_speech_tokens=row_tokens // 2 if bypass else None, patching=patching,
            interleave=dict(text_words_min=5, text_words_max=30, text_fraction_max=0.6, speech_ratio=0.5,
                            first_speech_words_min=2, first_speech_words_max=15, block_words_min=2,
                            last_block_words_min=3),
            prefetch=4,
        ),
        optim=dict(peak_lr=1e-3, warmup_steps=30, final_lr_ratio=0.01, beta1=0.9, beta2=0.95, eps=1e-8,
                   weight_decay=0.1, clip_norm=1.0, z_loss=0.0, spike_factor=0.0),
        eval=dict(
            every=150, batches=8, completion_items=200,
            sources=[
                dict(name="valid", kind="utterance", path="data/demo/valid/speech", share=1.0),
                dict(name="test", kind="utterance", path="data/demo/test/speech", share=1.0),
                dict(name="text", kind="text", path="data/demo/valid/text", share=1.0),
            ],
        ),
        train=dict(steps=STEPS, log_every=1, checkpoint_every=50, checkpoint_keep=2, bad_step="halt"),
    ))


def patching_of(arg: str, system: str) -> tuple[dict, int | None]:
    """The patching of a system by its name, and its pieces of units if it has any; errors quote the whole `arg`."""
    found = SYSTEM.fullmatch(system)
    if found is None:
        raise ConfigError(f"configs/demo.py:{arg}: no such system; use base, bpe[SIZE], static[P], aligned, "
                          "aligned-merged, bpe-aligned, bpe-aligned-merged, mixed[P][-ALIGNED], "
                          "curriculum[P][-from-ALIGNED][-to-mixed] or bypass[-SYSTEM]")
    aligned = found["all"] or found["some"] or found["first"] or "aligned"
    name = re.match("[a-z]+", system)[0]
    pieces = int(found["pieces"] or PIECES) if name == "bpe" and not found["all"] else None
    if pieces is not None and pieces < UNITS:
        raise ConfigError(f"configs/demo.py:{arg}: each of the {UNITS} units is a piece; use bpe{UNITS} at least")
    strategy = "aligned" if found["all"] else "none" if name in ("base", "bpe") else name
    return dict(strategy=strategy, static_size=int(found["p"] or found["q"] or found["r"] or 4),
                aligned_to="bpe" if aligned.startswith("bpe") else "word",
                silence="merged" if aligned.endswith("merged") else "separate", boundary_noise_ms=0.0,
                tau1=STEPS // 3, tau2=2 * STEPS // 3, final_probability=0.5 if found["to_mixed"] else 0.0), pieces
