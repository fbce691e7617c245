"""The rules of a configuration: bounds, which stand at the fields, and rules that cross fields.

`lst_jax.recipes.validate` applies them. Each rule is a function that raises ConfigError and changes nothing.
"""

import dataclasses
import math
from typing import Any

from lst_jax.config.fields import Leaf, leaves
from lst_jax.config.schema import Config, InterleaveConfig, StackConfig, TrainConfig, VocabConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import fail
from lst_jax.storage.place import to_place, to_run_place


def check(config: Config) -> None:
    """Raises: ConfigError for the first field that breaks a rule."""
    for leaf in leaves(config):
        _finite(leaf)
        _within_bounds(leaf)
    _ranges(config)
    _first_speech_block(config.data.interleave)
    _checkpoints_kept(config.train)
    _warmup(config)
    _spike_factor(config)
    _document_ids(config.vocab)
    _sources(config)
    _documents(config)
    _init_from(config.train)
    _branch_from(config.train)
    _compiler_options(config.train)
    _profile_steps(config.train)
    _members_of_optim(config)
    _decay(config)
    _places(config)
    _unique_names("data.sources", config.data.sources)
    _unique_names("eval.sources", config.eval.sources)
    _validate_model(config.model, config.data)


def _finite(leaf: Leaf) -> None:
    if isinstance(leaf.value, float) and not math.isfinite(leaf.value):
        fail(leaf.path, leaf.value, "must be finite", "give a number")


def _within_bounds(leaf: Leaf) -> None:
    """Checks the bounds that stand at the field; None has none."""
    value, notes, or_none = leaf.value, leaf.field.notes, ", or None" if leaf.field.optional else ""
    if value is None:
        return
    if notes.at_least is not None and value < notes.at_least:
        fail(leaf.path, value, f"must be at least {notes.at_least}{or_none}", f"use {notes.at_least}")
    if notes.at_most is not None and value > notes.at_most:
        fail(leaf.path, value, f"must be at most {notes.at_most}{or_none}", f"use {notes.at_most}")
    if notes.below is not None and value >= notes.below:
        fail(leaf.path, value, f"must be less than {notes.below}{or_none}", f"use a number below {notes.below}")
    if notes.positive and value <= 0:
        fail(leaf.path, value, f"must be positive{or_none}", "use a positive number")


def _ranges(config: Config) -> None:
    """The upper end of each range is not below its lower end."""
    interleave, patching = config.data.interleave, config.data.patching
    for path, high, low in (
        ("data.patching.tau2", patching.tau2, patching.tau1),
        ("data.interleave.text_words_max", interleave.text_words_max, interleave.text_words_min),
        (
            "data.interleave.first_speech_words_max",
            interleave.first_speech_words_max,
            interleave.first_speech_words_min,
        ),
    ):
        if high < low:
            fail(path, high, f"must be at least {low}", f"use {low}")


def _first_speech_block(interleave: InterleaveConfig) -> None:
    """What only one rule of interleaving reads is not set for the other."""
    reader = "clipped_draw"
    if interleave.rule == reader:
        return
    for field in dataclasses.fields(interleave):
        value = getattr(interleave, field.name)
        if field.name.startswith("first_speech_words") and value != field.default:
            fail(
                f"data.interleave.{field.name}",
                value,
                f"is read by data.interleave.rule={reader!r} alone, not by {interleave.rule!r}",
                f"use {field.default}, or that rule",
            )


def _checkpoints_kept(train: TrainConfig) -> None:
    every, kept = train.checkpoint_every, train.checkpoint_keep_every
    if kept is not None and (kept < 1 or kept % every):
        fail(
            "train.checkpoint_keep_every",
            kept,
            f"must be a multiple of train.checkpoint_every={every}, or None",
            f"use {max(1, round(kept / every)) * every}",
        )


def _compiler_options(train: TrainConfig) -> None:
    for word in (train.compiler_options or "").split():
        name, equals, value = word.partition("=")
        if not (name.isidentifier() and equals and value):
            fail(
                "train.compiler_options",
                train.compiler_options,
                f"{word!r} must be NAME=VALUE",
                'write "xla_one=true xla_another=2", "" for none, or None for the chip\'s own',
            )


def _profile_steps(train: TrainConfig) -> None:
    """Checks the form alone: a recipe may be shortened below the steps that it profiles."""
    try:
        first, last = profiled_steps(train.profile_steps) or (1, 1)
        is_range = 1 <= first <= last
    except ValueError:
        is_range = False
    if not is_range:
        fail(
            "train.profile_steps",
            train.profile_steps,
            "must be the first and the last step to profile, or None",
            'write "100:103" for the steps 100, 101, 102 and 103',
        )


def profiled_steps(text: str | None) -> tuple[int, int] | None:
    """The first and the last step that `train.profile_steps` names. Raises: ValueError.

    Example: "100:103" -> (100, 103); "7" -> (7, 7)
    """
    if text is None:
        return None
    first, _, last = text.partition(":")
    return int(first), int(last or first)


def _warmup(config: Config) -> None:
    steps, warmup = config.train.steps, config.optim.warmup_steps
    if warmup >= steps:
        fail("optim.warmup_steps", warmup, f"must be less than train.steps={steps}", f"use {steps - 1}")


