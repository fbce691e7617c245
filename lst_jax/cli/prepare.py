"""The arguments and the actions of `lst prepare` and `lst inspect`."""

import argparse
import importlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import registry as tasks
from lst_jax.data.unit_pieces import UnitPieces
from lst_jax.prepare import (
    aligners,
    audio,
    inspect,
    made,
    manifest,
    picture,
    pronounce,
    run,
    spoken_task,
    unit_tokenizer,
    units,
    utterances,
)
from lst_jax.prepare.engines import engine, processes
from lst_jax.prepare.synthesis import synthesise


def add_arguments(subparsers) -> None:
    """Registers both commands on what `ArgumentParser.add_subparsers` returned; each sets `run`: args → exit code."""
    prepare = subparsers.add_parser(
        "prepare",
        help="make records from recordings and texts",
        description="Makes directories of records from recordings with transcripts, or "
        "from texts. Any of it can be interrupted and run again.",
    )
    parts = prepare.add_subparsers(dest="part", required=True, metavar="PART", parser_class=_Parser)
    fit = _part(parts, "units-fit", _units_fit, "fit the embedded speech-unit tokenizer (k-means over log-mel spectra)")
    _manifest_argument(fit)
    fit.add_argument("--out", required=True, help="file to write (.safetensors)")
    fit.add_argument("--k", type=int, default=500, help="entries of the codebook (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="of the choice of recordings and of k-means++")
    fit.add_argument("--max-frames", type=int, default=run.FIT_FRAMES, help="frames to look at (default: %(default)s)")
    _workers_argument(fit)
    fit.add_argument("--overwrite", action="store_true", help="replace the file")

    convert = parts.add_parser(
        "units-convert",
        help="give a HuBERT or wav2vec2 model the k-means or linear layer that makes its units",
        description="Writes units.safetensors into a "
        "model's directory, from k-means centroids or a linear quantizer of other programs.",
    )
    convert.fill = lambda: importlib.import_module("lst_jax.prepare.acoustic.convert").add_arguments(convert)

    speech = _part(parts, "speech", _speech, "make utterance records: speech units and aligned words")
    _manifest_argument(speech)
    speech.add_argument(
        "--units",
        required=True,
        metavar="PATH",
        help="unit tokenizer (.safetensors) made by units-fit, or the directory of a HuBERT or "
        "wav2vec2 model with units.safetensors, made by units-convert",
    )
    speech.add_argument(
        "--aligner",
        default=aligners.EMBEDDED,
        metavar="SPEC",
        help=f"{aligners.EMBEDDED} (the default), the directory of a HuBERT or wav2vec2 model with a CTC "
        f"head, or words from files: {', '.join(f'{name}:PATH' for name in aligners.FILE_FORMATS)}",
    )
    speech.add_argument(
        "--pronunciations",
        metavar="FILE",
        help="lines of a word and its phones, for words the aligner's dictionary lacks",
    )
    speech.add_argument(
        "--least-score",
        type=float,
        help="reject alignments below this mean log-likelihood a frame, of a model a character "
        f"(default: {aligners.LEAST_SCORE} for {aligners.EMBEDDED}, none for models)",
    )
    speech.add_argument("--source", help="name of the corpus, written into every record")
    _workers_argument(speech)
    _directory_arguments(speech)
    _engine_arguments(speech)

    text = _part(parts, "text", _text, "make text records")
    _manifest_argument(text)
    _directory_arguments(text)
    _engine_arguments(text)

    tokenizer = _part(parts, "tokenizer", _tokenizer, "train a SentencePiece tokenizer on texts or transcripts")
    _manifest_argument(tokenizer)
    tokenizer.add_argument("--out", required=True, help="file to write (.model)")
    tokenizer.add_argument("--size", type=int, required=True, help="pieces, the config's vocab.text_size")
    tokenizer.add_argument("--overwrite", action="store_true", help="replace the file")
    _add_unit_tokenizer(parts)
    _add_synthesise(parts)
    _add_spoken_task(parts)
    _add_inspect(subparsers)


def _add_unit_tokenizer(parts) -> None:
    tokenizer = _part(
        parts,
        "unit-tokenizer",
        _unit_tokenizer,
        "train a SentencePiece BPE model over the speech units of records, for a run's data.unit_tokenizer",
    )
    tokenizer.add_argument(
        "--data",
        required=True,
        action="append",
        metavar="DIR",
        help="directory of utterance records; may be given several times",
    )
    tokenizer.add_argument(
        "--size",
        type=int,
        default=unit_tokenizer.SIZE,
        help="pieces, every unit among them; the config's vocab.unit_slots (default: %(default)s)",
    )
    tokenizer.add_argument(
        "--sequences",
        type=int,
        default=unit_tokenizer.SEQUENCES,
        help="utterances to train on at most, drawn by --seed (default: %(default)s)",
    )
    tokenizer.add_argument("--seed", type=int, default=0, help="of the choice of utterances (default: %(default)s)")
    tokenizer.add_argument("--out", required=True, help="file to write (.model)")
    tokenizer.add_argument("--overwrite", action="store_true", help="replace the file")


def _add_synthesise(parts) -> None:
    speak = _part(
        parts,
        "synthesise",
        _synthesise,
        "make recordings with word times from texts: audio, a manifest and a CTM file for `lst prepare speech`",
    )
    _manifest_argument(speak)
    speak.add_argument("--out", required=True, metavar="DIR", help="directory to make, or to finish")
    speak.add_argument(
        "--synthesiser",
        default="espeak",
        metavar="NAME[:ARGUMENT]",
        help=f"one of {', '.join(sorted(synthesise.SYNTHESISERS))}, the last as kokoro:DIR (default: %(default)s)",
    )
    speak.add_argument(
        "--voice",
        action="append",
        metavar="VOICE",
        help="voice of the synthesiser, such as en-us, en-gb or en-us+f3; of several, each utterance "
        "has one drawn by its id; may be given several times",
    )
    speak.add_argument(
        "--words-min",
        type=int,
        default=utterances.WORDS_MIN,
        help="words that a document is cut to at least (default: %(default)s)",
    )
    speak.add_argument(
        "--words-max",
        type=int,
        default=utterances.WORDS_MAX,
        help="documents with more words are cut, where a sentence or a phrase ends if one does (default: %(default)s)",
    )
    _workers_argument(speak)
    speak.add_argument("--overwrite", action="store_true", help="replace what an earlier run made there")


def _add_spoken_task(parts) -> None:
    task = _part(
        parts,
        "spoken-task",
        _spoken_task,
        "speak the prompts and choices of a benchmark, or take their "
        "audio, and make units: JSON lines for `lst evaluate --tasks`",
    )
    task.add_argument(
        "--task",
        required=True,
        metavar="NAME=PATH",
        help="JSON lines, or the file of hellaswag, storycloze, topicstorycloze, swuggy or sblimp: "
        "docs/formats_external.md",
    )
    task.add_argument("--units", required=True, metavar="PATH", help="unit tokenizer of the run, as of `speech`")
    task.add_argument("--out", required=True, metavar="DIR", help="directory to make, or to finish; has task.jsonl")
    task.add_argument(
        "--synthesiser",
        metavar="NAME[:ARGUMENT]",
        help=f"one of {', '.join(sorted(synthesise.SYNTHESISERS))}, the last as kokoro:DIR (default: espeak)",
    )
    task.add_argument(
        "--voice",
        action="append",
        metavar="VOICE",
        help="as of `synthesise`; of several, each item has one drawn by its id",
    )
    task.add_argument("--audio", metavar="DIR", help="someone else's audio instead: a file for each prompt and choice")
    task.add_argument("--aligner", metavar="SPEC", help="of that audio, as of `speech` (default: words have no times)")
    _workers_argument(task)
    task.add_argument("--overwrite", action="store_true", help="replace what an earlier run made there")


def _add_inspect(subparsers) -> None:
    look = _part(subparsers, "inspect", _inspect, "show what a directory of records holds")
    look.add_argument("directory", help="a directory that `lst prepare` made")
    look.add_argument("--verify", action="store_true", help="recompute every checksum and check every record")
    look.add_argument("--json", action="store_true", help="print the numbers as JSON")
    look.add_argument(
        "--static-size", type=int, default=inspect.STATIC_SIZE, help="p of static patches (default: %(default)s)"
    )
    look.add_argument("--unit-tokenizer", metavar="FILE", help="say how many frames its pieces stand for here (.model)")
    look.add_argument("--picture", metavar="ID", help="draw the utterance with this id")
    look.add_argument("--out", metavar="PNG", help="where to draw it (default: ID.png)")
    look.add_argument("--audio", metavar="MANIFEST", help="manifest or tree that has its recording, to draw its sound")
    look.add_argument("--units", metavar="FILE", help="its unit tokenizer, to draw what the units stand for")
    look.add_argument("--wav", metavar="WAV", help="write what the units sound like (with --picture and --units)")


class _Parser(argparse.ArgumentParser):
    """A parser that can get its arguments when it is used, for those whose module takes seconds to import (JAX)."""

    fill: Callable[[], None] | None = None

    def parse_known_args(self, args=None, namespace=None):
        """See the class."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill()
        return super().parse_known_args(args, namespace)


def _part(subparsers, name: str, action: Callable[[argparse.Namespace], int], what: str) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.set_defaults(run=action)
    return parser


def _manifest_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--manifest",
        required=True,
        action="append",
        metavar="PATH",
        help="JSON lines {audio, text[, id, speaker]} or {text[, id]}, a LibriSpeech-style tree, or "
        ".txt with a document a line; may be given several times",
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only lines whose field has this value, such as split=train",
    )


def _workers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=processes.cores(),
        help="processes; the result does not depend on it; models have one (default: %(default)s, the cores)",
    )


def _directory_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to make, or to finish")
    parser.add_argument(
        "--shard-records", type=int, default=run.SHARD_RECORDS, help="items a shard (default: %(default)s)"
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=run.MAX_REJECTED,
        metavar="SHARE",
        help="end with an error where more than this share is rejected (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run made there")


def _engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("local", "beam"),
        default="local",
        help="local: processes of this machine; beam: Apache Beam with workers of its own, a shard at "
        "a time; the result is the same (default: %(default)s)",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="option of the Beam pipeline, such as runner=FlinkRunner (default runner: DirectRunner, "
        "which is this machine); may be given several times",
    )


def _engine(args: argparse.Namespace, workers: int) -> engine.Engine:
    if args.engine == "local":
        if args.beam_option:
            raise DataError(f"--beam-option {args.beam_option[0]}: is for --engine beam; add it, or leave this out")
        return engine.Local(workers)
    options = {}
    for rule in args.beam_option:
        name, equals, value = rule.lstrip("-").partition("=")
        if not name:
            raise DataError(f"--beam-option {rule}: must be NAME or NAME=VALUE; write for example runner=FlinkRunner")
        options[name] = value if equals else None
    return engine.load_beam(options)


def _where(args: argparse.Namespace) -> dict[str, str]:
    where = {}
    for rule in args.where:
        field, equals, value = rule.partition("=")
        if not (field and equals):
            raise DataError(f"--where {rule}: must be FIELD=VALUE; write for example --where split=train")
        where[field] = value
    return where


def _items(args: argparse.Namespace) -> list[manifest.Item]:
    where, items = _where(args), []
    for path in args.manifest:
        items.extend(manifest.read_items(path, where))
    return manifest.unique(items, ", ".join(args.manifest))


def _workers(args: argparse.Namespace) -> int:
    if args.workers < 1:
        raise DataError(f"--workers {args.workers}: must be at least 1; use {processes.cores()}")
    return args.workers


def _units_fit(args: argparse.Namespace) -> int:
    items = _items(args)
    if not made.begin(args.out, run.fit_identity(items, args.k, args.seed, args.max_frames), args.overwrite):
        print(f"{args.out}: was made from the same recordings and settings; nothing to do")
        return 0
    tokenizer, frames, rejected = run.fit_units(
        items, args.out, args.k, args.seed, _workers(args), args.max_frames, args.overwrite, progress=True
    )
    print(
        f"{args.out}: {tokenizer.codebook_size} units at {tokenizer.unit_rate:g} Hz from {frames} frames, "
        f"fingerprint {tokenizer.fingerprint}, {len(rejected)} recordings rejected"
    )
    for rejection in rejected:
        print(f"rejected {rejection.id}: {rejection.reason}: {rejection.message}", file=sys.stderr)
    return 0


def _speech(args: argparse.Namespace) -> int:
    pronunciations = pronounce.read_pronunciations(args.pronunciations) if args.pronunciations else None
    aligner = aligners.load_aligner(args.aligner, args.least_score, pronunciations)
    engine = _engine(args, _workers(args))
    report = run.prepare_speech(
        _items(args),
        args.out,
        args.units,
        aligner,
        engine,
        args.shard_records,
        args.source,
        args.overwrite,
        args.max_rejected,
        progress=True,
    )
    print(report.line())
    return 0


def _text(args: argparse.Namespace) -> int:
    report = run.prepare_text(
        args.manifest,
        args.out,
        _where(args),
        _engine(args, workers=1),
        args.shard_records,
        args.overwrite,
        args.max_rejected,
        progress=True,
    )
    print(report.line())
    return 0


def _tokenizer(args: argparse.Namespace) -> int:
    where = _where(args)

    def texts() -> Iterator[str]:
        return (text for path in args.manifest for text in manifest.iter_texts(path, where))

    if not made.begin(args.out, {"size": args.size, "texts": run.digest(texts())}, args.overwrite):
        print(f"{args.out}: was made from the same texts and settings; nothing to do")
        return 0
    run.train_text_tokenizer(texts(), args.out, args.size, args.overwrite)
    print(f"{args.out}: {args.size} pieces")
    return 0


def _unit_tokenizer(args: argparse.Namespace) -> int:
    directories, codebook = unit_tokenizer.open_speech(args.data)
    unit_tokenizer.check_settings(args.size, args.sequences, codebook)
    inputs = unit_tokenizer.identity(directories, codebook, args.size, args.sequences, args.seed)
    if not made.begin(args.out, inputs, args.overwrite):
        print(f"{args.out}: was made from the same records and settings; nothing to do")
        return 0
    trained = unit_tokenizer.train(directories, codebook, args.out, args.size, args.sequences, args.seed, progress=True)
    print(
        f"{args.out}: {len(trained.pieces)} pieces of {codebook}, trained on {trained.utterances} of "
        f"{sum(map(len, directories))} utterances; there a piece stands for {trained.mean_frames:.2f} frames on "
        "average"
    )
    return 0


def _synthesise(args: argparse.Namespace) -> int:
    synthesiser, where, workers = synthesise.load_synthesiser(args.synthesiser), _where(args), _workers(args)
    spoken = [
        utterance
        for path in args.manifest
        for item, fields in manifest.iter_text_fields(path, where)
        for utterance in utterances.of_document(item, fields, args.words_min, args.words_max)
    ]
    if not spoken:
        raise DataError(
            f"{', '.join(args.manifest)}: no documents{f' with {where}' if where else ''}; add some or "
            "change the filter"
        )
    report = synthesise.synthesise(
        manifest.unique(spoken, ", ".join(args.manifest)),
        args.out,
        synthesiser,
        args.voice or synthesiser.voices,
        workers,
        args.overwrite,
        progress=True,
    )
    print(report.line())
    return 0


def _spoken_task(args: argparse.Namespace) -> int:
    name, equals, path = args.task.partition("=")
    if not (name and path):
        raise DataError(f"--task {args.task}: must be NAME=PATH; write for example storycloze=cloze_test_val.csv")
    task, workers = tasks.read_task(name, path), _workers(args)
    if args.audio:
        for option in ("synthesiser", "voice"):
            if getattr(args, option):
                raise DataError(f"--{option}: nothing is spoken where --audio is given; leave one of them out")
        aligner = aligners.load_aligner(args.aligner) if args.aligner else None
        report = spoken_task.listen(task, args.out, args.units, args.audio, aligner, workers, args.overwrite, True)
    else:
        if args.aligner:
            raise DataError("--aligner: the words of what is spoken have times; leave it out, or give --audio")
        synthesiser = synthesise.load_synthesiser(args.synthesiser or "espeak")
        report = spoken_task.speak(
            task, args.out, args.units, synthesiser, args.voice or synthesiser.voices, workers, args.overwrite, True
        )
    print(report.line())
    return 0


def _inspect(args: argparse.Namespace) -> int:
    directory = inspect.open_directory(args.directory)
    if args.picture:
        _picture(args, directory)
        return 0
    for name in ("out", "audio", "units", "wav"):
        if getattr(args, name):
            raise DataError(f"--{name}: belongs to a picture; add --picture ID")
    if args.verify:
        directory.verify()
    pieces = UnitPieces(args.unit_tokenizer) if args.unit_tokenizer else None
    summary = inspect.summarise(directory, args.static_size, pieces, progress=True)
    print(json.dumps(summary, indent=2) if args.json else "\n".join(inspect.lines(summary)))
    if args.verify and not args.json:
        print("  verified     every checksum and every record")
    return 0


def _picture(args: argparse.Namespace, directory) -> None:
    utterance = inspect.find(directory, args.picture)
    samples, tokenizer = None, None
    if args.audio:
        paths = [item.audio_path for item in manifest.read_items(args.audio, {}) if item.id == utterance.id]
        if not paths:
            raise DataError(f"{args.audio}: {utterance.id}: no item has this id; give the manifest it was made from")
        samples = audio.load_audio(paths[0])
    if args.units:
        tokenizer = units.load_unit_tokenizer(args.units)
        if tokenizer.fingerprint != directory.metadata.codebook_fingerprint:
            raise DataError(
                f"{args.units}: has fingerprint {tokenizer.fingerprint}, {directory.path} was made with "
                f"{directory.metadata.codebook_fingerprint}; give that one"
            )
        if not isinstance(tokenizer, units.AudibleUnitTokenizer):
            raise DataError(f"{args.units}: cannot say what its units sound like; leave --units out")
    out = args.out or f"{pathlib.PurePath(utterance.id).name}.png"
    picture.draw(out, utterance, directory.metadata.unit_rate, samples, tokenizer, args.static_size)
    print(out)
    if args.wav:
        if tokenizer is None:
            raise DataError("--wav: units are made audible by their tokenizer; add --units FILE")
        audio.write_wav(args.wav, tokenizer.resynthesise(utterance.units))
        print(args.wav)
