"""Pictures: which are drawn, and that their lines and bands are where the runs and fits are."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.evals.accuracy import wilson_interval
from lst_jax.laws import fit_axes, fit_figures
from lst_jax.laws.points import systems_of
from lst_jax.laws.study import study

N = np.geomspace(1e5, 3e6, 6)
STYLES = {system: {"color": colour, "marker": "o"} for system, colour in (("base", "#111111"), ("lst", "#222222"))}
ITEMS = 400


def families(seeds=1):
    """Base and LST along D = 20·N with both losses and an accuracy."""
    rng = np.random.default_rng(0)
    points = []
    for system, lead in {"base": 1, "lst": 1.5}.items():
        for seed in range(seeds):
            text, speech = (
                synthetic.noisy(s * (1.5 + 400 * (lead * 120 * N**2) ** -0.17), 0.002, rng) for s in (1, 60)
            )
            points += [
                dataclasses.replace(
                    p,
                    run=f"{p.run}-{seed}",
                    items=ITEMS,
                    measures={
                        "loss_text": text[i],
                        "loss_speech": speech[i],
                        "accuracy_speech": 0.3 + 0.02 * i + 0.04 * seed,
                    },
                )
                for i, p in enumerate(synthetic.points(N, 20 * N, text, system))
            ]
    return points


@pytest.fixture
def figures(monkeypatch):
    """The figures of `write_all`, by the file they were meant for."""
    kept = {}
    monkeypatch.setattr(fit_figures, "_save", lambda figure, stem: kept.setdefault(stem.name, figure) and stem)
    yield kept
    plt.close("all")


def drawn(points, figures, tmp_path, kinds=("text", "speech"), **options):
    fit_figures.write_all(study(points, kinds, 100), points, kinds, tmp_path, **options)
    return figures


def band_at(axis, number, x):
    """(low, high) of a filled band at a corner of it."""
    corners = axis.collections[number].get_paths()[0].vertices
    return np.sort(corners[np.isclose(corners[:, 0], x)][:, 1])[[0, -1]]


def test_a_study_of_both_losses_is_in_pictures_with_text_and_speech_side_by_side(figures, tmp_path):
    drawn(families(), figures, tmp_path, units={"loss_text": "bits per text token"})
    assert set(figures) == {"loss_flops", "multiplier", "accuracy_flops"}
    top = figures["loss_flops"].axes[:2]
    assert [axis.get_title() for axis in top] == ["Text loss", "Speech loss"]
    assert [axis.get_ylabel() for axis in top] == ["text loss, bits per text token", "speech loss"]
    assert [text.get_text() for text in figures["loss_flops"].legends[0].get_texts()] == ["base", "lst"]
    assert len(figures["multiplier"].axes) == 2 and len(figures["accuracy_flops"].axes) == 1


def test_runs_without_a_law_are_shown_all_the_same(figures, tmp_path):
    drawn([p for p in families() if p.parameters < 3e5], figures, tmp_path)
    assert set(figures) == {"loss_flops", "accuracy_flops"}
    assert len(figures["loss_flops"].axes) == 2  # and no empty row of what no law leaves over
    assert [len(line.get_xdata()) for line in figures["loss_flops"].axes[0].lines] == [2, 2]


def test_the_multiplier_is_drawn_over_falling_losses_with_a_line_at_1(figures, tmp_path):
    points = families()
    axis = drawn(points, figures, tmp_path, ("text",))["multiplier"].axes[0]
    fit = next(e.fit for e in study(points, ("text",), 100) if e.kind == "multiplier")
    curve, one = axis.lines
    np.testing.assert_allclose(curve.get_ydata(), np.exp(fit.log_ratio))
    assert list(one.get_ydata()) == [1, 1]
    left, right = axis.get_xlim()
    assert left > curve.get_xdata()[0] > curve.get_xdata()[-1] > right
    np.testing.assert_allclose(
        band_at(axis, 0, curve.get_xdata()[-1]),
        [fit.numbers()["multiplier_at_lowest_loss"][end] for end in ("low", "high")],
    )


def test_accuracies_of_seeds_are_averaged_and_their_band_is_that_of_one_run_s_items(figures):
    points = families(seeds=2)
    axis = fit_figures.accuracies(points, ["accuracy_speech"], STYLES).axes[0]
    line = next(line for line in axis.lines if line.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_ydata(), 100 * (0.32 + 0.02 * np.arange(6)))
    expected = wilson_interval(0.40 * ITEMS, ITEMS)
    np.testing.assert_allclose(band_at(axis, 0, line.get_xdata()[4]), 100 * np.array(expected), rtol=1e-6)


def test_of_several_sizes_at_a_budget_the_line_has_the_accuracy_of_the_least_loss(figures):
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e20, 3), 5, 4)
    points = [
        dataclasses.replace(p, items=ITEMS, measures=p.measures | {"accuracy_text": 0.3 + 0.01 * (i % 5)})
        for i, p in enumerate(synthetic.points(n, d, synthetic.loss(n, d, **synthetic.HOFFMANN)))
    ]
    axis = fit_figures.accuracies(points, ["accuracy_text"], STYLES).axes[0]
    line = next(line for line in axis.lines if line.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_ydata(), 32)  # of the middle size; the best accuracy is the largest one's


def test_accuracies_without_items_have_no_band(figures):
    points = [dataclasses.replace(p, items=None) for p in families()]
    assert not fit_figures.accuracies(points, ["accuracy_speech"], STYLES).axes[0].collections


def test_residuals_are_drawn_against_n_d_and_their_ratio_and_a_trend_is_seen(figures, tmp_path):
    """A floor that rises with tokens per parameter is in no law of N and D."""
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 5), 8, 10)
    values = synthetic.loss(n, d, **synthetic.HOFFMANN) * np.where(d / n > 100, 1.01, 1)
    points = synthetic.points(n, d, values)
    drawn(points, figures, tmp_path, ("text",))
    fit = next(e.fit for e in study(points, ("text",), 100) if e.kind == "law")
    axes = figures["residuals_text"].axes
    for axis, x in zip(axes, (n, d, d / n), strict=False):
        runs = axis.lines[0]
        np.testing.assert_allclose(runs.get_xdata(), x)
        np.testing.assert_allclose(runs.get_ydata(), 100 * np.expm1(fit.residuals))
    medians = axes[2].lines[1].get_ydata()
    assert len(medians) == 6 and np.ptp(medians) > 0.3 > np.ptp(axes[0].lines[1].get_ydata())
    ordered, diagonal = axes[3].lines[:2]
    assert np.all(np.diff(ordered.get_ydata()) >= 0) and np.all(np.diff(ordered.get_xdata()) > 0)
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


def test_runs_at_no_budget_are_one_entry_of_the_valleys_legend(figures, tmp_path):
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 4), 5, 6)
    lone = 6e18 * 500 ** (np.array([1, 3, 5]) / 6)  # between the budgets
    n, d = np.concatenate([n, np.full(3, 3e8)]), np.concatenate([d, lone / 1.8e9])
    drawn(synthetic.points(n, d, synthetic.loss(n, d, **synthetic.HOFFMANN)), figures, tmp_path, ("text",))
    labels = [text.get_text() for text in figures["isoflop_text"].axes[0].get_legend().get_texts()]
    assert len(labels) == 5 and labels[0] == "at no budget (3)"


@pytest.mark.parametrize("high", [1.05e18, 4e18, 2e19, 1e23])
def test_a_log_axis_has_labels_that_do_not_overlap(figures, high):
    figure, axis = plt.subplots(figsize=(5, 3))
    axis.plot([1.01e18, high], [1, 2])
    fit_axes.log_scale(axis, "x")
    figure.canvas.draw()
    low, top = axis.get_xlim()
    labels = [t for t, at in zip(axis.get_xticklabels(), axis.get_xticks(), strict=True) if low <= at <= top]
    boxes = sorted((label.get_window_extent().x0, label.get_window_extent().x1) for label in labels)
    assert len(labels) >= 2 and len({label.get_text() for label in labels}) == len(labels)
    assert all(end < start for (_, end), (start, _) in zip(boxes, boxes[1:], strict=False))
    assert not [label for label in axis.get_xticklabels(minor=True) if label.get_text()]


def test_a_system_looks_the_same_in_every_picture(figures, tmp_path):
    points = families()
    drawn(points, figures, tmp_path)
    colours = dict(zip(systems_of(points), fit_figures.COLOURS, strict=False))
    assert figures["multiplier"].axes[0].lines[0].get_color() == colours["lst"]
    assert figures["loss_flops"].axes[1].lines[1].get_color() == colours["lst"]
