"""The pieces of a self-contained HTML page: one file that shows the same wherever it is copied to."""

import base64
import html
from collections.abc import Collection, Sequence

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:left}
.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}h2{margin-top:2rem}.note{color:#555}"""

escape = html.escape


def document(title: str, body: str) -> str:
    """A page with its title. `body` must be HTML already."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>\n"
    )


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), numbers: Collection[int] = ()) -> str:
    """A table of text; the columns `numbers`, counted from 0, are aligned right.

    Example: table([("N", "7")], numbers={1}) -> "<table><tr><td>N</td><td class=n>7</td></tr></table>"
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        return (
            "<tr>"
            + "".join(
                f"<{tag}{' class=n' if i in numbers else ''}>{escape(cell)}</{tag}>" for i, cell in enumerate(cells)
            )
            + "</tr>"
        )

    head = line("th", header) if header else ""
    return f"<table>{head}{''.join(line('td', row) for row in rows)}</table>"


def picture(png: bytes, title: str) -> str:
    """An image element that holds the content of a PNG file itself."""
    return f"<img alt='{escape(title)}' src='{embed(png, 'image/png')}'>"


def embed(content: bytes, media_type: str) -> str:
    """The content of a file as a `data:` URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
