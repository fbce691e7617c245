from ml_collections import ConfigDict
import json

BASE = json.loads('{"name": "test", "seed": 0, "vocab": {"text_size": 400, "unit_slots": 502}, "model": {"architecture": "lst", "patch_encoder": {"layers": 1, "width": 64, "heads": 2, "window": 16}, "global_transformer": {"layers": 1, "width": 64, "heads": 2, "window": null}, "patch_decoder": {"layers": 1, "width": 64, "heads": 2, "window": 16}, "queries_per_patch": 1, "cross_heads": 2, "encoder_cross_window": 1,  "encoder_cross_all_layers": false, "decoder_cross_all_layers": true, "rope_theta": 500000.0, "norm_eps": 1e-05, "ffn_multiple": 256, "compute_dtype": "float32", "attention_block": 128, "logits_chunk": 128, "scan_layers": false, "remat": "none"}, "data": {"tokenizer": "/tmp/lst_jax_tes", "unit_tokenizer": null, "sources": [{"name": "speech", "kind": "utterance", "path": "speech", "share": 0.3333333333333333}, {"name": "text", "kind": "text", "path": "text", "share": 0.6666666666666666}], "mixture_measure": "tokens", "rows": 4, "row_tokens": 160, "row_patches": 128,  "unit_rate": 25.0, "patching": {"strategy": "curriculum", "static_size": 4, "aligned_to": "word", "silence": "separate", "boundary_noise_ms": 0.0, "tau1": 4, "tau2": 8, "final_probability": 0.0}, "interleave": {"text_words_min": 5, "peech_words_max": 15, "block_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_woblock_words_min": 2, "last_block_words_min": 3}, "documents": "interleaved", "prefetch": 0}, "optim": {"peak_lr": 0.001, "warmup_steps": 1, "final_": "cosine", "wsd": {"decay_steps": 0, "decay_shape": "1-sqrt"}}, "eval": {"evtems": 0}, "train": {"steps": 300, "init_from": null, "branch_from": null, "lota": null, "tensor": 1}}')


def get_config(arg):
    config = ConfigDict(BASE)
    config.name = "tiny"
    config.train.steps = 100
    config.optim.peak_row_tokens = 160
    config.data.patching.strategy = "static"
    config.model.rope_theta = 5e5
    config.model.global_transformer.width = 64
    return config