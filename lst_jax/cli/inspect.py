"""`lst inspect`."""

import argparse
import dataclasses
import json
import pathlib
import sys

import numpy as np

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address
from lst_jax.core import console
from lst_jax.core.errors import DataError
from lst_jax.data.unit_pieces import UnitPieces
from lst_jax.prepare import audio, inspect, picture, recordings
from lst_jax.prepare.corpora.choose import open_corpus
from lst_jax.prepare.corpora.corpus import without_bad
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.prepare.speech_tokenizers.protocol import AudibleUnitTokenizer
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer


def add_arguments(subparsers) -> None:
    """Adds the command to what `ArgumentParser.add_subparsers` returned; `run` is: args → exit code."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a directory of records holds",
        description="Shows what a directory of records holds.",
    )
    parser.set_defaults(run=_run)
    parser.add_argument(
        "directory", type=path_or_address, help="a directory that `lst prepare` made, or tfds:DIR#SPLIT"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check every checksum, record and count of metadata.json",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--static-size", type=int, default=inspect.STATIC_SIZE, help="p of static patches (default: %(default)s)"
    )
    parser.add_argument(
        "--unit-tokenizer",
        type=path_or_address,
        metavar="FILE",
        help="say how many frames its pieces stand for here (.model)",
    )
    parser.add_argument("--picture", type=free_text, metavar="ID", help="draw the utterance with this id")
    parser.add_argument("--from", dest="from_sec", type=float, metavar="SEC", help="draw the utterance from here on")
    parser.add_argument("--to", dest="to_sec", type=float, metavar="SEC", help="draw it up to here")
    parser.add_argument("--out", type=output_or_address, metavar="PNG", help="where to draw it (default: ID.png)")
    parser.add_argument(
        "--audio",
        type=path_or_address,
        metavar="MANIFEST",
        help="manifest or tree that has its recording, to draw its sound",
    )
    parser.add_argument(
        "--units", type=path_or_address, metavar="FILE", help="its unit tokenizer, to draw what the units stand for"
    )
    parser.add_argument(
        "--wav",
        type=output_or_address,
        metavar="WAV",
        help="write what the units sound like (with --picture and --units)",
    )


def _run(args: argparse.Namespace) -> int:
    if args.static_size < 1:
        raise DataError(f"--static-size {args.static_size}: must be at least 1; use {inspect.STATIC_SIZE}")
    directory = inspect.open_directory(args.directory)
    if args.picture:
        _picture(args, directory)
        return 0
    for name in ("out", "audio", "units", "wav", "from_sec", "to_sec"):
        if getattr(args, name) is not None:
            raise DataError(f"--{name.removesuffix('_sec')}: belongs to a picture; add --picture ID")
    if args.verify and (wrong := inspect.verify(directory)):
        for line in wrong:
            print(f"lst inspect: {console.printable(line)}", file=sys.stderr)
        return DataError.exit_code
    pieces = UnitPieces(args.unit_tokenizer) if args.unit_tokenizer else None
    summary = inspect.summarise(directory, args.static_size, pieces, progress=True)
    print(json.dumps(summary, indent=2) if args.json else "\n".join(inspect.lines(summary)))
    if args.verify and not args.json:
        print("  verified     every checksum, record and count")
    return 0


def _picture(args: argparse.Namespace, directory) -> None:
    utterance, unit_rate = inspect.find(directory, args.picture), directory.metadata.unit_rate
    samples, tokenizer, part_sec = None, None, None
    if args.from_sec is not None or args.to_sec is not None:
        part_sec = picture.check_part((args.from_sec, args.to_sec), utterance, unit_rate)
    if args.audio:
        corpus = open_corpus([args.audio], "speech", Settings(skip_bad=True))
        item = next((item for item in without_bad(corpus.items()) if item.id == utterance.id), None)
        if item is None:
            raise DataError(f"{args.audio}: {utterance.id}: no item has this id; give the manifest it was made from")
        samples = _sound(item.recording, part_sec)
    if args.units:
        tokenizer = load_unit_tokenizer(args.units)
        if tokenizer.fingerprint != directory.metadata.codebook_fingerprint:
            raise DataError(
                f"{args.units}: has fingerprint {tokenizer.fingerprint}, {directory.path} was made with "
                f"{directory.metadata.codebook_fingerprint}; give that one"
            )
        if not isinstance(tokenizer, AudibleUnitTokenizer):
            raise DataError(f"{args.units}: cannot say what its units sound like; leave --units out")
    out = args.out or f"{pathlib.PurePath(utterance.id).name}.png"
    picture.draw(out, utterance, unit_rate, samples, tokenizer, args.static_size, part_sec)
    print(out)
    if args.wav:
        if tokenizer is None:
            raise DataError("--wav: units are made audible by their tokenizer; add --units FILE")
        start_sec, end_sec = part_sec or (0.0, len(utterance.units) / unit_rate)
        units = utterance.units[round(start_sec * unit_rate) : round(end_sec * unit_rate)]
        audio.write_wav(args.wav, tokenizer.resynthesise(units))
        print(args.wav)


def _sound(recording: recordings.Recording, part_sec: tuple[float, float] | None) -> np.ndarray:
    """The samples of a recording, or of a part of it; of several channels the mean."""
    recording = dataclasses.replace(recording, channel=recording.channel or recordings.MEAN)
    if part_sec is not None:
        start_sec, end_sec = part_sec
        recording = dataclasses.replace(
            recording, offset_sec=recording.offset_sec + start_sec, duration_sec=end_sec - start_sec
        )
    return recording.samples()
