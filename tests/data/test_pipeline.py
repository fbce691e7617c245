import hashlib
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from synthetic_data import (
    TEXT_SIZE,
    config_over,
    make_config,
    texts,
    utterance,
    utterances,
    write_both,
    write_directory,
)

from lst_jax.config import SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.data import rows
from lst_jax.data.pipeline import BatchStream


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("data"))


def take(stream, count):
    return [next(stream) for _ in range(count)]


def assert_same(one, other):
    assert one.step == other.step
    assert all(np.array_equal(a, b) for a, b in zip(one.batch, other.batch, strict=True))
    assert np.array_equal(one.state_after, other.state_after)
    assert one.stats.keys() == other.stats.keys()
    assert all(np.array_equal(one.stats[k], other.stats[k]) for k in one.stats)


def test_batches_have_the_contracts_types(data):
    step = next(BatchStream(config_over(data)))
    assert [x.dtype for x in step.batch] == [np.int32, np.int32, np.float32, np.int32, bool, bool]
    assert {x.shape for x in step.batch} == {(4, 160)}
    assert step.step == 0 and step.state_after.shape == (4, 2, 5) and step.state_after.dtype == np.int64
    assert step.stats["tokens"] == (step.batch.doc_id_BT > 0).sum() == step.stats["source_tokens"].sum()


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_global_batch_is_the_same_for_every_number_of_hosts(data, hosts):
    config = config_over(data)
    whole = take(BatchStream(config), 6)
    size = 4 // hosts
    parts = [take(BatchStream(config, rows=range(h * size, (h + 1) * size)), 6) for h in range(hosts)]
    for step, slices in zip(whole, zip(*parts, strict=True), strict=True):
        for name in step.batch._fields:
            assert np.array_equal(getattr(step.batch, name), np.concatenate([getattr(s.batch, name) for s in slices]))
        assert np.array_equal(step.state_after, np.concatenate([s.state_after for s in slices]))
        summed = rows.add_stats([s.stats for s in slices])
        assert all(np.array_equal(summed[k], step.stats[k]) for k in step.stats)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_restoring_after_every_step_gives_the_same_continuation(data, prefetch):
    config = config_over(data, prefetch=prefetch)
    stream = BatchStream(config)
    steps, states = [], [stream.get_state()]
    for _ in range(7):
        steps.append(next(stream))
        states.append(stream.get_state())
        assert np.array_equal(steps[-1].state_after, states[-1]["rows"]) and states[-1]["step"] == len(steps)
    stream.close()
    again = BatchStream(config)
    for number in (*range(7), 2):  # one stream jumps to each state, forwards and back, while its thread runs ahead
        again.set_state(states[number])
        for expected in steps[number:]:
            assert_same(next(again), expected)
    again.close()


def test_a_state_of_all_rows_restores_on_any_number_of_hosts(data):
    config = config_over(data)
    steps = take(BatchStream(config), 4)
    for part in (range(0, 4), range(1, 3), range(3, 4)):
        stream = BatchStream(config, rows=part)
        stream.set_state({"step": 3, "rows": steps[2].state_after})
        step = next(stream)
        assert np.array_equal(step.batch.token_BT, steps[3].batch.token_BT[part.start : part.stop])


def test_writing_into_a_state_that_was_handed_out_changes_nothing(data):
    expected = take(BatchStream(config_over(data)), 2)
    stream = BatchStream(config_over(data))
    next(stream).state_after[:] = 99
    stream.get_state()["rows"][:] = 99
    assert_same(next(stream), expected[1])


def test_a_state_of_another_run_is_refused(data):
    stream = BatchStream(config_over(data))
    with pytest.raises(DataError, match=r"data state: has the shape \(4, 1, 5\), this run needs \(4, 2, 5\)"):
        stream.set_state({"step": 1, "rows": np.zeros((4, 1, 5), np.int64)})


