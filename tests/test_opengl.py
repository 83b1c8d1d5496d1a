"""nerv360-grid by OpenGL: its pictures are PyTorch's, for every thread; and where it fails, a line says why."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from helpers.commands import Commands
from helpers.golden import FOLDER
from helpers.grid_views import VIEWS, drawn_by_torch, write_wide_file
from helpers.limits import at_most_bytes
from helpers.processes import wait_for

import nerv360
from nerv360.backends import opengl, opengl_context, registry
from nerv360.codec import shader_decoder
from nerv360.codec.mux import mux
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.errors import ArgumentError, MissingExtra, OutOfMemory
from nerv360.geometry.viewport import Viewport
from nerv360.quality import psnr

GOLDEN = FOLDER / "nerv360-grid.nerv360"
LEAST_DB = 56.0  # half precision between stages: 59 to 61 measured

try:
    opengl_context.adapter(0)
except ArgumentError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="session")
def two_networks(once: Callable[..., Path]) -> Path:
    """Segments of networks of other shapes: moving keys, and a turning camera."""

    def make(path: Path) -> None:
        write_wide_file(path.with_name("second.nerv360"))
        mux([GOLDEN, path.with_name("second.nerv360")], path)

    return once("two_networks.nerv360", make)


@pytest.fixture
def by_opengl(two_networks: Path) -> Iterator[nerv360.Decoder]:
    with nerv360.open(two_networks, backend="opengl") as decoder:
        yield decoder


def test_pictures_are_those_of_pytorch(by_opengl: nerv360.Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across segments and at moving keys; every view at another frame, forwards and back."""
    monkeypatch.setattr(NetworkDecoder, "native", lambda decoder, view, draft: view)
    qualities = []
    for index, view in enumerate(VIEWS * 3):
        frame = index * 7919 % by_opengl.frames
        picture = by_opengl.viewport(frame, view)
        qualities.append(psnr(picture, drawn_by_torch(by_opengl.container, frame, view)))
    assert min(qualities) > LEAST_DB, qualities


def test_decoders_give_the_same_whatever_draws(by_opengl: nerv360.Decoder, two_networks: Path) -> None:
    """Views of other sizes than the network's own, drafts, panoramas and playing."""
    far = Viewport(yaw_deg=100, hfov_deg=30, width=96, height=64)
    with nerv360.open(two_networks, backend="torch") as other:
        for draft in (False, True):
            assert psnr(by_opengl.viewport(8, far, draft=draft), other.viewport(8, far, draft=draft)) > LEAST_DB
        for frame in (0, by_opengl.frames - 1):
            assert psnr(by_opengl.panorama(frame), other.panorama(frame)) > LEAST_DB
        views = [(frame, replace(far, yaw_deg=20.0 * frame)) for frame in range(by_opengl.frames)]
        for picture, expected in zip(by_opengl.play(views), other.play(views), strict=True):
            assert psnr(picture, expected) > LEAST_DB


def test_other_networks_of_a_file_are_drawn_by_another_backend(tmp_path: Path) -> None:
    """Behind a first segment that has shaders."""
    mux([GOLDEN, FOLDER / "nerv360.nerv360"], tmp_path / "both.nerv360")
    view = Viewport(yaw_deg=40, width=64, height=48)
    with (
        nerv360.open(FOLDER / "nerv360.nerv360") as alone,
        nerv360.open(tmp_path / "both.nerv360", backend="opengl") as both,
    ):
        assert np.array_equal(both.viewport(both.frames - 1, view), alone.viewport(alone.frames - 1, view))
        assert both.viewport(0, view).any()


