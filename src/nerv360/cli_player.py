"""The commands that show a file or give it to others: `nerv360 play`, `nerv360 export`."""

import asyncio
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from nerv360.bitstream.container import Container
from nerv360.console import Source, check_folder, console, progress
from nerv360.errors import ArgumentError, MissingExtra

__all__ = ["export", "play"]


def play(
    file: Source,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any that is free.", min=0, max=65535)] = 8360,
    source: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="The video that was encoded, to compare with on the page.")
    ] = None,
    start: Annotated[int, typer.Option(metavar="K", help="The --start with which it was encoded.", min=0)] = 0,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Serve https: with this certificate, and the key in the same file."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The certificate's key, if it is in another file.")
    ] = None,
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
        console.print(f"playing {file} at {address}; Ctrl-C ends it")
        if browser:  # some wait until they are closed
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    asyncio.run(serve(file, host, port, started, source=source, start=start, context=context))


def export(
    file: Source,
    web: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a static site that decodes in the browser.")
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.onnx",
            help="Write the network, and compare it with PyTorch; of several segments, OUT-0.onnx, ...",
        ),
    ] = None,
) -> None:
    """Write a file in a form for others: a web site, or its network for other programs.

    The ONNX graph is what draws a view, once its latents are sampled along the view's rays (docs/player.md).
    """
    if web is None and onnx is None:
        raise ArgumentError("export: say what to write: --web DIR or --onnx OUT.onnx")
    if onnx is not None and onnx.suffix != ".onnx":
        raise ArgumentError(f"--onnx {onnx}: must end in .onnx")
    with Container(file) as container:
        container.verify()
        segments = len(container.segments)
    for output in (web, onnx):
        if output is not None:
            check_folder(output)
    if web is not None:
        _export_site(file, web, segments)
    if onnx is not None:
        from nerv360.evaluation.parity import export_onnx

        for index in range(segments):
            output = onnx if segments == 1 else onnx.with_stem(f"{onnx.stem}-{index}")
            parity = export_onnx(file, output, index)
            console.print(
                f"{output}: {parity.size:,} bytes, opset {parity.opset}; largest difference to PyTorch "
                f"{parity.largest} of 255 levels, in {100 * parity.differing:.3g} % of the values of {parity.frames} "
                f"views of {parity.width}x{parity.height}"
            )


def _export_site(file: str, folder: Path, segments: int) -> None:
    from nerv360.serving.site import export_site

    with progress("networks", segments) as (bar, task):
        size = export_site(file, folder, lambda done, _: bar.update(task, completed=done))
    console.print(
        f"{folder}: {size / 1e6:.1f} MB; any web server can give it out, as: python -m http.server -d {folder}"
    )
