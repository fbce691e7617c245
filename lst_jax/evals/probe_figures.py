"""Pictures of `lst evaluate RUN --probe patches`, into RUN/pictures."""

from typing import Any

import numpy as np
from matplotlib import colormaps

from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.plot_style import COLOURS, png_of, styled, subplots
from lst_jax.evals.probe import Occurrences
from lst_jax.storage import objects
from lst_jax.storage.place import Place

# Categories of words, each a panel; what is in none is "other". English, as the paper's data are.
CATEGORIES = {
    "numbers": "zero one two three four five six seven eight nine ten eleven twelve hundred thousand first second "
    "third",
    "function words": "the a an of and to in he that his it with is as had for her at on by which not or from this but "
    "she they be been has have if no any i me my you your we are was will all when then there",
}
LARGEST_WORDS = 8  # a panel


@styled()
def write_all(values: dict[str, Any], spoken: Occurrences, words: list[str], folder: Place) -> list[Place]:
    """Draws what can be drawn; t-SNE only where scikit-learn is installed."""
    figures = {"text_and_speech_by_layer": by_layer(values), "margins_of_completion_choices": margins(values)}
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        print("probe: no picture of patch embeddings; for it, pip install -e '.[probe]'")
    else:
        figures["patch_embeddings_of_words"] = embeddings(values, spoken, words, TSNE)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        objects.write_bytes(paths[-1], png_of(figure))
    return paths


def category(word: str) -> str:
    """Example: "seven" -> "numbers"; "the" -> "function words"; "password" -> "other words"."""
    return next((name for name, members in CATEGORIES.items() if word in members.split()), "other words")


def embeddings(values: dict[str, Any], spoken: Occurrences, words: list[str], tsne):
    """t-SNE by cosine of what enters the global transformer, a panel a category (paper Figure 5)."""
    x_OD, names = spoken.state_NOD[0], [category(word) for word in words]
    kinds = [name for name in (*CATEGORIES, "other words") if names.count(name) > 1]
    figure, axes = subplots(1, len(kinds), figsize=(4.6 * len(kinds), 4.4), squeeze=False)
    palette = colormaps["tab10"].colors  # ty: ignore[missing-attribute]
    for axis, kind in zip(axes[0], kinds, strict=True):
        shown = [i for i, name in enumerate(names) if name == kind][:LARGEST_WORDS]
        here_O = np.flatnonzero(np.isin(spoken.word_O, shown))
        perplexity = max(2.0, min(30.0, len(here_O) / 6))
        point_O2 = tsne(2, perplexity=perplexity, metric="cosine", init="random", random_state=0).fit_transform(
            x_OD[here_O]
        )
        for colour, index in zip(palette, shown, strict=False):
            at = spoken.word_O[here_O] == index
            axis.scatter(*point_O2[at].T, s=22, color=colour, alpha=0.8, linewidths=0, label=words[index])
        axis.set(title=kind, xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=4, fontsize=9, handletextpad=0.1, columnspacing=0.8
        )
    found = values["embeddings"]
    patches = values["patches"].replace("_", " ")
    figure.suptitle(
        f"what enters the global transformer, t-SNE of words in {patches} patches\n"
        f"cosine within words {found['cosine_within']:.2f}, between {found['cosine_between']:.2f}, "
        f"silhouette {found['silhouette']:.2f}",
        y=1.04,
        fontsize=11,
    )
    return figure


def by_layer(values: dict[str, Any]):
    """Cosine of spoken and written words by layer."""
    figure, axis = subplots(figsize=(6.5, 3.4))
    layers = values["text_speech"]
    for key, label, colour in (
        ("same_word", "the same word", COLOURS["third"]),
        ("other_word", "different words", COLOURS["marker"]),
    ):
        axis.plot(range(len(layers)), [layer[key] for layer in layers], marker="o", color=colour, label=label)
    step = max(1, len(layers) // 12)
    axis.set(xlabel="layer of the global transformer", ylabel="cosine, means taken off", title="speech and text")
    axis.set_xticks(range(0, len(layers), step), ["input", *map(str, range(1, len(layers)))][::step])
    axis.axhline(0, color="black", linewidth=0.8, linestyle=":")
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, -0.1), max(high, 0.1))  # so that noise does not look like a finding
    axis.legend()
    return figure


def margins(values: dict[str, Any]):
    """Histograms of nats per token by which the true completion is likelier than the other one."""
    found = {d: m for d, m in values["margins"].items() if m["items"]}
    panels = max(len(found), 1)
    figure, axes = subplots(1, panels, figsize=(3.2 * panels, 3), squeeze=False, sharey=True)
    largest = max((np.abs(m["means"]).max() for m in found.values()), default=1.0)
    items = max((m["items"] for m in found.values()), default=1)
    bins = np.linspace(-largest, largest, 2 * int(np.clip(np.sqrt(items), 4, 12)) + 1)
    for axis, (direction, one) in zip(axes[0], found.items(), strict=False):
        margin = np.array(one["means"])
        axis.hist(margin[margin <= 0], bins, color=COLOURS["speech"], label="wrong")
        axis.hist(margin[margin > 0], bins, color=COLOURS["third"], label="right")
        axis.set_axisbelow(True)
        axis.axvline(margin.mean(), color="black", linewidth=1.2, linestyle=":")
        axis.set(title=f"{DIRECTIONS[direction]}: mean {margin.mean():+.3f}", xlabel="nats per token")
    axes[0, 0].set_ylabel("items")
    axes[0, -1].legend(loc="upper left", fontsize=9)
    figure.tight_layout()
    return figure
