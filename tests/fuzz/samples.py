"""Small valid inputs of every reader: what is mutated."""

import gzip
import io
import json
import pathlib
import sys
import tempfile

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import zstandard

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("helpers", "convert", "prepare/acoustic")]

import corpus_files  # noqa: E402
import evaluation_records  # noqa: E402
import hf_lst_cases  # noqa: E402
import llama_cases  # noqa: E402
import model_cases  # noqa: E402
import reported_run  # noqa: E402
import synthetic_data  # noqa: E402
import tiny_models  # noqa: E402

from lst_jax.convert import ancestor_files, hf_llama, hf_lst  # noqa: E402
from lst_jax.convert.companions import CONFIG  # noqa: E402
from lst_jax.data import records  # noqa: E402
from lst_jax.data.importers import ctm, gslm, librispeech, lst_release, moshi, slamkit, textgrid, unit_lines  # noqa: E402
from lst_jax.data.importers.registry import ALIGNMENT_FORMATS, UNIT_FORMATS  # noqa: E402
from lst_jax.data.shards import METADATA_NAME  # noqa: E402
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans  # noqa: E402
from tests.fuzz import named_corpora  # noqa: E402
from tests.fuzz.mutations import Files  # noqa: E402

UTTERANCES = [
    records.Utterance(
        f"u{n}",
        np.array([5, 5, 9, 9, 9, 5, 3, 3], np.uint16),
        (records.Word("a", 2, 5), records.Word("b", 6, 8)),
        "s",
        "made",
    )
    for n in range(3)
]
MANIFEST = [
    {"id": f"u{n}", "audio": f"u{n}.wav", "text": "hello world", "speaker": "s1", "split": "train"} for n in range(2)
]
MANIFEST.append({"audio_filepath": "u2.wav", "text": "yes", "offset": 0.5, "duration": 1.0, "channel": 1, "split": "a"})
RECIPE = """from ml_collections import ConfigDict
import json

BASE = json.loads({base!r})


def get_config(arg):
    config = ConfigDict(BASE)
    config.name = "tiny"
    config.train.steps = 100
    config.optim.peak_lr = 1e-3
    config.data.row_tokens = 160
    config.data.patching.strategy = "static"
    config.model.rope_theta = 5e5
    config.model.global_transformer.width = 64
    return config
"""
CLUSTER = """name = "c"
kind = "v5p"
workdir = "/app"
run_root = "/data/runs"
grace_seconds = 300
max_restarts = 20
env = ["A=b"]

[tpu]
topology = "4x4x4"
chips_per_host = 4
slices = 2
capacity = "spot"

[kubernetes]
image = "i"
namespace = "default"
"""
TRIAL = {
    "name": "a",
    "label": "base",
    "recipe": "configs/demo.py",
    "changes": ["seed=1"],
    "budget": None,
    "config_hash": "0" * 16,
    "parameters": 1000,
    "steps": 8,
    "tokens": 1e4,
    "flops": 1e9,
    "content": "made-up records",
    "trunk": None,
    "branch_step": 0,
}
POINT = {
    "run": "a1",
    "system": "lst",
    "parameters": 1.2e6,
    "text_tokens": 2.4e7,
    "speech_tokens": 1.2e7,
    "flops": 2.6e14,
    "loss_text": 3.91,
    "loss_speech": 2.75,
    "config_hash": "0123456789abcdef",
    "commit": None,
}
RUNS_CSV = """,run,Model Size,tokens_B,FLOPs,loss
0,a,70M,1.4,5.88e17,3.51
1,"b ""x"" y","140,000,000",2.8,2.352e18,3.2
2,c,2.8e8,5.6,9.408e18,nan
"""
RUNS_CSV_COMMAS = """system;N;D;Val Loss
dense;7e7;"1,4e9";3,51
moe;1,4e8;2.800.000.000;3,2
"""
OTHERS_RUNS = [{"params": 7e7, "tokens": "1.4B", "loss": 3.51, "seed": 0}, {"params": 140_000_000, "loss": None}]
HELLASWAG = {"ind": 24, "ctx": "How to jog [title] Warm up.", "endings": ["a [x] b", "b", "c", "d"], "label": 3}
TASK = [
    {
        "id": "a1",
        "prompt": {"text": "Tom was hungry.", "units": [7, 7, 9], "words": [["Tom", 0.0, 0.08]]},
        "choices": [{"text": "He ate.", "units": [3]}, {"text": "He slept.", "units": [4]}],
        "label": 0,
        "group": "a",
        "bands": {"band": "x"},
        "unit_rate": 25.0,
    },
    {"prompt": None, "choices": [{"text": "brick"}, {"text": "blick"}], "label": 0, "unit_rate": 25.0},
]
CLOZE = """InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,\
RandomFifthSentenceQuiz2,AnswerRightEnding
s1,One.,"Two, too.",Three.,Four.,Right.,Wrong.,2
"""
SWUGGY = "id,filename,voice,frequency,word,phones,length_phones,correct\n1,fA,v1,0,brick,b,3,1\n1,fB,v1,0,blick,b,3,0\n"
SBLIMP = "id,filename,voice,type,subtype,transcription,correct\n7,a,v,t,d,the cat,1\n7,b,v,t,d,a cats,0\n"


