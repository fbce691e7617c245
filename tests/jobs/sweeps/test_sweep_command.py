"""`lst sweep run`: real processes, stopped and killed, then points and the page."""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
import sweep_recipe
import training_run
from evaluation_records import FIELDS

from lst_jax.checkpoints.steps import whole_steps
from lst_jax.cli import main
from lst_jax.core import files
from lst_jax.core.errors import RESTART_EXIT_CODE, DataError
from lst_jax.evals.accuracy import paired_interval
from lst_jax.evals.records import store
from lst_jax.jobs.sweeps import collect, status
from lst_jax.jobs.sweeps.trials import read_sweep
from lst_jax.laws.points import read_points
from lst_jax.runs.directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[3]
QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)
CLOCK = ("seconds_per_step", "tokens_per_second", "patches_per_second", "mfu")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return sweep_recipe.recipe_in(tmp_path_factory.mktemp("recipe"), training_run.make_base_config)


def start(folder, *words):
    """The command as a process of its own, one device a run."""
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PJRT_NPROC": "4",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": QUICK_TO_COMPILE,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "lst_jax", "sweep", "run", str(folder), *words],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def learned(run):
    return [{k: v for k, v in r.items() if k not in CLOCK} for r in RunDirectory(run).read_metrics()]


def wait_until(reached, process, seconds=240):
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.1)


def trained_steps(folder):
    return (
        sum(s.step for s in status.status_of(folder / "runs", read_sweep(folder).trials))
        if (folder / "sweep.json").exists()
        else 0
    )


@pytest.fixture(scope="module")
def swept(recipe, tmp_path_factory):
    """Two runs: the sweep told to stop, gone on with, killed, gone on with to the end."""
    folder = tmp_path_factory.mktemp("sweep") / "seeds"
    first = start(folder, "--config", f"{recipe}:seeds", "--jobs", "2")
    wait_until(lambda: trained_steps(folder) >= 1, first)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=240)
    assert first.returncode == RESTART_EXIT_CODE and "stopped, saved; run the same command to go on" in said
    stopped = trained_steps(folder)
    second = start(folder, "--jobs", "1")
    wait_until(lambda: trained_steps(folder) > stopped, second)
    os.kill(second.pid, signal.SIGKILL)
    second.communicate()
    last = start(folder, "--jobs", "2")
    runs = [RunDirectory(folder / "runs" / trial.name) for trial in read_sweep(folder).trials]
    pids = [json.loads(run.starts_path.read_text().splitlines()[-1])["pid"] for run in runs if run.starts_path.exists()]
    wait_until(lambda: not any(status.alive(pid) for pid in pids) or trained_steps(folder) == 12, last)
    out, said = last.communicate(timeout=400)
    assert last.returncode == 0, said
    return folder, out


def test_a_swept_run_is_that_of_one_command_bit_for_bit(swept, recipe, tmp_path):
    folder, _ = swept
    trial = read_sweep(folder).trials[0]
    words = [word for change in trial.changes for word in ("--set", change)]
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PJRT_NPROC": "4",
        "XLA_FLAGS": QUICK_TO_COMPILE,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
    }
    subprocess.run(
        [sys.executable, "-m", "lst_jax", "train", str(tmp_path / "run"), "--config", trial.recipe, *words],
        env=env,
        check=True,
        capture_output=True,
    )
    assert learned(folder / "runs" / trial.name) == learned(tmp_path / "run")


def test_all_runs_are_done_and_have_a_log(swept):
    folder, out = swept
    found = status.status_of(folder / "runs", read_sweep(folder).trials)
    assert status.summary(found) == "2 done of 2 runs" and "2 done of 2 runs" in out
    assert all(s.step == 6 and s.starts >= 2 for s in found)
    assert all((folder / "logs" / f"{s.trial.name}.log").stat().st_size for s in found)


