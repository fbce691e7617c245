"""`lst fit` of a table of anyone's runs: a published law comes back from it, with what follows from the law."""

import html
import json
import pathlib
import re

import numpy as np
import pytest

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.cli.main import main

# Besiroglu et al. 2024 (arXiv 2404.10102), refitted to 240 runs of Hoffmann et al. that were read off a figure.
PUBLISHED = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
BUDGETS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
NOISE = 0.004
ASKED = (1e20, 1e21, 5.76e23)


def chinchilla(seed=0):
    """N, D, C, L of 240 runs: 20 sizes at each of nine budgets, which are met within a few percent, and 60 elsewhere."""
    rng = np.random.default_rng(seed)
    c = np.repeat(BUDGETS, 20) * np.exp(0.02 * rng.standard_normal(180))
    c = np.concatenate([c, np.exp(rng.uniform(*np.log([6e18, 5e21]), 60))])
    n = synthetic.best_n(c, **PUBLISHED) * np.exp(rng.uniform(-1.6, 1.6, 240))
    d = c / 6 / n
    return n, d, c, synthetic.noisy(synthetic.loss(n, d, **PUBLISHED), NOISE, rng)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The runs as such a table lies about: pandas' index, names with spaces, two cells that are empty."""
    path = tmp_path_factory.mktemp("others") / "svg extracted.csv"
    rows = [f"{i},{n},{d},{c},{loss}" for i, (n, d, c, loss) in enumerate(zip(*chinchilla(), strict=True))]
    rows += ["240,7.0e7,,1e19,3.2", "241,7.0e7,2e10,8.4e18,nan"]
    path.write_text("\ufeff,Model Size,Training Tokens,Training FLOP,loss\r\n" + "\r\n".join(rows) + "\r\n")
    return path


@pytest.fixture(scope="module")
def fitted(table, tmp_path_factory):
    """The folder of the fit and the document."""
    out = tmp_path_factory.mktemp("fit")
    options = ["--repeats", 200, "--at", *ASKED, "--far", "--out", out]
    assert main(["fit", str(table), *map(str, options)]) == 0
    return out, json.loads((out / "fit.json").read_text())


def test_a_published_law_comes_back_within_its_intervals(fitted):
    _, document = fitted
    law, valleys = document["fits"]
    assert (law["kind"], law["systems"], law["measure"], len(law["runs"])) == ("law", ["svg extracted"], "loss", 240)
    for name, value in PUBLISHED.items():
        number = law["numbers"][name]
        assert number["low"] < value < number["high"], name
    assert law["numbers"]["alpha"]["high"] - law["numbers"]["alpha"]["low"] < 0.05
    assert law["scatter"] == pytest.approx(NOISE, rel=0.15)
    exponent = PUBLISHED["beta"] / (PUBLISHED["alpha"] + PUBLISHED["beta"])
    for fit in (law, valleys):
        assert fit["numbers"]["n_opt_exponent"]["low"] < exponent < fit["numbers"]["n_opt_exponent"]["high"]


def test_the_best_n_and_d_of_asked_budgets_come_with_intervals(fitted):
    _, document = fitted
    law, valleys = (fit["compute_optimal"] for fit in document["fits"])
    for asked, best, lowest in zip(ASKED, law, valleys, strict=True):
        n = synthetic.best_n(asked, **PUBLISHED)
        d = asked / 6 / n
        truth = {"n_opt": n, "d_opt": d, "tokens_per_parameter": d / n, "loss_opt": synthetic.loss(n, d, **PUBLISHED)}
        assert best["flops"] == lowest["flops"] == asked and set(best) == {"flops", *truth}
        for name, value in truth.items():
            assert best[name]["low"] < value < best[name]["high"], (asked, name)
        assert set(lowest) == set(best) - {"loss_opt"}
        assert lowest["n_opt"]["value"] == pytest.approx(n, rel=0.1)  # of a few percent its intervals do not know
        assert lowest["n_opt"]["low"] < lowest["n_opt"]["value"] < lowest["n_opt"]["high"]
    near, far = (document["fits"][0]["compute_optimal"][i]["n_opt"] for i in (1, 2))
    assert near["high"] / near["low"] < far["high"] / far["low"]


def test_what_was_read_and_left_out_is_said_in_a_line_each(fitted):
    out, document = fitted
    columns = r"N is 'Model Size' \(.*\), D is .*, C is 'Training FLOP' .*, L is 'loss' \(.*\)\."
    assert re.fullmatch(f"240 runs of svg extracted.csv: {columns}", document["notes"][0])
    assert document["notes"][1:] == [
        "2 of 242 rows are left out for an empty or nan cell: line 242 (Training Tokens), line 243 (loss)."
    ]
    text = (out / "fit.txt").read_text()
    assert text.startswith("\n".join(document["notes"]) + "\n95% intervals in brackets")
    others = [line for line in text.splitlines() if "refused" in line]
    assert len(others) == 1  # of some forty runs at no budget
    budgets = r"lowest points of \d+ budgets at C=.* to .*, \d+ runs  refused: 1 to 3 sizes of N; give 4 or more"
    assert re.search(budgets, others[0])
    assert re.search(r"\n  C, FLOPs +N +D +tokens per parameter +loss\n  1e\+20 ", text)


