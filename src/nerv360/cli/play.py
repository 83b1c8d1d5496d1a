"""`nerv360 play`: a file in the browser."""

import asyncio
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from nerv360.bitstream.container import Container
from nerv360.cli.console import console
from nerv360.cli.options import CaptionFiles, MaxMemory, Source, parse_memory
from nerv360.errors import ArgumentError, MissingExtra

__all__ = ["play"]


def play(
    file: Source,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any that is free.", min=0, max=65535)] = 8360,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="VIDEO",
            help="The video that was encoded, to compare with on the page. Of any size, but of the file's shape and "
            "frame rate, and at least as long; what is longer is not shown.",
        ),
    ] = None,
    start: Annotated[int, typer.Option(metavar="K", help="The --start with which it was encoded.", min=0)] = 0,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Serve https: with this certificate, and the key in the same file."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The certificate's key, if it is in another file.")
    ] = None,
    captions: CaptionFiles = None,
    max_memory: MaxMemory = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Show a file in the browser: drag the picture to look around. Ctrl-C ends it."""
    with Container(file) as container:
        container.verify()
    if start and source is None:
        raise ArgumentError(f"--start {start}: give the video that was encoded too: --source VIDEO")
    try:
        from nerv360.serving.server import serve, tls
    except ModuleNotFoundError as error:
        raise MissingExtra(f"nerv360 play needs {error.name}: pip install 'nerv360[play]'") from None
    if key is not None and certificate is None:
        raise ArgumentError(f"--key {key}: give its certificate too: --certificate PEM")
    context = tls(certificate, key) if certificate else None

    def started(address: str) -> None:
        console.print(f"playing {file} at {address}; Ctrl-C ends it", soft_wrap=True)
        if browser:  # some wait until they are closed
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    memory = parse_memory(max_memory)
    texts = captions or []
    asyncio.run(
        serve(file, host, port, started, source=source, start=start, context=context, max_memory=memory, captions=texts)
    )
