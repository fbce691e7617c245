"""The paper's controls, side by side."""

import pytest

from lst_jax.bench import budgets
from lst_jax.cli import main
from lst_jax.cost import budget


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "POINTS", 6)
        patch.setattr(budgets, "SYSTEMS", ("base", "static"))
        return budgets.measure("configs/lst.py:420m")


def test_each_control_holds_what_it_says(measured):
    runs = {control: (found["base"], found["static"]) for control, found in measured["controls"].items()}
    for control, what in (("compute-controlled", "steps"), ("data-controlled", "tokens"), ("FLOP-controlled", "flops")):
        base, static = runs[control]
        assert static[what] == pytest.approx(base[what], rel=1e-5), control
        assert base["tokens"] == pytest.approx(262e9, rel=1e-5)
    for found in runs["compute-optimal"]:
        assert found["tokens"] == pytest.approx(30 * found["parameters"], rel=1e-4)
        assert found["text"] == pytest.approx(20 * found["parameters"], rel=0.02)


def test_base_saves_nothing_of_itself_and_static_patches_positions(measured):
    base = measured["controls"]["data-controlled"]["base"]
    assert budgets.saved(base, base) == pytest.approx(dict.fromkeys(measured["saved"]["static"], 0.0))
    saved = measured["saved"]["static"]
    assert 0.17 < saved["patch positions"] < 0.20 and saved["whole model"] < saved["global transformer"]


def test_positions_are_the_paper_s_by_its_shares_and_near_them_in_batches(measured):
    totals = {name: sum(parts) for name, parts in measured["positions"].items()}
    assert totals["Base, the paper's shares"] == pytest.approx(3.0)
    assert totals["LST, the paper's shares"] == pytest.approx(2.42, abs=0.005)
    assert totals["`base`"] == pytest.approx(3.0, rel=0.02) and totals["`static`"] == pytest.approx(2.43, rel=0.02)


def test_the_command_writes_its_section(measured, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(budgets, "measure", lambda recipe, times: measured)
    page = tmp_path / "results.md"
    assert main.main(["bench", "budgets", "--config", "configs/lst.py:420m", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert "## Budgets: configs/lst.py:420m" in text and "| compute-controlled, `static` |" in text
    assert "108 / 217" in text and "| `static` | 18." in text
    assert "made-up records, sampled at 6 equally spaced" in capsys.readouterr().out


def test_runs_of_equal_time_take_as_long_as_base(monkeypatch):
    monkeypatch.setattr(budget, "POINTS", 6)
    monkeypatch.setattr(budgets, "SYSTEMS", ("base", "static"))
    times = {"base": {"step_sec": 0.3}, "static": {"step_sec": 0.4}}
    timed = budgets.measure("configs/lst.py:420m", times)
    base, static = (timed["controls"]["time-controlled"][name] for name in ("base", "static"))
    assert static["device_sec"] == pytest.approx(base["device_sec"], rel=1e-4)
    assert static["steps"] == pytest.approx(0.75 * base["steps"], rel=1e-4)  # rows are as many
    equal = timed["controls"]["compute-controlled"]
    assert equal["static"]["device_sec"] == pytest.approx(4 / 3 * equal["base"]["device_sec"])
    assert "time, of Base" in budgets.markdown(timed)
    assert "| 1.333 |" in budgets.markdown(timed)
