"""Held-out evaluation of parameters: likelihoods of each source, and completion choice."""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.config import Config
from lst_jax.core.directions import DIRECTIONS
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import PROMPTED
from lst_jax.data.packing import eval_batches, eval_label, pack_examples
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import open_source, open_tokenizer
from lst_jax.data.rows import Batch
from lst_jax.data.tasks import completion
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals import scorer, tasks
from lst_jax.evals.records import store
from lst_jax.evals.records.likelihood import LikelihoodRecord
from lst_jax.parallel import processes
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import objective, update

MODES = {"utterance": ("speech", "interleaved"), "text": ("text",)}
# EOS counts as text, and markers are a kind of their own. In a document of one modality only its own measure is of use.
MEASURES_BY_MODE = {
    "speech": ("loss", "bits_per_second_speech"),
    "text": ("loss", "bits_per_text_token"),
    "asr": ("loss", "bits_per_text_token"),
    "tts": ("loss", "bits_per_second_speech"),
    "interleaved": ("loss", "bits_per_second_speech", "bits_per_text_token", "bits_per_marker"),
}


def modes_of_source(kind: str, documents: str) -> tuple[str, ...]:
    """The kinds of document that a held-out source is evaluated as.

    A run of prompted documents (`asr`, `tts`) evaluates utterances as these documents only.
    """
    return (documents,) if kind == "utterance" and documents in PROMPTED else MODES[kind]


class Evaluator:
    """Opens the held-out sources and compiles once; `run` may be called for any parameters of the model."""

    def __init__(self, config: Config, model, mesh: Mesh):
        """Raises: DataError where a held-out source is missing or does not fit the run."""
        self._config, self._mesh = config, mesh
        self._eval_step = update.make_eval_step(config, model, mesh, token_frames(config))
        self._rule = strategy_of(config.data.patching).inference_rule
        self._sources = {s.name: (s, open_source(s, config)) for s in config.eval.sources}
        self._builder = ExampleBuilder.of(config, open_tokenizer(config))
        self.cut: dict[str, tuple[int, int]] = {}  # by direction: sequences of completion choice cut by `run`, and all

    def run(self, params) -> dict[str, Any]:
        """Flat metrics `heldout/SOURCE[-MODE]/...` and `completion/DIRECTION/...`; see `data.tasks.completion`."""
        values = {}
        for name, (source, _) in self._sources.items():
            for mode in modes_of_source(source.kind, self._config.data.documents):
                batches = (
                    batch
                    for batch, _ in eval_batches(source, self._config, self._rule, self._config.eval.batches, mode)
                )
                found, label = self._likelihood(params, batches), eval_label(name, mode)
                values |= {f"heldout/{label}/{key}": found[key] for key in MEASURES_BY_MODE[mode] if key in found}
        if self._config.eval.completion_items:
            values |= self._completion(params)
        return values

    def _likelihood(self, params, batches: Iterable[Batch]) -> dict[str, float]:
        totals: dict[str, float] = {}
        for batch in batches:
            _, sums = self._eval_step(params, update.put_whole_batch(batch, self._mesh))
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + float(value)
        return objective.summarize(totals, self._config.data.unit_rate)

    def text_figures(self, params) -> dict[str, float]:
        """`perplexity_per_text_token` and `bits_per_character` of each held-out source of texts.

        They cover the whole documents in the batches of `run`. EOS counts as a token, but not as a character. A
        document that a row cannot hold is left out, as the number of characters of a part is not known.
        """
        values = {}
        for name, (source, records) in self._sources.items():
            if source.kind != "text":
                continue
            nats, tokens, characters = 0.0, 0, 0
            packed = pack_examples((self._builder.text(record) for record in records), self._config)
            for _, (batch, _, places) in zip(range(self._config.eval.batches), packed, strict=False):
                nll_BT = np.asarray(self._eval_step(params, update.put_whole_batch(batch, self._mesh))[0])
                for place in places:
                    text = records[place.example].text
                    length = len(self._builder.text(records[place.example]).token)
                    here = slice(place.position, place.position + length)
                    if (
                        length <= len(batch.token_BT[0])
                        and (batch.doc_id_BT[place.row, here] == batch.doc_id_BT[place.row, place.position]).all()
                    ):
                        nats += float(nll_BT[place.row, here][1:-1].sum())  # behind BOS and <t>
                        tokens, characters = tokens + length - 2, characters + len(text)
            if characters:
                values |= {
                    f"heldout/{name}/perplexity_per_text_token": math.exp(nats / tokens),
                    f"heldout/{name}/bits_per_character": nats / objective.LN2 / characters,
                }
        return values

    def _completion(self, params) -> dict[str, Any]:
        """Accuracies of completion choice by sum and by mean per token; a response is cut to what a row holds."""
        utterances = [
            record for source, records in self._sources.values() if source.kind == "utterance" for record in records
        ]
        values: dict[str, Any] = {}
        for direction in tasks.DIRECTIONS:
            whole = [
                (item, tasks.candidates(item, direction, self._builder, self._rule, "restart"))
                for item in completion.make_items(utterances, self._config.eval.completion_items)
            ]
            kept = [(item, [scorer.shortened(self._config, one) for one in own]) for item, own in whole]
            sequences = [one for _, own in whole for one in own]
            long = sum(not scorer.fits(self._config, one.example) for one in sequences)
            self.cut[direction] = long, len(sequences)
            asked = [(item, own) for item, own in kept if all(own)]
            if not asked:
                continue
            items, candidates = [item for item, _ in asked], [c for _, own in asked for c in own]
            (nats,), _ = scorer.packed_values(self._eval_step, params, candidates, self._config, self._mesh)
            found = tasks.judge(
                items, tasks.amounts(items, candidates, nats, self._builder, self._config.data.unit_rate, "response")
            )
            values[f"completion/{direction}/items"] = len(items)
            for name, rule in (("sum", "sum"), ("mean", "per_token")):
                share = found["rules"][rule]
                values |= {
                    f"completion/{direction}/{name}": share["accuracy"],
                    f"completion/{direction}/{name}_low": share["low"],
                    f"completion/{direction}/{name}_high": share["high"],
                }
        return values


def table(values: dict[str, Any]) -> str:
    """The metrics, one on each line."""
    width = max(map(len, values))
    return "\n".join(
        f"{key:<{width}}  {value:.4f}" if isinstance(value, float) else f"{key:<{width}}  {value}"
        for key, value in values.items()
    )


def evaluate_run(run: RunDirectory, as_json: bool, mesh_changes: Sequence[str] = (), step: int | None = None) -> int:
    """Evaluates a checkpoint of a run, prints the numbers and keeps them in RUN/evaluations.

    Args: `mesh_changes` and `step` as in `load_trained_model`.
    """
    found = load_trained_model(run, mesh_changes, step=step)
    heldout = Evaluator(found.config, found.model, found.mesh)
    values = {**heldout.run(found.params), **heldout.text_figures(found.params)}
    finite = {key: float(value) if math.isfinite(value) else None for key, value in values.items()}
    if processes.is_leader():
        for direction, (cut, sequences) in heldout.cut.items():
            if cut:
                print(
                    f"completion choice {DIRECTIONS[direction]}: {cut} of {sequences} sequences are longer than a "
                    "training row and were cut to it; lst evaluate --tasks completion scores them whole",
                    file=sys.stderr,
                )
        store.write(run.path, store.build(LikelihoodRecord.KIND, {"step": found.step, "values": finite}))
        values = {"step": found.step, **values}
        print(json.dumps(values) if as_json else table(values))
    return 0
