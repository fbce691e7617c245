"""A layout of corpora is added by a class and a registration: the command names it, sees it, and gives it its options."""

import dataclasses
from collections.abc import Iterator

import pytest

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.data import shards
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import line_parts, listing, registry
from lst_jax.prepare.corpora.protocol import InputFile, Part, Reader, TextItem
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage.place import Place


@dataclasses.dataclass(frozen=True)
class Poems:
    """A poem a file, with its title on the first line."""

    settings: Settings
    name: str = "poems"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        return listing.input_files(place, lambda name: name.endswith(".poem"))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        return line_parts.parts(file, number, 1_000_000)

    def read(self, part: Part) -> Iterator[TextItem]:
        """See `Reader.read`."""
        title, *verses = [str(line).strip() for _, _, line in line_parts.lines(part, skip_bad=False)]
        if "upper" in self.settings.options:
            verses = [verse.upper() for verse in verses]
        yield TextItem(title, "\n".join(verses), str(part.place))


LAYOUT = Layout("poems", "a poem a file", "text", Poems, (Option("upper", "in capitals", flag=True),), (".poem",))


@pytest.fixture
def poems(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "LAYOUTS", dict(registry.LAYOUTS))
    registry.register(LAYOUT)
    for name, text in (("a.poem", "Rose\nis a rose\nis a rose\n"), ("b.poem", "Two\nroads\n"), ("c.txt", "nothing\n")):
        (tmp_path / "poems").mkdir(exist_ok=True)
        (tmp_path / "poems" / name).write_text(text)
    return tmp_path / "poems"


def prepared(out, *words):
    assert main.main(["prepare", "text", "--out", str(out), *map(str, words)]) == 0
    return [(document.id, document.text) for document in shards.RecordDirectory(out, "text")]


def test_a_layout_from_outside_is_seen_named_and_given_its_options(poems, tmp_path):
    assert isinstance(Poems(Settings()), Reader)
    expected = [("Rose", "is a rose\nis a rose"), ("Two", "roads")]
    assert prepared(tmp_path / "named", "--manifest", poems, "--layout", "poems") == expected
    assert prepared(tmp_path / "seen", "--manifest", poems / "*.poem", "--workers", 1) == expected
    assert prepared(tmp_path / "upper", "--manifest", poems / "b.poem", "--upper") == [("Two", "ROADS")]
    with pytest.raises(DataError, match="--layout verse: must be .*poems.*; correct it"):
        registry.layout_called("verse", "text")
    with pytest.raises(ValueError, match="layout 'poems': the name is registered already"):
        registry.register(LAYOUT)
