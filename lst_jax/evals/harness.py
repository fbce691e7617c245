"""Text tasks of lm-evaluation-harness on a run directory, through the one scorer; the optional extra `harness`.

    python -m lst_jax.evals.harness --model lst --model_args run=runs/mine --tasks hellaswag

All arguments are those of `lm_eval`. T→T only: BOS <t> context continuation. A context and its continuation are
tokenised together, as the harness does for other models. Where a piece spans their join, both are tokenised apart, so
that the continuation's own pieces are scored. A continuation that begins with a blank has the pieces that
`lst evaluate --tasks` takes. A context is cut at its left where both are longer than a training row.

Generated text has the blanks, and ends at the strings, that the harness's own model `hf` gives it: it is decoded by
itself, so that no blank stands in front, and the name of EOS ends it too.
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lst_jax.checkpoints.trained_model import TrainedModel, load_trained_model
from lst_jax.config import Config
from lst_jax.core.errors import DataError, UserError
from lst_jax.data.documents import Example, ExampleBuilder, Run
from lst_jax.data.patching import EachUnitRule
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.evals import scorer
from lst_jax.evals.answers import Greedy
from lst_jax.evals.scorer import Text
from lst_jax.generate.generator import Generator
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import objective, update

FRAME = 3  # tokens of a sequence beside its text: BOS, <t>, EOS
MAX_NEW_TOKENS = 256  # the harness's own default
LENGTHS = (
    "max_gen_toks",
    "max_new_tokens",
    "max_tokens",
    "max_completion_tokens",
)  # its names for it, the first one counts
ROUND = 64  # tokens that are generated before continuations are searched for their ends


def make_top_step(config: Config, model, mesh: Mesh, frames_V: np.ndarray | None = None):
    """Returns `(params, batch) -> (nll_BT in nats, top_BT)`, compiled.

    `top_BT` is the likeliest token of the vocabulary at the place of each target. `nll_BT` is that of
    `update.make_eval_step`. The output projection is computed twice.
    """

    def on_device(params, batch):
        hidden_BTE = model.hidden(params, batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)
        whole, chunk = model.whole_output(params), config.model.logits_chunk
        nll_BT, _ = objective.token_nll(lambda h: model.logits(whole, h), hidden_BTE, batch.target_BT, chunk)
        b, t, e = hidden_BTE.shape
        hidden_NBcE = jnp.pad(hidden_BTE, ((0, 0), (0, -t % chunk), (0, 0))).reshape(b, -1, chunk, e).swapaxes(0, 1)
        top_NBc = jax.lax.map(lambda h: jnp.argmax(model.logits(whole, h), axis=-1).astype(jnp.int32), hidden_NBcE)
        return nll_BT, top_NBc.swapaxes(0, 1).reshape(b, -1)[:, :t]

    def top_step(params, batch):
        specs, rows = sharding.parameter_specs(params), sharding.batch_sharding(mesh).spec
        return sharding.each_device(on_device, mesh, (specs, rows), (rows, rows))(params, batch)

    params = update.state_shape(config, model, mesh).params
    return jax.jit(
        top_step,
        in_shardings=(jax.tree.map(lambda x: x.sharding, params), sharding.batch_sharding(mesh)),
        out_shardings=sharding.replicated(mesh),
    )


def longest_answer(settings: Mapping[str, Any]) -> int:
    """The most tokens of an answer, by the names that the harness has for it.

    Example: {"max_tokens": 5, "max_gen_toks": 9} -> 9; {} -> 256
    """
    return int(next((settings[name] for name in LENGTHS if settings.get(name) is not None), MAX_NEW_TOKENS))


class RunTexts:
    """Likelihoods and greedy continuations of texts by a run; this class does not depend on the harness."""

    def __init__(self, opened: TrainedModel):
        """Opens the run's tokenizer. Raises: DataError where it is not there."""
        config = opened.config
        self._opened = opened
        self.builder = ExampleBuilder.of(config, open_tokenizer(config))
        self._scorer = scorer.Scorer(config, opened.mesh, make_top_step)
        self.limit = min(config.data.row_tokens, config.data.row_patches) - FRAME  # text tokens of a training row

    def loglikelihood(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Of each (context, continuation): nats of the continuation, negative, and whether it is the greedy one.

        Nothing at all is certain: of an empty continuation it is (0.0, True).
        Raises: DataError where a continuation has no pieces, as blanks alone have none.
        """
        return self._score_tokens([self._parted(*pair) for pair in pairs])

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """The log-likelihood in nats of each whole text, without EOS.

        A text that is longer than a training row is scored in windows of that length. Each window but the first has
        one token of context, the last of the window before.
        """
        windows, owner = [], []
        for number, text in enumerate(texts):
            token = self._encode(text)
            for start in range(0, len(token), self.limit - 1):
                windows.append((token[max(0, start - 1) : start], token[start : start + self.limit - 1]))
                owner.append(number)
        totals = [0.0] * len(texts)
        for number, (value, _) in zip(owner, self._score_tokens(windows), strict=True):
            totals[number] += value
        return totals

    def generate(self, asked: Sequence[tuple[str, Sequence[str], int]]) -> list[str]:
        """The greedy continuation of each (context, until, most): up to one of `until`, EOS, or `most` tokens of text.

        An empty string in `until` ends nothing.
        Generation is cached, `ROUND` tokens at a time; continuations that have ended are then left out.
        """
        eos = self.builder.tokenizer.id_to_piece(self.builder.vocab.eos_id)
        stops = [[stop for stop in (*until, eos) if stop] for _, until, _ in asked]
        lefts = [min(most, self.limit - 1) for _, _, most in asked]
        tokens = [self._encode(context)[left - self.limit :] for (context, *_), left in zip(asked, lefts, strict=True)]
        starts, open_ones = [len(token) for token in tokens], [i for i, left in enumerate(lefts) if left > 0]
        while open_ones:
            mosts = [min(lefts[i], ROUND) for i in open_ones]
            answers = self._greedy([self._prompt(tokens[i]) for i in open_ones], "text", mosts)
            for i, answer in zip(open_ones, answers, strict=True):
                tokens[i] = np.concatenate([tokens[i], answer])
                lefts[i] = lefts[i] - ROUND if len(answer) == ROUND else 0  # EOS has ended it
                if any(stop in self._text(tokens[i][starts[i] :]) for stop in stops[i]):
                    lefts[i] = 0
            open_ones = [i for i in open_ones if lefts[i] > 0]
        texts = [self._text(token[start:]) for token, start in zip(tokens, starts, strict=True)]
        return [
            text[: min([text.find(stop) for stop in ends if stop in text], default=len(text))]
            for text, ends in zip(texts, stops, strict=True)
        ]

    def _prompt(self, token: np.ndarray) -> Example:
        whole = self.builder.join([Run(self.builder.vocab.text_marker, token, None)])
        return whole.tail(0, len(whole.token) - 1)  # no EOS

    def _text(self, token: np.ndarray) -> str:
        return self.builder.tokenizer.decode(token.tolist())

    def _score_tokens(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[tuple[float, bool]]:
        asked = {
            i: scorer.candidate(
                self.builder, [Text("", prompt)] if len(prompt) else [], [Text("", response)], EachUnitRule()
            )
            for i, (prompt, response) in enumerate(pairs)
            if len(response)
        }
        found = [(0.0, True)] * len(pairs)
        if asked:
            (nats, top), _ = self._scorer.values(self._opened.params, list(asked.values()), 2, "log-likelihoods")
            for (i, one), own, likeliest in zip(asked.items(), nats, top, strict=True):
                here = one.scored("response")
                places = slice(here.start - 1, here.stop - 1)
                found[i] = (-float(own[places].sum()), bool((likeliest[places] == one.example.token[here]).all()))
        return found

    def _parted(self, context: str, continuation: str) -> tuple[np.ndarray, np.ndarray]:
        blanks = len(context) - len(context.rstrip())
        context, continuation = context[: len(context) - blanks], context[len(context) - blanks :] + continuation
        whole, prompt = self._encode(context + continuation), self._encode(context)
        first = len(prompt)
        if np.array_equal(whole[:first], prompt) and len(whole) > first:
            response = whole[first:]
        else:  # a piece spans the join, or there is nothing to score
            response = np.array(self.builder.tokenizer.encode_on(continuation), np.int32)
            whole = np.concatenate([prompt, response])
        if continuation and not len(response):
            raise DataError(f"log-likelihood: the continuation {continuation!r} has no pieces; leave the item out")
        room = max(0, self.limit - len(response))
        return whole[:first][max(0, first - room) :], response

    def _encode(self, text: str) -> np.ndarray:
        return np.array(self.builder.tokenizer.encode(text), np.int32)

    @functools.cached_property
    def _greedy(self) -> Greedy:
        return Greedy(Generator(self._opened.config, self._opened.mesh, self._opened.params))


def model_class():
    """The harness's model `lst`, registered. Raises: DataError where the harness is not installed."""
    try:
        from lm_eval.api.model import LM
        from lm_eval.api.registry import register_model
    except ModuleNotFoundError as error:
        raise DataError(
            "lm_eval: is an extra that is not installed; run pip install -e '.[harness]' in a clone"
        ) from error

    class LatentSpeechText(LM):
        """`--model lst --model_args run=RUN`; batches are those of the run, so that `batch_size` is not read."""

        def __init__(self, run: str, batch_size=None, max_batch_size=None, device=None):
            super().__init__()
            self.texts = RunTexts(load_trained_model(RunDirectory(run)))

        def loglikelihood(self, requests, disable_tqdm: bool = False):
            """See `RunTexts.loglikelihood`."""
            return self.texts.loglikelihood([request.args for request in requests])

        def loglikelihood_rolling(self, requests, disable_tqdm: bool = False):
            """See `RunTexts.rolling`."""
            return self.texts.rolling([request.args[0] for request in requests])

        def generate_until(self, requests, disable_tqdm: bool = False):
            """See `RunTexts.generate`; greedy whatever the temperature, which must be 0."""
            asked = []
            for request in requests:
                context, settings = request.args
                if settings.get("do_sample") or settings.get("temperature"):
                    raise DataError("generate_until: only greedy decoding; set do_sample to false and temperature to 0")
                until = settings.get("until") or []
                asked.append((context, [until] if isinstance(until, str) else until, longest_answer(settings)))
            return self.texts.generate(asked)

    return register_model("lst")(LatentSpeechText)


def main() -> int:
    """`lm_eval` with the model `lst`. Returns the exit code."""
    try:
        model_class()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except UserError as error:
        print(f"lst harness: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
