"""The commands of a README, to be run as a reader would run them."""

import pathlib
import re

PLACEHOLDER = "/path/to/this/directory"


def blocks(folder: pathlib.Path, language: str) -> list[str]:
    """The fenced blocks of that language in FOLDER/README.md, with the folder's own path in place."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [
        found.replace(PLACEHOLDER, str(folder))
        for found in re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)
    ]
