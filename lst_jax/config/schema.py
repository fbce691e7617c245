"""Every setting of a run as nested frozen dataclasses, one per module of the model, the data or the loop.

Each field is declared with a function of `lst_jax.config.fields`, which says what the field means for the run's
identity, its default and its bounds. Nothing here rewrites a value: what depends on others is a property.
"""

import dataclasses
import json
from typing import Any, Literal

from lst_jax.config.fields import computed, free, function, learned, part, presence
from lst_jax.core.strict import build
from lst_jax.core.vocab import BOS_ID, EOS_ID, Vocab


@dataclasses.dataclass(frozen=True)
class VocabConfig:
    """Sizes of the joint vocabulary (see `lst_jax.core.vocab`)."""

    text_size: int = function(at_least=4)  # pieces of data.tokenizer
    # Speech ids: at least the codebook's size, or the number of pieces of data.unit_tokenizer
    unit_slots: int = function(at_least=1)
    # Ids of data.tokenizer that open and end documents; one id may do both, as in Qwen2.5 and SmolLM2
    bos_id: int = function(default=BOS_ID, since=BOS_ID, at_least=0)
    eos_id: int = function(default=EOS_ID, since=EOS_ID, at_least=0)


@dataclasses.dataclass(frozen=True)
class RopeScalingConfig:
    """Rotations for longer rows than a model was first trained on, as Llama 3.1 slows them.

    Pairs that turn less than `low_turns` times within `positions` positions turn `factor` times more slowly. Those that
    turn more than `high_turns` times stay as they are. In between the two are mixed.
    """

    factor: float = function(default=1.0, since=1.0, at_least=1)  # 1 = off
    low_turns: float = function(default=1.0, since=1.0, positive=True)
    high_turns: float = function(default=4.0, since=4.0, positive=True)
    positions: int = function(default=8192, since=8192, at_least=1)


@dataclasses.dataclass(frozen=True)
class StackConfig:
    """One stack of transformer layers.

    The fields after `window` are for text models of other families, whose weights a run begins with.
    """

    layers: int = function(at_least=1)
    width: int = function(at_least=1)
    heads: int = function(at_least=1)
    # Sliding window in positions, the position itself included; None = all earlier positions
    window: int | None = function(default=None, at_least=1)
    head_width: int | None = function(default=None, since=None, at_least=2)  # None = width / heads
    ffn_width: int | None = function(default=None, since=None, at_least=1)  # None = by model.ffn_multiple
    qkv_bias: bool = function(default=False, since=False)  # queries, keys and values have a bias, as in Qwen2.5
    # RMS norms of queries and keys: of each head, as in Qwen3, or of all heads as one vector, as in OLMo 2
    qk_norm: Literal["none", "head", "all_heads"] = function(default="none", since="none")
    # Where a block's two norms are: before attention and feed-forward, or after each of them, as in OLMo 2
    norm_place: Literal["before", "after"] = function(default="before", since="before")
    rope_scaling: RopeScalingConfig = part(default=RopeScalingConfig(), since={})
    # Every n-th layer has no rotary positions: layers n, 2n, … counted from 1, as in SmolLM3 with 4; None = no layer
    unrotated_every: int | None = function(default=None, since=None, at_least=1)
    # Norms of blocks, and in Base the last norm: RMS norms with a scale, or layer norms without parameters, as in OLMo
    norm: Literal["rms", "layer"] = function(default="rms", since="rms")
    # Queries, keys and values are clipped to this absolute value behind their projections, as in OLMo; None = off
    qkv_clip: float | None = function(default=None, since=None, positive=True)

    def rotates(self, layer: int) -> bool:
        """Whether a layer, counted from 0, has rotary positions. Example: every 4th unrotated -> layer 3 has none"""
        return self.unrotated_every is None or (layer + 1) % self.unrotated_every != 0

    @property
    def period(self) -> int:
        """The layers i and i + period compute the same function of their parameters."""
        return self.unrotated_every or 1

    @property
    def size_of_head(self) -> int:
        """K, the width of one head."""
        return self.width // self.heads if self.head_width is None else self.head_width


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The three networks (paper §4, A.2).

    An architecture without local networks has neither patch encoder nor patch decoder: both are None.
    """

    # A name in `lst_jax.model.architectures.registry`
    architecture: str = function(formerly="system")
    patch_encoder: StackConfig | None = function()
    global_transformer: StackConfig = function()
    patch_decoder: StackConfig | None = function()
    queries_per_patch: int = function(at_least=1)  # Q, the paper's k
    cross_heads: int = function(at_least=1)
    # Patches that a query may look back over, its own included; 1 = its own patch only
    encoder_cross_window: int = function(default=1, at_least=1)
    decoder_cross_window: int = function(default=1, at_least=1)
    encoder_cross_all_layers: bool = function(default=False)  # False: only after the last encoder layer
    decoder_cross_all_layers: bool = function(default=True)  # False: only before the first decoder layer
    rope_theta: float = function(default=500_000.0, positive=True)
    norm_eps: float = function(default=1e-5, positive=True)
    # The SwiGLU width floor(8d/3) is rounded up to a multiple of this
    ffn_multiple: int = function(default=256, at_least=1)
    compute_dtype: Literal["float32", "bfloat16"] = computed(default="bfloat16")
    attention_block: int = computed(default=512, at_least=1)  # positions per block of the blocked attention
    logits_chunk: int = computed(default=1024, at_least=1)  # token positions of a row whose logits exist at one time
    # Compile equal layers once; parameters and checkpoints are the same either way
    scan_layers: bool = free(default=True, first_runs=False)
    # What a layer keeps for its backward pass: see REMAT in lst_jax.model.stack
    remat: Literal["none", "full", "attention", "dots"] = free(default="attention", first_runs="none")
    # Base alone: the output matrix is the embedding, as in small Qwen2.5, Llama 3.2 and SmolLM2
    tied_output: bool = function(default=False, since=False)

    def ffn_width_of(self, stack: StackConfig) -> int:
        """F, the SwiGLU width of a stack: its own field, or `ffn_width` of its width."""
        return self.ffn_width(stack.width) if stack.ffn_width is None else stack.ffn_width

    def ffn_width(self, width: int) -> int:
        """SwiGLU width of a stack: floor(8·width/3) rounded up to `ffn_multiple`. Example: 1024 -> 2816 at 256."""
        return -(-(8 * width // 3) // self.ffn_multiple) * self.ffn_multiple


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One directory of prepared records and its share of the mixture."""

    name: str = learned()
    kind: Literal["utterance", "text"] = learned()
    # A directory of ArrayRecord shards with metadata.json. It may move: the fingerprint of its data is checked instead
    path: str = free()
    # Share of what data.mixture_measure counts; shares are normalised by their sum
    share: float = learned(default=1.0, positive=True)


