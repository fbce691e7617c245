"""Held-out evaluation of a set of parameters: likelihoods of each source, and completion choice."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jax.sharding import Mesh

from lst_jax import objective, step
from lst_jax.config import Config
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import PROMPTED
from lst_jax.data.packing import eval_batches, eval_label, pack_examples
from lst_jax.data.patching import inference_policy
from lst_jax.data.pipeline import open_source, open_tokenizer
from lst_jax.data.rows import Batch
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals import completion

MODES = {"utterance": ("speech", "interleaved"), "text": ("text",)}
# EOS counts as text and markers are their own kind: in a document of one modality only that one's figure says anything
KEPT = {"speech": ("loss", "bits_per_second_speech"), "text": ("loss", "bits_per_text_token"),
        "asr": ("loss", "bits_per_text_token"), "tts": ("loss", "bits_per_second_speech"),
        "interleaved": ("loss", "bits_per_second_speech", "bits_per_text_token", "bits_per_marker")}


def modes_of(kind: str, documents: str) -> tuple[str, ...]:
    """What a held-out source is evaluated as: in a run that adapts, utterances are what it adapts to."""
    return (documents,) if kind == "utterance" and documents in PROMPTED else MODES[kind]


class Evaluator:
    """Opens the held-out sources and compiles once; `run` may be called for any parameters of the model."""

    def __init__(self, config: Config, model, mesh: Mesh):
        """Raises: DataError where a held-out source is missing or does not fit the run."""
        self._config, self._mesh = config, mesh
        self._eval_step = step.make_eval_step(config, model, mesh, token_frames(config))
        self._policy = inference_policy(config.data.patching)
        self._sources = {s.name: (s, open_source(s, config)) for s in config.eval.sources}
        self._builder = ExampleBuilder.of(config, open_tokenizer(config))

    def run(self, params) -> dict[str, Any]:
        """Flat metrics: `heldout/SOURCE[-MODE]/...` and `completion/DIRECTION/...`; see the module `completion`."""
        values = {}
        for name, (source, _) in self._sources.items():
            for mode in modes_of(source.kind, self._config.data.documents):
                batches = (batch for batch, _ in eval_batches(source, self._config, self._policy,
                                                              self._config.eval.batches, mode))
                found, label = self._likelihood(params, batches), eval_label(name, mode)
                values |= {f"heldout/{label}/{key}": found[key] for key in KEPT[mode] if key in found}
        if self._config.eval.completion_items:
            values |= self._completion(params)
        return values

    def _likelihood(self, params, batches: Iterable[Batch]) -> dict[str, float]:
        totals: dict[str, float] = {}
        for batch in batches:
            _, sums = self._eval_step(params, step.put_whole_batch(batch, self._mesh))
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + float(value)
        return objective.summarize(totals, self._config.data.unit_rate)

    def _completion(self, params) -> dict[str, Any]:
        utterances = [record for source, records in self._sources.values() if source.kind == "utterance"
                      for record in records]
        values: dict[str, Any] = {}
        for direction in completion.DIRECTIONS:
            items = completion.make_items(utterances, self._builder, direction, self._policy,
                                          self._config.eval.completion_items)
            if not items:
                continue
            candidates = [c for item in items for c in item.candidates]
            nlls = self._response_nll(params, candidates)
            sums = [-float(n.sum()) for n in nlls]
            means = [-float(n.mean()) for n in nlls]
            values[f"completion/{direction}/items"] = len(items)
            for rule, scores in (("sum", sums), ("mean", means)):
                count, right = completion.choose(list(zip(scores[::2], scores[1::2], strict=True)))
                low, high = completion.wilson_interval(right, count)
                values |= {f"completion/{direction}/{rule}": right / count,
                           f"completion/{direction}/{rule}_low": low, f"completion/{direction}/{rule}_high": high}
        return values

    def _response_nll(self, params, candidates: list[completion.Candidate]) -> list[np.ndarray]:
        """Nats of each token of each response, in the order of `candidates`."""
        examples: list[Example] = [c.example for c in candidates]
        found: dict[int, np.ndarray] = {}
        for batch, _, places in pack_examples(examples, self._config):
            nll_BT = np.asarray(self._eval_step(params, step.put_whole_batch(batch, self._mesh))[0])
            for place in places:
                candidate = candidates[place.example]
                # position t scores token t + 1
                first = place.position + candidate.response_start - 1
                length = candidate.response_end - candidate.response_start
                found[place.example] = nll_BT[place.row, first:first + length]
        return [found[i] for i in range(len(candidates))]


def table(values: dict[str, Any]) -> str:
    """The metrics, one a line."""
    width = max(map(len, values))
    return "\n".join(f"{key:<{width}}  {value:.4f}" if isinstance(value, float) else f"{key:<{width}}  {value}"
                     for key, value in values.items())
