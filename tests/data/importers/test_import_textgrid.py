import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_samples import RATES, WORDS, built, utterance_parts

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_frames
from lst_jax.data.importers import base, textgrid

SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
1.2
<exists>
3
"IntervalTier"
"words"
0
1.2
4
0
0.2
""
0.2
0.5
"say ""hi"""
0.5
0.7
"sp"
0.7
1.2
"wörld"
"IntervalTier"
"phones"
0
1.2
1
0
1.2
"x"
"TextTier"
"bell"
0
1.2
1
0.5
"ding"
'''
EXPECTED = (('say "hi"', 0.2, 0.5), ("wörld", 0.7, 1.2))
COMMENTED = """File type = "ooTextFile" ! made by hand, "with" 3 strange "things"
Object class = "TextGrid"
0 1.2 <exists> 1 ! one tier
"IntervalTier" "words" from 0 to 1.2 with 2 intervals [7] 0 0.5 "eins" 0.5 1.2 text= "<eps>"
"""


def long_form(short):
    """The same grid as Praat's long form writes it."""
    names = iter("xmin xmax tiers? size class name xmin xmax intervals: size".split())
    head, *rest = short.split("\n\n")
    return (
        head
        + "\n\n"
        + "\n".join(f"    item [2]: {next(names, 'text')} = {line}" if line else "" for line in rest[0].split("\n"))
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [SHORT, long_form(SHORT), SHORT.replace("\n", "\r\n")], ids=["short", "long", "crlf"])
def test_both_forms_in_every_encoding_of_praat(text, encoding):
    found = textgrid.parse(text.encode(encoding), None)
    assert found.words == EXPECTED and found.duration_sec == 1.2


def test_comments_and_free_text_do_not_count():
    assert textgrid.parse(COMMENTED.encode(), None).words == (("eins", 0.0, 0.5),)


@given(
    utterance_parts(words=WORDS.filter(lambda text: text.lower() not in base.SILENCES | base.UNKNOWN)),
    st.sampled_from(RATES),
)
def test_files_round_trip(parts, rate):
    utterance = built(parts)
    found = textgrid.parse(textgrid.format_file(utterance, rate).encode(), None)
    assert to_frames(found.words, rate, len(utterance.units)) == utterance.words
    assert found.duration_sec == len(utterance.units) / rate


def test_tiers_of_several_speakers_are_named(tmp_path):
    two = SHORT.replace('"words"', '"anna - words"').replace('"phones"', '"ben - words"')
    with pytest.raises(RejectedItem, match="2 of its interval tiers .*--tier"):
        textgrid.parse(two.encode(), None)
    assert textgrid.parse(two.encode(), "ben - words").words == (("x", 0.0, 1.2),)
    (tmp_path / "u.TextGrid").write_text(two)
    assert textgrid.open_alignments(tmp_path, speaker="ben").align("u") == [("x", 0.0, 1.2)]
    with pytest.raises(DataError, match="one tier, and --tier names it"):
        textgrid.open_alignments(tmp_path, tier="words", speaker="ben")
    assert textgrid.parse(SHORT.replace('"words"', '"anna - Words"').encode(), None).words == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ooBinaryFile\x08TextGrid", "binary form"),
        (b"", "does not start"),
        (b"\xff\xfe\x00", "neither UTF-8"),
        (SHORT[: len(SHORT) // 2].encode(), "is the file whole"),
        (SHORT.replace("\n3\n", "\n3.5\n").encode(), "a count"),
        (SHORT.replace("wörld", "<unk>").encode(), "did not know"),
        (SHORT.replace("0.7\n1.2", "0.1\n1.2").encode(), "sort"),
        (SHORT.replace("TextTier", "Pitch").encode(), "class 'Pitch'"),
        (SHORT.replace("words", "w").encode(), "--tier"),
        (SHORT.replace("<exists>", "<absent>").encode(), "0 of its"),
        (SHORT.replace("0.7\n1.2", "0.7\n0.6").encode(), "ends before"),
    ],
)
def test_broken_files_name_the_rule(content, message):
    with pytest.raises(RejectedItem, match=message):
        textgrid.parse(content, None)


def test_a_tree_finds_items_by_path_and_by_name(tmp_path):
    words = SHORT.replace('say ""hi""', "hi")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.TextGrid").write_text(words)
    (tmp_path / "x" / "one.TextGrid").write_text(words)
    (tmp_path / "x" / "many.TextGrid").write_text(SHORT)
    (tmp_path / "x" / "bad.TextGrid").write_text("nothing")
    tree = textgrid.open_alignments(tmp_path)
    assert len(tree) == 5 and tree.align("x/same") == [("hi", 0.2, 0.5), ("wörld", 0.7, 1.2)]
    assert tree.align("one") == tree.align("corpus/x/one") == tree.align("x/one")
    with pytest.raises(RejectedItem, match="elsewhere/one: has no alignment, no file has its name"):
        tree.align("elsewhere/one")
    with pytest.raises(RejectedItem, match="many.TextGrid: 'say \"hi\"' at 0.2..0.5 s is 2 words"):
        tree.align("x/many")
    with pytest.raises(RejectedItem, match="2 files are named 'same'"):
        tree.align("same")
    with pytest.raises(RejectedItem, match="no file has its name"):
        tree.align("x/none")
    with pytest.raises(RejectedItem, match="bad.TextGrid: does not start"):
        tree.align("x/bad")
    with pytest.raises(DataError, match="has no"):
        textgrid.open_alignments(tmp_path / "nothing")
