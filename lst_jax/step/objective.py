"""The loss: next-token likelihood over the joint vocabulary, its logits never held all at once."""

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.core.shapes import Array, Float, Int
from lst_jax.core.vocab import Vocab

LN2 = 0.6931471805599453


def token_nll(
    logits_fn, hidden_BTE: Float[Array, "B T E"], target_BT: Int[Array, "B T"], chunk: int
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Negative log-likelihood of each target in nats, and log of its softmax's denominator; both float32.

    `logits_fn` maps [B, c, E] to float32 [B, c, V]. Chunks are cut from T and recomputed in the backward pass, so
    gradients are exact; at most [B, chunk, V] logits are alive. T need not be a multiple of `chunk`.
    """
    B, T, E = hidden_BTE.shape
    chunks = -(-T // chunk)
    pad = chunks * chunk - T
    hidden_BTE = jnp.pad(hidden_BTE, ((0, 0), (0, pad), (0, 0)))
    target_BT = jnp.pad(target_BT, ((0, 0), (0, pad)))

    @jax.checkpoint
    def chunk_nll(carry, inputs):
        hidden_BcE, target_Bc = inputs
        logits_BcV = logits_fn(hidden_BcE).astype(jnp.float32)
        picked_Bc = jnp.take_along_axis(logits_BcV, target_Bc[..., None], axis=-1)[..., 0]
        log_z_Bc = jax.nn.logsumexp(logits_BcV, axis=-1)
        return carry, (log_z_Bc - picked_Bc, log_z_Bc)

    hidden_NBcE = hidden_BTE.reshape(B, chunks, chunk, E).swapaxes(0, 1)
    target_NBc = target_BT.reshape(B, chunks, chunk).swapaxes(0, 1)
    _, both_NBc = jax.lax.scan(chunk_nll, None, (hidden_NBcE, target_NBc))
    return tuple(x_NBc.swapaxes(0, 1).reshape(B, chunks * chunk)[:, :T] for x_NBc in both_NBc)


def modality_sums(
    nll_BT: Float[Array, "B T"],
    target_BT: Int[Array, "B T"],
    weight_BT: Float[Array, "B T"],
    vocab: Vocab,
    frames_V: Float[np.ndarray, "V"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Sums over the batch, by the modality of the *target*: nats and token counts of text, speech and markers.

    Sums, not means, so that batches, hosts and evaluation sets add up exactly. `frames_speech` are the frames that the
    speech tokens stand for: by `frames_V` (0 for all other tokens) or, where that is None, one each.
    """
    speech_BT = vocab.is_speech(target_BT) * weight_BT
    text_BT = vocab.is_text(target_BT) * weight_BT
    marker_BT = weight_BT - speech_BT - text_BT
    sums = {}
    for name, mask_BT in (("text", text_BT), ("speech", speech_BT), ("marker", marker_BT)):
        sums[f"nll_{name}"] = jnp.sum(nll_BT * mask_BT)
        sums[f"count_{name}"] = jnp.sum(mask_BT)
    sums["frames_speech"] = (
        sums["count_speech"] if frames_V is None else jnp.sum(jnp.asarray(frames_V)[target_BT] * weight_BT)
    )
    return sums


def summarize(sums: dict, unit_rate: float) -> dict[str, float]:
    """Turns summed nats and counts (host floats) into what people read.

    Returns: `loss` (nats per token over everything), `bits_per_text_token`, `bits_per_second_speech`
    (`unit_rate` frames per second, whatever a token is), `bits_per_marker`; a modality without tokens is left out.
    """
    total = sum(float(sums[f"count_{m}"]) for m in ("text", "speech", "marker"))
    out = {"loss": sum(float(sums[f"nll_{m}"]) for m in ("text", "speech", "marker")) / max(total, 1.0)}
    for modality, name, over, per in (
        ("text", "bits_per_text_token", "count_text", 1.0),
        ("speech", "bits_per_second_speech", "frames_speech", unit_rate),
        ("marker", "bits_per_marker", "count_marker", 1.0),
    ):
        if sums[over] > 0:
            out[name] = float(sums[f"nll_{modality}"]) / LN2 / float(sums[over]) * per
    return out
