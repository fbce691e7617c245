"""`lst sweep table --figure`: marks stand where the accuracies are, and a sweep without answers is named."""

import json
import pathlib

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from lst_jax.cli import main
from lst_jax.core import plot_style
from lst_jax.jobs.sweeps import outcomes, outcomes_picture
from lst_jax.jobs.sweeps.outcomes_tables import Shown, accuracy_of, asked_of
from lst_jax.storage.place import to_place

EVIDENCE = pathlib.Path(__file__).parents[3] / "docs" / "evidence" / "eight-relations.json"


def test_marks_stand_where_the_accuracies_are(monkeypatch):
    figures = []
    monkeypatch.setattr(plot_style, "png_of", lambda figure: figures.append(figure) or b"")
    found = outcomes.read(to_place(EVIDENCE))
    outcomes_picture.picture(found, Shown("told"))
    axis, asked = figures[0].axes[1], asked_of(found, "told")[0]
    assert axis.get_title() == "T→T"
    drawn = {bar.get_label(): bar for bar in axis.containers if isinstance(bar, ErrorbarContainer)}
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(asked.values)
    for label, runs in found.of_systems().items():
        shown = [accuracy_of(runs, asked.task, "t2t", Shown("told"), value) for value in asked.values]
        marks, _, (bars,) = drawn[label]
        assert marks.get_ydata() == pytest.approx([100 * one.mean for one in shown])
        ends = np.array([(100 * one.low, 100 * one.high) for one in shown])
        np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], ends)


def test_one_value_of_a_band_has_its_systems_side_by_side(monkeypatch):
    figures = []
    monkeypatch.setattr(plot_style, "png_of", lambda figure: figures.append(figure) or b"")
    found = outcomes.read(to_place(EVIDENCE)).of_value("told", "text")
    outcomes_picture.picture(found, Shown("told"))
    axis = figures[0].axes[-2]  # S→T of the last task, below which the names stand
    assert [tick.get_text() for tick in axis.get_xticklabels()] == list(found.of_systems())
    heights = [bar[0].get_ydata()[0] for bar in axis.containers if isinstance(bar, ErrorbarContainer)]
    task = asked_of(found, "told")[-1].task
    shown = [accuracy_of(runs, task, "s2t", Shown("told"), "text").mean for runs in found.of_systems().values()]
    assert heights == pytest.approx([100 * mean for mean in shown])


def test_steps_are_drawn_over_the_time_of_training(monkeypatch, tmp_path, capsys):
    """Of a run that knew less at half of its time."""
    fields = json.loads(EVIDENCE.read_text())
    for run in fields["runs"]:
        tasks = json.loads(json.dumps(run["tasks"]))
        for result in (result for task in tasks for result in task["results"]):
            for share in (rules["per_token"] for value in result["bands"].values() for rules in value.values()):
                share["accuracy"] /= 2
        run["earlier"] = [{"steps": 9, "tokens": 1, "flops": 1.0, "seconds": run["seconds"] / 2, "tasks": tasks}]
    (tmp_path / "steps.json").write_text(json.dumps(fields))
    figures = []
    monkeypatch.setattr(plot_style, "png_of", lambda figure: figures.append(figure) or b"")
    words = ["sweep", "table", str(tmp_path / "steps.json"), "--band", "told=text", "--by-step"]
    assert main.main([*words, "--figure", str(tmp_path / "x.png")]) == 0
    lines = [bar[0] for bar in figures[0].axes[0].containers if isinstance(bar, ErrorbarContainer)]
    assert len(lines) == len({run["system"] for run in fields["runs"]})
    for line in lines:
        times, heights = line.get_xdata(), line.get_ydata()
        assert times[1] == pytest.approx(2 * times[0]) and heights[1] == pytest.approx(2 * heights[0])
    assert main.main(["sweep", "table", str(EVIDENCE), "--band", "told=nowhere"]) == 3
    assert "--band told=nowhere: no item has it; use both or speech or text or untold" in capsys.readouterr().err


def test_the_command_writes_a_picture_without_bands_too(tmp_path):
    assert main.main(["sweep", "table", str(EVIDENCE), "--figure", str(tmp_path / "all.png")]) == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_that_was_asked_nothing_is_named(tmp_path, capsys):
    fields = json.loads(EVIDENCE.read_text())
    for run in fields["runs"]:
        run["tasks"] = []
    (tmp_path / "none.json").write_text(json.dumps(fields))
    assert main.main(["sweep", "table", str(tmp_path / "none.json"), "--figure", str(tmp_path / "x.png")]) == 3
    assert "no run was asked a task; run lst sweep evaluate first" in capsys.readouterr().err


def test_some_systems_can_be_shown_alone(capsys):
    labels = list(outcomes.read(to_place(EVIDENCE)).of_systems())[::-1]
    words = ["sweep", "table", str(EVIDENCE), "--only", "world-storycloze", "--systems"]
    assert main.main([*words, labels[0]]) == 0
    assert labels[1] not in capsys.readouterr().out
    assert main.main([*words, ",".join(labels)]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  b")]
    assert rows == [*labels, *labels]
    assert main.main([*words, "nobody"]) == 3
    assert f"--systems nobody: no run has this label; use some of {labels[1]}, {labels[0]}" in capsys.readouterr().err


def test_records_without_answers_by_question_are_not_compared(capsys):
    assert main.main(["sweep", "table", str(EVIDENCE), "--against", "base"]) == 3
    error = capsys.readouterr().err
    assert "records of older versions do not keep what each question was answered" in error and error.count("\n") == 1


def test_one_task_can_be_shown_alone(tmp_path, capsys):
    words = ["sweep", "table", str(EVIDENCE), "--out", str(tmp_path / "all.json")]
    assert main.main([*words, "--only", "world-hellaswag"]) == 0
    shown = capsys.readouterr().out
    assert "world-hellaswag, 400 items" in shown and "storycloze" not in shown
    assert outcomes.read(to_place(tmp_path / "all.json")) == outcomes.read(to_place(EVIDENCE))
    assert main.main([*words, "--only", "other"]) == 3
    assert "--only other: no run was asked it; use world-hellaswag or" in capsys.readouterr().err
