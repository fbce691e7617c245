"""What `lst bench data` reports is what the batches hold, and the alternatives pack the same documents soundly."""

import argparse
import json

import numpy as np
import pytest

from lst_jax.bench import alternatives, data
from lst_jax.cli import bench
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.data.pipeline import BatchStream, open_source, open_tokenizer
from lst_jax.data.shards import RecordDirectory
from lst_jax.data.text import load_tokenizer

SMALL = {"batches": 3, "rows": 2, "row_patches": 256}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return made_up.write_records(tmp_path_factory.mktemp("records"), 60, 20, 0)


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch):
    monkeypatch.setattr(alternatives, "SHUFFLE_DOCUMENTS", 20)
    monkeypatch.setattr(alternatives, "PACKING_BINS", 8)


def settings(records) -> data.Settings:
    return data.Settings(records=tuple(records[0]), tokenizer=records[1], **SMALL)


def static_config(records):
    return data.make_config(settings(records), *records, "static-4")


def iterate(name, records):
    config = static_config(records)
    examples = alternatives.Examples(
        config, [open_source(s, config) for s in config.data.sources], open_tokenizer(config)
    )
    return config, iter(data.ALTERNATIVES[name](examples))


def test_made_up_records_have_the_papers_shape(records):
    speech, text = (RecordDirectory(path, kind) for path, kind in zip(records[0], ("utterance", "text"), strict=True))
    speech.verify()
    words = [w.end_frame - w.start_frame for u in speech for w in u.words]
    assert 5.6 < np.mean(words) < 6.1
    outside = sum(len(u.units) for u in speech) - sum(words)
    assert 0.25 < outside / sum(words) < 0.75
    tokenizer = load_tokenizer(records[1])
    lengths = [len(tokenizer.encode(d.text)) for d in text]
    assert 80 < min(lengths) and max(lengths) < 5500
    assert 1.2 < sum(lengths) / sum(len(d.text.split()) for d in text) < 1.4


def test_every_figure_is_there_and_the_worst_is_at_the_top(records):
    measured = json.loads(json.dumps(data.measure(settings(records))))
    assert list(measured["strategies"]) == ["static-4", "aligned", "curriculum", "mixed", "base"]
    assert list(measured["alternatives"]) == ["grain concat-then-split", "grain first-fit", "ancestor"]
    for figures in [*measured["strategies"].values(), *measured["alternatives"].values()]:
        assert figures["tokens_per_sec_per_core"] > 0 and figures["rows"] == 6
        assert 0 < figures["patch_fill"] <= 1 and 0 < figures["token_fill"] <= 1
        assert 0 <= figures["mixture_error_points"] < 100
    for key in ("patch_fill", "token_fill", "tokens_per_sec_per_core"):
        assert measured[key] == min(s[key] for s in measured["strategies"].values())
    assert measured["mixture_error_points"] == max(s["mixture_error_points"] for s in measured["strategies"].values())
    assert measured["restore"]["goes_on_as_unbroken"] is True
    text = data.markdown(measured)
    assert all(name in text for name in [*measured["strategies"], *measured["alternatives"]])


@pytest.mark.parametrize("name", ["aligned", "base"])
def test_figures_are_those_of_the_arrays(records, name):
    config = data.make_config(settings(records), *records, name)
    figures = data.measure_strategy(config, 3)
    stream = BatchStream(config)
    stream.set_state({**stream.get_state(), "step": data.RUN_STEPS // 2})
    batches = [next(stream).batch for _ in range(3)]
    real = [(b.doc_id_BT > 0).sum() for b in batches]
    assert figures["tokens"] == sum(real)
    assert figures["token_fill"] == pytest.approx(min(real) / (2 * config.data.row_tokens))
    assert figures["patch_fill"] == pytest.approx(min(b.patch_start_BT.sum() for b in batches) / (2 * 256))


@pytest.mark.parametrize("name", data.ALTERNATIVES)
def test_alternatives_make_sound_rows(records, name):
    config, iterator = iterate(name, records)
    width = 3 * 256 if name == "ancestor" else config.data.row_tokens
    for _ in range(4):
        batch = next(iterator)
        assert batch.token_BT.shape == (2, width)
        assert (batch.patch_start_BT.sum(axis=1) <= 256).all()
        for token, target, weight, doc, start in zip(*batch[:5], strict=True):
            for t in range(width):
                goes_on = t + 1 < width and doc[t] > 0 and doc[t + 1] == doc[t]
                assert weight[t] == goes_on and (not goes_on or target[t] == token[t + 1])
                assert doc[t] > 0 or not start[t]
                assert start[t] or doc[t] == 0 or (t > 0 and doc[t - 1] == doc[t])


def test_first_fit_pieces_are_the_documents():
    rng = np.random.default_rng(0)
    chop = alternatives._Chop(40, 24)
    for _ in range(50):
        cells = np.stack([np.arange(300), rng.random(300) < 0.6, np.zeros(300)], axis=1).astype(np.int64)
        starts = np.arange(300) % 4 == 0
        cells[:, alternatives.START] |= starts
        pieces = chop.flat_map({"cells": cells})
        assert np.array_equal(np.concatenate([p["cells"] for p in pieces]), cells)
        for piece in pieces:
            assert len(piece["cells"]) <= 40 and len(piece["patches"]) <= 24
            assert piece["cells"][:, alternatives.START].sum() == len(piece["patches"])
            assert piece["cells"][0, alternatives.START]


def test_the_ancestors_iterator_cannot_be_repeated(records):
    first, second = (next(iterate("ancestor", records)[1]) for _ in range(2))
    assert not np.array_equal(first.token_BT, second.token_BT)


def run(argv) -> int:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser.add_subparsers(dest="command"))
    args = parser.parse_args(argv)
    return args.run(args)


def test_command_prints_json_and_replaces_its_section(records, tmp_path, capsys):
    results = tmp_path / "results.md"
    results.write_text("# Results\n\n## Data stream\n\nof last year\n\n## Another\n\nstays\n")
    argv = [
        "bench",
        "data",
        "--json",
        "--batches",
        "1",
        "--records",
        *records[0],
        "--tokenizer",
        records[1],
        "--markdown",
        str(results),
    ]
    assert run(argv) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["machine"]["cores"] >= 1 and printed["versions"]["grain"] and printed["patch_fill"] > 0
    text = results.read_text()
    assert text.count("## Data stream") == 1 and "last year" not in text and "## Another\n\nstays" in text
    assert "lst bench data --batches 1 --records" in text and printed["records"] == "given"


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--records", "x"], "--records: .*add --tokenizer"),
        (["--tokenizer", "x"], "--tokenizer x: .*add --records"),
        (["--batches", "0"], "--batches 0: must be at least 1"),
        (["--records", "missing", "--tokenizer", "x"], "missing: no such directory"),
    ],
)
def test_wrong_arguments_are_one_line(argv, message):
    with pytest.raises(DataError, match=message) as error:
        run(["bench", "data", *argv])
    assert "\n" not in str(error.value)
