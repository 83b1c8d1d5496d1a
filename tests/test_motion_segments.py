"""Segments that are keys, not networks: their header in a file, and whatever asks a segment what it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pytest
from helpers.grey_keys import FILE_HEADER, GROUPS, HEADER, HEIGHT, SPEC, WIDTH, GreyKeysDecoder, grey_file
from helpers.limits import at_most_bytes, at_most_lines
from test_bitstream import FRAMES, VIEW, segment_header, small_chunks, small_file

import nerv360
from nerv360.bitstream.container import MAGIC, PREAMBLE, VERSION, Container, write_container
from nerv360.bitstream.header import Chunk, MotionHeader, SegmentEntry, pack, unpack_segment_header
from nerv360.cli.encode import encode
from nerv360.cli.info import info
from nerv360.cluster.plan import Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import JobUpdate, run_in_process
from nerv360.codec.mux import mux
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.evaluation.parity import export_onnx
from nerv360.models.registry import MODELS, network_spec
from nerv360.progress import Update
from nerv360.serving.networks import browser_graph
from nerv360.serving.site import browser_decoders, manifest
from nerv360.video.clip import Clip

KEYS = sum(GROUPS)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, SPEC.name, SPEC)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    path = tmp_path / "grey.nerv360"
    path.write_bytes(grey_file())
    return path


def version_of(data: bytes) -> int:
    assert data.startswith(MAGIC)
    return int(PREAMBLE.unpack(data[: PREAMBLE.size])[1])


def test_a_file_has_the_oldest_version_that_its_segments_allow() -> None:
    assert version_of(small_file()) == 5
    assert version_of(grey_file()) == 10
    both = msgspec.structs.replace(
        FILE_HEADER, frames=KEYS + FRAMES, segments=[SegmentEntry(each, 1, 1, 0) for each in (FRAMES, KEYS)]
    )
    parts = [(segment_header(), small_chunks()), (HEADER, [b"\0"] * KEYS)]
    assert version_of(write_container(both, iter(parts))) == 10


def test_a_header_is_of_its_models_class(monkeypatch: pytest.MonkeyPatch) -> None:
    header = msgspec.structs.replace(HEADER, chunks=[Chunk(1, 0)] * KEYS)
    assert unpack_segment_header(pack(header)) == header
    assert unpack_segment_header(pack(segment_header())) == segment_header()
    monkeypatch.undo()
    with pytest.raises(BitstreamError, match="model='grey-keys': must be one of"):
        unpack_segment_header(pack(header))


def test_keys_in_an_older_file_are_refused(grey: Path) -> None:
    data = grey.read_bytes()
    grey.write_bytes(data[:8] + b"\5\0" + data[10:])
    with pytest.raises(BitstreamError, match="a segment of grey-keys in a file of version 5"):
        Container(grey)


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"view_width": 0}, KEYS),
        ({"view_height": 16385}, KEYS),
        ({"hfov_deg": [0.5, 90.0]}, KEYS),
        ({"hfov_deg": [90.0, 80.0]}, KEYS),
        ({"interval": 0}, KEYS),
        ({"interval": 65}, KEYS),
        ({"interval": 4, "groups": [KEYS]}, KEYS),  # its keys need a fourth step
        ({"groups": []}, KEYS),
        ({"groups": [0, KEYS]}, KEYS),
        ({"groups": [257], "interval": 2}, 257),
        ({"groups": [KEYS - 1]}, KEYS),
        ({"groups": [256] * 10**6}, KEYS),
        ({"steps": []}, KEYS),
        ({"steps": [16, 16]}, KEYS),
        ({"steps": [16] * 17}, KEYS),
        ({"steps": [16, 0, 16]}, KEYS),
        ({"steps": [16, 65536, 16]}, KEYS),
        ({"chunks": []}, KEYS),
        ({"chunks": [[1, 0]] * (KEYS - 1)}, KEYS),
        ({"chunks": [[1, 0]] * (KEYS + 1)}, KEYS),
        ({"model": "nerv360"}, KEYS),
        ({}, 10**7),
    ],
)
def test_forged_headers(changes: dict[str, Any], frames: int, tmp_path: Path) -> None:
    (tmp_path / "forged").write_bytes(forged(changes, frames))
    with at_most_lines(20_000), at_most_bytes(100 << 20), pytest.raises(BitstreamError) as caught:
        Container(tmp_path / "forged")
    assert "\n" not in str(caught.value)


def forged(changes: dict[str, Any], frames: int = KEYS) -> bytes:
    """A file with right lengths and checksums, but these fields in its segment's header."""
    values = dict(zip(MotionHeader.__struct_fields__, msgspec.msgpack.decode(pack(HEADER)), strict=False))
    values |= {"chunks": [[1, 0]] * KEYS} | changes

    packed = msgspec.msgpack.encode(list(values.values()))
    body = packed + bytes(sum(length for length, _ in values["chunks"]))
    entry = SegmentEntry(frames, len(body), len(packed), crc32(packed))
    header = pack(msgspec.structs.replace(FILE_HEADER, frames=frames, segments=[entry]))
    return PREAMBLE.pack(MAGIC, VERSION, len(header), crc32(header)) + header + body