def lines(objects) -> bytes:
    """JSON lines."""
    return "".join(json.dumps(one) + "\n" for one in objects).encode()


def sound(form: str = "WAV", seconds: float = 0.4, **options) -> bytes:
    """A noise."""
    file = io.BytesIO()
    samples = np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds))
    soundfile.write(file, samples, 16000, format=form, **options)
    return file.getvalue()


def tree(folder: pathlib.Path) -> Files:
    """The files of a folder by relative name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make_all() -> dict[str, Files]:
    """The valid input of every reader by the reader's name."""
    found = _manifests() | _corpora() | named_corpora.make() | _units_and_words() | _tasks() | _small_files()
    with tempfile.TemporaryDirectory() as name:
        return found | _folders(pathlib.Path(name)) | _models(pathlib.Path(name))


def _manifests() -> dict[str, Files]:
    manifest, plain = lines(MANIFEST), b"One text.\n\nAnother text, longer.\n"
    audio = sound("FLAC", 0.1)
    return {
        "manifest": {"m.jsonl": manifest},
        "manifest-gz": {"m.jsonl.gz": gzip.compress(manifest, mtime=0)},
        "manifest-zst": {"m.jsonl.zst": zstandard.ZstdCompressor().compress(manifest)},
        "text": {"t.txt": plain},
        "text-jsonl": {"t.jsonl": lines([{"id": "a", "text": "One text."}, {"text": "Two."}])},
        "tree": {"1/2/1-2.trans.txt": b"1-2-0000 HELLO WORLD\n1-2-0001 YES\n", "1/2/1-2-0000.flac": audio}
        | {"1/2/1-2-0001.flac": audio},
        "pronunciations": {"p.txt": b"prepend P R IY P EH N D\nrhino R AY N OW\n"},
        "audio-wav": {"a.wav": sound()},
        "audio-flac": {"a.flac": sound("FLAC")},
        "audio-ogg": {"a.ogg": sound("OGG")},
        "audio-float": {"a.wav": sound(subtype="FLOAT")},
    }


