"""`lst bench data`: how fast the data stream makes batches, how full they are, and what alternatives reach.

The stream does all that it does in training, in one process without prefetching. It reads checksummed ArrayRecord
shards, tokenises texts by SentencePiece, interleaves and patches utterances, and packs documents. The figure is real
tokens per second of CPU time over all threads of this process, that is, per core. Padding does not count.
"""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from lst_jax import config as cfg
from lst_jax.bench import alternatives
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.data.patching import Aligned, Curriculum, Mixed, NoPatches, Static
from lst_jax.data.pipeline import BatchStream, open_source, open_tokenizer
from lst_jax.data.rows import OFFSET, ORDINAL, Batch, add_stats
from lst_jax.data.shards import read_metadata
from lst_jax.data.text import load_tokenizer
from lst_jax.recipes.row_sizes import row_tokens_for
from lst_jax.recipes.validate import validate
from lst_jax.report import results_file

PACKAGES = ("numpy", "grain", "array_record", "sentencepiece")
STRATEGIES = {"static-4": Static, "aligned": Aligned, "curriculum": Curriculum, "mixed": Mixed, "base": NoPatches}
ALTERNATIVES = {
    "grain concat-then-split": alternatives.grain_concat_then_split,
    "grain first-fit": alternatives.grain_first_fit,
    "ancestor": alternatives.AncestorIterator,
}
SPEECH_SHARE = 1 / 3  # of all tokens, in utterances (paper §5)
RUN_STEPS = 200_000  # steps of the paper's runs; P(u) of the curriculum falls over the middle third
V5P_HOST_TOKENS_PER_SEC = 0.3e6  # 4 × 459 TFLOP/s at 40% over 6 × 0.4e9 FLOPs per token
LATE_DOCUMENTS = 10**7  # documents that each row has finished in a late state


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    records: tuple[str, ...] = ()  # directories; none = made-up records
    tokenizer: str | None = None  # the tokenizer of `records`
    batches: int = 256  # per strategy; with 4 rows these are the 1,024 rows over which the mixture keeps its shares
    rows: int = 4  # per batch (paper §6: 4 sequences per GPU)
    row_patches: int = 4096
    utterances: int = 4000  # how many to make up
    texts: int = 1000
    seed: int = 0


def measure(settings: Settings, progress: bool = False) -> dict[str, Any]:
    """All figures as one JSON mapping, the worst over strategies first. Raises: DataError."""
    if settings.records and settings.tokenizer is None:
        raise DataError("--records: the reader tokenises texts; add --tokenizer FILE.model")
    if settings.tokenizer and not settings.records:
        raise DataError(
            f"--tokenizer {settings.tokenizer}: made-up records have their own tokenizer; add --records DIR"
        )
    with tempfile.TemporaryDirectory(prefix="lst_bench_") as folder:
        directories, tokenizer = list(settings.records), settings.tokenizer
        if not directories:
            directories, tokenizer = made_up.write_records(folder, settings.utterances, settings.texts, settings.seed)
        bar = tqdm(total=len(STRATEGIES) + len(ALTERNATIVES) + 1, disable=not progress, desc="lst bench data")
        strategies, others = {}, {}
        with bar:
            for name in STRATEGIES:
                bar.set_postfix_str(name)
                strategies[name] = measure_strategy(
                    make_config(settings, directories, tokenizer, name), settings.batches
                )
                bar.update()
            config = make_config(settings, directories, tokenizer, "static-4")
            for name in ALTERNATIVES:
                bar.set_postfix_str(name)
                others[name] = measure_alternative(name, config, settings.batches)
                bar.update()
            restore = measure_restore(config, settings.batches)
            bar.update()
        sources = [_describe(path) for path in directories]
    worst = {
        key: min(s[key] for s in strategies.values()) for key in ("tokens_per_sec_per_core", "patch_fill", "token_fill")
    }
    worst["mixture_error_points"] = max(s["mixture_error_points"] for s in strategies.values())
    worst["cores_per_v5p_host"] = V5P_HOST_TOKENS_PER_SEC / worst["tokens_per_sec_per_core"]
    return {
        **worst,
        "strategies": strategies,
        "alternatives": others,
        "restore": restore,
        "records": "given" if settings.records else "made up and just written",
        "sources": sources,
        "settings": dataclasses.asdict(settings),
    }


