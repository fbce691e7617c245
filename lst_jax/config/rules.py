"""The rules that bound a configuration's values and that cross its fields; `config.validate` applies them."""

from typing import Any

from lst_jax.core.paths import check_local
from lst_jax.core.strict import fail


def check(config: Any) -> None:
    """Raises: ConfigError for the first field of a `lst_jax.config.Config` that breaks a rule."""
    m, d, o, t, e = config.model, config.data, config.optim, config.train, config.eval
    for path, value, low in [
        ("seed", config.seed, 0),
        ("vocab.text_size", config.vocab.text_size, 4),
        ("vocab.unit_slots", config.vocab.unit_slots, 1),
        ("model.queries_per_patch", m.queries_per_patch, 1),
        ("model.cross_heads", m.cross_heads, 1),
        ("model.encoder_cross_window", m.encoder_cross_window, 1),
        ("model.decoder_cross_window", m.decoder_cross_window, 1),
        ("model.ffn_multiple", m.ffn_multiple, 1),
        ("model.attention_block", m.attention_block, 1),
        ("model.logits_chunk", m.logits_chunk, 1),
        ("data.rows", d.rows, 1),
        ("data.row_tokens", d.row_tokens, 16),
        ("data.row_patches", d.row_patches, 8),
        ("data.prefetch", d.prefetch, 0),
        ("data.patching.static_size", d.patching.static_size, 1),
        ("data.patching.tau1", d.patching.tau1, 0),
        ("data.patching.tau2", d.patching.tau2, d.patching.tau1),
        ("data.patching.final_probability", d.patching.final_probability, 0),
        ("data.patching.boundary_noise_ms", d.patching.boundary_noise_ms, 0),
        ("train.steps", t.steps, 1),
        ("train.log_every", t.log_every, 1),
        ("train.checkpoint_every", t.checkpoint_every, 1),
        ("train.checkpoint_keep", t.checkpoint_keep, 1),
        ("train.accumulate", t.accumulate, 1),
        ("mesh.tensor", config.mesh.tensor, 1),
        *(
            (f"mesh.{name}", value, 1)
            for name in ("replica", "data")
            if (value := getattr(config.mesh, name)) is not None
        ),
        ("eval.every", e.every, 1),
        ("eval.batches", e.batches, 1),
        ("eval.completion_items", e.completion_items, 0),
        ("optim.warmup_steps", o.warmup_steps, 0),
        ("optim.z_loss", o.z_loss, 0),
        ("data.interleave.text_words_min", d.interleave.text_words_min, 1),
        ("data.interleave.text_words_max", d.interleave.text_words_max, d.interleave.text_words_min),
        ("data.interleave.first_speech_words_min", d.interleave.first_speech_words_min, 1),
        (
            "data.interleave.first_speech_words_max",
            d.interleave.first_speech_words_max,
            d.interleave.first_speech_words_min,
        ),
        ("data.interleave.block_words_min", d.interleave.block_words_min, 1),
    ]:
        if value < low:
            fail(path, value, f"must be at least {low}", f"use {low}")
    for path, value in [
        ("optim.peak_lr", o.peak_lr),
        ("optim.eps", o.eps),
        ("optim.clip_norm", o.clip_norm),
        ("model.rope_theta", m.rope_theta),
        ("model.norm_eps", m.norm_eps),
        ("data.unit_rate", d.unit_rate),
        *[(f"data.sources.{i}.share", s.share) for i, s in enumerate(d.sources)],
    ]:
        if value <= 0:
            fail(path, value, "must be positive", "use a positive number")
    if t.checkpoint_minutes is not None and t.checkpoint_minutes <= 0:
        fail("train.checkpoint_minutes", t.checkpoint_minutes, "must be positive, or None for off", "use 30.0")
    if t.checkpoint_keep_every is not None and (
        t.checkpoint_keep_every < 1 or t.checkpoint_keep_every % t.checkpoint_every
    ):
        fail(
            "train.checkpoint_keep_every",
            t.checkpoint_keep_every,
            f"must be a multiple of train.checkpoint_every={t.checkpoint_every}, or None",
            f"use {max(1, round(t.checkpoint_keep_every / t.checkpoint_every)) * t.checkpoint_every}",
        )
    if o.warmup_steps >= t.steps:
        fail("optim.warmup_steps", o.warmup_steps, f"must be less than train.steps={t.steps}", f"use {t.steps - 1}")
    if o.spike_factor and o.spike_factor <= 1:
        fail("optim.spike_factor", o.spike_factor, "must be greater than 1, or 0 for off", "use 10.0")
    if d.patching.final_probability > 1:
        fail(
            "data.patching.final_probability",
            d.patching.final_probability,
            "must be at most 1",
            "use 0.0 to end in static patches, 0.5 to end in mixed ones",
        )
    if d.patching.boundary_noise_ms and d.patching.strategy in ("static", "none"):
        fail(
            "data.patching.boundary_noise_ms",
            d.patching.boundary_noise_ms,
            f"moves aligned boundaries, and strategy={d.patching.strategy!r} has none",
            "use 0.0",
        )
    if not d.sources:
        fail("data.sources", [], "must name at least one directory", "add a source")
    if d.documents != "interleaved" and all(source.kind != "utterance" for source in d.sources):
        fail(
            "data.documents",
            d.documents,
            "is about utterances, and data.sources has none",
            'add a source of kind "utterance", or use "interleaved"',
        )
    if t.init_from == "":
        fail(
            "train.init_from",
            t.init_from,
            "must be a run directory or a checkpoint in one, or None",
            "use runs/NAME, or runs/NAME/checkpoints/STEP",
        )
    for path, value in [
        ("data.tokenizer", d.tokenizer),
        ("data.unit_tokenizer", d.unit_tokenizer),
        ("train.init_from", t.init_from),
    ]:
        check_local(path, value)
    _unique_names("data.sources", d.sources)
    _unique_names("eval.sources", e.sources)
    _validate_model(m, d)