def _spike_factor(config: Config) -> None:
    factor = config.optim.spike_factor
    if factor and factor <= 1:
        fail("optim.spike_factor", factor, "must be greater than 1, or 0 for off", "use 10.0")


def _sources(config: Config) -> None:
    if not config.data.sources:
        fail("data.sources", [], "must name at least one directory", "add a source")


def _documents(config: Config) -> None:
    documents = config.data.documents
    if documents != "interleaved" and all(source.kind != "utterance" for source in config.data.sources):
        fail(
            "data.documents",
            documents,
            "is about utterances, and data.sources has none",
            'add a source of kind "utterance", or use "interleaved"',
        )


def _init_from(train: TrainConfig) -> None:
    if train.init_from == "":
        fail(
            "train.init_from",
            train.init_from,
            "must be a run directory or a checkpoint in one, or None",
            "use runs/NAME, or runs/NAME/checkpoints/STEP",
        )


def _branch_from(train: TrainConfig) -> None:
    if train.branch_from == "":
        fail(
            "train.branch_from",
            train.branch_from,
            "must be a checkpoint of a run, or None",
            "use runs/NAME/checkpoints/STEP",
        )
    if train.branch_from is not None and train.init_from is not None:
        fail(
            "train.branch_from",
            train.branch_from,
            f"takes over a whole state, and train.init_from={train.init_from!r} parameters alone",
            "set one of the two to None",
        )


def _members_of_optim(config: Config) -> None:
    """Settings of an optimizer or a schedule that the run does not use keep their defaults."""
    optim = config.optim
    for field, member in (("optimizer", "muon"), ("schedule", "wsd")):
        settings = getattr(optim, member)
        for own in dataclasses.fields(settings):
            value = getattr(settings, own.name)
            if getattr(optim, field) != member and value != own.default:
                fail(
                    f"optim.{member}.{own.name}",
                    value,
                    f"has no meaning for optim.{field}={getattr(optim, field)!r}",
                    f'set optim.{field} to "{member}", or this to {own.default!r}',
                )


def _decay(config: Config) -> None:
    decay, most = config.optim.wsd.decay_steps, config.train.steps - config.optim.warmup_steps
    if decay > most:
        fail(
            "optim.wsd.decay_steps",
            decay,
            f"must be at most the {most} steps of train.steps={config.train.steps} after the warm-up",
            f"use {(most + 4) // 5}",
        )


def _places(config: Config) -> None:
    for field, value, to_the_place in (
        ("data.tokenizer", config.data.tokenizer, to_place),
        ("data.unit_tokenizer", config.data.unit_tokenizer, to_place),
        ("train.init_from", config.train.init_from, to_run_place),
        ("train.branch_from", config.train.branch_from, to_run_place),
        ("train.compilation_cache", config.train.compilation_cache, to_place),
    ):
        try:
            to_the_place(value or "none")
        except ConfigError as error:
            raise ConfigError(f"{field}={error}") from error


def _unique_names(path: str, sources) -> None:
    names = [s.name for s in sources]
    for name in names:
        if names.count(name) > 1:
            fail(f"{path}.name", name, "names two sources", "give each its own name")


def _document_ids(vocab: VocabConfig) -> None:
    for field in ("bos_id", "eos_id"):
        if (value := getattr(vocab, field)) >= vocab.text_size:
            fail(
                f"vocab.{field}",
                value,
                f"must be less than vocab.text_size={vocab.text_size}",
                "use the id of a special token of data.tokenizer",
            )


def _rotation(name: str, stack: StackConfig) -> None:
    if stack.head_width is not None and stack.head_width % 2:
        fail(f"model.{name}.head_width", stack.head_width, "must be even, or None", f"use {stack.head_width + 1}")
    if (stack.unrotated_every or 1) > stack.layers:
        fail(
            f"model.{name}.unrotated_every",
            stack.unrotated_every,
            f"must be at most model.{name}.layers={stack.layers}, or None",
            "use None: all layers have rotary positions",
        )
    scaling = stack.rope_scaling
    if scaling.high_turns <= scaling.low_turns:
        fail(
            f"model.{name}.rope_scaling.high_turns",
            scaling.high_turns,
            f"must be greater than low_turns={scaling.low_turns}",
            f"use {4 * scaling.low_turns}",
        )


def _validate_model(m: Any, d: Any) -> None:
    stacks = {
        "patch_encoder": m.patch_encoder,
        "global_transformer": m.global_transformer,
        "patch_decoder": m.patch_decoder,
    }
    for name, stack in stacks.items():
        if stack is None:
            continue
        _rotation(name, stack)
        if stack.head_width is None and stack.width % (2 * stack.heads):
            fail(
                f"model.{name}.width",
                stack.width,
                f"must be a multiple of 2 × heads={2 * stack.heads}",
                f"use {max(1, stack.width // (2 * stack.heads)) * 2 * stack.heads}",
            )
    if d.row_patches > d.row_tokens:
        fail(
            "data.row_patches", d.row_patches, f"must not exceed data.row_tokens={d.row_tokens}", f"use {d.row_tokens}"
        )