def test_a_view_that_is_too_large_is_drawn_all_the_same(
    by_opengl: nerv360.Decoder, two_networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nerv360.open(two_networks, backend="torch") as other:
        monkeypatch.setattr(opengl, "MAX_PIXELS", 1000)
        np.testing.assert_array_equal(by_opengl.viewport(0, VIEWS[0]), other.viewport(0, VIEWS[0]))


def test_threads_share_a_decoder(by_opengl: nerv360.Decoder) -> None:
    looks = [(frame, view) for frame, view in zip((0, 7, 2, 11, 5), VIEWS, strict=True)]
    alone = [by_opengl.viewport(*look) for look in looks]

    def look(thread: int) -> list[tuple[int, Any]]:
        order = [(thread + step) % len(looks) for step in range(2 * len(looks))]
        return [(number, by_opengl.viewport(*looks[number])) for number in order]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(look, range(4)):
            for number, picture in found:
                np.testing.assert_array_equal(picture, alone[number])


def test_the_context_of_the_caller_stays_his() -> None:
    own = opengl_context.create_context()
    try:
        texture = own.texture((2, 1), 4, bytes(range(8)))
        with nerv360.open(GOLDEN, backend="opengl") as decoder:
            decoder.viewport(0, VIEWS[0])
        assert texture.read() == bytes(range(8))
    finally:
        own.release()


def test_closing_gives_threads_and_memory_back() -> None:
    process = psutil.Process()

    def use() -> None:
        with nerv360.open(GOLDEN, backend="opengl") as decoder:
            decoder.viewport(0, VIEWS[0])

    for _ in range(4):
        use()
    threads = process.num_threads()
    with at_most_bytes(40 << 20):
        for _ in range(12):
            use()
    wait_for(lambda: process.num_threads() <= threads)
    wait_for(lambda: not any(thread.name.startswith("nerv360-") for thread in threading.enumerate()))


def test_many_views_do_not_grow_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of changing sizes, with no room for more keys than those of a frame."""
    monkeypatch.setattr(shader_decoder, "TEXTURE_BYTES", 0)
    with nerv360.open(GOLDEN, backend="opengl") as decoder:

        def look(times: int) -> None:
            for number in range(times):
                decoder.viewport(number % decoder.frames, replace(VIEWS[number % 3], yaw_deg=number))

        look(60)
        with at_most_bytes(16 << 20):
            look(300)


def test_it_is_taken_where_there_is_a_graphics_processor(keys: Path, encoded: Path, monkeypatch: Any) -> None:
    def taken(path: Path, *adapter: Any, **options: Any) -> str:
        monkeypatch.setattr(opengl_context, "_adapter", lambda: opengl_context.Adapter(*adapter))
        with nerv360.open(path, **options) as decoder:
            return decoder.backend

    assert taken(GOLDEN, "NVIDIA GeForce RTX 4060/PCIe/SSE2", 32768) == "opengl"
    assert taken(GOLDEN, "Mesa Intel(R) Iris(R) Xe Graphics (TGL GT2)", 191) == "openvino"  # too small
    assert taken(GOLDEN, "llvmpipe (LLVM 15.0.6, 256 bits)", 16384) == "openvino"
    assert taken(GOLDEN, "NVIDIA", 32768, precision="int8") == "openvino"
    assert taken(encoded, "NVIDIA", 32768) == "openvino"  # the paper's network has no shaders
    assert taken(keys, "NVIDIA", 32768) == "openvino"  # which is not asked
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "moderngl" else name)
    assert taken(GOLDEN, "NVIDIA", 32768) == "openvino"


def test_info_tells_what_there_is(commands: Commands) -> None:
    told = " ".join(commands("info", GOLDEN, "--runtime", "--json").stdout.split())
    name = opengl_context.adapter(0)
    assert f'"opengl": "{name.name}' in told
    assert ("to take it, --backend opengl" in told) == name.software


def test_where_it_cannot_be_taken_a_line_says_why(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kind: type[Exception], path: Path = GOLDEN, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            nerv360.open(path, backend="opengl", **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "has no shaders for nerv360; take openvino or onnxruntime or torch" in refused(ArgumentError, encoded)
    assert "precision=int8" in refused(ArgumentError, precision="int8")
    with pytest.raises(ArgumentError, match="on cuda, take torch"):
        registry.choose_backend("opengl", "cuda")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "find_spec", lambda name: None if name == "moderngl" else name)
        assert "pip install 'nerv360[gpu]'" in refused(MissingExtra)
    with monkeypatch.context() as patch:
        patch.setattr(opengl_context, "_adapter", lambda: opengl_context.Adapter("Old", 128))
        assert "Old draws panoramas of up to 128 pixels across, this one has 192" in refused(ArgumentError)
    with monkeypatch.context() as patch:
        patch.setenv("GLCONTEXT_DEVICE_INDEX", "99")
        opengl_context._adapter.cache_clear()
        assert "there is no OpenGL 3.3 here" in refused(ArgumentError)
        assert "libegl1" in refused(ArgumentError)
        with nerv360.open(GOLDEN) as decoder:
            assert decoder.backend == "openvino"


def test_what_fails_later_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, nerv360.open(GOLDEN, backend="opengl") as decoder:
        patch.setattr(opengl, "HEADER", "nonsense\n")
        with pytest.raises(ArgumentError, match=r"a shader does not compile here .*; take another backend"):
            decoder.viewport(0, VIEWS[0])
    with nerv360.open(GOLDEN, backend="opengl") as decoder:
        decoder.viewport(0, VIEWS[0])
        error = property(lambda context: "GL_OUT_OF_MEMORY")
        with monkeypatch.context() as patch:
            patch.setattr(opengl.moderngl.Context, "error", error)
            with pytest.raises(OutOfMemory, match="viewport 51x29: takes more memory than the GPU has"):
                decoder.viewport(0, VIEWS[1])
        assert decoder.viewport(0, VIEWS[1]).any()
