"""Work and memory are bounded by the file and by what is asked (docs/bitstream.md, "Limits"), checksums being right."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from helpers.limits import at_most_bytes, at_most_lines, traced_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bitstream import CONFIG, VIEW, segment_header, small_chunks, small_file

import nerv360
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.header import FileHeader, SegmentEntry, SegmentHeader
from nerv360.bitstream.latent_tables import MAX_SCALING, read_angles, write_tables
from nerv360.bitstream.manifest import SegmentLocation
from nerv360.bitstream.weights import quantize, write_weights
from nerv360.codec import stitching
from nerv360.entropy.range_coder import SymbolEncoder
from nerv360.errors import ArgumentError, BitstreamError, Nerv360Error
from nerv360.latents.grid import LatentGrid, key_count, key_frame_index
from nerv360.latents.integer_context_model import IntegerContextModel, read_latent, write_latent
from nerv360.latents.key_groups import KeyGroup, KeyGroups, keys_per_group
from nerv360.models.build import build, decoder_tensors
from nerv360.models.network_config import NetworkConfig
from nerv360.types import BT709

MEGABYTE = 1 << 20
SILENT = IntegerContextModel.of(np.zeros(IntegerContextModel.size(1), np.int32), 1)  # the least scale: 0 is certain


def grid_file(width: int, height: int, chunk: bytes, view: tuple[int, int] = (64, 48)) -> bytes:
    """A file of one static grid with a value per pixel."""
    config = NetworkConfig(
        width, height, (1, 1), "nerv360-grid", decoder_strides=(1,), kernels=(1,), grids=(LatentGrid(1, 1, 0),)
    )
    zeros = {
        name: quantize(np.zeros(each.shape, np.float32), 8) for name, each in decoder_tensors(build(config)).items()
    }
    header = SegmentHeader.of_network(
        config, view_width=view[0], view_height=view[1], hfov_deg=(78.1, 78.1), roll_deg=(0.0, 0.0), oriented=False
    )
    file = FileHeader(width, height, 1, 30, 1, BT709, [SegmentEntry(1, 1, 1, 0)])
    return write_container(file, iter([(header, [write_weights(zeros), write_tables([], SILENT), chunk])]))


def silence(count: int) -> bytes:
    """So many values that are 0, as one pass would hold them: all have one model, so the passes do not matter."""
    encoder = SymbolEncoder()
    models = SILENT.predict(np.array([0, 0, 0, 1, 0, 0.0]).reshape(6, 1, 1, 1), *_first_pass())[1]
    encoder.encode(np.zeros(count, np.int32), np.full(count, int(models[0, 0, 0])))
    return encoder.finish()


def _first_pass() -> tuple[Any, Any, slice]:
    return SILENT.hidden_weights(False)[0], SILENT.mean_weights(False, slice(0, 1)), slice(0, 1)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a first view loads, before anything is counted."""
    path = tmp_path_factory.mktemp("warm") / "warm.nerv360"
    path.write_bytes(grid_file(64, 32, silence(64 * 32)))
    look(path)


def look(path: Path, **options: Any) -> Any:
    with nerv360.open(path, backend="torch", **options) as decoder:
        return decoder.viewport(0, VIEW)


def refused(path: Path, data: bytes, match: str) -> None:
    path.write_bytes(data)
    with at_most_bytes(100 * MEGABYTE), at_most_lines(100_000), pytest.raises(Nerv360Error, match=match):
        look(path)


def test_a_kilobyte_is_no_hundred_million_values(warm: None, tmp_path: Path) -> None:
    refused(tmp_path / "a.nerv360", grid_file(16384, 8192, bytes(1000)), r"latents of 134217728 values in \d+ bytes")


def test_values_that_are_0_take_little_work_and_memory(warm: None, tmp_path: Path) -> None:
    """Beside 2 bytes for each that they are kept in, and 4 around them."""
    path = tmp_path / "a.nerv360"
    path.write_bytes(grid_file(4096, 2048, silence(1 << 23)))
    with traced_bytes() as traced, at_most_lines(20_000):
        picture = look(path)
        assert traced()[1] < 80 * MEGABYTE  # by contexts, cell by cell: 140 MB and more
    assert (picture == picture[0, 0]).all()


latents = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(latents, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.002, 0.05]), st.sampled_from([1, 300]))
def test_sparse_latents_survive(shape: tuple[int, ...], seed: int, share: float, largest: int) -> None:
    """Whatever passes, keys and channels are 0, up to a place."""
    rng = np.random.default_rng(seed)
    channels = shape[1]
    parameters = rng.integers(-20, 20, IntegerContextModel.size(channels)).astype(np.int32)
    model = IntegerContextModel.of(parameters, channels)
    symbols = (rng.integers(-largest, largest + 1, shape) * (rng.random(shape) < share)).astype(np.int32)
    symbols[:, rng.random(channels) < 0.3] = 0
    data = write_latent(symbols, model, 0)
    found = read_latent(data, model, 0, shape)  # type: ignore[arg-type]
    assert np.array_equal(found, symbols)


@given(
    st.lists(st.builds(LatentGrid, st.just(8), st.just(1), st.integers(0, 9)), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 12),
)
def test_key_groups_are_those_of_the_document(grids: list[LatentGrid], frames: int, group_size: int) -> None:
    expected = []
    for index, grid in enumerate(grids):
        count, step = key_count(grid.key_interval, frames), keys_per_group(grid.key_interval, group_size)
        for first in range(0, count, step):
            needed_from = key_frame_index(grid.key_interval, first - 1, frames) + 1 if first else 0
            expected.append((needed_from, KeyGroup(index, first, min(step, count - first))))
    expected.sort(key=lambda entry: entry[0])
    groups = KeyGroups(grids, frames, group_size)
    assert list(groups) == [group for _, group in expected]
    for place, group in enumerate(groups):
        for key in range(group.first_key, group.first_key + group.keys):
            assert groups.place(group.latent, key) == place


