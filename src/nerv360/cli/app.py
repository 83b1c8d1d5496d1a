"""The `nerv360` command. Each verb parses, checks its input before PyTorch is loaded, calls one library function,
and prints the result."""

from typing import Annotated

import typer

from nerv360 import __version__
from nerv360.cli import reproduce
from nerv360.cli.bench import bench
from nerv360.cli.compare import compare
from nerv360.cli.console import console, run
from nerv360.cli.decode import decode
from nerv360.cli.encode import encode
from nerv360.cli.evaluate import evaluate
from nerv360.cli.export import export
from nerv360.cli.info import info
from nerv360.cli.play import play
from nerv360.cli.sample import sample
from nerv360.cli.stream_cost import stream_cost

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Codec for 360-degree video, which decodes the view you look at: from frames that predict one another along "
    "motion, or from a small network that is fitted to the video.",
)
app.command()(sample)
app.command()(encode)
app.command()(decode)
app.command()(info)
app.command("eval")(evaluate)
app.command()(bench)
app.command()(compare)
app.command()(play)
app.command()(export)
app.command("stream-cost")(stream_cost)
app.add_typer(reproduce.app, name="reproduce")


def main() -> None:
    """Run the command line."""
    run(app)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if show:
        console.print(__version__)
        raise typer.Exit
