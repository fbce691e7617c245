"""The arguments and the actions of `lst generate`."""

import argparse
import io
import json
import sys

import numpy as np

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address, run_or_address
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.generate.sampling import OUTPUTS
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    generate = subparsers.add_parser(
        "generate",
        help="generate speech or text with a run",
        description="Continues a prompt of text or speech, or begins without one, with a checkpoint of a run.",
    )
    generate.add_argument("run_dir", type=run_or_address, metavar="RUN")
    prompt = generate.add_mutually_exclusive_group()
    prompt.add_argument("--text", type=free_text, metavar="TEXT", help="prompt of text")
    prompt.add_argument(
        "--units", type=path_or_address, metavar="FILE", help="prompt of speech units: numbers, a JSON list, or .npy"
    )
    prompt.add_argument(
        "--audio",
        type=path_or_address,
        metavar="FILE",
        help="prompt of sound: a WAV, FLAC, Ogg or MP3 file (needs --units-model)",
    )
    generate.add_argument(
        "--channel", help="of --audio, where it has several: 1, 2, … or A, B, …, left, right, or mean"
    )
    generate.add_argument(
        "--units-model",
        type=path_or_address,
        metavar="PATH",
        help="the unit tokenizer that made the run's units, for --audio and --wav",
    )
    generate.add_argument("--to", choices=OUTPUTS, default="free", help="what to generate (default: %(default)s)")
    generate.add_argument(
        "--count",
        type=int,
        default=1,
        metavar="N",
        help="how many continuations, in one batch, with the seeds SEED to SEED+N-1 (default: %(default)s)",
    )
    generate.add_argument("--seed", type=int, default=0, help="of the first continuation (default: %(default)s)")
    generate.add_argument(
        "--temperature", type=float, default=1.0, help="0 takes the likeliest token (default: %(default)s)"
    )
    generate.add_argument("--top-k", type=int, default=0, metavar="K", help="draw from the K likeliest tokens")
    generate.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw from the likeliest tokens that have P of the probability",
    )
    generate.add_argument("--max-seconds", type=float, metavar="S", help="most seconds of speech (default: 10)")
    generate.add_argument(
        "--max-tokens", type=int, metavar="N", help="most tokens, markers included (default: 256 of text)"
    )
    generate.add_argument(
        "--wav",
        type=output_or_address,
        metavar="OUT.wav",
        help="write the speech (OUT-1.wav, … for several continuations); needs --units-model or --vocoder",
    )
    generate.add_argument(
        "--vocoder", type=path_or_address, metavar="DIR", help="a HiFi-GAN unit vocoder: config.json and weights"
    )
    generate.add_argument("--json", action="store_true", help="print one JSON object per continuation")
    add_step_option(generate)
    add_mesh_option(generate)
    generate.set_defaults(run=run)