def test_points_hold_what_the_runs_learned(swept):
    folder, _ = swept
    points = read_points(folder / "points.jsonl")
    for point, trial in zip(points, read_sweep(folder).trials, strict=True):
        records = RunDirectory(folder / "runs" / trial.name).read_metrics()
        trained = [r for r in records if r["kind"] == "train"]
        assert point.run == trial.name and point.system == "base" and point.config_hash == trial.config_hash
        assert point.tokens == trained[-1]["tokens_so_far"]
        assert point.flops == pytest.approx(sum(r["flops"] for r in trained))
        assert point.flops == pytest.approx(trial.flops, rel=0.1)  # what the budget expected
        assert point.seconds == pytest.approx(6 * statistics.median(r["seconds_per_step"] for r in trained))
        assert point.measures["loss_speech"] == records[-1]["heldout/speech/bits_per_second_speech"]
        assert point.items == 4 or point.items is None


def test_status_is_printed_for_people_and_for_programs(swept, capsys):
    folder, _ = swept
    assert main.main(["sweep", "status", str(folder)]) == 0
    assert "6 of 6" in capsys.readouterr().out
    assert main.main(["sweep", "status", str(folder), "--json"]) == 0
    assert [s["state"] for s in json.loads(capsys.readouterr().out)] == ["done", "done"]


def test_the_page_and_the_section_of_results_name_every_run_and_reason(swept, tmp_path, capsys):
    folder, _ = swept
    assert (
        main.main(
            ["report", str(folder), "--page", str(tmp_path / "page.html"), "--markdown", str(tmp_path / "results.md")]
        )
        == 0
    )
    page, results = (tmp_path / "page.html").read_text(), (tmp_path / "results.md").read_text()
    assert all(trial.name in page for trial in read_sweep(folder).trials)
    assert "](page.html)" in results and "2 done of 2 runs" in results
    assert "refused: base has loss_speech" in results
    assert json.loads((folder / "fits" / "fit.json").read_text())["fits"]


def test_options_of_sweeps_are_refused_for_runs(swept, capsys):
    folder, _ = swept
    run = folder / "runs" / read_sweep(folder).trials[0].name
    assert main.main(["report", str(run), "--markdown", "x.md"]) == 2
    assert f"--markdown: {run} is no sweep; leave it out" in capsys.readouterr().err


def test_a_second_command_on_the_same_sweep_is_refused(swept, recipe, tmp_path, capsys):
    folder, _ = swept
    with files.exclusive_lock(folder, "lst sweep run"):
        assert main.main(["sweep", "run", str(folder)]) == 1
    assert "another lst sweep run is at work here" in capsys.readouterr().err


