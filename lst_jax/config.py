"""Every setting of a run: nested frozen dataclasses, one per module, loaded once and strictly.

A recipe (`configs/NAME.py`) has `get_config(arg)` returning an `ml_collections.ConfigDict` with the same nesting.
`load_recipe("configs/demo.py:base")` imports it, `from_mapping` turns it into a `Config`, and `validate` checks the
rules that cross fields. Nothing here rewrites a value: what depends on others is a property.
"""

import dataclasses
import hashlib
import importlib.util
import json
import math
import pathlib
import types
from collections.abc import Sequence
from typing import Any, Literal

from lst_jax import rules
from lst_jax.errors import ConfigError
from lst_jax.strict import build, fail
from lst_jax.vocab import Vocab


@dataclasses.dataclass(frozen=True)
class VocabConfig:
    """Sizes of the joint vocabulary (see `lst_jax.vocab`)."""

    text_size: int  # pieces of the SentencePiece model
    unit_slots: int  # speech ids: at least the codebook's size, or the pieces of data.unit_tokenizer


@dataclasses.dataclass(frozen=True)
class StackConfig:
    """One stack of transformer layers."""

    layers: int
    width: int
    heads: int
    window: int | None  # sliding window in positions, itself included; None = all earlier positions


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The three networks (paper §4, A.2). For system "base" the two local ones are None.

    In "lst_bypass" text goes past the local ones.
    """

    system: Literal["lst", "lst_bypass", "base"]
    patch_encoder: StackConfig | None
    global_transformer: StackConfig
    patch_decoder: StackConfig | None
    queries_per_patch: int  # Q, the paper's k
    cross_heads: int
    encoder_cross_window: int  # patches a query may look back over, its own included; 1 = own patch
    decoder_cross_window: int
    encoder_cross_all_layers: bool  # False: only after the last encoder layer
    decoder_cross_all_layers: bool  # False: only before the first decoder layer
    rope_theta: float
    norm_eps: float
    ffn_multiple: int  # the SwiGLU width floor(8d/3) is rounded up to a multiple of this
    compute_dtype: Literal["float32", "bfloat16"]
    attention_block: int  # positions per block of the blocked attention
    logits_chunk: int  # token positions of a row whose logits exist at one time
    scan_layers: bool  # compile equal layers once; parameters and checkpoints are the same either way
    remat: Literal["none", "full", "attention", "dots"]  # what a layer keeps for its backward pass: model.stack.REMAT

    def ffn_width(self, width: int) -> int:
        """SwiGLU width of a stack: floor(8·width/3) rounded up to `ffn_multiple`. Example: 1024 -> 2816 at 256."""
        return -(-(8 * width // 3) // self.ffn_multiple) * self.ffn_multiple


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One directory of prepared records and its share of the mixture."""

    name: str
    kind: Literal["utterance", "text"]
    path: str  # a directory of ArrayRecord shards with metadata.json
    share: float  # of what data.mixture_measure counts; shares are normalised by their sum


@dataclasses.dataclass(frozen=True)
class PatchingConfig:
    """How speech is cut into patches (paper §3.1). P(u) is the probability that a document is aligned at step u."""

    strategy: Literal["static", "aligned", "mixed", "curriculum", "none"]
    static_size: int  # p, units a patch
    aligned_to: Literal["word", "bpe"]  # what an aligned patch holds: a word, or a text piece of one
    silence: Literal["separate", "merged"]  # aligned: patches of its own, or part of the word before it
    boundary_noise_ms: float  # aligned, training only: each boundary moves by U[-x, x] (paper A.11); 0 = off
    tau1: int  # curriculum: step up to which P = 1
    tau2: int  # curriculum: step from which P = final_probability
    final_probability: float  # curriculum: 0 ends in static, 0.5 in mixed


