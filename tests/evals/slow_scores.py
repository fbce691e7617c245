"""Likelihoods of one sequence at a time, dense, in float64, by loops of its own: the scorer's oracle.

It shares no code with `lst_jax`: what a sequence is, which token is in which patch, and what the model of paper §4
computes are written down here once more, for static patches and windows of one patch in the cross-attentions.
"""

import numpy as np


def sequence(vocab, tokenizer, prompt, response, size, joined):
    """(token, patch, known) of BOS .. the last token of the response, and where the response begins.

    `prompt` and `response`: lists of ("text", str) or ("speech", units). `known`: the patch is complete at the token.
    """
    out, patch, start = [(1, 0, True)], 0, None
    modality, filled = None, 0
    for number, (kind, content) in enumerate(prompt + response):
        if kind != modality:
            patch += 1
            out.append((vocab.text_size + (4 if kind == "text" else 5), patch, True))
            filled = 0
        elif not joined:
            filled = 0
        if number == len(prompt):
            start = len(out)
        for one in tokenizer.encode(content) if kind == "text" else content:
            if kind == "text":
                patch += 1
                out.append((one, patch, True))
                continue
            if filled == 0:
                patch += 1
            filled = (filled + 1) % size
            out.append((int(one) + vocab.text_size + 6, patch, filled == 0))
        modality = kind
    return out, start


def nats(params, config, entries):
    """Nats of each token of `entries` but the first."""
    tokens, patch, known = (np.array(x) for x in zip(*entries, strict=True))
    local, wide = config.patch_encoder, config.global_transformer
    n, count = len(tokens), int(patch[-1]) + 1
    h = np.asarray(params["patch_encoder"]["tok_embeddings"]["embedding"], np.float64)[tokens]
    for i in range(local.layers):
        h = block(h, params["patch_encoder"][f"layers_{i}"], local, config)
    q = config.queries_per_patch
    x = np.stack([h[patch == p].max(0) for p in range(count)]) @ weight(
        params["patch_encoder"], "patch_embedding_projection"
    )
    x = x.reshape(count * q, -1)
    own = np.repeat(np.arange(count), q)[:, None] == patch[None]
    x = 2 * x + cross(x, h, params["patch_encoder"]["cross_attn_layers_0"], own, config)
    x = x.reshape(count, -1) @ weight(params["global_transformer"], "token_embedding_projection")
    for i in range(wide.layers):
        x = block(x, params["global_transformer"][f"layers_{i}"], wide, config)
    y = (x @ weight(params["patch_decoder"], "patch_embedding_projection")).reshape(count * q, -1)
    visible = np.where(known, patch, patch - 1)
    seen = visible[:, None] == np.repeat(np.arange(count), q)[None]
    for i in range(config.patch_decoder.layers):
        h = 2 * h + cross(h, y, params["patch_decoder"][f"cross_attn_layers_{i}"], seen, config)
        h = block(h, params["patch_decoder"][f"layers_{i}"], config.patch_decoder, config)
    logits = norm(h, params["patch_decoder"]["norm"], config) @ weight(params["patch_decoder"], "output")
    return np.array(
        [
            np.log(np.exp(logits[t] - logits[t].max()).sum()) + logits[t].max() - logits[t, tokens[t + 1]]
            for t in range(n - 1)
        ]
    )


def weight(params, name):
    return np.asarray(params[name]["kernel"], np.float64)


def norm(x, params, config):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.norm_eps) * np.asarray(params["scale"], np.float64)


def softmax_mix(scores, mask, values):
    """Rows of `scores` over what `mask` allows; zeros where that is nothing."""
    scores = np.where(mask, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.where(mask, np.exp(scores - np.where(np.isfinite(top), top, 0)), 0)
    return weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300) @ values


def attend(q, k, v, heads, mask):
    parts = [
        softmax_mix(a @ b.T / np.sqrt(a.shape[1]), mask, c)
        for a, b, c in zip(*(np.split(x, heads, axis=1) for x in (q, k, v)), strict=True)
    ]
    return np.concatenate(parts, 1)


def rotated(x, heads, theta):
    out = x.copy()
    width = x.shape[1] // heads
    for t in range(len(x)):
        for i in range(0, x.shape[1], 2):
            angle = t * theta ** (-(i % width) / width)
            out[t, i] = x[t, i] * np.cos(angle) - x[t, i + 1] * np.sin(angle)
            out[t, i + 1] = x[t, i] * np.sin(angle) + x[t, i + 1] * np.cos(angle)
    return out


def block(x, params, stack, config):
    own = params["attention"]
    z = norm(x, params["attention_norm"], config)
    q, k = (rotated(z @ weight(own, name), stack.heads, config.rope_theta) for name in ("wq", "wk"))
    back = np.arange(len(x))[:, None] - np.arange(len(x))[None]
    mask = (back >= 0) & (back < (stack.window or len(x)))
    x = x + attend(q, k, z @ weight(own, "wv"), stack.heads, mask) @ weight(own, "wo")
    z = norm(x, params["ffn_norm"], config)
    gate = z @ weight(params["feed_forward"], "w1")
    return x + (gate / (1 + np.exp(-gate)) * (z @ weight(params["feed_forward"], "w3"))) @ weight(
        params["feed_forward"], "w2"
    )


def cross(x, y, params, mask, config):
    """What cross-attention adds; without x."""
    a, b = norm(x, params["cross_attn_norm_q"], config), norm(y, params["cross_attn_norm_kv"], config)
    q, k, v = a @ weight(params, "wq"), b @ weight(params, "wk"), b @ weight(params, "wv")
    mixed = attend(q, k, v, config.cross_heads, mask)
    return mixed @ weight(params, "wo")
