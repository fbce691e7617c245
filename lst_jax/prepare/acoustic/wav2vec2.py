"""HuBERT and wav2vec2 encoders (Baevski et al. 2020, Hsu et al. 2021) as pure functions of a parameter tree.

    audio → strided convolutions → projection → + convolution for positions → transformer → (CTC head)

They compute what Hugging Face's models compute on one recording without padding; here padding never changes a result,
whatever the model: convolutions look at no frame past the end, and means over time leave padding out. (Hugging Face
runs models with `feat_extract_norm` "group" without a mask, so there a batch's padding does change results.)
Letters: B recordings, S samples, C channels, T frames, D width, H heads, K head width, V characters.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

SAMPLE_RATE = 16000  # Hz; every published HuBERT and wav2vec2
CONV_NORM_EPS = 1e-5  # torch's default, which the feature extractor's norms keep whatever layer_norm_eps says
BATCH_NORM_EPS = 1e-5  # likewise
ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": jax.nn.gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
Params = Mapping[str, Any]  # the tree that `weights.read_parameters` makes


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The fields of a Hugging Face `config.json` that decide what is computed, with its names and its defaults."""

    model_type: str
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int = 32
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"  # "group": one norm over time after the first convolution; "layer": after each
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    conv_pos_batch_norm: bool = False
    do_stable_layer_norm: bool = False  # norms before attention and feed-forward, as the large models have it

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: 320 is 50 Hz, 640 is 25 Hz."""
        return math.prod(self.conv_stride)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return SAMPLE_RATE / self.hop

    @property
    def window(self) -> int:
        """Samples that one frame sees, the fewest that make a frame; frame t sees [t·hop, t·hop + window)."""
        samples = 1
        for kernel, stride in reversed(list(zip(self.conv_kernel, self.conv_stride, strict=True))):
            samples = (samples - 1) * stride + kernel
        return samples

    def frames(self, samples):
        """Frames of a recording of `samples` (int or array); zero or less where it is shorter than `window`."""
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


@functools.partial(jax.jit, static_argnames=("arch", "layer"))
def hidden_state(
    params: Params, audio_BS: Float[Array, "B S"], samples_B: Int[Array, "B"], *, arch: Architecture, layer: int
) -> Float[Array, "B T D"]:
    """Hidden state `layer` of padded recordings, transformers 5's `hidden_states[layer]`; beyond the end undefined.

    0 is what enters the transformer, the number of layers is what leaves its last layer. The final norm of models with
    `do_stable_layer_norm` is in none of them, as in fairseq; transformers 4 had it in the last one.
    """
    with jax.default_matmul_precision("highest"):  # units must not hang on the accelerator's notion of float32
        frames_B = arch.frames(samples_B)
        x_BTD = _features(params, audio_BS, samples_B, arch)
        x_BTD = x_BTD * _mask(frames_B, x_BTD.shape[1])
        x_BTD = x_BTD + _positions(params["positions"], x_BTD, frames_B, arch)
        if not arch.do_stable_layer_norm:
            x_BTD = _layer_norm(params["norm"], x_BTD, arch.layer_norm_eps)
        layers = jax.tree.map(lambda stacked: stacked[:layer], params["layers"])
        block = _block_pre_norm if arch.do_stable_layer_norm else _block_post_norm
        x_BTD, _ = lax.scan(lambda x, one: (block(one, x, frames_B, arch), None), x_BTD, layers)
        return x_BTD


@functools.partial(jax.jit, static_argnames=("arch",))
def log_probs(
    params: Params, audio_BS: Float[Array, "B S"], samples_B: Int[Array, "B"], *, arch: Architecture
) -> Float[Array, "B T V"]:
    """Log-probabilities of the CTC head over characters; beyond the end they are undefined."""
    x_BTD = hidden_state(params, audio_BS, samples_B, arch=arch, layer=arch.num_hidden_layers)
    with jax.default_matmul_precision("highest"):
        if arch.do_stable_layer_norm:
            x_BTD = _layer_norm(params["norm"], x_BTD, arch.layer_norm_eps)
        return jax.nn.log_softmax(_linear(params["head"], x_BTD))


def _features(params: Params, audio_BS: Array, samples_B: Array, arch: Architecture) -> Array:
    """Frames [B, T, D] of audio: convolutions, then the projection to the transformer's width."""
    x_BTC, frames_B = audio_BS[..., None], samples_B
    for i, one in enumerate(params["convolutions"]):
        x_BTC = _conv(one, x_BTC, arch.conv_stride[i])
        frames_B = (frames_B - arch.conv_kernel[i]) // arch.conv_stride[i] + 1
        if arch.feat_extract_norm == "layer":
            x_BTC = _layer_norm(one["norm"], x_BTC, CONV_NORM_EPS)
        elif i == 0:
            x_BTC = _norm_over_time(one["norm"], x_BTC, frames_B)
        x_BTC = ACTIVATIONS[arch.feat_extract_activation](x_BTC)
    if arch.feat_proj_layer_norm:
        x_BTC = _layer_norm(params["projection_norm"], x_BTC, arch.layer_norm_eps)
    return _linear(params["projection"], x_BTC)


