"""A small LST with curriculum patching on the bundled corpus: `make demo`.

    lst train runs/demo --config configs/demo.py

The demo proves that the machine works, not that the method does. It trains a model of a few million parameters on
nineteen minutes of telephone prompts, within minutes on two CPU cores. The argument is a system, as in
`--config configs/demo.py:mixed3`; `lst_jax.recipes.systems` lists them.

For `bpe[SIZE]`, `make demo-bpe PIECES=SIZE` trains the unit pieces first. Pieces fit a corpus this small by heart:
of 10000 pieces, one covers 3.9 frames on average in the training data and 1.5 in held-out data.
"""

from ml_collections import ConfigDict

from lst_jax.recipes import systems
from lst_jax.recipes.row_sizes import row_speech_patches_for, row_tokens_for

STEPS = 450
ROW_PATCHES = 512
UNITS = 500


def get_config(arg: str) -> ConfigDict:
    """`arg`: a system; "" is "curriculum". Raises: ConfigError."""
    system = systems.parse(arg, UNITS, f"configs/demo.py:{arg}")
    base, bypass, pieces = system.kind == "base", system.kind == "lst_bypass", system.pieces
    local = dict(layers=1, width=128, heads=4, window=128)
    row_tokens = row_tokens_for(ROW_PATCHES, system.mean_patch)
    return ConfigDict(
        dict(
            name=f"demo-{system.name}",
            vocab=dict(text_size=1024, unit_slots=pieces or UNITS),
            model=dict(
                architecture=system.kind,
                patch_encoder=None if base else local,
                global_transformer=dict(layers=4, width=192, heads=6),
                patch_decoder=None if base else local | dict(layers=2),
                queries_per_patch=2,
                cross_heads=4,
                ffn_multiple=64,
                # CPUs have no bfloat16 matrix units: a step in bfloat16 took 1.8 times as long as one in float32
                compute_dtype="float32",
                attention_block=64,
                logits_chunk=128,
                scan_layers=False,
                remat="none",
            ),
            data=dict(
                tokenizer="data/demo/text.model",
                unit_tokenizer=f"data/demo/units-{pieces}.model" if pieces else None,
                sources=[
                    dict(name="speech_text", kind="utterance", path="data/demo/train/speech"),
                    dict(name="text", kind="text", path="data/demo/train/text", share=2.0),
                ],
                rows=4,
                row_tokens=640 if base else row_tokens,
                row_patches=640 if base else ROW_PATCHES,
                row_speech_tokens=row_tokens // 2 if bypass else None,
                row_speech_patches=row_speech_patches_for(row_tokens // 2, system.mean_patch) if bypass else None,
                patching=system.patching(STEPS),
                prefetch=4,
            ),
            optim=dict(peak_lr=1e-3, warmup_steps=30),
            eval=dict(
                every=150,
                batches=8,
                completion_items=200,
                sources=[
                    dict(name="valid", kind="utterance", path="data/demo/valid/speech"),
                    dict(name="test", kind="utterance", path="data/demo/test/speech"),
                    dict(name="text", kind="text", path="data/demo/valid/text"),
                ],
            ),
            train=dict(
                steps=STEPS,
                log_every=1,
                checkpoint_every=50,
                checkpoint_minutes=None,
                checkpoint_keep=2,
                bad_step="halt",
            ),
        )
    )