def test_runs_too_short_for_their_curriculum_are_named_in_one_line(tmp_path, capsys):
    recipe = sweep_recipe.recipe_in(tmp_path)  # whose curriculum ends at step 6
    assert main.main(["sweep", "run", str(tmp_path / "s"), "--config", f"{recipe}:early", "--dry-run"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line.startswith("warning: tiny-") and line.endswith(" (1 more runs likewise)")
    assert "data.patching.tau2=6: the curriculum ends after the run does, at train.steps=4; " in line


def test_a_run_that_needs_a_person_is_named_with_its_log(recipe, tmp_path, capsys):
    main.main(["sweep", "run", str(tmp_path), "--config", f"{recipe}:shares", "--dry-run"])
    assert "1 runs" in capsys.readouterr().out and not (tmp_path / "sweep.json").exists()
    sweep = read_sweep_of(tmp_path, f"{recipe}:shares")
    name = sweep.trials[0].name
    (tmp_path / "runs" / name / "checkpoints" / "00000001").mkdir(parents=True)  # a run with steps keeps its recipe
    (tmp_path / "runs" / name / "config.json").write_text("{")
    assert main.main(["sweep", "run", str(tmp_path), "--jobs", "1"]) == 1
    assert f"{name} ended with exit code 3: see {tmp_path}/logs/{name}.log" in capsys.readouterr().err


def read_sweep_of(folder, reference):
    from lst_jax.jobs.sweeps.trials import open_sweep

    return open_sweep(folder, reference)


def test_nothing_to_collect_is_said(recipe, tmp_path):
    read_sweep_of(tmp_path, f"{recipe}:seeds")
    with pytest.raises(DataError, match="no run is done; run the sweep first"):
        collect.write_points(tmp_path, tmp_path / "runs")


@pytest.fixture(scope="module")
def asked(swept, tmp_path_factory):
    """The two runs, asked a task whose items are of two bands, and what the command said."""
    folder, _ = swept
    items = tmp_path_factory.mktemp("task") / "items.jsonl"
    fields = {"prompt": {"text": "press"}, "choices": [{"text": "one"}, {"text": "two"}]}
    rows = [{"id": f"{i}", **fields, "label": i % 2, "bands": {"told": ("text", "both")[i // 2]}} for i in range(4)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["sweep", "evaluate", str(folder), "--task", f"small={items}", "--directions", "t2t", "--jobs", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", QUICK_TO_COMPILE)
        patch.setenv("PJRT_NPROC", "4")
        assert main.main(words) == 0
    return folder, words


def test_each_run_is_asked_once(asked, capsys):
    folder, words = asked
    files_before = [path.stat().st_mtime_ns for path in folder.glob("runs/*/evaluations/small-*.json")]
    assert len(files_before) == 2
    assert main.main(words) == 0 and "0checkpoint" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in folder.glob("runs/*/evaluations/small-*.json")] == files_before


def test_a_run_that_cannot_be_asked_is_named_and_the_others_go_on(asked, capsys, tmp_path):
    folder, _ = asked
    words = ["sweep", "evaluate", str(folder), "--jobs", "2", "--task"]
    (tmp_path / "no_units.jsonl").write_text('{"prompt": {"text": "a"}, "choices": ["b", "c"], "label": 0}\n')
    assert main.main([*words, f"other={tmp_path / 'no_units.jsonl'}", "--directions", "s2s"]) == 1
    said = capsys.readouterr().err
    assert all(f"lst sweep: {trial.name}: " in said for trial in read_sweep(folder).trials)
    assert main.main([*words, f"other={folder / 'sweep.json'}"]) == 3
    assert "sweep.json" in capsys.readouterr().err


def test_directions_that_a_run_lacks_are_asked(asked, monkeypatch, capsys):
    folder, words = asked
    commands = []
    monkeypatch.setattr(
        "lst_jax.jobs.sweeps.evaluate.subprocess.run",
        lambda command, **_: commands.append(command) or subprocess.CompletedProcess(command, 0, "", ""),
    )
    task = words[words.index("--task") + 1]
    assert main.main(["sweep", "evaluate", str(folder), "--task", task, "--directions", "t2t,s2t", "--jobs", "1"]) == 0
    assert [command[-1] for command in commands] == ["s2t", "s2t"]
    commands.clear()
    assert main.main(["sweep", "evaluate", str(folder), "--task", task, "--jobs", "1"]) == 0
    assert not commands  # the file has text alone, so T→T is all that it has


def test_the_table_is_the_mean_over_seeds_and_the_same_from_its_file(asked, tmp_path, capsys):
    folder, _ = asked
    data, page = tmp_path / "outcomes.json", tmp_path / "study.md"
    page.write_text("# A study\n\n## Main\n\nstale\n\n## Behind\n\nkept\n")
    words = ["--band", "told", "--markdown", str(page), "--section", "Main"]
    capsys.readouterr()
    assert main.main(["sweep", "table", str(folder), "--out", str(data), *words]) == 0
    printed = capsys.readouterr().out
    runs = json.loads(data.read_text())["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    shares = [run["tasks"][0]["results"][0]["bands"]["told"]["both"]["per_token"]["accuracy"] for run in runs]
    assert f"| base | both |  | {100 * statistics.fmean(shares):.1f} [" in page.read_text()
    assert "small, 4 items, chance 50%" in printed and "stale" not in page.read_text() and "kept" in page.read_text()
    assert main.main(["sweep", "table", str(data), "--band", "told"]) == 0
    assert capsys.readouterr().out == printed


def test_runs_are_probed_and_recognise_speech_once(swept, tmp_path, monkeypatch, capsys):
    """Records as `lst evaluate` writes them, by a stand-in for its processes."""
    folder = tmp_path / "sweep"
    shutil.copytree(swept[0], folder)
    commands = []

    def evaluate(command, **_):
        words = command[command.index("evaluate") :]
        kind = "probe" if "--probe" in words else "asr"
        changes = {"step": int(words[words.index("--step") + 1])} | ({"source": "speech"} if kind == "asr" else {})
        store.write(pathlib.Path(words[1]), store.build(kind, FIELDS[kind] | changes))
        commands.append(words[2:])
        return subprocess.CompletedProcess(command, 0, "", "")

    words = ["sweep", "evaluate", str(folder), "--probe", "patches", "--asr", "speech", "--items", "3", "--jobs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr("lst_jax.jobs.sweeps.evaluate.subprocess.run", evaluate)
        for _ in range(2):
            assert main.main(words) == 0
        another = ["sweep", "evaluate", str(folder), "--asr", "another", "--jobs", "1", "--systems"]
        assert main.main([*another, "nobody"]) == 3
        assert "--systems nobody: no run has this label; use some of base\n" in capsys.readouterr().err
        assert main.main([*another, "base"]) == 0
    step = ["--step", "6"]
    once = [[*step, "--probe", "patches", "--items", "3"], [*step, "--asr", "speech", "--items", "3"]]
    assert commands == [*once, *once, *[[*step, "--asr", "another"]] * 2]
    capsys.readouterr()
    assert main.main(["sweep", "table", str(folder), "--out", str(tmp_path / "x.json")]) == 0
    printed = capsys.readouterr().out
    layers, wer = FIELDS["probe"]["text_speech"], FIELDS["asr"]["wer"]["rate"]
    behind = printed.split("Cosine of a word's")[1].splitlines()
    probed = next(line.split() for line in behind if line.startswith("  base"))
    alike = [f"{layer['same_word']:.3f}" for layer in layers]
    assert probed[:2] == ["base", "2"] and probed[2::2][: len(alike)] == alike
    assert f"({alike[0]}–{alike[0]})" == probed[3]
    assert f"  {100 * wer:.1f} ({100 * wer:.1f}–{100 * wer:.1f})" in printed.split("Recognition")[1]
    assert main.main(["sweep", "table", str(tmp_path / "x.json")]) == 0 and capsys.readouterr().out == printed
    assert main.main(["sweep", "evaluate", str(folder)]) == 2
    assert "nothing is asked; give --task, --probe or --asr" in capsys.readouterr().err
    assert main.main(["sweep", "evaluate", str(folder), "--task", "completion", "--items", "3"]) == 2
    assert "--items: belongs to --asr or --probe" in capsys.readouterr().err


def test_runs_of_other_sizes_and_lengths_are_rows_of_their_own(asked, tmp_path, capsys):
    folder, _ = asked
    data = tmp_path / "outcomes.json"
    assert main.main(["sweep", "table", str(folder), "--out", str(data)]) == 0
    fields = json.loads(data.read_text())
    first, second = fields["runs"]
    assert first["positions"] == 1.0  # of Base
    third = json.loads(json.dumps(second)) | {"run": "third", "seed": 9, "parameters": 2_508_512}
    second["steps"] = 900
    fields["runs"].append(third)
    data.write_text(json.dumps(fields))
    capsys.readouterr()
    assert main.main(["sweep", "table", str(data)]) == 0
    size = f"{first['parameters'] / 1e6:.3g}M"
    names = [f"base {size} {first['steps']} steps", f"base {size} 900 steps", f"base 2.51M {third['steps']} steps"]
    costs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  base ")][:3]
    assert [line.split("  ")[1] for line in costs] == names and {line.split()[4] for line in costs} == {"1"}
    assert main.main(["sweep", "table", str(data), "--systems", f"{names[2]},{names[0]}"]) == 0
    costs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  base ")][:2]
    assert [line.split("  ")[1] for line in costs] == ["base 2.51M", f"base {size}"]  # of one length now
    assert main.main(["sweep", "table", str(data), "--systems", "base"]) == 0
    assert names[1] in capsys.readouterr().out


def test_systems_are_compared_question_by_question(asked, tmp_path, capsys):
    """Of the two runs, one is called another system; by_group is what each question differs in."""
    folder, _ = asked
    data = tmp_path / "outcomes.json"
    assert main.main(["sweep", "table", str(folder), "--out", str(data)]) == 0
    fields = json.loads(data.read_text())
    first, second = fields["runs"]
    second["system"] = "other"
    of_runs = [run["tasks"][0]["results"][0]["rules"]["sum"] for run in (first, second)]
    for share in of_runs:
        assert len(share["by_group"]) == share["groups"] == 4
        assert statistics.fmean(share["by_group"]) == share["accuracy"]
    of_runs[1]["by_group"], of_runs[1]["accuracy"] = [1.0, 1.0, 0.5, 1.0], 0.875
    data.write_text(json.dumps(fields))
    capsys.readouterr()
    words = ["sweep", "table", str(data), "--rule", "sum", "--against", "base"]
    assert main.main(words) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    differences = np.subtract(of_runs[1]["by_group"], of_runs[0]["by_group"])
    low, high = paired_interval(differences)
    assert row.split() == ["other", f"{100 * differences.mean():+.1f}", f"[{100 * low:.0f},", f"{100 * high:.0f}]"]
    assert main.main([*words[:-1], "nobody"]) == 3
    assert "--against nobody: no run has this label; use base or other" in capsys.readouterr().err
    assert main.main([*words, "--by-step"]) == 2
    assert "--against: not with --by-step" in capsys.readouterr().err
    second["tasks"][0]["digest"] = "0" * 16
    data.write_text(json.dumps(fields))
    assert main.main(words) == 3
    error = capsys.readouterr().err
    assert (
        "small: " in error and "were asked different items; ask one of them again" in error and error.count("\n") == 1
    )


def test_runs_are_asked_at_each_step_that_they_kept(asked, tmp_path, capsys):
    folder, words = asked
    runs = [RunDirectory(folder / "runs" / trial.name) for trial in read_sweep(folder).trials]
    copy = min({1, 2, 3, 4, 5} - set(whole_steps(runs[0].checkpoints_path)))
    shutil.copytree(runs[0].checkpoint_path(6), runs[0].checkpoint_path(copy))
    kept = [whole_steps(run.checkpoints_path) for run in runs]
    assert copy in kept[0] and kept[0][-1] == kept[1][-1] == 6
    before = [int(path.name.split("-")[1]) for run in runs for path in run.path.glob("evaluations/small-*.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", QUICK_TO_COMPILE)
        patch.setenv("PJRT_NPROC", "4")
        assert main.main([*words, "--each-checkpoint"]) == 0
    new = sum(map(len, kept)) - len(before)
    assert 6 in before and f"{new}/{new} [" in capsys.readouterr().err
    out = tmp_path / "outcomes.json"
    assert main.main(["sweep", "table", str(folder), "--by-step", "--band", "told=text", "--out", str(out)]) == 0
    printed, found = capsys.readouterr().out, json.loads(out.read_text())["runs"]
    assert [[one["steps"] for one in run["earlier"]] for run in found] == [steps[:-1] for steps in kept]
    (copied,) = (one for one in found[0]["earlier"] if one["steps"] == copy)
    assert copied["flops"] == pytest.approx(found[0]["flops"] * copy / 6)
    assert copied["tasks"][0]["results"][0]["rules"] == found[0]["tasks"][0]["results"][0]["rules"]
    shown = {line.split()[2]: line.split()[1] for line in printed.splitlines() if line.startswith("  base")}
    assert shown == {f"{step}": str(sum(step in steps for steps in kept)) for step in {*kept[0], *kept[1]}}
    assert "told text" in printed and "both" not in printed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "holds no outcomes; give a sweep, or what lst sweep table --out wrote"),
        ("[", "is not JSON"),
        ('{"format_version": 1, "runs": [{"run": 3}]}', "give a sweep, or what lst sweep table --out wrote"),
        (None, "x.json"),
    ],
)
def test_a_file_that_is_not_of_outcomes_is_refused(tmp_path, capsys, content, said):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    assert main.main(["sweep", "table", str(tmp_path / "x.json")]) == 3
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