def test_the_forge_makes_headers_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "forged").write_bytes(forged({}))
    with Container(tmp_path / "forged") as container:
        assert container.segments[0].header == msgspec.structs.replace(HEADER, chunks=[Chunk(1, 0)] * KEYS)


def test_bytes_are_counted_by_kind_of_key(grey: Path) -> None:
    with Container(grey) as container:
        budget = container.budget()
        assert sum(budget.values()) == grey.stat().st_size
    assert {name: budget[name] for name in budget if name != "headers"} == {"root keys": 2, "P keys": 4, "B keys": 2}


def test_info(grey: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info(str(grey), as_json=True)
    (segment,) = json.loads(capsys.readouterr().out)["segments"]
    assert segment["groups"] == list(GROUPS)
    assert segment["model"] == SPEC.name
    assert dict(HEADER.rows()) == {
        "model": "grey-keys",
        "keys": "every frame, a P key every 2 frames",
        "steps": "1, 1.5, 2.5 grey levels",
        "measured view": "20x12, 78.1 degrees wide",
        "random access": "groups of up to 5 frames",
    }


def test_decoding(grey: Path) -> None:
    with nerv360.open(grey) as decoder:
        assert (decoder.native_view().width, decoder.native_view().height) == (20, 12)
        for frame in range(KEYS):
            assert np.array_equal(decoder.viewport(frame, VIEW), np.full((10, 21, 3), 10 * frame))
        assert np.array_equal(decoder.panorama(3), np.full((HEIGHT, WIDTH, 3), 30))
        with pytest.raises(ArgumentError, match=r"0\.\.7"):
            decoder.viewport(KEYS, VIEW)


def test_networks_and_keys_in_one_file(grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.nerv360").write_bytes(small_file())
    mux([tmp_path / "small.nerv360", grey, grey], tmp_path / "all.nerv360")
    assert version_of((tmp_path / "all.nerv360").read_bytes()) == 10
    monkeypatch.setattr("nerv360.codec.decoder.OPEN_AHEAD_SECONDS", 0.1)
    with nerv360.open(tmp_path / "all.nerv360") as decoder, nerv360.open(tmp_path / "small.nerv360") as alone:
        assert np.array_equal(decoder.viewport(1, VIEW), alone.viewport(1, VIEW))
        played = list(decoder.play((frame, VIEW) for frame in range(FRAMES - 1, decoder.frames)))
        assert [picture[0, 0, 0] for picture in played[1:]] == 2 * [10 * frame for frame in range(KEYS)]
        first, second = (opened(decoder, FRAMES + offset) for offset in (0, KEYS))
        assert first.calls[0] == second.calls[0] == ("warm_up", 0)
    with nerv360.open(tmp_path / "all.nerv360") as decoder:
        decoder.viewport(0, VIEW)
        decoder.viewport(FRAMES + KEYS + 2, VIEW)
        assert opened(decoder, FRAMES + KEYS).calls[0] == ("hurry", 0)


def opened(decoder: nerv360.Decoder, frame: int) -> GreyKeysDecoder:
    found = decoder._decoder(decoder.container.segment_of(frame))
    assert isinstance(found, GreyKeysDecoder)
    return found


def test_encoding(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    updates: list[Update] = []
    config = EncodingConfig.of(model=SPEC.name)
    encoded = nerv360.encode(video, tmp_path / "a.nerv360", config, on_progress=updates.append)
    assert (encoded.frames, encoded.size) == (6, (tmp_path / "a.nerv360").stat().st_size)
    assert updates[-1] == Update("encoding", 6, 6)
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        for frame, picture in enumerate(Clip.open(video)):
            assert (decoder.panorama(frame) == round(float(picture.mean()))).all()
    encode(str(video), str(tmp_path / "a.nerv360"), model=SPEC.name)
    assert "kbit/s; all grey" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ArgumentError, match="--epochs 3: has no meaning for grey-keys"):
        encode(str(video), str(tmp_path / "a.nerv360"), model=SPEC.name, epochs=3)


def test_encoding_in_segments(video: Path, tmp_path: Path) -> None:
    updates: list[JobUpdate] = []
    planned = plan(Request(video, tmp_path / "a.nerv360"), EncodingConfig.of(model=SPEC.name), 0.1)
    (result,) = encode_plans([planned], run_in_process, updates.append)
    assert not result.reason
    assert [update.stage for update in updates if update.stage == "done"] == ["done"] * len(planned.jobs)
    assert all(update.psnr_db is None for update in updates)
    with Container(tmp_path / "a.nerv360") as container:
        assert [segment.frames for segment in container.segments] == [job.clip.frames for job in planned.jobs]
        assert container.version == 10


@pytest.mark.parametrize("use", [browser_graph, lambda container, _: export_onnx(container.path, Path("a.onnx"))])
def test_what_needs_a_network_says_so(grey: Path, use: Callable[..., object]) -> None:
    with Container(grey) as container:
        with pytest.raises(ArgumentError, match="grey-keys: has no network"):
            use(container, container.segments[0])
        assert browser_decoders(container) is None
        about = manifest(container, server="/", decoders=None, networks=[])
    assert about["trained"] == {"width": 20, "height": 12, "hfovDeg": [78.1, 78.1]}
    with pytest.raises(ArgumentError, match="model='grey-keys': is no network; take one of nerv360-grid"):
        network_spec(SPEC.name)
