"""`lst evaluate RUN --asr`, `--tts` and `--probe`: recognition, synthesis, and a look inside the model."""

import argparse
import json
from typing import Any

from lst_jax.checkpoints.trained_model import TrainedModel, load_trained_model
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.pipeline import open_source
from lst_jax.evals import adaptation, probe, probe_figures
from lst_jax.evals.answers import Greedy
from lst_jax.evals.recognisers.kind import Recogniser
from lst_jax.evals.recognisers.registry import DEFAULT, load_recogniser
from lst_jax.evals.records import store, text
from lst_jax.evals.records.probe import ProbeRecord
from lst_jax.evals.records.spoken import RecognitionRecord, SynthesisRecord
from lst_jax.evals.utterances import source_of, utterances_of
from lst_jax.generate.generator import Generator
from lst_jax.prepare.audio import wav_of
from lst_jax.prepare.speech_tokenizers.protocol import AudibleUnitTokenizer
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects

KEPT_SOUNDS = 3  # pieces of generated speech that are kept for the report


def run(args: argparse.Namespace) -> int:
    """Prints the numbers, and keeps a record of each evaluation in RUN/evaluations. Returns exit code 0."""
    if args.tts and not args.units:
        raise ConfigError("--tts: what is generated has to be heard; give --units FILE, the file that made the units")
    if args.items is not None and args.items < 1:
        raise ConfigError(f"--items {args.items}: must be at least 1; leave it out for all")
    recogniser = load_recogniser(args.recogniser or DEFAULT) if args.tts else None
    opened = load_trained_model(RunDirectory(args.run_dir), args.set, step=args.step)
    if args.asr:
        _recognise(opened, args)
    if recogniser is not None:
        _synthesise(opened, args, recogniser)
    if args.probe:
        _probe(opened, args)
    return 0


def _probe(opened: TrainedModel, args: argparse.Namespace) -> None:
    sources = (
        [args.probe_source]
        if args.probe_source
        else [s.name for s in opened.config.eval.sources if s.kind == "utterance"]
    )
    utterances = [u for source in sources for u in utterances_of(source, opened.config, args.items)]
    values, spoken, words = probe.probe(opened, utterances)
    _keep_and_print(opened, ProbeRecord.KIND, ", ".join(sources), values, args.json)
    pictures = probe_figures.write_all(values, spoken, words, opened.run.path / "pictures")
    if not args.json:
        print("\n".join(f"wrote {path}" for path in pictures))


def _recognise(opened: TrainedModel, args: argparse.Namespace) -> None:
    utterances = utterances_of(args.asr, opened.config, args.items)
    answering = Greedy(Generator(opened.config, opened.mesh, opened.params))
    values = adaptation.recognise(utterances, opened.config, answering)
    _keep_and_print(opened, RecognitionRecord.KIND, args.asr, values, args.json)


def _synthesise(opened: TrainedModel, args: argparse.Namespace, recogniser: Recogniser) -> None:
    unit_tokenizer = load_unit_tokenizer(args.units)
    if not isinstance(unit_tokenizer, AudibleUnitTokenizer):
        raise ConfigError(
            f"--units {args.units}: its units do not stand for sounds; give a file of lst prepare units-fit"
        )
    made_by = open_source(source_of(args.tts, opened.config), opened.config).metadata.codebook_fingerprint
    if made_by not in (None, unit_tokenizer.fingerprint):
        raise DataError(
            f"--units {args.units}: has the fingerprint {unit_tokenizer.fingerprint}, the units of "
            f"{args.tts} were made by {made_by}; give the file that made them"
        )

    def vocode(units):
        return unit_tokenizer.resynthesise(
            units[units < unit_tokenizer.codebook_size]
        )  # the model never saw others in training

    utterances = utterances_of(args.tts, opened.config, args.items)
    answering = Greedy(Generator(opened.config, opened.mesh, opened.params))
    values, audio = adaptation.synthesise(utterances, opened.config, answering, vocode, recogniser)
    sounds = opened.run.path / "sounds"
    for number, (utterance, sound) in enumerate(zip(utterances[:KEPT_SOUNDS], audio, strict=False)):
        if len(sound):
            name = f"generated_{number}_{utterance.id.replace('/', '_')}.wav"
            objects.write_bytes(sounds / name, wav_of(sound))
    _keep_and_print(opened, SynthesisRecord.KIND, args.tts, values, args.json)


def _keep_and_print(opened: TrainedModel, kind: str, source: str, values: dict[str, Any], as_json: bool) -> None:
    record = store.build(kind, {"step": opened.step, "source": source, **values})
    fields = store.write(opened.run.path, record)
    print(json.dumps(fields) if as_json else text.table(record.rows()))
