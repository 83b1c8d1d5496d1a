"""`nerv360 export`: a file in a form for others."""

from pathlib import Path
from typing import Annotated

import typer

from nerv360.bitstream.container import Container
from nerv360.claims import check_output
from nerv360.cli.console import console, progress_bar
from nerv360.cli.options import CaptionFiles, Source
from nerv360.errors import ArgumentError

__all__ = ["export"]

EMBEDDING = (
    '<iframe src="{address}/?embed" width="640" height="360" style="border: 0" loading="lazy" '
    'allow="autoplay; fullscreen; gyroscope; accelerometer; xr-spatial-tracking"></iframe>'
)


def export(
    file: Source,
    web: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a static site that decodes in the browser.")
    ] = None,
    captions: CaptionFiles = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.onnx",
            help="Write the network, if it is one, and compare it with PyTorch; of several segments, OUT-0.onnx, ...",
        ),
    ] = None,
) -> None:
    """Write a file in a form for others: a web site, or its network for other programs.

    The ONNX graph is what draws a view, once its latents are sampled along the view's rays (docs/player.md).
    """
    if web is None and onnx is None:
        raise ArgumentError("export: say what to write: --web DIR or --onnx OUT.onnx")
    if captions and web is None:
        raise ArgumentError("--captions goes with --web: they lie beside the video")
    if onnx is not None and onnx.suffix != ".onnx":
        raise ArgumentError(f"--onnx {onnx}: must end in .onnx")
    with Container(file) as container:
        container.verify()
        segments, files = len(container.segments), container.files()
    for output in (web, onnx):
        if output is not None:
            check_output(output, *files)
    if web is not None:
        _export_site(file, web, captions or [])
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


def _export_site(file: str, folder: Path, captions: list[Path]) -> None:
    from nerv360.serving.site import export_site

    with progress_bar() as on_progress:
        size = export_site(file, folder, on_progress, captions=captions)
    console.print(
        f"{folder}: {size / 1e6:.1f} MB; any web server can give it out, as: python -m http.server -d {folder}\n"
        f"in a page of yours: {EMBEDDING.format(address=folder.name)}",
        soft_wrap=True,
    )