def _positions(params: Params, x_BTD: Array, frames_B: Array, arch: Architecture) -> Array:
    """The convolution that tells frames where they are: same length, grouped; zeros lie around the recording."""
    if arch.conv_pos_batch_norm:
        norm = params["batch_norm"]
        x_BTD = (x_BTD - norm["mean"]) * lax.rsqrt(norm["variance"] + BATCH_NORM_EPS) * norm["scale"] + norm["bias"]
        x_BTD = x_BTD * _mask(frames_B, x_BTD.shape[1])
    left = arch.num_conv_pos_embeddings // 2
    right = arch.num_conv_pos_embeddings - 1 - left
    x_BTD = _conv(params, x_BTD, 1, (left, right), arch.num_conv_pos_embedding_groups)
    return ACTIVATIONS[arch.feat_extract_activation](x_BTD)


def _block_post_norm(params: Params, x_BTD: Array, frames_B: Array, arch: Architecture) -> Array:
    x_BTD = x_BTD + _attention(params, x_BTD, frames_B, arch)
    x_BTD = _layer_norm(params["attention_norm"], x_BTD, arch.layer_norm_eps)
    x_BTD = x_BTD + _feed_forward(params, x_BTD, arch)
    return _layer_norm(params["feed_forward_norm"], x_BTD, arch.layer_norm_eps)


def _block_pre_norm(params: Params, x_BTD: Array, frames_B: Array, arch: Architecture) -> Array:
    normed_BTD = _layer_norm(params["attention_norm"], x_BTD, arch.layer_norm_eps)
    x_BTD = x_BTD + _attention(params, normed_BTD, frames_B, arch)
    normed_BTD = _layer_norm(params["feed_forward_norm"], x_BTD, arch.layer_norm_eps)
    return x_BTD + _feed_forward(params, normed_BTD, arch)


def _attention(params: Params, x_BTD: Array, frames_B: Array, arch: Architecture) -> Array:
    """Every frame to every frame of its recording."""
    heads = (*x_BTD.shape[:2], arch.num_attention_heads, -1)
    q_BTHK, k_BTHK, v_BTHK = (_linear(params[name], x_BTD).reshape(heads) for name in ("query", "key", "value"))
    logits_BHTT = jnp.einsum("bqhk,bthk->bhqt", q_BTHK, k_BTHK) * q_BTHK.shape[-1] ** -0.5
    keep_BT = jnp.arange(x_BTD.shape[1]) < frames_B[:, None]
    weights_BHTT = jax.nn.softmax(jnp.where(keep_BT[:, None, None], logits_BHTT, -1e30))
    return _linear(params["out"], jnp.einsum("bhqt,bthk->bqhk", weights_BHTT, v_BTHK).reshape(x_BTD.shape))


def _feed_forward(params: Params, x_BTD: Array, arch: Architecture) -> Array:
    return _linear(params["down"], ACTIVATIONS[arch.hidden_act](_linear(params["up"], x_BTD)))


def _conv(params: Params, x_BTC: Array, stride: int, padding: tuple[int, int] = (0, 0), groups: int = 1) -> Array:
    out = lax.conv_general_dilated(
        x_BTC,
        params["kernel"],
        (stride,),
        [padding],
        feature_group_count=groups,
        dimension_numbers=("NWC", "WIO", "NWC"),
    )
    return out + params["bias"] if "bias" in params else out


def _linear(params: Params, x: Array) -> Array:
    return x @ params["kernel"] + params["bias"]


def _layer_norm(params: Params, x: Array, eps: float) -> Array:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + eps) * params["scale"] + params["bias"]


def _norm_over_time(params: Params, x_BTC: Array, frames_B: Array) -> Array:
    """Group norm with one channel a group: each channel standardised over the frames of its recording."""
    mask_BT1, count_B11 = _mask(frames_B, x_BTC.shape[1]), jnp.maximum(frames_B, 1)[:, None, None]
    mean_B1C = (x_BTC * mask_BT1).sum(1, keepdims=True) / count_B11
    variance_B1C = (jnp.square(x_BTC - mean_B1C) * mask_BT1).sum(1, keepdims=True) / count_B11
    return (x_BTC - mean_B1C) * lax.rsqrt(variance_B1C + CONV_NORM_EPS) * params["scale"] + params["bias"]


def _mask(frames_B: Array, frames: int) -> Array:
    """Ones [B, T, 1] inside the recording, zeros after it."""
    return (jnp.arange(frames) < frames_B[:, None])[..., None].astype(jnp.float32)
