"""Every setting of a run as nested frozen dataclasses, one per module of the model, the data or the loop.

Nothing here rewrites a value: what depends on others is a property. `lst_jax.recipes` loads and checks a `Config` strictly.
"""

import dataclasses
import json
from typing import Any, Literal

from lst_jax.core.strict import build
from lst_jax.core.vocab import Vocab


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
    """The three networks (paper §4, A.2). For architecture "base" the two local ones are None.

    In "lst_bypass" text goes past the local ones.
    """

    architecture: Literal["lst", "lst_bypass", "base"]
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
    """From records to batches of fixed shape [rows, row_tokens] and [rows, row_patches]."""

    tokenizer: str  # SentencePiece .model file
    unit_tokenizer: str | None  # SentencePiece .model over units, whose pieces are the tokens; None = units are
    sources: tuple[SourceConfig, ...]
    mixture_measure: Literal["tokens", "words", "units"]  # what shares are of; units = unit positions
    rows: int  # B, rows of the global batch
    row_tokens: int  # T, see `row_tokens_for`
    row_patches: int  # U
    row_speech_tokens: int | None  # S, speech units and <s> of a row at most; for model.architecture "lst_bypass" only
    unit_rate: float  # speech units per second
    patching: PatchingConfig
    interleave: InterleaveConfig
    documents: Literal["interleaved", "asr", "tts"]  # what utterances become; the latter two for adaptation
    prefetch: int  # batches made ahead by a thread; 0 = made in the loop


@dataclasses.dataclass(frozen=True)
class MuonConfig:
    """What Muon has beside AdamW's numbers, which embeddings, the output matrix and norms keep."""

    momentum: float = 0.95
    newton_schulz_steps: int = 5  # of the iteration that orthogonalises a matrix
    update_rms: float = 0.2  # of each change before the learning rate; AdamW's own is about 0.2 (arXiv 2502.16982)


@dataclasses.dataclass(frozen=True)
class WsdConfig:
    """How a warm-up-stable-decay schedule ends."""

    decay_steps: int = 0  # the last steps of the run; 0 = none: such a run is a trunk for train.branch_from
    decay_shape: Literal["1-sqrt", "linear"] = "1-sqrt"


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its schedule; by default AdamW with linear warm-up and cosine decay (paper §6)."""

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
    optimizer: str = "adamw"  # a name of lst_jax.step.optimizers
    muon: MuonConfig = MuonConfig()
    schedule: str = "cosine"  # a name of lst_jax.step.schedules
    wsd: WsdConfig = WsdConfig()


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
    # a checkpoint of another run's stable part, whose whole state this run goes on from to decay; None = its own start
    branch_from: str | None = None


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


def from_mapping(mapping: dict[str, Any]) -> Config:
    """Builds a `Config` from nested mappings; unknown or missing keys and wrong types are errors."""
    return build(Config, mapping, "")


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
