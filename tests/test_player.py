"""The player's own reading of files and its geometry, in JavaScript, against this package: node runs tests/web/."""

import gzip
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import onnx
import pytest
import torch
from helpers.motion_clip import write_motion_vectors
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import nerv360
from nerv360.api import encode
from nerv360.bitstream.container import Container
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.codec.resampling import native_view
from nerv360.config import EncodingConfig, preset_for
from nerv360.entropy.laplace import FRACTIONS, SCALES, frequencies
from nerv360.entropy.range_coder import SymbolEncoder
from nerv360.errors import ArgumentError, OutputError
from nerv360.evaluation.parity import export_onnx
from nerv360.geometry.rays import rotation, viewport_rays
from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.coding_order import key_coding_order
from nerv360.latents.integer_context_model import IntegerContextModel, write_context_model, write_latent
from nerv360.models.build import decoder_tensors
from nerv360.models.nerv360_grid import NeRV360Grid
from nerv360.quality import psnr
from nerv360.serving import networks, site
from nerv360.serving.networks import browser_graph
from nerv360.serving.site import POSTER, POSTER_VIEW, VIDEO, export_site
from nerv360.types import BT709
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

ROOT = Path(__file__).parents[1]
LOOKS = [(0, 0, 0, 78.1), (179.9, 12, 0, 100), (-90, -88, 30, 60), (12, 90, -170, 78.1), (300, 45, 5, 20)]
SIZES = [(96, 60), (61, 107), (480, 270)]
FIRST = 300  # numbers of each array that are compared


@pytest.fixture(scope="session")
def browser_files(encoded: Path, video: Path, quick: EncodingConfig, once: Callable[..., Path]) -> dict[str, Path]:
    """A file of every network that browsers decode."""
    still = render_frame(0, width=160, height=80, frames=64)
    pictures = (np.roll(still, 3 * index, axis=1) for index in range(6))
    turning = once("turning.mp4", lambda path: write_frames(path, pictures, Fraction(25), BT709))
    grid = preset_for("nerv360-grid", "fast").replace(epochs=2, group_size=4)
    conditions = ("pitch", "roll", "fov", "yaw")
    late = quick.replace(epochs=1, decoder_size=125_299, expand_first=False, conditions=conditions)
    files = {"nerv360": encoded}
    for name, source, config in (
        ("late", video, late),
        ("half", video, quick.replace(epochs=1, last_block="half")),
        ("grid", video, grid),
        ("oriented", turning, grid),
    ):
        files[name] = once(f"{name}.nerv360", partial(encode, source, config=config))
    with Container(files["oriented"]) as container:
        assert container.segments[0].header.oriented
    return files


def viewport(view: Viewport) -> dict[str, Any]:
    """As the player writes it."""
    _, fy = view.focal
    vfov_deg = float(np.degrees(2 * np.arctan(view.height / 2 / fy)))
    names = {"yaw_deg": "yawDeg", "pitch_deg": "pitchDeg", "roll_deg": "rollDeg", "hfov_deg": "hfovDeg"}
    fields = {names.get(name, name): value for name, value in asdict(view).items()}
    return fields | {"vfovDeg": vfov_deg}


def geometry_vectors(encoded: Path) -> dict[str, Any]:
    with Container(encoded) as container:
        header = container.segments[0].header
    trained = {"width": header.view_width, "hfovDeg": list(header.hfov_deg)}
    cases = []
    half = (0, 0, 0, header.hfov_deg[0]), (4 * header.view_width, 202)  # 50.5 rows
    for (yaw, pitch, roll, fov), (width, height) in (*itertools.product(LOOKS, SIZES), half):
        view = Viewport(yaw, pitch, roll, fov, None, width, height)
        cell, whole, rows, columns = 8, 24, 10, 20
        rays = viewport_rays(view, cell, torch.float64, whole)
        x, y = lonlat_to_pixel(*ray_to_lonlat(rays), columns, rows)
        angles = (torch.tensor([angle], dtype=torch.float64) for angle in (yaw, pitch, roll))
        native = native_view(view, header)
        cases.append(
            {
                "view": viewport(view),
                "rotation": rotation(*angles)[0].flatten().tolist(),
                "cell": cell,
                "whole": whole,
                "rows": rows,
                "columns": columns,
                "x": x.flatten().tolist(),
                "y": y.flatten().tolist(),
                "trained": trained,
                "native": [native.width, native.height],
            }
        )
    return {"views": cases}


