"""Tables of `rich` as Markdown, as HTML, and as files."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nerv360.storage import atomic_write

__all__ = ["html_page", "html_table", "markdown", "write_table"]


def markdown(table: Table) -> str:
    """The table as Markdown, under its title."""
    console = Console(record=True, width=1000, file=io.StringIO(), markup=False)
    title, table.title = table.title, None
    console.print(table)
    table.title = title
    lines = (line.strip() for line in console.export_text().splitlines() if line.strip())
    return "\n".join([str(title), "", *lines, ""])


def html_table(table: Table) -> str:
    """The table as HTML, under its title."""

    def line(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    rows = zip(*(column.cells for column in table.columns), strict=True)
    head = line("th", [column.header for column in table.columns])
    return "\n".join(
        [f"<h2>{html.escape(str(table.title))}</h2><table>{head}", *(line("td", r) for r in rows), "</table>"]
    )


def html_page(title: str, parts: Sequence[str]) -> str:
    """A page that needs nothing else."""
    style = (
        "body{font-family:sans-serif;margin:2em}svg{max-width:100%;height:auto}table{border-collapse:collapse}"
        "td,th{padding:.2em .7em;border-bottom:1px solid #ccc;text-align:left}"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return "\n".join([head, f"<style>{style}</style>", *parts, "</html>"])


def write_table(table: Table, path: Path) -> None:
    """As Markdown and as HTML. Raises OutputError."""
    page = html_page(str(table.title), [html_table(table)])
    for extension, text in (("md", markdown(table)), ("html", page)):
        with atomic_write(path.with_name(f"{path.name}.{extension}")) as partial:
            partial.write_text(text, encoding="utf-8")
