"""A picture of one utterance, or of a part of it: sound, units, words and patches over one time axis.

A long utterance is wider than paper, so its picture is narrower per second, and what has no room gets no label. A part
is drawn as it lies in the whole: patches keep their places.
"""

import colorsys
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lst_jax.core.errors import DataError
from lst_jax.data.patching import AlignedRule, BoundaryRule, StaticRule
from lst_jax.data.records import Utterance
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.inspect import STATIC_SIZE, patches
from lst_jax.prepare.speech_tokenizers.protocol import AudibleUnitTokenizer
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

INCHES_A_SECOND = 3.2  # a frame of 40 ms is then wide enough for its unit's number
WIDTH = (9.0, 64.0)  # inches, least and most
LABEL_INCHES = 0.105  # width of an upright number of three digits
LINE_INCHES = 0.08  # least mean space between the lines at the edges of words
LEAST_POINTS = 3.5  # of a word
TICKS_SEC, TICK_INCHES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0), 0.6  # steps of the time axis; least space of one
WORD_COLOURS = ("#9ecae1", "#fdd0a2")  # in turns, so that neighbours differ
SILENCE_COLOUR = "#e4e4e4"
PATCH_COLOURS = ("#c7e9c0", "#74c476")


class View(NamedTuple):
    """What is seen of an utterance: [start_sec, end_sec), and how wide a second is."""

    start_sec: float
    end_sec: float
    inches_a_second: float

    def sees(self, start_sec: np.ndarray, end_sec: np.ndarray) -> np.ndarray:
        """Which intervals lie in it, at least in part."""
        return (end_sec > self.start_sec) & (start_sec < self.end_sec)

    def seen(self, start_sec: float, length_sec: float) -> tuple[float, float]:
        """The middle of what is seen of an interval, in seconds, and its width in inches."""
        start_sec, end_sec = max(start_sec, self.start_sec), min(start_sec + length_sec, self.end_sec)
        return (start_sec + end_sec) / 2, (end_sec - start_sec) * self.inches_a_second


def draw(
    path: str | os.PathLike | Place,
    utterance: Utterance,
    unit_rate: float,
    audio: np.ndarray | None = None,
    tokenizer: AudibleUnitTokenizer | None = None,
    static_size: int = STATIC_SIZE,
    part_sec: tuple[float, float] | None = None,
) -> None:
    """Writes a PNG. With `audio` (16 kHz) waveform and log-mel are drawn, with `tokenizer` what the units stand for.

    Args: `part_sec` is the part that is drawn, and the part that `audio` is of; None = the whole.
    Raises: StorageError.
    """
    view = _view(utterance, unit_rate, part_sec)
    panels = [
        (0.75, "units", lambda ax: _units(ax, utterance, unit_rate, view)),
        (0.42, "words", lambda ax: _words(ax, utterance, unit_rate, view)),
        (0.42, f"static {static_size}", lambda ax: _patches(ax, utterance, unit_rate, StaticRule(static_size), view)),
        (0.42, "aligned", lambda ax: _patches(ax, utterance, unit_rate, AlignedRule(), view)),
    ]
    if tokenizer is not None:
        first, end = _frames(view, utterance, unit_rate)
        mel = tokenizer.decode_mel(utterance.units[first:end])
        place = (first / unit_rate, end / unit_rate)
        panels.insert(0, (1.3, "log-mel\nof the units", lambda ax: _spectrum(ax, mel, *place)))
    if audio is not None:
        place_of_sound = (view.start_sec, view.start_sec + _seconds(audio))
        panels.insert(0, (1.3, "log-mel", lambda ax: _spectrum(ax, _mel(audio), *place_of_sound)))
        panels.insert(0, (0.9, "waveform", lambda ax: _waveform(ax, audio, view.start_sec)))
    figure = _figure(panels, utterance, unit_rate, view)
    figure.suptitle(_title(utterance, unit_rate, static_size, view, part_sec), fontsize=10, x=0.01, ha="left")
    with objects.filling(to_place(path)) as temporary:
        figure.savefig(temporary, format="png")


