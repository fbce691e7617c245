"""Every reader of files that people give: what it opens, and all that it reads there."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Literal

import numpy as np

from lst_jax.cli import main
from lst_jax.convert import ancestor_files, hf
from lst_jax.convert.safetensors_files import open_safetensors
from lst_jax.convert.sentencepiece_model import read_model
from lst_jax.core.errors import RejectedItem
from lst_jax.data import text, unit_pieces
from lst_jax.data.importers.registry import ALIGNMENT_FORMATS, UNIT_FORMATS
from lst_jax.data.tasks import registry as tasks
from lst_jax.evals.records import store
from lst_jax.jobs.launch.cluster import load_cluster
from lst_jax.jobs.sweeps import status, trials
from lst_jax.jobs.sweeps import text as sweep_text
from lst_jax.laws.points import read_points
from lst_jax.laws.tables import read_runs
from lst_jax.prepare import inspect, manifest
from lst_jax.prepare.acoustic import weights
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.prepare.pronounce import read_pronunciations
from lst_jax.prepare.recordings import Recording
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer
from lst_jax.recipes.load import load_recipe
from lst_jax.report import run_page, run_summary
from lst_jax.runs import ledger, metrics
from lst_jax.runs.directory import RunDirectory

Read = Callable[[pathlib.Path], object]
IDS = ("u0", "u1", "u2")
NAMED_CORPORA = (
    "librispeech",
    "mls",
    "librilight",
    "spotify",
    "gigaspeech",
    "common-voice",
    "ljspeech",
    "vctk",
    "mfa",
    "kaldi",
    "espnet",
    "speechbrain",
    "nemo",
    "peoples-speech",
)


def command(*argv: object) -> None:
    """`lst ...`, with its errors raised."""
    args = main.build_parser(str(argv[0])).parse_args([str(one) for one in argv])
    args.run(args)


def _manifest(name: str) -> Read:
    def read(folder):
        manifest.read_items(folder / name, {}, skip_bad=True)
        manifest.unused_fields(choose.open_corpus([folder / name], "speech"))
        list(manifest.iter_texts([choose.open_corpus([folder / name], "text", Settings(skip_bad=True))]))
        manifest.read_items(folder / name, {"split": "train"})

    return read


def _texts(name: str) -> Read:
    def read(folder):
        list(choose.open_corpus([folder / name], "text", Settings(skip_bad=True)).items())
        list(choose.open_corpus([folder / name], "text").items())

    return read


def _tree(folder: pathlib.Path) -> None:
    for item in manifest.read_items(folder, {}):
        with contextlib.suppress(RejectedItem):
            item.recording.samples()


def _corpus(layout: str, kind: Literal["speech", "text"] = "speech", file: str = "") -> Read:
    def read(folder):
        for settings in (Settings(skip_bad=True), Settings({"split": "train"})):
            for item in choose.open_corpus([folder / file], kind, settings, layout).items(2):
                if isinstance(item, Item):
                    with contextlib.suppress(RejectedItem):
                        item.recording.samples()

    return read


def _audio(name: str) -> Read:
    def read(folder):
        for part in (Recording(folder / name), Recording(folder / name, 0.1, 0.1, "mean")):
            for _ in part.blocks():
                pass

    return read


UNIT_FILES = {"gslm": "f.txt", "km": "f.km"}  # other formats have f.jsonl


def _import(format_name: str, name: str) -> Read:
    def read(folder):
        options = ["--codebook-size", 501, "--unit-rate", 25, "--overwrite"]
        with contextlib.suppress(FileNotFoundError):
            command("import", format_name, folder / name, "--out", folder / "out", "--skip-bad", *options)
        if UNIT_FORMATS[format_name].stated_rate is not None:
            options[2:4] = []
        command("import", format_name, folder / name, "--out", folder / "out", *options)

    return read


def _align(format_name: str, name: str) -> Read:
    def read(folder):
        found = ALIGNMENT_FORMATS[format_name].open(folder / name)
        len(found), found.fingerprint()
        for item_id in IDS:
            with contextlib.suppress(RejectedItem):
                found.align(item_id)
        for item_id in IDS:
            found.key(item_id), found.lookup(item_id)

    return read


def _records(folder: pathlib.Path) -> None:
    directory = inspect.open_directory(folder)
    list(inspect.lines(inspect.summarise(directory)))
    directory.verify()


def _run(folder: pathlib.Path) -> None:
    run = RunDirectory(folder)
    (folder / "checkpoints").mkdir(exist_ok=True)
    config, records = run.load_config(), run.read_metrics()
    ledger.summarize(ledger.read(run.ledger_path))
    metrics.missing_before(run, 3)
    trial = trials.Trial(".", "base", "r", (), None, "0" * 16, 1000, 8, 1e4, 1e9, "records")
    found = status.status_of(folder, [trial])
    sweep_text.status_table(found)
    if any(record["kind"] == "train" for record in records):
        summary = run_summary.summarize_run(run, config, records, store.read(folder))
        run_summary.training_rows(summary), run_summary.wall_time_rows(summary)


def _report(folder: pathlib.Path) -> None:
    run_page.write_report(RunDirectory(folder))


def _evaluations(folder: pathlib.Path) -> None:
    found = store.read(folder)
    run_summary.evaluation_sections(found.records)
    for line in found.passed_over:
        assert "\n" not in line and len(line) < 600, line


def _table(name: str) -> Read:
    def read(folder):
        runs = read_runs(folder / name)
        assert runs.kinds, "read as our own points"
        for line in (*runs.notes, *(p.run for p in runs.points), *(p.system for p in runs.points)):
            assert "\n" not in line and len(line) < 800, line

    return read


def _sweep(folder: pathlib.Path) -> None:
    sweep = trials.read_sweep(folder)
    sweep_text.runs_table(sweep.trials), sweep_text.totals(sweep.trials)
    found = status.status_of(folder / "runs", sweep.trials)
    sweep_text.status_table(found), sweep_text.as_json(found), status.summary(found)


def _unit_model(folder: pathlib.Path) -> None:
    model = load_unit_tokenizer(folder / "units.safetensors")
    model.encode(np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32), 16000)


def _tokenizer(folder: pathlib.Path) -> None:
    text.load_tokenizer(folder / "tokenizer.model").encode("press one")
    read_model(folder / "tokenizer.model")


def _unit_pieces(folder: pathlib.Path) -> None:
    pieces = unit_pieces.UnitPieces(folder / "units.model")
    pieces.decode(pieces.encode(np.array([1, 2, 2])))


def _acoustic(folder: pathlib.Path) -> None:
    architecture = weights.read_architecture(folder)
    weights.read_normalise(folder)
    weights.read_parameters(folder, architecture, 2, False)


def _converted(form) -> Read:
    def read(folder):
        for one in form.open_source(folder, None).arrays.values():
            one.read()

    return read


def _safetensors(folder: pathlib.Path) -> None:
    for one in open_safetensors(folder).values():
        one.read()


READERS: dict[str, Read] = {
    "manifest": _manifest("m.jsonl"),
    "manifest-gz": _manifest("m.jsonl.gz"),
    "manifest-zst": _manifest("m.jsonl.zst"),
    "text": _texts("t.txt"),
    "text-jsonl": _texts("t.jsonl"),
    "tree": _tree,
    "corpus-parquet": _corpus("huggingface"),
    "corpus-parquet-text": _corpus("huggingface", "text"),
    "corpus-tar": _corpus("webdataset"),
    "corpus-tar-gz": _corpus("webdataset"),
    "corpus-cuts": _corpus("lhotse"),
    "corpus-supervisions": _corpus("lhotse"),
    "corpus-json-array": _corpus("json-array", "text"),
    "corpus-shar": _corpus("lhotse"),
    **{f"layout-{name}": _corpus(name) for name in NAMED_CORPORA},
    "layout-librilight-gz": _corpus("librilight"),
    "layout-espnet-json": _corpus("espnet", file="data.json"),
    "layout-speechbrain-csv": _corpus("speechbrain"),
    "pronunciations": lambda folder: read_pronunciations(folder / "p.txt"),
    "audio-wav": _audio("a.wav"),
    "audio-flac": _audio("a.flac"),
    "audio-ogg": _audio("a.ogg"),
    "audio-float": _audio("a.wav"),
    **{f"import-{name}": _import(name, UNIT_FILES.get(name, "f.jsonl")) for name in UNIT_FORMATS},
    "align-moshi": _align("moshi", "."),
    "align-moshi-index": _align("moshi", "index.jsonl"),
    "align-textgrid": _align("textgrid", "."),
    "align-ctm": _align("ctm", "f.ctm"),
    "align-librispeech": _align("librispeech", "f.alignment.txt"),
    "align-whisper": _align("whisper", "."),
    "records-speech": _records,
    "records-metadata": _records,
    "records-text": _records,
    "unit-model": _unit_model,
    "unit-pieces": _unit_pieces,
    "tokenizer": _tokenizer,
    "acoustic": _acoustic,
    "run": _run,
    "report": _report,
    "evaluations": _evaluations,
    "task-hellaswag": lambda folder: tasks.read_task("hellaswag", folder / "hellaswag_val.jsonl"),
    "task-own": lambda folder: tasks.read_task("mine", folder / "task.jsonl"),
    "task-storycloze": lambda folder: tasks.read_task("storycloze", folder / "cloze.csv"),
    "task-swuggy": lambda folder: tasks.read_task("swuggy", folder / "gold.csv"),
    "task-sblimp": lambda folder: tasks.read_task("sblimp", folder / "gold.csv"),
    "points": lambda folder: read_points(folder / "points.jsonl"),
    "runs-csv": _table("runs.csv"),
    "runs-csv-commas": _table("runs.csv"),
    "runs-json": _table("runs.json"),
    "sweep": _sweep,
    "cluster-toml": lambda folder: load_cluster(folder / "c.toml"),
    "cluster-json": lambda folder: load_cluster(folder / "c.json"),
    "recipe": lambda folder: load_recipe(str(folder / "r.py")),
    "safetensors": _safetensors,
    "hf-llama": _converted(hf),
    "hf-lst": _converted(hf),
    "ancestor": _converted(ancestor_files),
    "ancestor-trainer": _converted(ancestor_files),
}
ONLY = {  # the files that are mutated, where others are beside them
    "tree": ("1/2/1-2.trans.txt",),
    "records-metadata": ("metadata.json",),
    "align-moshi-index": ("index.jsonl",),
}
# What takes longer has this share of the cases.
SLOW = {f"import-{name}": 0.2 for name in UNIT_FORMATS} | {"report": 0.01, "audio-ogg": 0.3, "acoustic": 0.3}
SLOW |= dict.fromkeys(("hf-llama", "hf-lst", "ancestor", "ancestor-trainer"), 0.3)
