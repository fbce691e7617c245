"""Hugging Face directories of tiny models with weights drawn by numpy, the same everywhere."""

import json
import pathlib

import numpy as np
import safetensors.numpy

from lst_jax.prepare.acoustic import weights

BASE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
    "pad_token_id": 0,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
TWENTY_FIVE_HZ = {
    "conv_dim": [16] * 8,
    "conv_stride": [5] + [2] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2],
    "conv_pos_batch_norm": True,
}
VARIANTS = {
    "hubert_base": {"model_type": "hubert"},
    "hubert_large": {"model_type": "hubert"} | LARGE,
    "hubert_25hz": {"model_type": "hubert", "feat_proj_layer_norm": False} | TWENTY_FIVE_HZ,
    "wav2vec2_base": {"model_type": "wav2vec2"},
    "wav2vec2_large": {"model_type": "wav2vec2", "num_conv_pos_embeddings": 15} | LARGE,
}
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]


def write(directory: pathlib.Path, variant: str, normalise: bool = False, **changes) -> pathlib.Path:
    """Makes the directory of a model with a CTC head, named as its architecture; `changes` go into config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    config = BASE | VARIANTS[variant] | changes
    head = {"hubert": "HubertForCTC", "wav2vec2": "Wav2Vec2ForCTC"}[config["model_type"]]
    (directory / "config.json").write_text(json.dumps(config | {"architectures": [head]}))
    (directory / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalise}))
    (directory / "vocab.json").write_text(json.dumps({text: index for index, text in enumerate(LETTERS)}))
    safetensors.numpy.save_file(tensors(directory), directory / "model.safetensors", {"format": "pt"})
    return directory


def tensors(directory: pathlib.Path) -> dict[str, np.ndarray]:
    """Weights for the directory's config.json under Hugging Face's names."""
    arch = weights.read_architecture(directory)
    pair = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    names = (None, "encoder.pos_conv_embed.conv.weight") if arch.conv_pos_batch_norm else (f"{pair}0", f"{pair}1")
    shapes = weights.shapes(arch, *names)
    shapes |= {"lm_head.weight": (arch.vocab_size, arch.hidden_size), "lm_head.bias": (arch.vocab_size,)}
    rng, drawn = np.random.default_rng(0), {}
    for name, shape in sorted(shapes.items()):
        values = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:], initial=1))
        if len(shape) == 1:
            values = 0.2 * values + ("norm.weight" in name)
        if name.endswith(("running_var", "original0")):
            values = np.abs(values) + 0.5
        prefix = "" if name.startswith("lm_head") else f"{arch.model_type}."
        drawn[prefix + name] = values.astype(np.float32)
    return drawn


def recordings(seconds=(0.5, 0.23, 0.31)) -> list[np.ndarray]:
    """Noise float32 whose loudness changes, at 16 kHz."""
    rng = np.random.default_rng(1)
    return [
        (rng.normal(size=n) * np.abs(np.sin(np.arange(n) / 900))).astype(np.float32) * 0.3 + 0.01
        for n in (int(16000 * s) for s in seconds)
    ]