def check_part(
    part_sec: tuple[float | None, float | None], utterance: Utterance, unit_rate: float
) -> tuple[float, float]:
    """The part of an utterance from one second to another; None = its start, or its end. Raises: DataError."""
    length_sec = len(utterance.units) / unit_rate
    start_sec = 0.0 if part_sec[0] is None else part_sec[0]
    end_sec = length_sec if part_sec[1] is None else min(part_sec[1], length_sec)
    if not 0 <= start_sec <= end_sec - 1 / unit_rate:
        raise DataError(
            f"--from {start_sec:g} --to {end_sec:g}: must be a part of {utterance.id}'s {length_sec:.2f} s, of a frame at least; "
            "correct them"
        )
    return start_sec, end_sec


def _view(utterance: Utterance, unit_rate: float, part_sec: tuple[float, float] | None) -> View:
    start_sec, end_sec = part_sec or (0.0, len(utterance.units) / unit_rate)
    width = float(np.clip((end_sec - start_sec) * INCHES_A_SECOND, *WIDTH))
    return View(start_sec, end_sec, width / (end_sec - start_sec))


def _frames(view: View, utterance: Utterance, unit_rate: float) -> tuple[int, int]:
    """The frames of the utterance that are seen: the first one, and the one behind the last."""
    return int(view.start_sec * unit_rate), min(len(utterance.units), math.ceil(view.end_sec * unit_rate))


