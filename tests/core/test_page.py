"""A page holds everything itself, and shows whatever text it is given as that text."""

import base64
import html.parser

from lst_jax.core import html_page


class Seen(html.parser.HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = "<script>'a' & \"b\"</script>"


def test_text_is_shown_as_it_is_wherever_it_stands(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG bytes")
    seen = Seen(
        html_page.document(
            HOSTILE,
            html_page.table([(HOSTILE, "1")], (HOSTILE, "n")) + html_page.picture(b"png", HOSTILE),
        )
    )
    assert seen.texts.count(HOSTILE) == 4  # title, heading, column, cell
    assert dict(seen.tags)["img"]["alt"] == HOSTILE
    assert "script" not in dict(seen.tags)


def test_a_picture_s_bytes_are_in_the_page(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG bytes")
    source = dict(Seen(html_page.picture((tmp_path / "a.png").read_bytes(), "a")).tags)["img"]["src"]
    head, _, data = source.partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(data) == b"\x89PNG bytes"


def test_only_the_named_columns_are_numbers():
    cells = [attrs for tag, attrs in Seen(html_page.table([("a", "1", "b")], "xyz", {1})).tags if tag in ("td", "th")]
    assert cells == 2 * [{}, {"class": "n"}, {}]
