"""The pictures of a run: what it learned, what it was fed, how fast. PNG files, one function a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lst_jax.config import Config
from lst_jax.core import json_files
from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import DataError, first_line
from lst_jax.core.plot_style import COLOURS, png_of, styled, subplots
from lst_jax.evals.conventions import MEASURES
from lst_jax.report.run_files import is_inside
from lst_jax.runs import ledger
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FOLDER = "pictures"  # of a run
WALL_TIME = "Where the wall time went"
ACCOUNT_COLOURS = {
    "start": "#9ca3af",
    "compile": "#475569",
    "step": "#15803d",
    "data": "#eab308",
    "evaluation": "#1d4ed8",
    "checkpoint": "#7c3aed",
    "lost": "#c2410c",
}
STARTS_SHOWN = 30


@styled()
def write_all(
    config: Config, records: list[dict[str, Any]], starts: list[dict[str, Any]], run_path: Place
) -> tuple[list[tuple[Place, str]], list[str]]:
    """Draws what the records and the ledger's `starts` allow into RUN/pictures.

    Returns: (file, title) in the page's order, and one line for each picture that the records do not allow.
    Raises: StorageError where a picture cannot be written; DataError where the folder leads out of the run.
    """
    folder = run_path / FOLDER
    if not is_inside(folder, run_path):
        raise DataError(f"{folder}: leads out of the run; remove the symbolic link")
    train = [r for r in records if r["kind"] == "train"]
    evaluations = [r for r in records if r["kind"] == "eval"]
    pictures: list[tuple[str, str, Callable[[], Figure]]] = [
        ("likelihood", "Likelihood: training and held-out", lambda: likelihood(train, evaluations)),
        ("curriculum", "Curriculum: alignment probability and patch length", lambda: curriculum(train)),
        ("data", "Data: mixture and fill of the rows", lambda: data(config, train)),
        ("speed", "Speed", lambda: speed(train)),
    ]
    if evaluations and any(k.startswith("completion/") for k in evaluations[-1]):
        pictures.insert(1, ("completion", "Completion choice on held-out utterances", lambda: completion(evaluations)))
    if starts:
        pictures.append(("wall_time", WALL_TIME, lambda: wall_time(starts)))
    written, passed_over = [], []
    for name, title, draw in pictures:
        path = folder / f"{name}.png"
        try:
            content = png_of(draw())
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # values that no run of ours wrote
            passed_over.append(f"{path}: not drawn, the records hold what no picture can show ({first_line(error)})")
            continue
        objects.write_bytes(path, content)
        written.append((path, title))
    return written, passed_over


def title_of(path: Place) -> str:
    """Example: "one_utterance.png" -> "One utterance"."""
    return path.name.rpartition(".")[0].replace("_", " ").capitalize()


def series(records: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the records that have a number for `key`."""
    points = [(r["step"], r[key]) for r in records if _is_number(r.get(key))]
    return np.array([p[0] for p in points]), np.array([p[1] for p in points], float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not (isinstance(value, int) and abs(value) >= json_files.LARGEST)


def likelihood(train, evaluations):
    """Bits per text token and bits per second of speech against steps; training in thin, held-out in dots."""
    figure, axes = subplots(1, 2, figsize=(10, 3.4))
    for axis, key, colour in (
        (axes[0], "bits_per_text_token", COLOURS["text"]),
        (axes[1], "bits_per_second_speech", COLOURS["speech"]),
    ):
        steps, values = series(train, key)
        axis.plot(steps, values, color=colour, alpha=0.45, linewidth=0.8, label="training rows")
        held = sorted({k for r in evaluations for k in r if k.startswith("heldout/") and k.endswith("/" + key)})
        for marker, name in zip("osD^v", held, strict=False):
            axis.plot(
                *series(evaluations, name),
                marker=marker,
                markersize=4,
                linewidth=1.2,
                color="black",
                alpha=0.8,
                label="held-out " + name.split("/")[1],
            )
        axis.set(xlabel="step", title=MEASURES[key])
        finite = values[np.isfinite(values)]
        if len(finite):
            axis.set_ylim(0, 1.1 * np.percentile(finite, 99))
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=9)
    return figure


def completion(evaluations):
    """Accuracy in four directions at the last evaluation, by sum and by mean, with 95% intervals and chance."""
    last = evaluations[-1]
    figure, axis = subplots(figsize=(6.5, 3.4))
    for offset, rule, words, colour in (
        (-0.17, "sum", "sum of log-likelihood", COLOURS["marker"]),
        (0.17, "mean", "mean per token", COLOURS["third"]),
    ):
        shown = [
            (i, last[f"completion/{d}/{rule}"], last[f"completion/{d}/{rule}_low"], last[f"completion/{d}/{rule}_high"])
            for i, d in enumerate(DIRECTIONS)
            if f"completion/{d}/{rule}" in last
        ]
        x, mean, low, high = np.array(shown).T
        axis.bar(
            x + offset,
            mean,
            0.32,
            color=colour,
            alpha=0.75,
            label=words,
            yerr=np.maximum([mean - low, high - mean], 0),
            ecolor="black",
            capsize=3,
        )
    axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
    axis.text(-0.48, 0.51, "chance", fontsize=9)
    items = max(v for k, v in last.items() if k.startswith("completion/") and k.endswith("/items"))
    axis.set(
        ylim=(0, 1.18),
        ylabel="accuracy",
        xticks=range(len(DIRECTIONS)),
        xticklabels=list(DIRECTIONS.values()),
        title=f"step {last['step']}, {items} items a direction, 95% intervals",
    )
    axis.set_yticks(np.arange(0, 1.01, 0.25))
    axis.legend(loc="upper center", ncols=2)
    return figure