def _figure(panels: Sequence[tuple], utterance: Utterance, unit_rate: float, view: View) -> Figure:
    """All panels, filled, below each other."""
    width = (view.end_sec - view.start_sec) * view.inches_a_second
    heights = [height for height, _, _ in panels]
    figure = Figure(figsize=(width + 1.2, sum(heights) + 0.12 * len(panels) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (_, name, fill) in zip(axes, panels, strict=True):
        fill(ax)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        ax.set_yticks([])
        ax.tick_params(axis="x", labelsize=8, length=3 if ax is axes[-1] else 0)
    edges_sec = np.array([(word.start_frame, word.end_frame) for word in utterance.words]).reshape(-1) / unit_rate
    edges_sec = edges_sec[view.sees(edges_sec, edges_sec)]
    for ax in axes[:-4] if len(edges_sec) * LINE_INCHES <= width else ():  # more would hide the sound
        colour = "white" if ax.images else "#888888"
        ax.vlines(edges_sec, 0, 1, transform=ax.get_xaxis_transform(), color=colour, lw=0.6, ls=(0, (3, 2)))
    axes[-1].set_xlim(view.start_sec, view.end_sec)
    least_sec = TICK_INCHES / view.inches_a_second
    step_sec = next((step for step in TICKS_SEC if step >= least_sec), least_sec)
    axes[-1].set_xticks(np.arange(math.ceil(view.start_sec / step_sec), math.ceil(view.end_sec / step_sec)) * step_sec)
    axes[-1].set_xlabel("seconds", fontsize=9)
    return figure


def _title(
    utterance: Utterance, unit_rate: float, static_size: int, view: View, part_sec: tuple[float, float] | None
) -> str:
    part = "" if part_sec is None else f", of which {view.start_sec:g} to {view.end_sec:g} s"
    counts = [
        f"{len(patches(utterance, rule)[0])} {name} patches"
        for rule, name in ((StaticRule(static_size), f"static {static_size}"), (AlignedRule(), "aligned"))
    ]
    speaker = f", speaker {utterance.speaker}" if utterance.speaker else ""
    length_sec = len(utterance.units) / unit_rate
    return (
        f"{utterance.id}{speaker}: {length_sec:.2f} s{part}, {len(utterance.units)} units at {unit_rate:g} Hz, "
        f"{len(utterance.words)} words, {', '.join(counts)}"
    )


def _waveform(ax: Axes, audio: np.ndarray, start_sec: float) -> None:
    """The range of each column's samples, which a line through all samples would blur."""
    columns = np.array_split(audio, min(len(audio), 4000))
    times = start_sec + np.linspace(0, _seconds(audio), len(columns), endpoint=False)
    ax.fill_between(times, [c.min() for c in columns], [c.max() for c in columns], color="#2b5c8a", lw=0.4)
    top = max(float(np.abs(audio).max()), 1e-6)
    ax.set_ylim(-1.05 * top, 1.05 * top)


def _spectrum(ax: Axes, mel: np.ndarray, start_sec: float, end_sec: float) -> None:
    ax.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        extent=(start_sec, end_sec, 0, 1),
        cmap="magma",
        vmin=float(np.percentile(mel, 2)),
        vmax=float(mel.max()),
        interpolation="nearest",
    )


def _units(ax: Axes, utterance: Utterance, unit_rate: float, view: View) -> None:
    first, end = _frames(view, utterance, unit_rate)
    units = utterance.units[first:end].tolist()
    colours = np.array([unit_colour(unit) for unit in units])
    ax.imshow(colours[None], aspect="auto", extent=(first / unit_rate, end / unit_rate, 0, 1), interpolation="nearest")
    if view.inches_a_second / unit_rate < LABEL_INCHES:
        return
    for frame, unit in enumerate(units, first):
        _label(ax, (frame + 0.5) / unit_rate, str(unit), 7, rotation=90)


def _words(ax: Axes, utterance: Utterance, unit_rate: float, view: View) -> None:
    ax.set_facecolor(SILENCE_COLOUR)
    start_sec = np.array([word.start_frame for word in utterance.words]) / unit_rate
    length_sec = np.array([word.end_frame - word.start_frame for word in utterance.words]) / unit_rate
    seen = np.flatnonzero(view.sees(start_sec, start_sec + length_sec)).tolist()
    _bars(ax, start_sec[seen], length_sec[seen], [WORD_COLOURS[number % 2] for number in seen])
    for number in seen:
        text = utterance.words[number].text
        letters, (middle_sec, inches) = max(len(text), 1), view.seen(start_sec[number], length_sec[number])
        flat = 118 * inches / letters  # points with which it fills its width
        upright = min(72 * inches, 44 / letters)  # and its height, in a panel of 30 points
        size, rotation = (upright, 90) if flat < 6 and upright > flat else (flat, 0)
        if size >= LEAST_POINTS or view.inches_a_second == INCHES_A_SECOND:
            size = float(np.clip(size, LEAST_POINTS, 10))
            _label(ax, middle_sec, text, size, rotation=rotation)
    ax.set_ylim(0, 1)


def _patches(ax: Axes, utterance: Utterance, unit_rate: float, rule: BoundaryRule, view: View) -> None:
    """Patches in turns of two shades; those without a word are grey where the rule knows words."""
    first, lengths = patches(utterance, rule)
    start_sec, length_sec = first / unit_rate, lengths / unit_rate
    word_starts = {word.start_frame for word in utterance.words}
    seen = np.flatnonzero(view.sees(start_sec, start_sec + length_sec)).tolist()
    silent = [rule.needs_words and int(first[number]) not in word_starts for number in seen]
    shades = [PATCH_COLOURS[number % 2] for number in seen]
    colours = [SILENCE_COLOUR if quiet else shade for quiet, shade in zip(silent, shades, strict=True)]
    _bars(ax, start_sec[seen], length_sec[seen], colours)
    for number in seen:
        middle_sec, inches = view.seen(start_sec[number], length_sec[number])
        if inches >= LABEL_INCHES:
            _label(ax, middle_sec, str(lengths[number]), 7)
    ax.set_ylim(0, 1)


def _bars(ax: Axes, start_sec: np.ndarray, length_sec: np.ndarray, colours: Sequence[str]) -> None:
    """Bars of the panel's height, as one artist."""
    ax.broken_barh(list(zip(start_sec, length_sec, strict=True)), (0, 1), facecolors=colours, ec="white", lw=0.8)


def _label(ax: Axes, seconds: float, text: str, size: float, rotation: int = 0) -> None:
    """A text in the middle of a panel, cut at its edges. The layout need not measure it, which takes most of the time."""
    label = ax.text(seconds, 0.5, text, fontsize=size, rotation=rotation, ha="center", va="center", clip_on=True)
    label.set_in_layout(False)


def unit_colour(unit: int) -> tuple[float, float, float]:
    """A light colour for a unit; neighbouring numbers are far apart in hue (steps of the golden ratio)."""
    return colorsys.hsv_to_rgb(unit * 0.618034 % 1, 0.30 + 0.25 * (unit % 3) / 2, 0.96)


def _mel(audio: np.ndarray) -> np.ndarray:
    return audio_lib.log_mel(audio, audio_lib.HOP // 2, max(1, len(audio) // audio_lib.HOP))


def _seconds(audio: np.ndarray) -> float:
    return len(audio) / audio_lib.RATE