def entropy_vectors() -> dict[str, Any]:
    random = np.random.default_rng(0)
    streams = []
    for sizes in ([], [0], [1], [5, 1], [1000], [300, 0, 2000], [40, 40, 40]):
        for spread in (0.3, 3, 40, 900):  # of the last, many lie beyond the outermost symbols
            encoder, batches = SymbolEncoder(), []
            for size in sizes:
                integers = random.laplace(0, spread, size).round().astype(np.int32)
                classes = random.integers(0, random.choice([1, 20, SCALES * FRACTIONS]), size)
                encoder.encode(integers, classes)
                batches.append({"integers": integers.tolist(), "models": classes.tolist()})
            streams.append({"data": encoder.finish().hex(), "batches": batches})
    tables = [frequencies(number).tolist() for number in range(SCALES * FRACTIONS)]
    values: list[Any] = [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**40, -1, -32, -33, -128, -129, -(2**20)]
    values += [-(2**40), 1.25, 78.1, True, False, "", "nerv360-grid", "x" * 40, [], [1, [2.5, ["a"]]], list(range(200))]
    messages = [{"packed": msgspec.msgpack.encode(value).hex(), "value": value} for value in values]
    return {"tables": tables, "streams": streams, "messages": messages}


def contexts_vectors() -> dict[str, Any]:
    """Latents of odd sizes: few integers that are not 0, many, and ones beyond the outermost symbols."""
    random = np.random.default_rng(0)
    latents = []
    shapes = [(1, 1, 1, 2), (2, 3, 1, 2), (3, 1, 2, 18), (5, 2, 13, 26), (4, 3, 9, 8), (8, 2, 17, 34), (1, 4, 39, 78)]
    for shape, spread, weight in itertools.product(shapes, (0.2, 3, 300), (20, 1_000_000)):
        before, behind = 2, 1
        channels = before + shape[1] + behind
        contexts = IntegerContextModel.of(
            random.integers(-weight, weight + 1, IntegerContextModel.size(channels)), channels
        )
        contexts.mean_weight[:] = random.integers(-400, 400, channels)
        contexts.temporal_mean_weight[:] = random.integers(-400, 400, 2)
        symbols = random.laplace(0, spread, shape).round().astype(np.int32)
        latents.append(
            {
                "contextModel": write_context_model(contexts).hex(),
                "channels": channels,
                "data": write_latent(symbols, contexts, before).hex(),
                "firstChannel": before,
                "shape": shape,
                "integers": symbols.ravel().tolist(),
            }
        )
    orders = [[[key for key in entry if key is not None] for entry in key_coding_order(keys)] for keys in range(1, 20)]
    return {"latents": latents, "orders": orders}


def flat(tensor: Tensor) -> list[float]:
    return tensor.contiguous().flatten().tolist()


def checksum(tensors: Iterable[Tensor]) -> int:
    return crc32(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors))


def preview(reader: NetworkDecoder, frame: int, view: Viewport) -> list[float] | None:
    """The picture that a network draws beside its features, without the last stage, in steps of 1/255."""
    model = reader.network
    if not isinstance(model, NeRV360Grid):
        return None
    sampled, _ = reader.draw_inputs(frame, view)
    grids = [grid.stride for grid in model.config.grids if not grid.motion]

    def entering(stride: int) -> Tensor:
        return torch.cat([each for each, here in zip(sampled, grids, strict=True) if here == stride], dim=1)

    picture = model.to_rgb(entering(model.total_stride))
    for stage, stride in zip(model.stages[:-1], model.strides[:-1], strict=True):
        assert isinstance(stage.to_rgb, nn.Conv2d)
        picture = functional.interpolate(picture, scale_factor=stage.stride, mode="bilinear")
        picture = picture + stage.to_rgb(entering(stride))
    return flat((torch.tanh(picture) / 2 + 0.5)[0].permute(1, 2, 0) * 255)