def curriculum(train):
    """P(u) beside the share of utterances that were opened aligned, and the mean patch length that follows."""
    figure, axes = subplots(1, 2, figsize=(10, 3.2))
    axes[0].plot(*series(train, "aligned_probability"), color="black", label="P(u), as configured")
    both = [r for r in train if _is_number(r.get("utterances_opened")) and _is_number(r.get("utterances_aligned"))]
    steps, opened = series(both, "utterances_opened")
    _, aligned = series(both, "utterances_aligned")
    window = max(1, len(steps) // 30)
    if len(steps):
        bins = len(steps) // window * window
        share = aligned[:bins].reshape(-1, window).sum(1) / np.maximum(opened[:bins].reshape(-1, window).sum(1), 1)
        axes[0].plot(
            steps[:bins].reshape(-1, window).mean(1),
            share,
            ".",
            color=COLOURS["third"],
            label="share of utterances opened aligned",
        )
    axes[0].set(xlabel="step", ylim=(-0.05, 1.15), title="alignment probability")
    axes[0].legend(loc="upper right")
    axes[1].plot(*series(train, "mean_patch_frames"), color=COLOURS["speech"], linewidth=0.9)
    axes[1].set(xlabel="step", title="mean speech patch, frames")
    return figure


def data(config: Config, train):
    """Fill of both budgets of a row, and each source's share of all tokens so far against what was asked."""
    figure, axes = subplots(1, 2, figsize=(10, 3.2))
    axes[0].plot(*series(train, "patch_fill"), color=COLOURS["third"], linewidth=0.9, label="patch positions")
    axes[0].plot(*series(train, "token_fill"), color=COLOURS["marker"], linewidth=0.9, label="token positions")
    axes[0].set(xlabel="step", ylim=(0.8, 1.01), title="real positions of a batch")
    axes[0].legend(loc="lower right")
    total = sum(s.share for s in config.data.sources)
    for source, colour in zip(
        config.data.sources, (COLOURS["speech"], COLOURS["text"], COLOURS["third"]) * 9, strict=False
    ):
        axes[1].plot(*series(train, f"share/{source.name}"), color=colour, label=source.name)
        axes[1].axhline(source.share / total, color=colour, linestyle=":", linewidth=1)
    axes[1].set(xlabel="step", ylim=(0, 1), title=f"share so far, by {config.data.mixture_measure} (dotted: asked)")
    axes[1].legend()
    return figure


def speed(train):
    """Tokens and patch positions per second, and MFU where a peak is known."""
    figure, axes = subplots(1, 2, figsize=(10, 3))
    axes[0].plot(*series(train, "tokens_per_second"), color=COLOURS["speech"], linewidth=0.8, label="tokens")
    axes[0].plot(*series(train, "patches_per_second"), color=COLOURS["third"], linewidth=0.8, label="patch positions")
    axes[0].set(xlabel="step", title="real positions per second")
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    steps, mfu = series(train, "mfu")
    axes[1].plot(steps, 100 * mfu, color="black", linewidth=0.8)
    axes[1].set(xlabel="step", title="MFU, %")
    axes[1].set_ylim(bottom=0)
    return figure


def wall_time(starts: list[dict[str, Any]]):
    """A bar for each start (the newest ones): its wall time by account, and how long nothing ran before it."""
    shown = list(enumerate(starts, 1))[-STARTS_SHOWN:]
    longest = max(sum(start["seconds"].values()) for _, start in shown)
    unit, size = ("s", 1) if longest < 120 else ("min", 60) if longest < 7200 else ("h", 3600)
    figure, axis = subplots(figsize=(10, 1.1 + 0.34 * len(shown)))
    left = np.zeros(len(shown))
    for account, words in ledger.ACCOUNTS.items():
        width = np.array([start["seconds"][account] for _, start in shown]) / size
        axis.barh(range(len(shown)), width, 0.7, left, color=ACCOUNT_COLOURS[account], label=words)
        left += width
    for row, (_, start) in enumerate(shown):
        down = f", after {ledger.in_words(start['down_sec'])} down" if start["down_sec"] else ""
        axis.text(left[row], row, f"  {ledger.in_words(left[row] * size)}{down}", va="center", fontsize=9)
    axis.set_yticks(
        range(len(shown)),
        [f"start {number}: steps {start['from_step']} to {start['to_step']}" for number, start in shown],
    )
    axis.set(xlabel=f"wall time, {unit}", xlim=(0, 1.45 * longest / size), ylim=(len(shown) - 0.4, -0.6))
    axis.grid(axis="y", visible=False)
    axis.set_axisbelow(True)
    if len(shown) < len(starts):
        axis.set_title(f"the newest {len(shown)} of {len(starts)} starts")
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.55 / figure.get_figheight()), ncols=4, fontsize=9)
    return figure