@dataclasses.dataclass(frozen=True)
class PatchingConfig:
    """How speech is cut into patches (paper §3.1). P(u) is the probability that a document is aligned at step u."""

    strategy: str = learned()  # a name in `lst_jax.data.patching.STRATEGIES`
    static_size: int = learned(at_least=1)  # p, the units per patch
    # What an aligned patch holds: a word, or one text piece of a word
    aligned_to: Literal["word", "bpe"] = learned(first_runs="word")
    # Silence in aligned documents: in patches of its own, or part of the patch of the word before it
    silence: Literal["separate", "merged"] = learned(first_runs="separate")
    # In training each aligned boundary moves by U[-x, x] (paper A.11); 0 = off
    boundary_noise_ms: float = learned(first_runs=0.0, at_least=0)
    tau1: int = learned(at_least=0)  # curriculum: the step up to which P = 1
    tau2: int = learned()  # curriculum: the step from which P = final_probability
    # Curriculum: 0 ends in static patches, 0.5 in mixed ones
    final_probability: float = learned(default=0.0, first_runs=0.0, at_least=0, at_most=1)
    # The first static patch of a run holds <s> and p - 1 units, as in the released code; False: <s> is its own patch
    marker_opens_patch: bool = learned(default=False, since=False)


@dataclasses.dataclass(frozen=True)
class InterleaveConfig:
    """How an utterance alternates between text and speech, in words. The defaults are the paper's (A.1.1)."""

    text_words_min: int = learned(default=5, at_least=1)
    text_words_max: int = learned(default=30)
    text_fraction_max: float = learned(default=0.6)  # the longest text block, as a part of the document's words
    speech_ratio: float = learned(default=0.5)  # length of a speech block over that of the text block before it
    first_speech_words_min: int = learned(default=2, at_least=1)  # of rule "clipped_draw" alone, as the next field
    first_speech_words_max: int = learned(default=15)
    block_words_min: int = learned(default=2, at_least=1)
    last_block_words_min: int = learned(default=3)  # a shorter last block joins the one before it
    # How blocks are drawn and silences divided: as the released code does it, or as this project's first runs did
    rule: Literal["capped_range", "clipped_draw"] = learned(default="capped_range", since="clipped_draw")
    # Text before <s> ends in the text piece of a bare space, as in the released code
    text_ends_in_space: bool = learned(default=False, since=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """From records to batches of fixed shape [rows, row_tokens] and [rows, row_patches]."""

    # A SentencePiece .model, or a tokenizer.json of byte-level BPE. It may move: checkpoints hold its fingerprint
    tokenizer: str = free()
    # SentencePiece .model over units, whose pieces are then the speech tokens; None = units are
    unit_tokenizer: str | None = presence(default=None, first_runs=None)
    sources: tuple[SourceConfig, ...] = part()
    # What the shares of sources count
    mixture_measure: Literal["tokens", "words", "patches"] = learned(
        default="tokens", first_runs="tokens", former_values={"patches": "units"}
    )
    rows: int = learned(at_least=1)  # B, rows of the global batch
    row_tokens: int = learned(at_least=16)  # T, see `lst_jax.recipes.row_sizes`
    row_patches: int = learned(formerly="row_units", at_least=8)  # U
    # S, the most speech units and <s> in a row where text bypasses the local networks; else None
    row_speech_tokens: int | None = learned(default=None, first_runs=None)
    # P, the most patches of these speech tokens in such a row; None = as many as S and U allow
    row_speech_patches: int | None = learned(default=None, since=None, at_least=8)
    unit_rate: float = function(default=25.0, positive=True)  # speech units per second
    patching: PatchingConfig = part()
    interleave: InterleaveConfig = part(default=InterleaveConfig())
    # What utterances become; the latter two are for adaptation
    documents: Literal["interleaved", "asr", "tts"] = learned(default="interleaved", since="interleaved")
    # An utterance that a row can hold is not cut: it waits for a row that has room; False: it ends where its share does
    whole_utterances: bool = learned(default=False, since=False)
    prefetch: int = free(default=8, at_least=0)  # batches that a thread makes ahead; 0 = made in the loop
    workers: int = free(
        default=0, first_runs=0, at_least=0
    )  # processes that make the rows of a process; 0 = that thread does


@dataclasses.dataclass(frozen=True)
class MuonConfig:
    """What Muon has beside AdamW's numbers, which embeddings, the output matrix and norms keep."""

    momentum: float = learned(default=0.95, since=0.95, at_least=0, below=1)
    # Steps of the iteration that orthogonalises a matrix
    newton_schulz_steps: int = learned(default=5, since=5, at_least=1)
    # Root mean square of each change before the learning rate; AdamW's own is about 0.2 (arXiv 2502.16982)
    update_rms: float = learned(default=0.2, since=0.2, positive=True)


@dataclasses.dataclass(frozen=True)
class WsdConfig:
    """How a warm-up-stable-decay schedule ends."""

    # The decay takes the last steps of the run; 0 = none: such a run is a trunk for train.branch_from
    decay_steps: int = learned(default=0, since=0, at_least=0)
    decay_shape: Literal["1-sqrt", "linear"] = learned(default="1-sqrt", since="1-sqrt")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its schedule. The defaults are the paper's (§6): AdamW, linear warm-up, cosine decay."""

    peak_lr: float = learned(positive=True)
    warmup_steps: int = learned(at_least=0)
    final_lr_ratio: float = learned(default=0.01, at_least=0, at_most=1)
    beta1: float = learned(default=0.9, at_least=0, below=1)
    beta2: float = learned(default=0.95, at_least=0, below=1)
    eps: float = learned(default=1e-8, positive=True)
    weight_decay: float = learned(default=0.1, at_least=0)
    clip_norm: float = learned(default=1.0, positive=True)
    # Weight of log² of the softmax's denominator, added to each token's loss; 0 = off
    z_loss: float = learned(default=0.0, first_runs=0.0, at_least=0)
    # A gradient norm over this many times its running mean is a bad step; 0 = off
    spike_factor: float = learned(default=0.0, first_runs=0.0)
    optimizer: str = learned(default="adamw", since="adamw")  # a name of lst_jax.step.optimizers
    muon: MuonConfig = part(default=MuonConfig(), since={})
    schedule: str = learned(default="cosine", since="cosine")  # a name of lst_jax.step.schedules
    wsd: WsdConfig = part(default=WsdConfig(), since={})


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Held-out evaluation within the run."""

    every: int = free(at_least=1)  # steps; it also runs at the last step
    sources: tuple[SourceConfig, ...] = free()
    batches: int = free(default=16, at_least=1)  # batches per source for the likelihoods
    completion_items: int = free(default=1000, at_least=0)  # most items per direction of completion choice; 0 = none


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices of a job are arranged (`lst_jax.parallel.sharding`); the result does not depend on it."""

    # Replicas of the parameters; None = one per slice of TPUs
    replica: int | None = free(default=None, first_runs=None, at_least=1)
    # Parts that parameters are split into (FSDP), each with rows of its own; None = all devices that are left
    data: int | None = free(default=None, first_runs=None, at_least=1)
    # Parts that heads and feed-forward widths are split into
    tensor: int = free(default=1, first_runs=1, at_least=1)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    steps: int = learned(at_least=1)
    # A run, or one of its checkpoints, whose parameters this one begins with; None = parameters drawn at random
    init_from: str | None = presence(default=None, since=None)
    # A checkpoint of another run's stable part, whose whole state this run takes over to decay; None = its own start
    branch_from: str | None = presence(default=None, since=None)
    log_every: int = free(default=10, at_least=1)
    checkpoint_every: int = free(default=1000, at_least=1)  # steps; the last step and a stop are saved too
    # A save is also due when so many minutes have passed since the last one; None = off
    checkpoint_minutes: float | None = free(default=30.0, first_runs=None, positive=True)
    checkpoint_keep: int = free(default=3, at_least=1)  # how many of the newest checkpoints are kept
    checkpoint_keep_every: int | None = free(default=None, first_runs=None)  # multiples that are kept for ever
    # One replica of the mesh reads the checkpoint that a run goes on from, and sends it to the others; False = each reads it
    restore_one_replica: bool = free(default=False, first_runs=False)
    # What follows a step whose loss or gradients are not finite, or spike; such a step is never applied
    bad_step: Literal["skip", "halt"] = free(default="skip", first_runs="skip")
    # Parts of a batch that are computed one after the other, with the memory of one part
    accumulate: int = free(default=1, first_runs=1, at_least=1)
    # Most rows that a device computes at a time: where a job has fewer devices than before, accumulate is raised until it
    # holds, so that the same global batch fits. None = no bound
    rows_at_once: int | None = free(default=None, first_runs=None, at_least=1)
    offload_moments: bool = free(default=False, first_runs=False)  # keep the optimizer's moments in host memory
    # Operands of the products with the layers' matrices: "plain" = in model.compute_dtype, others rounded to 8 bits
    # (`lst_jax.model.eight_bits`). Of training alone: evaluation, generation and conversions are plain
    matmul: Literal["plain", "int8", "fp8"] = learned(default="plain", since="plain")
    # XLA options of the step, "NAME=VALUE NAME=VALUE"; None = those of the chip (`lst_jax.cost.accelerators`)
    compiler_options: str | None = free(default=None, first_runs=None)
    # Where compiled programs are kept for later starts: "run" = in the run's own place, or where JAX_COMPILATION_CACHE_DIR
    # says; another folder or gs:// address, which runs may share; None = nowhere
    compilation_cache: str | None = free(default="run", first_runs="run")
    # The first and the last step of a profile, "100:103"; None = none. The signal SIGUSR2 profiles the next three steps
    profile_steps: str | None = free(default=None, first_runs=None)
    # A process whose loop stands still for so many minutes, and for so many times its median step, says where it stands
    # and ends with code 42. The first step, an evaluation and a save may each take 12 times as long. None = never
    hang_minutes: float | None = free(default=10.0, first_runs=10.0, positive=True)
    hang_factor: float = free(default=20.0, first_runs=20.0, at_least=2)
    # Services beside TensorBoard that get every record, by the names of `lst_jax.runs.trackers`: "wandb mlflow"; "" = none
    trackers: str = free(default="", first_runs="")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run."""

    name: str = learned()
    seed: int = learned(default=0, at_least=0, at_most=2**63 - 1)
    vocab: VocabConfig = part()
    model: ModelConfig = part()
    data: DataConfig = part()
    optim: OptimConfig = part()
    eval: EvalConfig = part()
    train: TrainConfig = part()
    mesh: MeshConfig = part(default=MeshConfig(), first_runs={})

    @property
    def joint_vocab(self) -> Vocab:
        """The id layout that the sizes give."""
        return Vocab(self.vocab.text_size, self.vocab.unit_slots, self.vocab.bos_id, self.vocab.eos_id)


def from_mapping(mapping: dict[str, Any]) -> Config:
    """Builds a `Config` from a recipe's nested mappings; fields with a default may be absent.

    Raises: ConfigError where a key is unknown, a field without a default is missing, or a type is wrong.
    """
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
