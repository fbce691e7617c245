"""Killed at any time, starved of disk, or half removed: the next run ends with the bytes of an unbroken one."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
from prepare_helpers import EvenAligner

from lst_jax.core.errors import StorageError
from lst_jax.prepare import manifest, run
from lst_jax.prepare.aligners import pocket_sphinx

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from prepare_helpers import EvenAligner
from lst_jax.core.errors import UserError
from lst_jax.prepare import manifest, run
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.engines import registry
if __name__ == "__main__":
    engine = registry.load_beam({}) if sys.argv[6] == "beam" else registry.Local(int(sys.argv[6]))
    aligner = EvenAligner(delay=0.1) if sys.argv[5] == "even" else pocket_sphinx.PocketSphinxAligner()
    try:
        run.prepare_speech(manifest.read_items(sys.argv[2], {}), sys.argv[3], sys.argv[4], aligner, engine,
                           shard_records=2)
    except UserError as error:
        print(f"{type(error).__name__} {error}")
        sys.exit(error.exit_code)
"""


def start(manifest_path, out, unit_file, aligner="even", workers=1, before="") -> subprocess.Popen:
    arguments = [pathlib.Path(__file__).parent, manifest_path, out, unit_file, aligner, workers]
    return subprocess.Popen(
        [sys.executable, "-c", before + SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def contents(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def wait_until(condition) -> None:
    end = time.time() + 60
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def unbroken(tones, unit_file, tmp_path):
    """A manifest of 9 tones, and the contents of the directory of an unbroken run."""
    path = tones(9)
    run.prepare_speech(manifest.read_items(path, {}), tmp_path / "unbroken", unit_file, EvenAligner(), shard_records=2)
    return path, contents(tmp_path / "unbroken")


def finish(path, out, unit_file):
    run.prepare_speech(manifest.read_items(path, {}), out, unit_file, EvenAligner(), shard_records=2)


def test_kill_nine_then_the_same_bytes(unbroken, unit_file, tmp_path):
    path, expected = unbroken
    out = tmp_path / "out"
    for shards_done in (0, 1, 3):  # the same directory is killed three times
        process = start(path, out, unit_file)
        wait_until(lambda: (out / "prepare.json").exists() and len(list(out.glob("parts/*.json"))) >= shards_done)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert not (out / "metadata.json").exists()
    kept = [p.stat().st_mtime_ns for p in sorted(out.glob("parts/*.array_record"))]
    assert len(kept) >= 3
    finish(path, out, unit_file)
    assert contents(out) == expected
    made = [p.stat().st_mtime_ns for p in sorted(out.glob("shard-*.array_record"))]
    assert made[:3] == kept[:3]  # not made again


def test_killing_the_parent_leaves_no_worker_behind(prompts, unit_file, tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": f"{i}", "audio": str(prompts[i % 3].audio), "text": prompts[i % 3].text}) + "\n"
            for i in range(16)
        )
    )
    process = start(path, tmp_path / "out", unit_file, "sphinx", workers=2)
    wait_until(lambda: list((tmp_path / "out").glob("parts/*.json")))
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    threads = [p.read_text().split() for p in pathlib.Path(f"/proc/{process.pid}/task").glob("*/children")]
    children = {int(child) for ids in [children, *threads] for child in ids}
    assert len(children) >= 2
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not any(_alive(child) for child in children))
    items = manifest.read_items(path, {})
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("parts/*.array_record")}
    run.prepare_speech(items, tmp_path / "out", unit_file, pocket_sphinx.PocketSphinxAligner(), shard_records=2)
    run.prepare_speech(items, tmp_path / "unbroken", unit_file, pocket_sphinx.PocketSphinxAligner(), shard_records=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken") and before


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_shard_without_its_account_a_cut_one_and_leftovers_are_made_good(unbroken, unit_file, tmp_path):
    path, expected = unbroken
    for name, damage in {
        "no sidecar": lambda out: (out / "shard-00001-of-00005.json").unlink(),
        "cut sidecar": lambda out: (out / "shard-00001-of-00005.json").write_text('{"input_hash": "'),
        "cut shard": lambda out: os.truncate(out / "shard-00002-of-00005.array_record", 1000),
        "no shard": lambda out: (out / "shard-00004-of-00005.array_record").unlink(),
        "leftover": lambda out: (out / ".shard-00002-of-00005.array_record.123.tmp").write_text("half"),
        "no end": lambda out: [(out / f"{n}.json").unlink() for n in ("metadata", "report")],
        "foreign sidecar": lambda out: (out / "shard-00001-of-00005.json").write_text(
            (out / "shard-00001-of-00005.json").read_text().replace('"input_hash": "', '"input_hash": "0')
        ),
    }.items():
        out = tmp_path / name
        shutil.copytree(tmp_path / "unbroken", out)
        damage(out)
        assert contents(out) != expected
        finish(path, out, unit_file)
        assert contents(out) == expected, name


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(unbroken, unit_file, tmp_path):
    path, expected = unbroken
    out = tmp_path / "out"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"  # a shard has 128 KiB
    process = start(path, out, unit_file, before=limit)
    printed, _ = process.communicate()
    assert process.returncode == StorageError.exit_code
    assert printed.startswith(f"StorageError {out / 'parts'}/00000-0000000.")
    assert ".array_record: cannot write (no space left)" in printed
    assert printed.count("\n") == 1 and "run the same command again" in printed
    assert [p.name for p in out.rglob("*") if p.is_file()] == ["prepare.json"]
    finish(path, out, unit_file)
    assert contents(out) == expected


def test_a_place_that_cannot_be_made_is_a_storage_error(unbroken, unit_file, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/out: cannot write"):
        finish(unbroken[0], tmp_path / "file" / "out", unit_file)
