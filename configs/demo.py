"""A small LST with curriculum patching on the bundled corpus: `make demo`.

    lst train runs/demo --config configs/demo.py

It proves the machine, not the method: nineteen minutes of telephone prompts, a model of a few million parameters,
minutes on two CPU cores. The argument is a system (`--config configs/demo.py:mixed3`); `lst_jax.recipes.systems` lists them.
For `bpe[SIZE]`, `make demo-bpe PIECES=SIZE` trains the pieces first. So little speech is learned by heart: 10000 pieces
are of 3.9 frames in training and 1.5 held out.
"""

from ml_collections import ConfigDict

from lst_jax.recipes import systems
from lst_jax.recipes.row_sizes import row_tokens_for

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
            seed=0,
            vocab=dict(text_size=1024, unit_slots=pieces or UNITS),
            model=dict(
                architecture=system.kind,
                patch_encoder=None if base else local,
                global_transformer=dict(layers=4, width=192, heads=6, window=None),
                patch_decoder=None if base else local | dict(layers=2),
                queries_per_patch=2,
                cross_heads=4,
                encoder_cross_window=1,
                decoder_cross_window=1,
                encoder_cross_all_layers=False,
                decoder_cross_all_layers=True,
                rope_theta=500_000.0,
                norm_eps=1e-5,
                ffn_multiple=64,
                # CPUs have no bf16 matrix units: a step in bfloat16 took 1.8 times as long as in float32
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
                    dict(name="speech_text", kind="utterance", path="data/demo/train/speech", share=1.0),
                    dict(name="text", kind="text", path="data/demo/train/text", share=2.0),
                ],
                mixture_measure="tokens",
                rows=4,
                unit_rate=25.0,
                row_tokens=640 if base else row_tokens,
                row_patches=640 if base else ROW_PATCHES,
                row_speech_tokens=row_tokens // 2 if bypass else None,
                patching=system.patching(STEPS),
                interleave=dict(
                    text_words_min=5,
                    text_words_max=30,
                    text_fraction_max=0.6,
                    speech_ratio=0.5,
                    first_speech_words_min=2,
                    first_speech_words_max=15,
                    block_words_min=2,
                    last_block_words_min=3,
                ),
                documents="interleaved",
                prefetch=4,
            ),
            optim=dict(
                peak_lr=1e-3,
                warmup_steps=30,
                final_lr_ratio=0.01,
                beta1=0.9,
                beta2=0.95,
                eps=1e-8,
                weight_decay=0.1,
                clip_norm=1.0,
                z_loss=0.0,
                spike_factor=0.0,
            ),
            eval=dict(
                every=150,
                batches=8,
                completion_items=200,
                sources=[
                    dict(name="valid", kind="utterance", path="data/demo/valid/speech", share=1.0),
                    dict(name="test", kind="utterance", path="data/demo/test/speech", share=1.0),
                    dict(name="text", kind="text", path="data/demo/valid/text", share=1.0),
                ],
            ),
            train=dict(
                steps=STEPS,
                init_from=None,
                log_every=1,
                checkpoint_every=50,
                checkpoint_minutes=None,
                checkpoint_keep=2,
                checkpoint_keep_every=None,
                bad_step="halt",
                accumulate=1,
                offload_moments=False,
            ),
            mesh=dict(replica=None, data=None, tensor=1),
        )
    )