def test_prefetching_changes_nothing_and_its_thread_ends(data):
    plain = take(BatchStream(config_over(data)), 8)
    stream = BatchStream(config_over(data), prefetch=3)
    before = threading.active_count()
    for one, other in zip(plain, take(stream, 8), strict=True):
        assert_same(one, other)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def damaged(root, tmp_path):
    """A copy of the speech directory whose second shard has a flipped byte in its first record."""
    write_directory(tmp_path / "speech", [utterances(9), [utterance(100, 4000)]])
    file = tmp_path / "speech" / "part-1.array_record"
    content = bytearray(file.read_bytes())
    content[20_000] ^= 255
    file.write_bytes(content)
    sources = (SourceConfig("speech", "utterance", str(tmp_path / "speech"), 1.0),)
    return config_over(root, sources=sources)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_corrupt_shard_is_named_in_the_loop_that_reads(data, tmp_path, prefetch):
    stream = BatchStream(damaged(data, tmp_path), prefetch=prefetch)
    for _ in range(2):  # the second attempt meets it again
        with pytest.raises(DataError, match=r"part-1.array_record: record 0: cannot be read") as caught:
            take(stream, 100)
        assert "\n" not in str(caught.value)
    stream.close()


@pytest.mark.parametrize(
    "on_disk, of_run, rule",
    [
        ({"unit_rate": 50.0}, {}, "metadata.json: unit_rate=50.0, the run has data.unit_rate=25.0; "),
        ({"codebook_size": 600}, {}, "codebook_size=600, the run has vocab.unit_slots=502; "),
        ({"codebook_size": None}, {}, "codebook_size=None, the run has vocab.unit_slots=502; "),
        ({"tokenizer_fingerprint": "0" * 16}, {}, "tokenizer_fingerprint=0000000000000000, data.tokenizer=.* has "),
        ({}, {"text_size": 32000}, f"tokenizer.model: has {TEXT_SIZE} pieces, the run has vocab.text_size=32000; "),
        ({}, {"unit_rate": 12.5}, "unit_rate=25.0, the run has data.unit_rate=12.5; "),
    ],
)
def test_a_source_that_does_not_fit_the_run_names_both_sides(tmp_path, on_disk, of_run, rule):
    write_directory(tmp_path / "speech", [utterances(2)], **on_disk)
    sources = (SourceConfig("speech", "utterance", str(tmp_path / "speech"), 1.0),)
    with pytest.raises(DataError, match=rule) as caught:
        BatchStream(make_config(sources=sources, **of_run))
    assert "\n" not in str(caught.value)


def test_wrong_kind_and_empty_sources_are_refused(tmp_path, data):
    wrong = (SourceConfig("speech", "utterance", str(data / "text"), 1.0),)
    with pytest.raises(DataError, match="holds records of kind 'text', the run wants 'utterance'"):
        BatchStream(make_config(sources=wrong))
    write_directory(tmp_path, [])
    with pytest.raises(DataError, match="records=0; a source needs at least one record"):
        BatchStream(make_config(sources=(SourceConfig("s", "utterance", str(tmp_path), 1.0),)))


def test_the_fingerprint_follows_content_and_not_place(data, tmp_path):
    first = BatchStream(config_over(data)).fingerprint()
    write_directory(tmp_path / "speech", [utterances(23)[:9], utterances(23)[9:]])
    write_directory(tmp_path / "text", [texts(17)], "text")
    assert BatchStream(config_over(tmp_path)).fingerprint() == first
    write_directory(tmp_path / "text", [texts(16)], "text")
    assert BatchStream(config_over(tmp_path)).fingerprint() != first
    assert len(first) == 16


def test_two_processes_make_the_same_batches(data):
    """Python's own hashing is salted differently in every process; nothing here may depend on it."""
    code = (
        "import sys, hashlib, pickle\nfrom lst_jax.data.pipeline import BatchStream\n"
        "stream = BatchStream(pickle.loads(sys.stdin.buffer.read()))\n"
        "print(hashlib.sha256(b''.join(x.tobytes() for _ in range(3) for x in next(stream).batch)).hexdigest())"
    )
    config = config_over(data)
    made = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(config), capture_output=True, check=True)
    digest = hashlib.sha256(b"".join(x.tobytes() for s in take(BatchStream(config), 3) for x in s.batch)).hexdigest()
    assert made.stdout.decode().strip() == digest


def test_base_rows_have_one_token_a_unit(data):
    config = config_over(data, tokens=128, units=128, strategy="none")
    for step in take(BatchStream(config), 5):
        assert np.array_equal(step.batch.patch_start_BT, step.batch.doc_id_BT > 0)
        assert step.stats["units"] == step.stats["tokens"]