def test_a_long_table_of_chunks_takes_memory_as_it_does_in_the_file(warm: None, tmp_path: Path) -> None:
    """Opened, looked for a frame at its end, and checked."""
    frames = 300_000
    weights, tables, *_ = small_chunks()
    header = msgspec.structs.replace(segment_header(), group_size=1)
    file = FileHeader(CONFIG.width, CONFIG.height, frames, 30, 1, BT709, [SegmentEntry(frames, 1, 1, 0)])
    path = tmp_path / "long.nerv360"
    path.write_bytes(write_container(file, iter([(header, [weights, tables, *[b""] * frames])])))
    with at_most_bytes(60 * MEGABYTE), at_most_lines(10 * frames):  # 100 bytes a chunk, of 3 in the file
        with Container(path) as container:
            container.verify()
            assert container.segments[0].chunk_of(0, frames - 1) == frames + 1
        with pytest.raises(BitstreamError, match=r"impossible coded integers|truncated integer"):
            look(path)


def test_angles_take_six_bytes_a_frame(warm: None) -> None:
    frames = 5_000_000
    data = zlib.compress(bytes(6 * frames), 9)
    assert len(data) < 30_000
    with at_most_bytes(120 * MEGABYTE):  # twice while they are inflated, as they are, and added up
        assert not read_angles(data, frames).any()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 2.0**101, 1.5 * MAX_SCALING])
@pytest.mark.parametrize("offset", [0, 4])
def test_scalings_near_the_largest_number_are_refused(warm: None, value: float, offset: int, tmp_path: Path) -> None:
    weights, tables, *groups = small_chunks()
    forged = tables[:offset] + struct.pack("<f", value) + tables[offset + 4 :]
    table = [weights, forged, *groups]
    file = FileHeader(CONFIG.width, CONFIG.height, 5, 30, 1, BT709, [SegmentEntry(5, 1, 1, 0)])
    refused(
        tmp_path / "a.nerv360", write_container(file, iter([(segment_header(), table)])), "impossible latent tables"
    )


@pytest.mark.parametrize(
    ("panorama", "view"), [((128, 64), (2048, 1024)), ((16384, 8192), (8192, 8192)), ((128, 64), (1, 16384))]
)
def test_a_view_of_its_own_is_no_larger_than_its_panorama(
    warm: None, panorama: tuple[int, int], view: tuple[int, int], tmp_path: Path
) -> None:
    data = grid_file(*panorama, silence(1), view=view)
    if view == (1, 16384):
        (tmp_path / "a.nerv360").write_bytes(data)
        with Container(tmp_path / "a.nerv360"):
            return
    refused(tmp_path / "a.nerv360", data, f"impossible view of {view[0]}x{view[1]}")


def test_a_view_is_not_so_narrow_that_every_view_is_drawn_large(warm: None, tmp_path: Path) -> None:
    header = msgspec.structs.replace(segment_header(), hfov_deg=(1.0, 1.0))
    file = FileHeader(CONFIG.width, CONFIG.height, 5, 30, 1, BT709, [SegmentEntry(5, 1, 1, 0)])
    data = write_container(file, iter([(header, small_chunks())]))
    refused(tmp_path / "a.nerv360", data, "impossible view of 20x12, 1 degrees wide")


def test_a_panorama_is_not_stitched_from_far_more_pixels(tmp_path: Path) -> None:
    views = stitching.patches_of(msgspec.structs.replace(segment_header(), view_width=1000, hfov_deg=(20.0, 20.0)))
    with pytest.raises(ArgumentError, match="would be stitched from"):
        stitching.check_patches(views, 50 * 26, None)


USES: dict[str, Callable[[nerv360.Decoder], object]] = {
    "view": lambda decoder: decoder.viewport(0, nerv360.Viewport(width=2000, height=1000)),
    "panorama": lambda decoder: decoder.panorama(0),
}


@pytest.mark.parametrize("source", ["encoded", "keys"])
def test_what_needs_more_memory_than_is_allowed_is_not_begun(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(source)
    with nerv360.open(path, max_memory=40 * MEGABYTE) as decoder:
        decoder.viewport(0, VIEW)
        with pytest.raises(Nerv360Error, match=r"a view of 2000x1000 needs about 76 MiB, 40 are free or allowed"):
            USES["view"](decoder)
    with nerv360.open(path, max_memory=1000) as decoder, pytest.raises(Nerv360Error, match="are free or allowed"):
        USES["panorama"](decoder)


@pytest.mark.parametrize("offset", [2**63 - 1, 2**62 + 1, -1])
def test_offsets_of_a_manifest_have_a_bound(offset: int, tmp_path: Path) -> None:
    (tmp_path / "a.nerv360").write_bytes(small_file())
    manifest = {"head": "", "segments": [{"file": "a.nerv360", "offset": offset, "bytes": 9}]}
    (tmp_path / "m.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BitstreamError, match="not a manifest"):
        nerv360.open(tmp_path / "m.json")
    far = SegmentLocation("a.nerv360", 2**62, 2**40)
    (tmp_path / "m.json").write_bytes(msgspec.json.encode({"head": "", "segments": [far]}))
    with pytest.raises(BitstreamError):
        nerv360.open(tmp_path / "m.json")