def _corpora() -> dict[str, Files]:
    """Corpora of tables and archives: two short noises each."""
    audio, names = sound("FLAC", 0.1), ("u0", "u1")
    rows = [{"id": n, "audio": {"bytes": audio, "path": f"{n}.flac"}, "text": "hello", "speaker_id": 3} for n in names]
    members = {f"{name}.flac": audio for name in names} | {"u0.txt": b"hello", "u0.json": b'{"split": "train"}'}
    members |= {"u1.json": b'{"text": "yes", "split": "train"}'}
    members = dict(sorted(members.items()))
    supervisions = [
        {
            "id": f"{n}-1",
            "recording_id": n,
            "start": 0.0,
            "duration": 0.1,
            "channel": 0,
            "text": "hello",
            "speaker": "s",
        }
        | {"alignment": {"word": [["hello", 0.0, 0.1, None]]}, "custom": {"split": "train"}}
        for n in names
    ]
    recordings = [
        {"id": n, "sources": [{"type": "file", "channels": [0], "source": f"{n}.flac"}], "channel_ids": [0]}
        for n in names
    ]
    cuts = [
        {"id": n, "start": 0, "duration": 0.1, "channel": 0, "supervisions": [s], "recording": r, "type": "MonoCut"}
        for n, s, r in zip(names, supervisions, recordings, strict=True)
    ]
    beside = {f"{name}.flac": audio for name in names}
    shard = {f"{n}.{end}": content for n in names for end, content in (("flac", audio), ("json", b"{}"))}
    return {
        "corpus-parquet": {"data/train-00000-of-00001.parquet": _parquet(rows)},
        "corpus-parquet-text": {
            "train.parquet": _parquet([{"text": "One text.", "id": "a"}, {"text": "Two.", "id": None}])
        },
        "corpus-tar": {"a.tar": _tar(members)},
        "corpus-tar-gz": {"a.tar.gz": gzip.compress(_tar(members), mtime=0)},
        "corpus-cuts": {"cuts.jsonl": lines(cuts)} | beside,
        "corpus-supervisions": {"recordings.jsonl": lines(recordings), "supervisions.jsonl": lines(supervisions)}
        | beside,
        "corpus-json-array": {"a.json": json.dumps([{"text": f"Text {n}.", "split": "train"} for n in names]).encode()},
        "corpus-shar": {"cuts.000000.jsonl": lines(cuts), "recording.000000.tar": _tar(shard)},
    }


def _parquet(rows) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=1)
    return file.getvalue()


def _tar(members) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return corpus_files.write_tar(pathlib.Path(folder) / "a.tar", members).read_bytes()


def _units_and_words() -> dict[str, Files]:
    units = {
        "units": "".join(unit_lines.format_line(u, 25.0) + "\n" for u in UTTERANCES),
        "lst": "".join(lst_release.format_line(u) + "\n" for u in UTTERANCES),
        "slamkit": "".join(slamkit.format_line(u, 25.0) + "\n" for u in UTTERANCES),
        "gslm": "".join(gslm.format_line(u, 25.0) for u in UTTERANCES),
        "km": "".join(" ".join(map(str, u.units.tolist())) + "\n" for u in UTTERANCES),
    }
    assert len(units) == len(UNIT_FORMATS), "a new format needs a sample here"
    found: dict[str, Files] = {
        f"import-{name}": {{"gslm": "f.txt", "km": "f.km"}.get(name, "f.jsonl"): text.encode()}
        for name, text in zip(UNIT_FORMATS, (units[_unit_key(name, units)] for name in UNIT_FORMATS), strict=True)
    }
    names = "".join(f"{u.id}.wav\t{640 * len(u.units)}\n" for u in UTTERANCES)
    found["import-km"]["f.tsv"] = f"/data\n{names}".encode()
    words = {
        "moshi": {f"{u.id}.json": moshi.format_file(u, 25.0).encode() for u in UTTERANCES},
        "textgrid": {f"{u.id}.TextGrid": textgrid.FORMAT.export.format(u, 25.0).encode() for u in UTTERANCES},
        "ctm": {"f.ctm": "".join(ctm.format_lines(u, 25.0) for u in UTTERANCES).encode()},
        "librispeech": {
            "f.alignment.txt": "".join(librispeech.format_line(u, 25.0) + "\n" for u in UTTERANCES).encode()
        },
        "whisper": {f"{u.id}.json": json.dumps(_whisper(u)).encode() for u in UTTERANCES},
    }
    assert words.keys() == ALIGNMENT_FORMATS.keys(), "a new format needs a sample here"
    index = {"index.jsonl": lines({"path": f"{u.id}.wav", "duration": 0.32} for u in UTTERANCES)}
    return (
        found
        | {f"align-{name}": files for name, files in words.items()}
        | {"align-moshi-index": words["moshi"] | index}
    )


def _whisper(utterance: records.Utterance) -> dict:
    words = [
        {"word": f" {w.text}", "start": w.start_frame / 25, "end": w.end_frame / 25, "speaker": "SPEAKER_00"}
        for w in utterance.words
    ]
    return {"segments": [{"start": 0.0, "end": len(utterance.units) / 25, "words": [*words, {"word": "2"}]}]}


def _unit_key(name: str, units: dict[str, str]) -> str:
    return name if name in units else "gslm"