def test_pictures_and_the_page_hold_residuals_and_the_table(fitted):
    out, document = fitted
    page = html.unescape((out / "fit.html").read_text())
    names = ("loss_flops", "residuals", "isoflop")
    assert sorted(path.stem for path in out.glob("*.png")) == sorted(names) and page.count("data:image/png") == 3
    best = document["fits"][0]["compute_optimal"][2]["n_opt"]
    assert f"{best['value']:.4g} [{best['low']:.4g}, {best['high']:.4g}]" in page
    assert "<h2>Compute-optimal: svg extracted: loss: L(N, D) = E" in page and document["notes"][1] in page
    assert "trained by commit" not in page and document["points"]["sha256"] in page


def test_systems_of_a_column_are_compared(tmp_path, capsys):
    rng = np.random.default_rng(0)
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 4), 5, 6)
    rows = ["arch;N;D;bits per byte"]
    for system, lead in (("dense", 1.0), ("moe", 1.5)):
        losses = synthetic.noisy(synthetic.loss(lead * n, d, **synthetic.HOFFMANN), 1e-3, rng)
        rows += [
            f"{system};{a / 1e6:.3f}M;{b:.0f};{loss:.5f}".replace(".", ",")
            for a, b, loss in zip(n, d, losses, strict=True)
        ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows))
    options = ["--system-column", "arch", "--loss-column", "bits per byte", "--repeats", "100", "--json"]
    assert main(["fit", str(path), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    (joint,) = [fit for fit in document["fits"] if fit["kind"] == "joint"]
    multiplier = joint["numbers"]["parameters_multiplier/moe"]
    assert multiplier["low"] < 1.5 < multiplier["high"]
    assert "the system is 'arch'" in document["notes"][0] and "C = 6·N·D" in document["notes"][1]


def test_along_one_line_no_best_n_is_told(tmp_path, capsys):
    n = np.geomspace(1e8, 1e10, 8)
    losses = synthetic.loss(n, 20 * n, **synthetic.HOFFMANN)
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n" + "".join(f"{a},{20 * a},{loss}\n" for a, loss in zip(n, losses, strict=True)))
    assert main(["fit", str(path), "--repeats", "100", "--at", "1e21"]) == 0
    printed = capsys.readouterr().out
    assert "1e+21     refused: N and D move together in these runs, so they do not say which N is best" in printed


@pytest.mark.parametrize(
    "options, message",
    [
        (["--at", "1e23"], "--at 1e.23: is .* times the largest C of svg extracted .*, over 3 times; add --far"),
        (["--loss", "text"], "--loss text: .*extracted.csv has one loss; leave this out, or use --loss-column NAME"),
        (["--budget-tolerance", "5"], "--budget-tolerance 5: must be a share up to 0.5; use 0.05"),
        (["--loss-column", "bpb"], "--loss-column bpb: .* has no such column; its columns are 'Model Size', 'Train"),
    ],
)
def test_mistakes_are_one_line(table, capsys, options, message):
    assert main(["fit", str(table), "--repeats", "100", *options]) == 2
    assert re.fullmatch(f"lst fit: {message}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("options", [["--at", "0"], ["--at", "many"], ["--tokens-unit", "Q"], ["--tokens-unit", "0"]])
def test_a_budget_or_a_unit_that_is_none_is_refused(table, capsys, options):
    with pytest.raises(SystemExit):
        main(["fit", str(table), *options])
    assert re.search(
        "must be a number above 0; write FLOPs such as 1e21|is no unit; write K, M, B, T", capsys.readouterr().err
    )


def test_the_documents_example_does_what_it_says(tmp_path, monkeypatch, capsys):
    text = (pathlib.Path(__file__).parents[2] / "docs/formats.md").read_text()
    example = r"```sh\npython - <<'END' > runs.csv\n(.*?)\nEND\n(lst fit runs.csv .*?)\n```"
    program, command = re.search(example, text, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    pathlib.Path("runs.csv").write_text(capsys.readouterr().out)
    assert main([*command.split()[1:], "--repeats", "100"]) == 0
    law = json.loads(pathlib.Path("fits/fit.json").read_text())["fits"][0]
    assert law["numbers"]["E"]["low"] < 1.82 < law["numbers"]["E"]["high"]
    assert [best["flops"] for best in law["compute_optimal"]] == [1e20, 1e21, 1e22]
    assert "C = 6·N·D, as no column holds FLOPs." in html.unescape(pathlib.Path("fits/fit.html").read_text())