def make_config(settings: Settings, directories: list[str], tokenizer: str, name: str) -> cfg.Config:
    """A run of the strategy `name` over the directories. T is what `row_tokens_for` gives for their contents."""
    if name == "base":
        return _config(settings, directories, tokenizer, name, settings.row_patches)
    first = _config(settings, directories, tokenizer, name, row_tokens_for(settings.row_patches, 4.0))
    stream = _stream_at_curriculum_mid(first)
    stats = add_stats([next(stream).stats for _ in range(max(1, settings.batches // 8))])
    spoken = sum(
        int(n)
        for n, source in zip(stats["source_tokens"], first.data.sources, strict=True)
        if source.kind == "utterance"
    )
    mean_patch = int(stats["speech_units"]) / max(1, int(stats["speech_patches"])) or 1.0
    row_tokens = row_tokens_for(
        settings.row_patches,
        mean_patch,
        spoken / int(stats["source_tokens"].sum()),
        int(stats["speech_units"]) / max(1, spoken),
    )
    return dataclasses.replace(first, data=dataclasses.replace(first.data, row_tokens=row_tokens))


def measure_strategy(config: cfg.Config, batches: int) -> dict[str, Any]:
    """Speed, fill and mixture of `batches` batches from the middle of the curriculum."""
    stream, clock, counts = _stream_at_curriculum_mid(config), Clock(), Counts(config.data.row_tokens, config)
    for _ in range(batches):
        step = clock.time(stream.__next__)
        counts.add(int(step.stats["tokens"]), int(step.stats["units"]))
        counts.source_tokens += step.stats["source_tokens"]
    return counts.figures(clock)


def measure_alternative(name: str, config: cfg.Config, batches: int) -> dict[str, Any]:
    """The same for one of `ALTERNATIVES`, with the size of its state, and the time from that state to the next batch."""
    data = config.data
    examples = alternatives.Examples(config, [open_source(s, config) for s in data.sources], open_tokenizer(config))
    dataset = ALTERNATIVES[name](examples)
    ancestor = name == "ancestor"
    counts = Counts(alternatives.ANCESTOR_PADDING * data.row_patches if ancestor else data.row_tokens, config)
    iterator, clock, restoring = iter(dataset), Clock(), Clock()
    for _ in range(batches):
        batch: Batch = clock.time(iterator.__next__)
        counts.add(int(np.count_nonzero(batch.doc_id_BT)), int(np.count_nonzero(batch.patch_start_BT)))
    counts.source_tokens += examples.source_tokens
    figures = {**counts.figures(clock), "tokens_lost": examples.tokens_lost / (examples.tokens_lost + counts.tokens)}
    if ancestor:
        return {**figures, "state_bytes": None, "restore_sec": None}
    state, again = iterator.get_state(), iter(dataset)
    restoring.time(again.set_state, state)
    restoring.time(again.__next__)
    return {**figures, "state_bytes": len(json.dumps(state)), "restore_sec": restoring.wall_sec}


def measure_restore(config: cfg.Config, batches: int) -> dict[str, Any]:
    """The time to restore a stream's state and to make the next batch, early in a run and late, and the state's size.

    It also compares the batch after an early restore with that of a stream that was not interrupted.
    """
    stream = BatchStream(config, prefetch=0)
    for _ in range(max(1, batches // 8)):
        next(stream)
    state, unbroken, ordinary = stream.get_state(), Clock(), next(stream)
    unbroken.time(stream.__next__)
    late = {"step": state["step"] + RUN_STEPS, "rows": state["rows"].copy()}
    late["rows"][..., ORDINAL] += LATE_DOCUMENTS
    late["rows"][..., OFFSET] = 0
    figures = {"state_bytes": state["rows"].nbytes + 8, "ordinary_batch_sec": unbroken.wall_sec}
    for name, start in (("early", state), ("late", late)):
        again, setting, first = BatchStream(config, prefetch=0), Clock(), Clock()
        setting.time(again.set_state, start)
        made = first.time(again.__next__)
        figures[name] = {"step": start["step"], "set_state_sec": setting.wall_sec, "first_batch_sec": first.wall_sec}
        if name == "early":
            figures["goes_on_as_unbroken"] = all(map(np.array_equal, made.batch, ordinary.batch))
    return figures


class Clock:
    """CPU time of the process and wall time, summed over calls."""

    def __init__(self):
        self.cpu_sec = self.wall_sec = 0.0

    def time(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls the function and adds its time. Returns: its result."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        self.wall_sec += time.perf_counter() - wall
        self.cpu_sec += time.process_time() - cpu
        return result


class Counts:
    """Counts over batches: sums, and how full the least full batch is."""

    def __init__(self, row_tokens: int, config: cfg.Config):
        """For batches of `config.data.rows` rows of `row_tokens` and `config.data.row_patches`."""
        self._data, self._row_tokens = config.data, row_tokens
        self.source_tokens = np.zeros(len(config.data.sources), np.int64)
        self.tokens = self.batches = 0
        self.token_fill = self.patch_fill = 1.0

    def add(self, tokens: int, patches: int) -> None:
        """Adds a batch with a number of real tokens and of patches."""
        self.tokens += tokens
        self.batches += 1
        self.token_fill = min(self.token_fill, tokens / (self._data.rows * self._row_tokens))
        self.patch_fill = min(self.patch_fill, patches / (self._data.rows * self._data.row_patches))

    def figures(self, clock: Clock) -> dict[str, Any]:
        """The figures as JSON. The mixture error is the largest deviation of a source's share of tokens, in points."""
        share = np.array([s.share for s in self._data.sources])
        error = np.abs(self.source_tokens / self.source_tokens.sum() - share / share.sum()).max()
        return {
            "tokens_per_sec_per_core": self.tokens / clock.cpu_sec,
            "tokens_per_sec_wall": self.tokens / clock.wall_sec,
            "cpu_sec": clock.cpu_sec,
            "wall_sec": clock.wall_sec,
            "patch_fill": self.patch_fill,
            "token_fill": self.token_fill,
            "mixture_error_points": 100 * float(error),
            "cores_per_v5p_host": V5P_HOST_TOKENS_PER_SEC * clock.cpu_sec / self.tokens,
            "tokens": self.tokens,
            "rows": self.batches * self._data.rows,
            "row_tokens": self._row_tokens,
            "row_patches": self._data.row_patches,
        }


def _stream_at_curriculum_mid(config: cfg.Config) -> BatchStream:
    stream = BatchStream(config, prefetch=0)
    stream.set_state({**stream.get_state(), "step": RUN_STEPS // 2})
    return stream


def _describe(path: str) -> dict[str, Any]:
    found = read_metadata(path)
    return {
        "kind": found.kind,
        "records": found.records,
        "frames": found.frames,
        "bytes": sum(s.bytes for s in found.shards),
    }


def _config(settings: Settings, directories: list[str], tokenizer: str, name: str, row_tokens: int) -> cfg.Config:
    found = [read_metadata(path) for path in directories]
    speech = [m for m in found if m.kind == "utterance"]
    shares = {
        "utterance": SPEECH_SHARE / max(1, len(speech)),
        "text": (1 - SPEECH_SHARE) / max(1, len(found) - len(speech)),
    }
    strategy, loaded = STRATEGIES[name], load_tokenizer(tokenizer)
    bos_id, eos_id = loaded.usual_document_ids()
    local = dict(layers=1, width=1024, heads=16, window=512) if strategy.patches_speech else None
    config = cfg.from_mapping(
        dict(
            name=f"bench-{name}",
            seed=settings.seed,
            vocab=dict(
                text_size=loaded.get_piece_size(),
                bos_id=bos_id,
                eos_id=eos_id,
                unit_slots=max([m.codebook_size for m in speech], default=1),
            ),
            model=dict(
                architecture="base" if local is None else "lst",
                patch_encoder=local,
                patch_decoder=local,
                global_transformer=dict(layers=25, width=2048, heads=16),
                queries_per_patch=2,
                cross_heads=16,
            ),
            data=dict(
                tokenizer=tokenizer,
                sources=[
                    dict(name=f"{m.kind}-{i}", kind=m.kind, path=path, share=shares[m.kind])
                    for i, (m, path) in enumerate(zip(found, directories, strict=True))
                ],
                rows=settings.rows,
                row_tokens=row_tokens,
                row_patches=settings.row_patches,
                unit_rate=speech[0].unit_rate if speech else made_up.UNIT_RATE,
                patching=dict(
                    strategy=strategy.name,
                    static_size=4,
                    aligned_to="word",
                    silence="separate",
                    boundary_noise_ms=0.0,
                    tau1=RUN_STEPS // 3,
                    tau2=RUN_STEPS - RUN_STEPS // 3,
                ),
                prefetch=0,
            ),
            optim=dict(peak_lr=4e-4, warmup_steps=2000),
            eval=dict(every=1000, sources=[]),
            train=dict(steps=RUN_STEPS),
        )
    )
    validate(config)
    return config


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    sources = "; ".join(
        f"{s['records']:,} records of kind {s['kind']}, {s['bytes'] / 2**20:.1f} MiB" for s in measured["sources"]
    )
    shape = measured["strategies"]["static-4"]
    header = ["", "tokens/s/core", "wall tokens/s", "T", "patch fill", "token fill", "mixture error"]
    return "\n\n".join(
        [
            f"Batches of {measured['settings']['rows']} rows with U={shape['row_patches']}, {shape['rows']:,} rows per "
            "strategy, at the paper's mixture (a third of the tokens in utterances), from records that were "
            f"{measured['records']} ({sources}). Everything is on: SentencePiece at read time, "
            "checksummed ArrayRecord, interleaving, patching, packing; one process, no prefetching.",
            "Tokens/s/core is real tokens, not padding, per second of CPU time of the process with all its threads. Fills "
            "are the least over all batches. The mixture error is the largest deviation of a source's share of tokens, in "
            f"points. Curriculum and mixed are taken where half of the documents are aligned (step {RUN_STEPS // 2:,}).",
            results_file.table(header, [[name, *_cells(figures)] for name, figures in measured["strategies"].items()]),
            f"A TPU v5p host training 0.4B parameters takes about {V5P_HOST_TOKENS_PER_SEC / 1e6:.1f}M tokens/s: the "
            f"slowest strategy needs **{measured['cores_per_v5p_host']:.2f} cores** for it.",
            "### What else could be used",
            "Static-4 over the same records and as many rows. Grain's packers see one document at a time: "
            "concat-then-split knows one budget (patches beyond U are lost), first-fit knows both and splits nothing. The "
            "ancestor's iterator, rewritten from its description, has rows of 3·U tokens, one unseeded generator and a "
            "shuffle buffer. Restore is the time from a saved state to the next batch.",
            results_file.table([*header, "tokens lost", "restore", "state"], _comparison(measured)),
            "### Restoring",
            _restoring(measured["restore"]),
        ]
    )


def _comparison(measured: dict[str, Any]) -> list[list[str]]:
    late = measured["restore"]["late"]
    ours = {
        **measured["strategies"]["static-4"],
        "tokens_lost": 0.0,
        "restore_sec": late["set_state_sec"] + late["first_batch_sec"],
        "state_bytes": measured["restore"]["state_bytes"],
    }
    rows = []
    for name, figures in {"this stream": ours, **measured["alternatives"]}.items():
        lost, seconds = f"{figures['tokens_lost']:.1%}", figures["restore_sec"]
        restore = ["cannot", "-"] if seconds is None else [f"{1000 * seconds:.0f} ms", f"{figures['state_bytes']} B"]
        rows.append([name, *_cells(figures), lost, *restore])
    return rows


def _restoring(restore: dict[str, Any]) -> str:
    early, late = restore["early"], restore["late"]
    return (
        f"`set_state` takes {1e6 * late['set_state_sec']:.0f} µs at step {late['step']:,}, {LATE_DOCUMENTS:,} "
        f"documents into each row's streams, and {1e6 * early['set_state_sec']:.0f} µs at step {early['step']}; "
        f"the first batch after it takes {1000 * late['first_batch_sec']:.0f} ms and "
        f"{1000 * early['first_batch_sec']:.0f} ms, an ordinary one {1000 * restore['ordinary_batch_sec']:.0f} ms. "
        "The batch after restoring is compared with the unbroken stream's: "
        f"{'equal' if restore['goes_on_as_unbroken'] else 'DIFFERENT'}."
    )


def _cells(figures: dict[str, Any]) -> list[str]:
    return [
        f"{figures['tokens_per_sec_per_core']:,.0f}",
        f"{figures['tokens_per_sec_wall']:,.0f}",
        str(figures["row_tokens"]),
        f"{figures['patch_fill']:.1%}",
        f"{figures['token_fill']:.1%}",
        f"{figures['mixture_error_points']:.3f}",
    ]
