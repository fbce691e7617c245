"""Benchmarks that are folders of recordings, in made-up folders with the published names."""

import pytest

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import items, registry


def make(folder, *files):
    """Empty files, or texts of "name=text"; readers look at the names of recordings only."""
    for file in files:
        name, _, text = file.partition("=")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def described(item):
    choices = [(c.name, c.text, c.units) for c in item.choices]
    return item.id, item.prompt, choices, item.label, item.group, dict(item.bands)


SALMON = [
    f"{part}/sample_{n}_{i}.wav" for part in ("bg_alignment", "gender_consistency") for n in (2, 10) for i in (0, 1)
]


def test_the_parts_of_salmon_are_bands_and_the_unchanged_recording_is_right(tmp_path):
    root = make(
        tmp_path / "salmon_benchmark", *SALMON, "bg_alignment/metadata.json", "imgs/a.png", "bg_alignment/._x.wav"
    )
    assert registry.has_audio("salmon", root)
    task = registry.read_task("salmon", root)
    assert [described(item) for item in task.items] == [
        (
            f"{part}-{n}",
            None,
            [(f"{part}/sample_{n}_0", None, None), (f"{part}/sample_{n}_1", None, None)],
            0,
            None,
            {"part": part},
        )
        for part in ("bg_alignment", "gender_consistency")
        for n in (2, 10)
    ]
    alone = registry.read_task("salmon", root / "bg_alignment")
    assert [i.id for i in alone.items] == ["bg_alignment-2", "bg_alignment-10"]
    assert [c.name for c in alone.items[0].choices] == ["sample_2_0", "sample_2_1"]


def test_stories_as_published_are_pairs_of_whole_stories(tmp_path):
    folder = make(
        tmp_path / "sSC",
        *("0_b9-29_correct.wav", "1_b9-29_incorrect.wav", "2_77_correct.wav", "3_77_incorrect.wav"),
        *("0_b9-29_correct.txt=Tom ate. He left.\n", "1_b9-29_incorrect.txt=Tom ate. It rained."),
    )
    for name in ("sstorycloze", "tstorycloze"):
        task = registry.read_task(name, folder)
        assert [described(item) for item in task.items] == [
            (
                "b9-29",
                None,
                [
                    ("0_b9-29_correct", "Tom ate. He left.", None),
                    ("1_b9-29_incorrect", "Tom ate. It rained.", None),
                ],
                0,
                None,
                {},
            ),
            ("77", None, [("2_77_correct", None, None), ("3_77_incorrect", None, None)], 0, None, {}),
        ]
    assert [items.line(item, None, None)["choices"][0]["name"] for item in task.items] == [
        "0_b9-29_correct",
        "2_77_correct",
    ]


def test_stories_in_parts_have_a_prompt_and_folders_are_voices(tmp_path):
    roles = ("correct", "incorrect", "mutual")
    names = [f"{voice}/7_{n}_{role}.wav" for voice in ("bm", "af") for n in (1, 2) for role in roles]
    task = registry.read_task("tstorycloze", make(tmp_path / "ms_tSC", *names, "af/7_1_mutual.txt=Tom ate."))
    assert [item.id for item in task.items] == ["af/7_1", "af/7_2", "bm/7_1", "bm/7_2"]
    first = task.items[0]
    assert (first.prompt.name, first.prompt.text) == ("af/7_1_mutual", "Tom ate.")
    assert [c.name for c in first.choices] == ["af/7_1_correct", "af/7_1_incorrect"]
    assert dict(first.bands) == {"voice": "af"}
    numbered = registry.read_task("sstorycloze", make(tmp_path / "plain", "4_correct.wav", "4_incorrect.wav"))
    assert [item.id for item in numbered.items] == ["4"]


@pytest.mark.parametrize(
    "name, files, said",
    [
        ("salmon", ["a/notes.txt"], "has no .wav files, and none in its folders"),
        ("salmon", ["p/sample_1_0.wav"], "p: there is no sample_1_1.wav; unpack the benchmark again"),
        ("salmon", ["p/sample_1_1.wav"], "p: there is no sample_1_0.wav; unpack the benchmark again"),
        ("salmon", ["p/other.wav"], "p/other.wav: is not called sample_NUMBER_0.wav or sample_NUMBER_1.wav"),
        ("salmon", ["sample_1_0.wav", "sample_01_0.wav"], "sample_1_0.wav: is a second recording 0 of sample 1"),
        ("sstorycloze", ["0_a_correct.wav"], "story a has no recording …a_incorrect.wav; unpack the benchmark again"),
        ("sstorycloze", ["0_a.wav"], "0_a.wav: is not called …_correct.wav, …_incorrect.wav or …_mutual.wav"),
        (
            "sstorycloze",
            ["0_a_correct.wav", "1_a_incorrect.wav", "2_a_incorrect.wav"],
            "2_a_incorrect.wav: is a second incorrect recording of story a, beside 1_a_incorrect.wav; keep one of them",
        ),
        (
            "sstorycloze",
            ["a_correct.wav", "a_incorrect.wav", "a_mutual.wav", "b_correct.wav", "b_incorrect.wav"],
            "story b has no recording …_mutual.wav, and others have; add it",
        ),
        ("hellaswag", ["a.txt"], "is a folder; give the file of the task hellaswag"),
        ("mine", ["a.txt"], "is a folder; give the file of the task mine"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(tmp_path, name, files, said):
    with pytest.raises(DataError) as error:
        registry.read_task(name, make(tmp_path / "there", *files))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_wanted_where_a_file_is_given(tmp_path):
    path = make(tmp_path, "a.csv=x\n") / "a.csv"
    with pytest.raises(DataError, match="a.csv: is no folder; give the folder of the unpacked benchmark"):
        registry.read_task("salmon", path)
    latin = make(tmp_path / "l", "a_correct.wav", "a_incorrect.wav")
    (latin / "a_correct.txt").write_bytes(b"\xe9")
    with pytest.raises(DataError, match="a_correct.txt: is not UTF-8 text"):
        registry.read_task("sstorycloze", latin)