@dataclasses.dataclass(frozen=True)
class InterleaveConfig:
    """How an utterance alternates between text and speech, in words (paper A.1.1)."""

    text_words_min: int
    text_words_max: int
    text_fraction_max: float  # of the document's words, the cap on one text block
    speech_ratio: float  # length of a speech block over the text block before it
    first_speech_words_min: int
    first_speech_words_max: int
    block_words_min: int
    last_block_words_min: int  # a shorter last block joins the one before it


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """From records to batches of fixed shape [rows, row_tokens] and [rows, row_units]."""

    tokenizer: str  # SentencePiece .model file
    unit_tokenizer: str | None  # SentencePiece .model over units, whose pieces are the tokens; None = units are
    sources: tuple[SourceConfig, ...]
    mixture_measure: Literal["tokens", "words", "units"]  # what shares are of; units = unit positions
    rows: int  # B, rows of the global batch
    row_tokens: int  # T, see `row_tokens_for`
    row_units: int  # U
    row_speech_tokens: int | None  # S, speech units and <s> of a row at most; for model.system "lst_bypass" only
    unit_rate: float  # speech units per second
    patching: PatchingConfig
    interleave: InterleaveConfig
    documents: Literal["interleaved", "asr", "tts"]  # what utterances become; the latter two for adaptation
    prefetch: int  # batches made ahead by a thread; 0 = made in the loop


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay (paper §6)."""

    peak_lr: float
    warmup_steps: int
    final_lr_ratio: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float
    z_loss: float  # weight of log² of the softmax's denominator, added to each token's loss; 0 = off
    spike_factor: float  # a gradient norm over this many times its running mean is a bad step; 0 = off


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Held-out evaluation within the run."""

    every: int  # steps; it also runs at the last step
    sources: tuple[SourceConfig, ...]
    batches: int  # batches per source for the likelihoods
    completion_items: int  # most items per direction of completion choice; 0 = none


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices of a job are arranged (`lst_jax.sharding`); the result does not depend on it."""

    replica: int | None  # whole copies of the parameters; None = one a slice of TPUs
    data: int | None  # parts that parameters are split into (FSDP), each with rows of its own; None = all that is left
    tensor: int  # parts that heads and feed-forward widths are split into


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    steps: int
    init_from: str | None  # a run, or one of its checkpoints, whose parameters this one begins with; None = drawn ones
    log_every: int
    checkpoint_every: int  # steps; the last step and a stop are saved too
    checkpoint_minutes: float | None  # a save is also due when so many have passed since the last one; None = off
    checkpoint_keep: int  # newest ones
    checkpoint_keep_every: int | None  # steps whose multiples are kept for ever; None = none
    bad_step: Literal["skip", "halt"]  # after a step whose loss or gradients are not finite or spike, unapplied anyhow
    accumulate: int  # parts of a batch that are computed one after the other: memory of one, time of all
    offload_moments: bool  # keep the optimizer's moments in the host's memory; for TPUs and GPUs


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str
    seed: int
    vocab: VocabConfig
    model: ModelConfig
    data: DataConfig
    optim: OptimConfig
    eval: EvalConfig
    train: TrainConfig
    mesh: MeshConfig

    @property
    def joint_vocab(self) -> Vocab:
        """The id layout that the sizes give."""
        return Vocab(self.vocab.text_size, self.vocab.unit_slots)


def row_tokens_for(row_units: int, mean_patch: int | float, interleaved_share: float = 1 / 3,
                   speech_share: float = 0.77) -> int:
    """T that fills together with U: `row_units` over the unit positions a token takes, and 1% more.

    Each speech token takes 1/mean_patch unit positions, any other takes one; `interleaved_share` · `speech_share` of
    tokens are speech (paper §5, Table 13). The 1% lets longer patches in without emptying unit positions, which cost
    most. The result is the nearest multiple of U/32, so that both tile alike.

    Example: row_tokens_for(4096, 4.0) -> 5120; (4096, 9.4), merged silence -> 5376; (4096, 1.0), base -> 4096.
    """
    if mean_patch == 1:
        return row_units
    units_a_token = 1 - interleaved_share * speech_share * (1 - 1 / mean_patch)
    tile = max(1, row_units // 32)
    return round(1.01 * row_units / units_a_token / tile) * tile


def row_speech_tokens_for(row_tokens: int, interleaved_share: float = 1 / 3, speech_share: float = 0.77) -> int:
    """S for long rows of the mixture: the speech tokens that T holds on average, and 5% more, in multiples of T/40.

    Over made-up records at U=4096 rows hold 1,290 on average and 1,400 at most; S from 1,360 on costs no fill.

    Example: row_speech_tokens_for(5120) -> 1408.
    """
    tile = max(1, row_tokens // 40)
    return min(row_tokens, math.ceil(1.05 * interleaved_share * speech_share * row_tokens / tile) * tile)


# Fields that may differ between a checkpoint and the run that resumes it: they change what is recorded or how it is
# computed, not what is learned. Everything else must be equal.
FREE_FIELDS = ("train.log_every", "train.checkpoint_every", "train.checkpoint_minutes", "train.checkpoint_keep",
               "train.checkpoint_keep_every", "eval.every", "eval.batches", "eval.completion_items", "data.prefetch",
               "data.tokenizer", "model.scan_layers", "model.remat", "train.bad_step", "train.accumulate",
               "train.offload_moments", "mesh.replica", "mesh.data", "mesh.tensor")
FREE_LEAVES = ("path",)  # of a source: directories may move; their fingerprints are checked instead
# Files that may move likewise, but whether there is one is a difference
FREE_IF_GIVEN = ("data.unit_tokenizer", "train.init_from")
# What must be equal for parameters to mean the same function of the same tokens, and what of it only says how it runs
ALIKE = ("model.", "vocab.", "data.unit_rate")
COMPUTED = ("model.compute_dtype", "model.attention_block", "model.logits_chunk")
# Fields that came when there were runs already, and the value that means what those runs do: a stored configuration
# without them is complete, and at this value they are no part of an identity, so that hashes stay as they were
LATER_FIELDS = {"data.documents": "interleaved", "train.init_from": None}
# Those that came before, with what the first runs did: such a run is opened and converted, but none goes on from it, as
# these are part of identities
FIRST_FIELDS = {
    "model.scan_layers": False, "model.remat": "none", "data.unit_tokenizer": None, "data.mixture_measure": "tokens",
    "data.row_speech_tokens": None, "data.patching.aligned_to": "word", "data.patching.silence": "separate",
    "data.patching.boundary_noise_ms": 0.0, "data.patching.final_probability": 0.0, "optim.z_loss": 0.0,
    "optim.spike_factor": 0.0, "train.checkpoint_minutes": None, "train.checkpoint_keep_every": None,
    "train.bad_step": "skip", "train.accumulate": 1, "train.offload_moments": False,
    "mesh": {"replica": None, "data": None, "tensor": 1}}


def load_recipe_module(path: str) -> types.ModuleType:
    """Imports a recipe's file. Raises: ConfigError where there is none."""
    if not pathlib.Path(path).is_file():
        raise ConfigError(f"{path}: no such recipe; give a file such as configs/demo.py")
    spec = importlib.util.spec_from_file_location(f"recipe_{pathlib.Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_recipe(reference: str, changes: Sequence[str] = ()) -> Config:
    """Loads `PATH.py` or `PATH.py:ARG` (ARG is handed to the recipe's `get_config`), with some fields changed.

    Args: `changes` are `FIELD.PATH=VALUE`, the value as JSON or a bare word. Example: ("train.accumulate=4",)
    Raises: ConfigError where the file, its `get_config`, a key, a type or a rule is wrong.
    """
    path, _, arg = reference.partition(":")
    module = load_recipe_module(path)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: has no get_config(arg); define it to return an ml_collections.ConfigDict")
    mapping = module.get_config(arg).to_dict()
    for change in changes:
        _change(mapping, change)
    config = from_mapping(mapping)
    validate(config)
    return config


def _change(mapping: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    for parent in parents:
        mapping = _members(mapping).get(parent)
    if not equals or name not in _members(mapping):
        raise ConfigError(f"--set {change}: must be FIELD=VALUE of a field that the recipe has; write it as "
                          "train.accumulate=4, or data.sources.0.share=4 for the first of several")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    mapping[name if isinstance(mapping, dict) else int(name)] = value


def _members(mapping: Any) -> dict[str, Any]:
    """What a path's next word may name: the keys of a mapping, or the places of a list."""
    return mapping if isinstance(mapping, dict) else dict(zip(map(str, range(len(mapping))), mapping, strict=True)) \
        if isinstance(mapping, list) else {}


def as_changes(config: "Config", recipe: "Config") -> tuple[str, ...]:
    """What makes `config` out of `recipe`, as `load_recipe` takes it: one change a field that differs.

    Raises: ConfigError where they do not have the same fields, as a list of another length.
    """
    ours, theirs = flatten(to_mapping(config)), flatten(to_mapping(recipe))
    for key in ours.keys() ^ theirs.keys():
        raise ConfigError(f"{key}: is not in both {config.name} and its recipe; give it in the recipe's argument")
    return tuple(f"{key}={json.dumps(ours[key])}" for key in sorted(ours) if ours[key] != theirs[key])


def from_mapping(mapping: dict[str, Any]) -> Config:
    """Builds a `Config` from nested mappings; unknown or missing keys and wrong types are errors."""
    return build(Config, mapping, "")


def with_later_fields(mapping: dict[str, Any]) -> dict[str, Any]:
    """A stored run's mapping with those of `LATER_FIELDS` and `FIRST_FIELDS` that it is older than."""
    completed = json.loads(json.dumps(mapping))
    for path, value in (LATER_FIELDS | FIRST_FIELDS).items():
        *parents, name = path.split(".")
        section = completed
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.setdefault(name, value)
    return completed


def to_mapping(config: Config) -> dict[str, Any]:
    """The inverse of `from_mapping`, made of JSON types only."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def flatten(mapping: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists to `{"data.sources.0.share": 1.0, ...}`."""
    items = mapping.items() if isinstance(mapping, dict) else enumerate(mapping)
    flat = {}
    for key, value in items:
        path = f"{prefix}{key}"
        if isinstance(value, (dict, list)):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = value
    return flat


def identity(config: Config) -> dict[str, Any]:
    """The flat fields that define what is learned, i.e. all but `FREE_FIELDS` and paths."""
    flat = flatten(to_mapping(config))
    return {k: v and "FILE" if k in FREE_IF_GIVEN else v for k, v in flat.items()
            if k not in FREE_FIELDS and k.rpartition(".")[2] not in FREE_LEAVES and not k.startswith("eval.sources")
            and not (k in LATER_FIELDS and v == LATER_FIELDS[k])}


def other_function(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first field of two identities by which equal parameters would mean another function of the same tokens.

    Fields that one of them is older than are passed over: they read as what was done without them.
    """
    return next((key for key in sorted(ours.keys() & theirs.keys())
                 if key.startswith(ALIKE) and key not in COMPUTED and ours[key] != theirs[key]), None)


def config_hash(config: Config) -> str:
    """Sixteen hex digits of the identity; equal hashes train the same thing."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:16]


def check_same_identity(ours: Config, theirs: dict[str, Any], where: str) -> None:
    """Refuses a stored identity that differs from `ours`, naming the first differing field and both values."""
    mine = identity(ours)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise ConfigError(f"{key}={mine.get(key)!r}: {where} was made with {theirs.get(key)!r}; "
                              "use that value, or another run directory")


def validate(config: Config) -> None:
    """Checks the rules that cross fields or bound a value (`lst_jax.rules`). Raises ConfigError; changes nothing."""
    for path, value in flatten(to_mapping(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            fail(path, value, "must be finite", "give a number")
    rules.check(config)
