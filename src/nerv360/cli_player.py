"""The commands that show a file: `nerv360 play`."""

import asyncio
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from nerv360.bitstream.container import Container
from nerv360.console import console
from nerv360.errors import ArgumentError

__all__ = ["play"]


def play(
    file: Annotated[Path, typer.Argument(help="A .nerv360 file.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any that is free.", min=0, max=65535)] = 8360,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Show a file in the browser: drag the picture to look around. Ctrl-C ends it."""
    with Container(file) as container:
        container.verify()
    try:
        from nerv360.serving.server import serve
    except ModuleNotFoundError as error:
        raise ArgumentError(f"nerv360 play needs {error.name}: pip install 'nerv360[play]'") from None

    def started(address: str) -> None:
        console.print(f"playing {file} at {address}; Ctrl-C ends it")
        if browser:
            webbrowser.open(address)

    asyncio.run(serve(file, host, port, started))
