"""What counts as covered, and the section that says so."""

import pytest

from lst_jax.bench import coverage
from lst_jax.cli.main import main
from lst_jax.laws.points import Refused


def by_turns(seed, draws):
    """Of ten studies one is refused; five of the others hold a truth of 5, at its edge."""
    if seed % 10 == 9:
        raise Refused("no luck")
    low = 5.0 if seed % 10 < 5 else 5.5
    return (
        {"sometimes": {"value": 5.2, "low": low, "high": low + 1.0}, "never": {"value": 6.5, "low": 6.0, "high": 7.0}},
        {"sometimes": 5.0, "never": -5.0},
    )


def test_shares_are_of_the_studies_that_were_not_refused():
    measured = coverage.measure({"turns": by_turns}, 30)["studies"]["turns"]
    assert measured["refused"] == 3
    assert measured["numbers"] == {
        "sometimes": {"coverage": pytest.approx(5 / 9), "median_width": 0.2},
        "never": {"coverage": 0, "median_width": 0.2},
    }


def test_every_number_of_a_fit_has_a_truth_near_it():
    """A truth of another law or another place would be missed by far."""
    for name, study in coverage.STUDIES.items():
        numbers, truth = study(0, 100)
        assert set(numbers) == set(truth), name
        for number, of in numbers.items():
            assert abs(of["value"] - truth[number]) < 2 * (of["high"] - of["low"]), (name, number)


def test_the_command_writes_its_section(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(coverage, "STUDIES", {"turns": by_turns})
    path = tmp_path / "results.md"
    assert main(["bench", "coverage", "--repeats", "10", "--markdown", str(path)]) == 0
    text = path.read_text()
    assert "## Coverage of the intervals" in text and "`lst bench coverage --repeats 10 --markdown" in text
    assert "### turns" in text and " 1 of 10 were refused, and do not count." in text
    assert "| `never` | 0.0% | 20.00% |" in text
    assert main(["bench", "coverage", "--repeats", "0"]) == 3
    assert "--repeats 0: must be at least 1; use 200" in capsys.readouterr().err