def add_step_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--step` to a command that asks a trained model."""
    parser.add_argument(
        "--step", type=int, metavar="N", help="the run's checkpoint of this step (default: its newest checkpoint)"
    )


def add_mesh_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--set` to a command that asks a trained model."""
    parser.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="mesh.FIELD=VALUE",
        help="how many parts the devices split heads (mesh.tensor) or rows and widths (mesh.data) into; may be repeated "
        "(default: the run's mesh, as far as the devices here allow it)",
    )


def run(args: argparse.Namespace) -> int:
    """Generates, prints, and writes sound. Raises: ConfigError, DataError, CheckpointError."""
    _check(args)
    from lst_jax.generate import sound
    from lst_jax.generate.generator import Generator
    from lst_jax.generate.sampling import Sampling
    from lst_jax.prepare import audio
    from lst_jax.runs.directory import RunDirectory

    sampling = Sampling(args.temperature, args.top_k, args.top_p)
    generator = Generator.open(RunDirectory(args.run_dir), args.set, args.step)
    units_model = sound.open_units_model(args.units_model, generator.metadata) if args.units_model else None
    speak = sound.speaker(units_model, args.vocoder, generator.config.data.unit_rate) if args.wav else None
    prompt = generator.prompt(_parts(args, units_model), args.to)
    seeds = [args.seed + i for i in range(args.count)]
    found = generator.generate([prompt] * args.count, args.to, sampling, seeds, args.max_tokens, args.max_seconds)
    for number, one in enumerate(found, 1):
        wav = None
        if args.wav and len(one.units):
            path = to_place(args.wav)
            stem, dot, suffix = path.name.rpartition(".")
            name = f"{stem}-{number}{dot}{suffix}" if dot else f"{path.name}-{number}"
            wav = path if args.count == 1 else path.with_name(name)
            audio.write_wav(wav, *speak(one.units))  # ty: ignore[not-callable]
        elif args.wav:
            print(f"lst generate: seed {one.seed}: no speech was generated, no file written", file=sys.stderr)
        print(_json(one, generator.config.data.unit_rate, wav) if args.json else _lines(one, wav))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Checks the arguments before anything is opened. Raises: ConfigError."""
    if args.count < 1:
        raise ConfigError(f"--count {args.count}: must be at least 1; use 1")
    if not 0 <= args.seed <= 2**32 - args.count:
        raise ConfigError(f"--seed {args.seed}: must lie in 0..2³²-1, as all of --count {args.count} seeds; use 0")
    if args.audio and not args.units_model:
        raise ConfigError("--audio: becomes units by the unit tokenizer that made the run's; add --units-model PATH")
    if args.wav and args.to == "text":
        raise ConfigError("--wav: text has no sound; leave it out, or use --to speech")
    if args.wav and not (args.vocoder or args.units_model):
        raise ConfigError(
            "--wav: units become sound by their tokenizer or a vocoder; add --units-model PATH or --vocoder DIR"
        )
    if args.vocoder and not args.wav:
        raise ConfigError("--vocoder: makes sound; add --wav OUT.wav")


def _parts(args: argparse.Namespace, units_model) -> list:
    if args.text is not None:
        return [args.text]
    if args.units:
        return [read_units(args.units)]
    if args.audio:
        from lst_jax.prepare import audio, recordings

        return [units_model.encode(recordings.load_audio(args.audio, args.channel), audio.RATE)]
    return []


def read_units(path: str) -> np.ndarray:
    """int64 [frames] from a .npy file, a JSON list, or numbers with space or commas between them, here or in a bucket.

    Raises: DataError where it is none of these; StorageError.
    """
    place = to_place(path)
    if objects.look(place) is None:
        raise DataError(f"{path}: no such file; give a file of unit numbers")
    try:
        if place.suffix == ".npy":
            units = np.load(io.BytesIO(objects.read_bytes(place)), allow_pickle=False)
        else:
            text = objects.read_text(place).strip()
            units = np.array(json.loads(text) if text.startswith("[") else text.replace(",", " ").split())
            units = units.astype(np.int64) if units.dtype.kind == "U" else units
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: is no list of unit numbers ({error}); give numbers, a JSON list or .npy") from error
    if units.ndim != 1 or units.dtype.kind not in "iu" or not len(units):
        raise DataError(f"{path}: must hold one or more whole numbers in a row; give numbers, a JSON list or .npy")
    return units.astype(np.int64)


def _json(one, unit_rate: float, wav) -> str:
    runs = [
        {"modality": modality, "text": content}
        if modality == "text"
        else {"modality": modality, "units": content.tolist(), "seconds": len(content) / unit_rate}
        for modality, content in one.runs
    ]
    return json.dumps(
        {
            "seed": one.seed,
            "stopped": one.stopped,
            "tokens": len(one.token),
            "log_likelihood": one.log_likelihood,
            "runs": runs,
            "wav": wav and str(wav),
        }
    )


def _lines(one, wav) -> str:
    parts = [
        content if modality == "text" else f"<s> {' '.join(map(str, content.tolist()))}"
        for modality, content in one.runs
    ]
    return "\n".join([*parts, *([str(wav)] if wav else [])])