def _unique_names(path: str, sources) -> None:
    names = [s.name for s in sources]
    for name in names:
        if names.count(name) > 1:
            fail(f"{path}.name", name, "names two sources", "give each its own name")


def _validate_model(m: Any, d: Any) -> None:
    stacks = {
        "patch_encoder": m.patch_encoder,
        "global_transformer": m.global_transformer,
        "patch_decoder": m.patch_decoder,
    }
    for name, stack in stacks.items():
        if name == "global_transformer":
            continue
        if m.architecture == "base" and stack is not None:
            fail(f"model.{name}", "{...}", 'system "base" has no local modules', "set it to None")
        if m.architecture != "base" and stack is None:
            fail(f"model.{name}", None, f'system "{m.architecture}" needs it', "give layers, width, heads and window")
    for name, stack in stacks.items():
        if stack is None:
            continue
        if stack.layers < 1:
            fail(f"model.{name}.layers", stack.layers, "must be at least 1", "use 1")
        if stack.heads < 1 or stack.width % (2 * stack.heads):
            fail(
                f"model.{name}.width",
                stack.width,
                f"must be a multiple of 2 × heads={2 * stack.heads}",
                f"use {max(1, stack.width // (2 * stack.heads)) * 2 * stack.heads}",
            )
        if stack.window is not None and stack.window < 1:
            fail(f"model.{name}.window", stack.window, "must be at least 1, or None", "use None")
    if m.architecture != "base":
        if m.patch_encoder.width != m.patch_decoder.width:
            fail(
                "model.patch_decoder.width",
                m.patch_decoder.width,
                "must equal model.patch_encoder.width (the decoder starts from the encoder's states)",
                f"use {m.patch_encoder.width}",
            )
        if m.patch_encoder.width % m.cross_heads:
            fail(
                "model.cross_heads",
                m.cross_heads,
                f"must divide the local width {m.patch_encoder.width}",
                f"use {m.patch_encoder.heads}",
            )
    if (m.architecture == "base") != (d.patching.strategy == "none"):
        fail(
            "data.patching.strategy",
            d.patching.strategy,
            f"does not go with model.architecture={m.architecture!r}",
            'use "none" for base, and one of static, aligned, mixed, curriculum for the others',
        )
    if d.unit_tokenizer is not None and d.patching.strategy != "none":
        fail(
            "data.unit_tokenizer",
            d.unit_tokenizer,
            f"its pieces are unit positions, data.patching.strategy={d.patching.strategy!r} patches units",
            'set it to None, or use strategy "none"',
        )
    if d.patching.strategy == "none" and d.row_patches != d.row_tokens:
        fail(
            "data.row_patches",
            d.row_patches,
            "must equal data.row_tokens where every token is a unit position",
            f"use {d.row_tokens}",
        )
    if d.row_patches > d.row_tokens:
        fail(
            "data.row_patches", d.row_patches, f"must not exceed data.row_tokens={d.row_tokens}", f"use {d.row_tokens}"
        )
    if m.architecture != "lst_bypass" and d.row_speech_tokens is not None:
        fail(
            "data.row_speech_tokens",
            d.row_speech_tokens,
            f"has no meaning for model.architecture={m.architecture!r}",
            "set it to None",
        )
    if m.architecture == "lst_bypass" and not 16 <= (d.row_speech_tokens or 0) <= d.row_tokens:
        fail(
            "data.row_speech_tokens",
            d.row_speech_tokens,
            f"must be from 16 to data.row_tokens={d.row_tokens}",
            f"use {max(16, d.row_tokens // 2)}",
        )
