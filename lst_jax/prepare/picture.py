"""A picture of one utterance: sound, units, words and patches over one time axis."""

import colorsys
import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lst_jax.core import files
from lst_jax.data.patching import AlignedRule, BoundaryRule, StaticRule
from lst_jax.data.records import Utterance
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.inspect import STATIC_SIZE, patches
from lst_jax.prepare.speech_tokenizers.protocol import AudibleUnitTokenizer

INCHES_A_SECOND = 3.2  # a frame of 40 ms is then wide enough for its unit's number
WIDTH = (9.0, 64.0)  # inches, least and most
LABEL_INCHES = 0.105  # width of an upright number of three digits
WORD_COLOURS = ("#9ecae1", "#fdd0a2")  # in turns, so that neighbours differ
SILENCE_COLOUR = "#e4e4e4"
PATCH_COLOURS = ("#c7e9c0", "#74c476")


def draw(
    path: str | os.PathLike,
    utterance: Utterance,
    unit_rate: float,
    audio: np.ndarray | None = None,
    tokenizer: AudibleUnitTokenizer | None = None,
    static_size: int = STATIC_SIZE,
) -> None:
    """Writes a PNG. With `audio` (16 kHz) waveform and log-mel are drawn, with `tokenizer` what the units stand for.

    Raises: StorageError.
    """
    duration = len(utterance.units) / unit_rate
    width = float(np.clip(duration * INCHES_A_SECOND, *WIDTH))
    panels = [
        (0.75, "units", lambda ax: _units(ax, utterance, unit_rate, width / duration)),
        (0.42, "words", lambda ax: _words(ax, utterance, unit_rate, width / duration)),
        (0.42, f"static {static_size}", lambda ax: _patches(ax, utterance, unit_rate, StaticRule(static_size))),
        (0.42, "aligned", lambda ax: _patches(ax, utterance, unit_rate, AlignedRule())),
    ]
    if tokenizer is not None:
        mel = tokenizer.decode_mel(utterance.units)
        panels.insert(0, (1.3, "log-mel\nof the units", lambda ax: _spectrum(ax, mel, duration)))
    if audio is not None:
        panels.insert(0, (1.3, "log-mel", lambda ax: _spectrum(ax, _mel(audio), _seconds(audio))))
        panels.insert(0, (0.9, "waveform", lambda ax: _waveform(ax, audio)))
    heights = [height for height, _, _ in panels]
    figure = Figure(figsize=(width + 1.2, sum(heights) + 0.12 * len(panels) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (_, name, fill) in zip(axes, panels, strict=True):
        fill(ax)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        ax.set_yticks([])
        ax.tick_params(axis="x", labelsize=8, length=3 if ax is axes[-1] else 0)
    for word in utterance.words:
        for frame in (word.start_frame, word.end_frame):
            for ax in axes[:-4]:
                ax.axvline(frame / unit_rate, color="white" if ax.images else "#888888", lw=0.6, ls=(0, (3, 2)))
    axes[-1].set_xlim(0, duration)
    axes[-1].set_xticks(np.arange(0, duration, 0.2 if duration < 8 else 0.5))
    axes[-1].set_xlabel("seconds", fontsize=9)
    figure.suptitle(_title(utterance, duration, unit_rate, static_size), fontsize=10, x=0.01, ha="left")
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _title(utterance: Utterance, duration: float, unit_rate: float, static_size: int) -> str:
    counts = [
        f"{len(patches(utterance, rule)[0])} {name} patches"
        for rule, name in ((StaticRule(static_size), f"static {static_size}"), (AlignedRule(), "aligned"))
    ]
    speaker = f", speaker {utterance.speaker}" if utterance.speaker else ""
    return (
        f"{utterance.id}{speaker}: {duration:.2f} s, {len(utterance.units)} units at {unit_rate:g} Hz, "
        f"{len(utterance.words)} words, {', '.join(counts)}"
    )


def _waveform(ax: Axes, audio: np.ndarray) -> None:
    """The range of each column's samples, which a line through all samples would blur."""
    columns = np.array_split(audio, min(len(audio), 4000))
    times = np.linspace(0, _seconds(audio), len(columns), endpoint=False)
    ax.fill_between(times, [c.min() for c in columns], [c.max() for c in columns], color="#2b5c8a", lw=0.4)
    top = max(float(np.abs(audio).max()), 1e-6)
    ax.set_ylim(-1.05 * top, 1.05 * top)


def _spectrum(ax: Axes, mel: np.ndarray, duration: float) -> None:
    ax.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        extent=(0, duration, 0, 1),
        cmap="magma",
        vmin=float(np.percentile(mel, 2)),
        vmax=float(mel.max()),
        interpolation="nearest",
    )


def _units(ax: Axes, utterance: Utterance, unit_rate: float, inches_a_second: float) -> None:
    colours = np.array([unit_colour(int(unit)) for unit in utterance.units])
    ax.imshow(colours[None], aspect="auto", extent=(0, len(utterance.units) / unit_rate, 0, 1), interpolation="nearest")
    if inches_a_second / unit_rate < LABEL_INCHES:
        return
    for frame, unit in enumerate(utterance.units):
        ax.text((frame + 0.5) / unit_rate, 0.5, str(unit), rotation=90, fontsize=7, ha="center", va="center")


def _words(ax: Axes, utterance: Utterance, unit_rate: float, inches_a_second: float) -> None:
    ax.set_facecolor(SILENCE_COLOUR)
    for number, word in enumerate(utterance.words):
        start, length = word.start_frame / unit_rate, (word.end_frame - word.start_frame) / unit_rate
        ax.broken_barh([(start, length)], (0, 1), color=WORD_COLOURS[number % 2], ec="white", lw=0.8)
        letters = max(len(word.text), 1)
        flat = 118 * length * inches_a_second / letters  # points with which it fills its width
        upright = min(72 * length * inches_a_second, 44 / letters)  # and its height, in a panel of 30 points
        size, rotation = (upright, 90) if flat < 6 and upright > flat else (flat, 0)
        ax.text(
            start + length / 2,
            0.5,
            word.text,
            fontsize=float(np.clip(size, 3.5, 10)),
            rotation=rotation,
            ha="center",
            va="center",
            clip_on=True,
        )
    ax.set_ylim(0, 1)


def _patches(ax: Axes, utterance: Utterance, unit_rate: float, rule: BoundaryRule) -> None:
    """Patches in turns of two shades; those without a word are grey where the rule knows words."""
    first, lengths = patches(utterance, rule)
    word_starts = {word.start_frame for word in utterance.words}
    for number, (start, length) in enumerate(zip(first.tolist(), lengths.tolist(), strict=True)):
        silent = rule.needs_words and start not in word_starts
        ax.broken_barh(
            [(start / unit_rate, length / unit_rate)],
            (0, 1),
            ec="white",
            lw=0.8,
            color=SILENCE_COLOUR if silent else PATCH_COLOURS[number % 2],
        )
        ax.text((start + length / 2) / unit_rate, 0.5, str(length), fontsize=7, ha="center", va="center")
    ax.set_ylim(0, 1)


def unit_colour(unit: int) -> tuple[float, float, float]:
    """A light colour for a unit; neighbouring numbers are far apart in hue (steps of the golden ratio)."""
    return colorsys.hsv_to_rgb(unit * 0.618034 % 1, 0.30 + 0.25 * (unit % 3) / 2, 0.96)


def _mel(audio: np.ndarray) -> np.ndarray:
    return audio_lib.log_mel(audio, audio_lib.HOP // 2, max(1, len(audio) // audio_lib.HOP))


def _seconds(audio: np.ndarray) -> float:
    return len(audio) / audio_lib.RATE