def _tasks() -> dict[str, Files]:
    return {
        "task-hellaswag": {"hellaswag_val.jsonl": lines([HELLASWAG, HELLASWAG | {"ind": 25, "label": ""}])},
        "task-own": {"task.jsonl": lines(TASK)},
        "task-storycloze": {"cloze.csv": CLOZE.encode()},
        "task-swuggy": {"gold.csv": SWUGGY.encode()},
        "task-sblimp": {"gold.csv": SBLIMP.encode()},
    }


def _small_files() -> dict[str, Files]:
    cluster = json.dumps(
        {"name": "c", "kind": "gpu", "workdir": "/app", "run_root": "/r", "grace_seconds": 300, "max_restarts": 2}
        | {"env": ["A=b"], "slurm": {"nodes": 4, "gpus_per_node": 8, "partition": "gpu", "time": "24:00:00"}}
    )
    base = json.dumps(_mapping())
    evaluations = {
        f"evaluations/{kind}.json": json.dumps({"kind": kind, **fields}).encode()
        for kind, fields in evaluation_records.FIELDS.items()
    }
    return {
        "points": {"points.jsonl": lines([POINT, POINT | {"run": "a2", "parameters": 2e6}])},
        "runs-csv": {"runs.csv": RUNS_CSV.encode()},
        "runs-csv-commas": {"runs.csv": b"\xef\xbb\xbf" + RUNS_CSV_COMMAS.replace("\n", "\r\n").encode()},
        "runs-json": {"runs.json": json.dumps(OTHERS_RUNS, indent=1).encode()},
        "sweep": {"sweep.json": json.dumps(_sweep()).encode()},
        "cluster-toml": {"c.toml": CLUSTER.encode()},
        "cluster-json": {"c.json": cluster.encode()},
        "recipe": {"r.py": RECIPE.format(base=base).encode()},
        "evaluations": evaluations,
        "tokenizer": {"tokenizer.model": pathlib.Path(synthetic_data.tokenizer_path()).read_bytes()},
        "unit-pieces": {"units.model": pathlib.Path(synthetic_data.unit_tokenizer_path()).read_bytes()},
    }


def _sweep():
    return {"format_version": 1, "reference": "r.py:a", "commit": None, "trials": [TRIAL, TRIAL | {"name": "b"}]}


def _mapping():
    from lst_jax.config import to_mapping

    return to_mapping(synthetic_data.make_config())


def _folders(folder: pathlib.Path) -> dict[str, Files]:
    synthetic_data.write_directory(folder / "speech", [UTTERANCES[:2], UTTERANCES[2:]])
    synthetic_data.write_directory(folder / "text", [synthetic_data.texts(3)], "text")
    run = reported_run.make(folder / "run")
    features = np.random.default_rng(0).normal(0, 1, (40, 320)).astype(np.float32)
    LogMelKMeans(features[:8], features[8], np.abs(features[9]) + 0.1).save(folder / "units.safetensors")
    speech = tree(folder / "speech")
    return {
        "records-speech": speech,
        "records-text": tree(folder / "text"),
        "records-metadata": dict(sorted(speech.items(), key=lambda one: one[0] != METADATA_NAME)),
        "run": tree(run.path),
        "unit-model": {"units.safetensors": (folder / "units.safetensors").read_bytes()},
        "acoustic": tree(tiny_models.write(folder / "hubert", "hubert_base")),
    }


def _models(folder: pathlib.Path) -> dict[str, Files]:
    for name in ("llama", "lst", "ancestor"):
        (folder / name).mkdir()
    hf_llama.write(llama_cases.source_of(llama_cases.base_config()), folder / "llama")
    config = hf_lst_cases.config_of(model_cases.small_config())
    source = hf_lst_cases.source_of(config, hf_lst_cases.built("two-queries")[1])
    hf_lst.write(source, folder / "lst")
    ancestor_files.write(source, folder / "ancestor")
    weights = {name: tree(folder / name) for name in ("llama", "lst", "ancestor")}
    return {
        "hf-llama": weights["llama"],
        "hf-lst": weights["lst"],
        "ancestor": weights["ancestor"],
        "ancestor-trainer": {name: content for name, content in weights["ancestor"].items() if name != CONFIG},
        "safetensors": {"model.safetensors": weights["llama"]["model.safetensors"]},
    }
