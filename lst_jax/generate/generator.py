"""Generates text and speech after prompts, with the newest checkpoint of a run.

    generator = Generator.open(RunDirectory("runs/demo"))
    prompt = generator.prompt(["please enter"], "speech")
    found = generator.generate([prompt] * 4, "speech", Sampling(top_p=0.9), seeds=range(4), max_seconds=3)
    found[0].units, found[0].text, found[0].stopped

The result of a row depends on its prompt, its seed and the sampling, not on other rows of the batch. Where a prompt
ends in speech, the generated units continue its last patch.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.config import Config
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.vocab import Vocab
from lst_jax.data.documents import Example, ExampleBuilder, Run
from lst_jax.data.interleave import Span
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.data.records import Utterance
from lst_jax.data.shards import METADATA_NAME, Metadata, read_metadata
from lst_jax.data.unit_pieces import token_frames
from lst_jax.generate import loop
from lst_jax.generate.sampling import Numbers, Sampling, allowed_ids, sample, state_of
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import CachedModel, cached_model, matrices_in_compute_dtype
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

TILE = 64  # lengths are rounded up to multiples of it, so that one executable serves many lengths
MAX_TEXT_TOKENS, MAX_SECONDS = 256, 10.0  # where no limit is given
MOST_TOKENS = 2**17  # of one continuation, 87 minutes at 25 Hz: the caches have a slot for each of them


@dataclasses.dataclass(frozen=True, eq=False)
class Generated:
    """What followed one prompt. `runs` are in order, each ("text", str) or ("speech", units uint16 [frames])."""

    seed: int
    token: np.ndarray  # int32 [n] in the joint vocabulary, with EOS
    runs: tuple[tuple[str, Any], ...]
    stopped: str  # "eos", "seconds" or "tokens"
    log_likelihood: float  # nats of all tokens, under the softmax over the whole vocabulary

    @property
    def text(self) -> str:
        """All text."""
        return " ".join(content for modality, content in self.runs if modality == "text")

    @property
    def units(self) -> np.ndarray:
        """All speech units, uint16 [frames]."""
        return np.concatenate([np.zeros(0, np.uint16), *(c for modality, c in self.runs if modality == "speech")])


class Settings(NamedTuple):
    """What a program is compiled for, besides the number of rows and the length of prompts."""

    prompt_patches: int  # at least the patches of each prompt
    slots: int  # at least the patches of each whole row
    room: int  # at least the tokens to generate
    filters: bool


class Generator:
    """A model with its parameters on a mesh, vocabulary and tokenizers; it compiles once for each shape of a batch."""

    def __init__(self, config: Config, mesh: Mesh, params: Any, free: bool = False):
        """Takes parameters as they lie on a mesh; `free` as in `matrices_in_compute_dtype`.

        Raises: ConfigError or DataError where the run cannot generate.
        """
        strategy = strategy_of(config.data.patching)
        self.rule = strategy.inference_rule
        if self.rule.fixed_size is None:
            raise ConfigError(
                f"data.patching.strategy={strategy.name}: words that are not there yet have no "
                "alignment; generate with a static, mixed or curriculum run"
            )
        self.config, self.mesh, self.vocab = config, mesh, config.joint_vocab
        model = build(config.model, self.vocab, config.data.row_patches, placement=sharding.placement_for_steps(mesh))
        self.decoder = cached_model(model, self.rule.fixed_size, self.rule.takes_marker)
        self.params = matrices_in_compute_dtype(model, params, free)
        self.builder = ExampleBuilder.of(config, open_tokenizer(config))
        self.metadata = speech_metadata(config)
        frames_V = token_frames(config)
        self._frames_V = (
            np.asarray(self.vocab.is_speech(np.arange(self.vocab.size)), np.float32) if frames_V is None else frames_V
        )

    @classmethod
    def open(cls, run: RunDirectory, mesh_changes: Sequence[str] = (), step: int | None = None) -> "Generator":
        """Opens a checkpoint of a run; `mesh_changes` and `step` as in `load_trained_model`.

        Raises: ConfigError, CheckpointError, DataError.
        """
        found = load_trained_model(run, mesh_changes, step=step)
        return cls(found.config, found.mesh, found.params, free=True)

    @property
    def units_in_use(self) -> int:
        """How many speech ids are in use: unit pieces, or units of the codebook where its size is known."""
        if self.builder.pieces is not None:
            return len(self.builder.pieces)
        return self.vocab.unit_slots if self.metadata is None else self.metadata.codebook_size

    def prompt(self, parts: Sequence[str | np.ndarray], output: str) -> Example:
        """A prompt as in training: BOS, texts and runs of speech units, then the marker of `output` unless it was the last.

        Raises: DataError where a part is empty, or has units that the run does not know.
        """
        runs = [self._run(part, bool(number)) for number, part in enumerate(parts)]
        none = np.zeros(0, np.int32)
        marker = {"text": self.vocab.text_marker, "speech": self.vocab.speech_marker}.get(output)
        if marker is not None and (not runs or runs[-1].marker != marker):
            is_speech = marker == self.vocab.speech_marker
            runs.append(self._speech(none) if is_speech else Run(marker, none, None))
        example = self.builder.join(self.builder.spaced(runs))
        return example.tail(0, len(example.token) - 1)

    def _run(self, part: str | np.ndarray, behind: bool) -> Run:
        if not len(part):
            raise DataError("prompt: is empty; give words or units, or leave the prompt out")
        if isinstance(part, str):
            return self.builder.text_run(part, behind)
        if not 0 <= part.min() <= part.max() < self.builder.codebook_size:
            raise DataError(
                f"prompt: units {part.min()}..{part.max()} are outside the run's codebook of "
                f"{self.builder.codebook_size}; use the units that it was trained on"
            )
        return self._speech(part)

    def _speech(self, units: np.ndarray) -> Run:
        return self.builder.run(
            Utterance("prompt", units.astype(np.uint16), (), None, None), Span("speech", 0, 0, 0, len(units)), self.rule
        )

    def generate(
        self,
        prompts: Sequence[Example],
        output: str,
        sampling: Sampling,
        seeds: Sequence[int],
        max_tokens: int | None = None,
        max_seconds: float | None = None,
    ) -> list[Generated]:
        """Continues each prompt until EOS or a limit, all in one batch, with one seed per prompt.

        On a mesh, the last prompt is repeated until the parts of the mesh divide the rows.

        Args:
            output: "text", "speech" or "free" (`sampling.allowed_ids`).
            max_tokens: markers and EOS count too. None: 256 tokens of text, and the frames of `max_seconds`.
            max_seconds: of speech. None: 10 seconds, or no limit where `max_tokens` is given or the output is text.
        """
        tokens, frames = self._limits(output, max_tokens, max_seconds)
        allowed_CV = allowed_ids(self.vocab, output, self.units_in_use, self.builder.tokenizer.special_ids())
        more = -len(prompts) % sharding.row_parts(self.mesh)
        rows = self.rows([*prompts, *[prompts[-1]] * more])
        count = len(prompts) + more
        settings = self.settings(rows, output, tokens, sampling.filters)
        limits = loop.Limits(np.full(count, tokens, np.int32), np.full(count, frames, np.float32), self._frames_V)
        found, nats_B, _ = jax.device_get(
            continue_rows(
                self.decoder,
                self.mesh,
                self.vocab,
                settings,
                self.params,
                rows,
                limits,
                np.pad(np.asarray(seeds, np.uint32), (0, more)),
                allowed_CV,
                Numbers(sampling.temperature, sampling.top_k, sampling.top_p),
            )
        )
        return [
            self._generated(
                prompt,
                int(seed),
                found.tokens_BN[i, : found.number_B[i]],
                float(found.frames_B[i]),
                frames,
                float(nats_B[i]),
            )
            for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
        ]

    def rows(self, prompts: Sequence[Example]) -> tuple[np.ndarray, ...]:
        """The arguments of the model: one prompt per row, padded at its end to a multiple of `TILE`."""
        length = _tiled(max(len(p.token) for p in prompts))
        rows = tuple(np.zeros((len(prompts), length), kind) for kind in (np.int32, np.int32, bool, bool))
        for i, prompt in enumerate(prompts):
            for row_BT, values in zip(rows, (prompt.token, 1, prompt.patch_start, prompt.patch_end), strict=True):
                row_BT[i, : len(prompt.token)] = values
        return rows

    def settings(self, rows: tuple[np.ndarray, ...], output: str, tokens: int, filters: bool) -> Settings:
        """Cache sizes for the prompts plus `tokens` new tokens: one slot per patch for speech alone, else one per token."""
        first_of_patch_BT = rows[2] if self.decoder.model.patches_speech else rows[1]
        patches, room = _tiled(int(first_of_patch_BT.sum(1).max())), _tiled(tokens)
        patch = self.decoder.patch_units if output == "speech" else 1
        return Settings(patches, patches + -(-room // patch) + 1, room, filters)

    def _limits(self, output: str, max_tokens: int | None, max_seconds: float | None) -> tuple[int, float]:
        """The limits in tokens, and in frames of speech."""
        for name, value in (("max_tokens", max_tokens), ("max_seconds", max_seconds)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name}={value}: must be above 0 and finite; leave it out for the default")
            most = MOST_TOKENS if name == "max_tokens" else MOST_TOKENS / self.config.data.unit_rate
            if value is not None and value > most:
                raise ConfigError(f"{name}={value}: must be at most {most:g}; use less")
        if max_seconds is None:
            max_seconds = math.inf if max_tokens is not None or output == "text" else MAX_SECONDS
        frames = max(1.0, max_seconds * self.config.data.unit_rate)
        if max_tokens is None:
            text = 0 if output == "speech" else MAX_TEXT_TOKENS
            max_tokens = text + (0 if frames == math.inf else math.ceil(frames))
        return max_tokens, frames

    def _generated(self, prompt: Example, seed: int, token, frames: float, most: float, nats: float) -> Generated:
        stopped = "eos" if token[-1] == self.vocab.eos_id else "seconds" if frames >= most else "tokens"
        runs, left = [], most
        for speech, ids in _runs_of(self.vocab, int(prompt.token[-1]), token):
            if not speech:
                runs.append(("text", self.builder.tokenizer.decode(ids.tolist())))
                continue
            pieces = self.builder.pieces
            units = ids - self.vocab.unit_offset
            units = units.astype(np.uint16) if pieces is None else pieces.decode(units)
            units = units[: int(min(left, len(units)))]  # the last unit piece may be longer than what is left
            left -= len(units)
            runs.append(("speech", units))
        return Generated(seed, token, tuple(runs), stopped, nats)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def continue_rows(
    decoder: CachedModel,
    mesh: Mesh,
    vocab: Vocab,
    settings: Settings,
    params: Any,
    prompt,
    limits: loop.Limits,
    seed_B,
    allowed_CV,
    numbers: Numbers,
):
    """Reads the prompts and continues each. Returns the rows, nats of the new tokens [B], and the number of global steps.

    Each device continues its own rows, with its heads of the caches.
    """

    def on_device(params, prompt, limits, seed_B, allowed_CV, numbers):
        params = decoder.model.whole_output(params)
        local, main = decoder.prefill(params, *prompt, settings.prompt_patches, settings.slots)
        rows = loop.start(*prompt, decoder.patch_units, settings.room)
        keys_B = jax.vmap(jax.random.key)(seed_B)

        def choose(nats_B, logits_BV, rows, on_B):
            may_BV = jnp.asarray(allowed_CV)[state_of(vocab, rows.token_B)]
            keys = jax.vmap(jax.random.fold_in)(keys_B, rows.number_B)
            token_B = sample(jnp.where(may_BV, logits_BV, -jnp.inf), keys, numbers, settings.filters)
            chosen_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), token_B[:, None], -1)[:, 0]
            return token_B, nats_B + jnp.where(on_B, chosen_B, 0)

        return loop.run(decoder, vocab, params, local, main, rows, limits, choose, jnp.zeros(len(seed_B)))

    split, whole = sharding.batch_sharding(mesh).spec, sharding.replicated(mesh).spec
    specs = sharding.parameter_specs(params), split, loop.Limits(split, split, whole), split, whole, whole
    return sharding.each_device(on_device, mesh, specs, (split, split, whole))(
        params, prompt, limits, seed_B, allowed_CV, numbers
    )


def speech_metadata(config: Config) -> Metadata | None:
    """The metadata of the run's first source of utterances that still exists and knows its codebook."""
    for source in config.data.sources:
        if source.kind == "utterance" and objects.exists(to_place(source.path) / METADATA_NAME):
            found = read_metadata(source.path)
            if found.codebook_size is not None:
                return found
    return None


def _runs_of(vocab: Vocab, before: int, token: np.ndarray) -> list[tuple[bool, np.ndarray]]:
    """(is speech, ids) of each run, without markers and EOS; the first run may continue the last one of the prompt."""
    edges = np.flatnonzero((token == vocab.text_marker) | (token == vocab.speech_marker))
    parts = np.split(token, edges)
    speech = [before >= vocab.speech_marker, *(token[edges] == vocab.speech_marker)]
    parts[1:] = [part[1:] for part in parts[1:]]
    runs = [(bool(is_speech), part[part != vocab.eos_id]) for is_speech, part in zip(speech, parts, strict=True)]
    return [(is_speech, ids) for is_speech, ids in runs if len(ids)]


def _tiled(length: int) -> int:
    return -(-length // TILE) * TILE