def file_vectors(name: str, path: Path) -> dict[str, Any]:
    frame, view = 3, Viewport(160, 40, 12, 70, None, 77, 52)
    even = replace(view, width=76)  # of twice the preview's sides
    with Container(path) as container, torch.inference_mode():
        (segment,) = container.segments
        reader = NetworkDecoder(container, segment, "torch")
        sampled, modulations = reader.draw_inputs(frame, view)
        sizes = [latent.size(container.header.width, container.header.height) for latent in segment.latents]
        windows = [Window.whole(*size) for size in sizes]
        latents = [reader._reader.window(index, reader.at(frame), window) for index, window in enumerate(windows)]
        parts = [
            checksum(
                reader._reader._key(part.latent, part.first_key + key, windows[part.latent]) for key in range(part.keys)
            )
            for part in segment.key_groups
        ]
        angles = None if reader.angles is None else [float(angle) / 100 for angle in reader.angles[frame]]
        weights = decoder_tensors(reader.network)
        previewed = preview(reader, frame, even)
    return {
        "name": f"{name}.nerv360",
        "weights": {key: flat(tensor)[:FIRST] for key, tensor in weights.items()},
        "allWeights": checksum(weights.values()),
        "keyGroups": parts,
        "frame": frame,
        "view": viewport(view),
        "latents": [flat(latent)[:FIRST] for latent in latents],
        "angles": angles,
        "sampled": [flat(each) for each in sampled],
        "modulations": [flat(each) for each in modulations],
        "shapes": [list(each.shape) for each in (*sampled, *modulations)],
        "previewView": viewport(even),
        "preview": previewed,
    }


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_agrees(browser_files: dict[str, Path], tmp_path: Path) -> None:
    vectors = {
        "geometry": geometry_vectors(browser_files["nerv360"]),
        "entropy": entropy_vectors(),
        "contexts": contexts_vectors(),
        "files": [file_vectors(name, path) for name, path in browser_files.items()],
        "motion": write_motion_vectors(tmp_path),
    }
    for name, content in vectors.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    for name, path in browser_files.items():
        shutil.copyfile(path, tmp_path / f"{name}.nerv360")
    tests = sorted(str(path) for path in (ROOT / "tests" / "web").glob("*.test.js"))
    environment = os.environ | {"NERV360_VECTORS": str(tmp_path)}
    result = subprocess.run(["node", "--test", *tests], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-6000:]
    assert "# fail 0" in result.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_types_that_javascript_names_are_right() -> None:
    web = ROOT / "tests" / "web"
    compiler = web / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.skip("TypeScript is not installed: npm ci --prefix tests/web")
    result = subprocess.run(["node", str(compiler), "--project", str(web)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["nerv360", "late", "grid", "oriented"])
def test_graphs_for_browsers_hold_no_weights(browser_files: dict[str, Path], name: str) -> None:
    with Container(browser_files[name]) as container:
        data = browser_graph(container, container.segments[0])
    graph = onnx.load_from_string(data).graph
    external = [each for each in graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
    inside = [each for each in graph.initializer if each.data_location != onnx.TensorProto.EXTERNAL]
    convolutions = sum(node.op_type == "Conv" for node in graph.node)
    assert len(external) >= convolutions
    assert sum(int(np.prod(each.dims)) for each in inside) < 4000  # scalars, and the head where it is folded


def test_a_site_is_whole_or_not_there(
    browser_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    size = export_site(browser_files["nerv360"], folder)
    assert size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    about = json.loads((folder / "player.json").read_text())
    assert about["server"] is None
    assert about["bytes"] == (folder / about["video"]).stat().st_size
    assert (folder / about["networks"][0]).stat().st_size < 20_000
    with Image.open(folder / POSTER) as poster, nerv360.open(browser_files["nerv360"]) as decoder:
        assert psnr(np.array(poster), decoder.viewport(0, POSTER_VIEW)) > 35
    runtime = folder / "player" / "onnxruntime"
    assert {path.suffix for path in runtime.iterdir()} == {".js", ".gz", ".txt"}  # types that every web server knows
    for packed in runtime.glob("*.gz"):
        assert gzip.decompress(packed.read_bytes()).startswith(b"\0asm"), packed
    for text in ("index.html", "page.js", "player/worker.js"):
        content = (folder / text).read_text()
        assert "http://" not in content.replace("http://www.w3.org/", "") and "https://" not in content, text
    monkeypatch.setattr(networks, "browser_graph", lambda *_: pytest.fail("what cannot be written is not made"))
    with pytest.raises(OutputError, match="not empty"):
        export_site(browser_files["nerv360"], folder)
    with pytest.raises(OutputError, match="it is a file"):
        export_site(browser_files["nerv360"], folder / "player.json")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("name", ["grid", "oriented"])
def test_a_site_of_grids_is_small(
    browser_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is drawn by shaders: there is no ONNX Runtime in it, and none is needed to write it."""
    monkeypatch.setattr(site, "find_spec", lambda _: None)
    export_site(browser_files[name], tmp_path / "site")
    files = {
        path.relative_to(tmp_path / "site").as_posix(): path
        for path in (tmp_path / "site").rglob("*")
        if path.is_file()
    }
    assert {"player/grid/grid.glsl", "player/network/chunks.js"} < set(files)
    unneeded = ("onnx", "motion", "player/server", "player/sound")
    assert not [name for name in files if any(each in name for each in unneeded)]
    contents = [path.read_bytes() for name, path in files.items() if name not in (VIDEO, POSTER)]
    assert sum(map(len, contents)) < 220_000  # 191 kB measured
    assert sum(len(gzip.compress(content)) for content in contents) < 80_000  # 69 kB measured


def test_networks_of_panoramas_are_refused(video: Path, quick: EncodingConfig, tmp_path: Path) -> None:
    path = tmp_path / "a.nerv360"
    encode(video, path, quick.replace(model="hnerv", epochs=1))
    with pytest.raises(ArgumentError, match="nerv360 play"):
        export_site(path, tmp_path / "site")
    parity = export_onnx(path, tmp_path / "a.onnx")  # which other programs can draw
    assert parity.largest <= 1


def test_onnx_draws_what_pytorch_draws(browser_files: dict[str, Path], tmp_path: Path) -> None:
    for name, path in browser_files.items():
        output = tmp_path / f"{name}.onnx"
        parity = export_onnx(path, output)
        assert parity.largest <= 1
        assert parity.differing < 1e-3  # none measured here, 1e-5 on a larger file: halves that round the other way
        assert parity.size == output.stat().st_size
        onnx.checker.check_model(str(output), full_check=True)
