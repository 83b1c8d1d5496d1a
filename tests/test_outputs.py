"""Nothing of the user's is lost: outputs that are inputs, folders and names that are taken, two who write one file."""

import os
import shutil
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import msgspec
import pytest
from helpers.progress import Stopped
from safetensors import safe_open
from safetensors.torch import save_file

import nerv360
from nerv360.bitstream.container import Container
from nerv360.claims import claim
from nerv360.cli.encode_long import encode_long
from nerv360.cli.event_log import log_to
from nerv360.cli.video_list import read_list
from nerv360.cluster.plan import Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import run_in_process
from nerv360.codec.encoder import checkpoint_path
from nerv360.codec.mux import mux
from nerv360.errors import ArgumentError, Nerv360Error, OutputError
from nerv360.evaluation.results_store import read_rows
from nerv360.geometry.viewport import Viewport, read_trajectory
from nerv360.serving.server import tls
from nerv360.serving.site import export_site
from nerv360.storage import atomic_write, identity, names_in, parse_location
from nerv360.training import checkpoint
from nerv360.video.reading import AS_TAGGED

INSTANT = nerv360.preset("instant")
VIEW = Viewport(width=64, height=48)


@pytest.fixture
def clip(video: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(video, tmp_path / "c.mp4"))


@pytest.fixture
def film(keys: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(keys, tmp_path / "film.nerv360"))


def other_names(path: Path) -> Iterator[Path]:
    """Of a file: another spelling, a link, a link to its folder, and a hard link."""
    link, around, hard = (path.parent / f"{name}{path.suffix}" for name in ("link", "around", "hard"))
    link.symlink_to(path)
    around.symlink_to(path.parent)
    hard.hardlink_to(path)
    return iter((path.parent / ".." / path.parent.name / path.name, link, around / path.name, hard))


def kept(path: Path, write: Callable[[], object], match: str = "is the same file as the input") -> None:
    """Asserts that this is refused, and that nothing has changed."""
    before, names = path.read_bytes(), names_in(path.parent)
    with pytest.raises(Nerv360Error, match=match) as caught:
        write()
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert names_in(path.parent) == names


def encode_segments(*requests: Request) -> None:
    encode_long(requests, INSTANT, 0.12, None, None, None)


def test_an_encoding_never_takes_the_video_itself(clip: Path) -> None:
    for name in other_names(clip):
        kept(clip, lambda name=name: nerv360.encode(clip, name, INSTANT))
        segmented = Request(clip, name)
        kept(
            clip, lambda job=segmented: encode_long([job], INSTANT, 0.12, None, None, None), "is a video to be encoded"
        )
    kept(clip, lambda: nerv360.encode(str(clip), f"file://{clip}", INSTANT))


def test_nor_by_what_it_writes_on_the_way(clip: Path, tmp_path: Path) -> None:
    hidden = clip.rename(checkpoint_path(tmp_path / "o.nerv360"))
    kept(hidden, lambda: nerv360.encode(hidden, tmp_path / "o.nerv360", INSTANT))


def test_nor_in_a_store(clip: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/films/c.mp4", clip.read_bytes())
    for name in (
        *("memory://films/c.mp4", "memory:///films/./c.mp4", "memory://films/x/../c.mp4"),
        "simplecache::memory://films/c.mp4",
    ):
        with pytest.raises(ArgumentError, match="is the same file"):
            nerv360.encode("memory://films/c.mp4", name, INSTANT)
    assert store.cat("/films/c.mp4") == clip.read_bytes()
    kept(clip, lambda: nerv360.encode(f"simplecache::file://{clip}", clip, INSTANT))


def test_stores_of_other_hosts_are_others() -> None:
    assert identity("http://a/c.mp4") != identity("http://b/c.mp4")
    assert identity("webhdfs://a/c.mp4") != identity("webhdfs://b/c.mp4")


def test_nor_that_of_another_line_of_a_list(clip: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(clip, tmp_path / "d.mp4"))
    films = tmp_path / "films.csv"

    def encode(*outputs: object) -> None:
        rows = zip((clip, other), outputs, strict=True)
        films.write_text("video,output\n" + "".join(f"{video},{output}\n" for video, output in rows))
        encode_segments(*read_list(films, False, AS_TAGGED))

    films.write_text("")
    kept(other, lambda: encode(tmp_path / "./d.mp4", tmp_path / "o.nerv360"), "is a video to be encoded")
    kept(other, lambda: encode(tmp_path / "o.nerv360", f"{tmp_path}/../{tmp_path.name}/o.nerv360"), "of another line")
    kept(other, lambda: encode(tmp_path / "o.nerv360", films))


def test_what_is_decoded_is_kept(film: Path, tmp_path: Path) -> None:
    picture = film.rename(tmp_path / "film.png")
    for name in other_names(picture):
        kept(picture, lambda name=name: nerv360.decode(picture, name, VIEW, frames=range(1)))


@pytest.fixture
def in_parts(clip: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A manifest, and the files that it names."""
    manifest = tmp_path / "film.json"
    (result,) = encode_plans([plan(Request(clip, manifest), INSTANT, 0.1)], run_in_process)
    assert not result.reason
    with Container(manifest) as container:
        files = [Path(each) for each in container.files()]
    assert files[0] == manifest
    assert len(files) == 3
    return manifest, files


def test_the_files_of_a_manifest_are_kept(in_parts: tuple[Path, list[Path]], tmp_path: Path) -> None:
    manifest, files = in_parts
    for number, each in enumerate(files):
        link = tmp_path / f"{number}.png"
        link.symlink_to(each)
        kept(each, lambda link=link: nerv360.decode(manifest, link, VIEW, frames=range(1)))
        kept(each, lambda each=each: mux([manifest], each))
    kept(files[1], lambda: mux(files[1:], files[1].parent / "." / files[1].name))


def test_links_stay_and_files_are_written_through_them(film: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for target in (tmp_path / "far" / "there.png", tmp_path / "far" / "absent.png"):
        link = tmp_path / f"to-{target.name}"
        link.symlink_to(target)
        nerv360.decode(film, link, VIEW, frames=range(1))
        assert link.is_symlink()
        assert target.read_bytes().startswith(b"\x89PNG")


def test_what_is_no_file_is_not_replaced(film: Path, tmp_path: Path) -> None:
    pipe, link, bound = tmp_path / "pipe.png", tmp_path / "link.png", tmp_path / "socket.png"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(bound))
        for output, what in ((pipe, "pipe"), (link, "device"), (bound, "socket"), (Path("/dev/stdout"), "stream")):
            with pytest.raises(OutputError, match=f"it is a {what}; name a file"):
                nerv360.decode(film, output, VIEW, frames=range(1))
            with pytest.raises(OutputError, match=f"it is a {what}"), atomic_write(output):
                pass
        assert pipe.is_fifo()
        assert bound.is_socket()
        assert link.is_char_device()
    for read in (
        nerv360.open,
        lambda name: read_trajectory(name, VIEW),
        lambda name: read_list(name, False, AS_TAGGED),
        tls,
        read_rows,
    ):
        with pytest.raises(Nerv360Error, match="it is a pipe, not a file"):
            read(pipe)


def test_what_lies_in_the_place_of_an_unfinished_file_stays(film: Path, tmp_path: Path) -> None:
    mine = tmp_path / ".c.partial.png"
    for path, make in (
        (tmp_path / ".a.partial.png", Path.mkdir),
        (tmp_path / ".b.partial.png", os.mkfifo),
        (mine, lambda path: shutil.copy(film, path)),
    ):
        make(path)
        nerv360.decode(mine if path == mine else film, tmp_path / f"{path.name[1]}.png", VIEW, frames=range(1))
        assert path.exists()
    (tmp_path / ".frames.partial").mkdir()  # left by a kill
    nerv360.decode(film, tmp_path / "frames", VIEW)
    assert len(names_in(tmp_path / "frames")) == 6


def test_a_folder_of_the_users_is_not_taken_for_segments(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o.nerv360.parts"
    folder.mkdir()
    for name in ("letter.txt", "plan.json", "00000-0123456789ab.nerv360", ".notes.partial.txt"):
        (folder / name).write_text("mine")
        kept(folder / name, lambda: plan(Request(clip, tmp_path / "o.nerv360"), INSTANT, 1.0), f"holds {name}")
        (folder / name).unlink()
    encode_segments(Request(clip, tmp_path / "o.nerv360"))
    assert not folder.exists()


def test_segments_of_another_version_are_ours(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o.nerv360.parts"
    folder.mkdir()
    (folder / "plan.json").write_text('{"format": "segments of nerv360", "cuts": [1, 2]}')
    encode_segments(Request(clip, tmp_path / "o.nerv360"))
    assert not folder.exists()


@pytest.mark.parametrize("cuts", [[], [[0, 3]], [[5, 900]], [[-3, 9]], [[0, 4], [2, 4]], [[0, 0], [0, 6]]])
def test_a_plan_whose_segments_are_not_the_video_is_made_anew(clip: Path, cuts: object, tmp_path: Path) -> None:
    planned = plan(Request(clip, tmp_path / "o.nerv360"), INSTANT, 0.1)
    path = tmp_path / "o.nerv360.parts" / "plan.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | {"segments": cuts}))
    assert plan(Request(clip, tmp_path / "o.nerv360"), INSTANT, 0.1) == planned


def test_a_file_that_the_user_puts_among_the_segments_stays(clip: Path, tmp_path: Path) -> None:
    planned = plan(Request(clip, tmp_path / "o.nerv360"), INSTANT, 1.0)
    letter = tmp_path / "o.nerv360.parts" / "letter.txt"
    letter.write_text("mine")
    (result,) = encode_plans([planned], run_in_process)
    assert not result.reason
    assert names_in(letter.parent) == ["letter.txt"]


def test_an_exported_site_takes_no_folder_of_the_users(film: Path, tmp_path: Path) -> None:
    (tmp_path / ".site.partial").mkdir()
    (tmp_path / ".site.partial" / "letter.txt").write_text("mine")
    export_site(film, tmp_path / "site")
    assert (tmp_path / ".site.partial" / "letter.txt").read_text() == "mine"
    assert not (tmp_path / "site" / "letter.txt").exists()


@pytest.mark.parametrize("folder", ["", "memory://held/"])
def test_one_encoding_of_an_output_at_a_time(clip: Path, folder: str, tmp_path: Path) -> None:
    output = f"{folder or f'{tmp_path}/'}o.nerv360"
    where = parse_location(output)
    refused: list[str] = []

    def second(_: object) -> None:
        for encode in (lambda: nerv360.encode(clip, output, INSTANT), lambda: encode_segments(Request(clip, where))):
            if len(refused) < 2:
                with pytest.raises(OutputError, match="another encoding of this output is running") as caught:
                    encode()
                refused.append(str(caught.value))

    nerv360.encode(clip, output, INSTANT, on_progress=second)
    assert len(refused) == 2
    if not folder:
        assert names_in(tmp_path) == ["c.mp4", "o.nerv360"]
    else:
        assert fsspec.filesystem("memory").find("/held") == ["/held/o.nerv360"]


def test_a_lock_ends_with_its_process(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.nerv360"
    child = os.fork()
    if child == 0:
        with claim(output):
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / ".o.nerv360.lock").exists()
    unfinished, mine = (".o.partial.nerv360", ".o.nerv360.partial1.checkpoint"), (".o.b.partial.nerv360", ".o.partial")
    for name in (*unfinished, *mine):
        (tmp_path / name).touch()
    with claim(output), pytest.raises(OutputError, match="another writing"), claim(tmp_path / "." / "o.nerv360"):
        pass
    assert set(names_in(tmp_path)) == {"c.mp4", *mine}


@pytest.mark.parametrize(("changes", "taken"), [({"until": 0.0}, False), ({"process": 2**22 + 1}, False), ({}, True)])
def test_a_lease_ends_by_itself_or_with_its_process(changes: dict[str, object], taken: bool) -> None:
    store = fsspec.filesystem("memory")
    output = f"memory://leases/{'-'.join(changes)}.nerv360"
    lock = f"/leases/.{'-'.join(changes)}.nerv360.lock"
    with claim(output):
        lease = msgspec.json.decode(store.cat(lock)) | {"owner": "another"} | changes
    store.pipe(lock, msgspec.json.encode(lease))
    if taken:
        with pytest.raises(OutputError), claim(output):
            pass
    else:
        with claim(output):
            pass
    assert store.exists(lock) == taken


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), os.mkfifo, Path.mkdir])
def test_a_lock_is_no_file_of_the_users(make: Callable[[Path], object], tmp_path: Path) -> None:
    mine = tmp_path / ".o.nerv360.lock"
    make(mine)
    with pytest.raises(OutputError, match="is no lock of nerv360"), claim(tmp_path / "o.nerv360"):
        pass
    assert mine.exists()


def test_an_output_may_have_the_name_of_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".o.nerv360.lock"
    with claim(tmp_path / "o.nerv360"), atomic_write(lock) as partial:
        partial.write_text("mine")
    assert lock.read_text() == "mine"


def test_an_input_is_not_what_a_kill_has_left(tmp_path: Path) -> None:
    film = tmp_path / ".o.partial.nerv360"
    film.write_text("mine")
    (tmp_path / ".o.nerv360.lock").touch()
    with claim(tmp_path / "o.nerv360", film):
        assert film.read_text() == "mine"


def test_of_many_who_begin_at_once_one_writes(tmp_path: Path) -> None:
    gate, inside, most, done = threading.Barrier(8), [0], [0], [0]

    def run() -> None:
        gate.wait()
        for _ in range(50):
            with suppress(OutputError), claim(tmp_path / "o.nerv360"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
                done[0] += 1

    threads = [threading.Thread(target=run) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1]
    assert done[0] > 0


def stopped(clip: Path, output: Path, config: nerv360.EncodingConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of an encoding that was interrupted."""
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)
    monkeypatch.setattr("nerv360.training.fit.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("nerv360.training.fit.MOST_SECONDS", 0.0)

    def stop(update: nerv360.progress.Update) -> None:  # type: ignore[name-defined]
        if update.stage in ("trying", "encoding", "fitting") and update.done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        nerv360.encode(clip, output, config, on_progress=stop)
    return Path(checkpoint_path(output))


def set_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


@pytest.mark.parametrize("model", ["motion", "network"])
@pytest.mark.parametrize("what", ["damaged", "folder", "pipe", "foreign", "settings"])
def test_a_checkpoint_that_does_not_fit_is_set_aside(
    clip: Path,
    quick: nerv360.EncodingConfig,
    model: str,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    output, config = tmp_path / "o.nerv360", INSTANT if model == "motion" else quick.replace(epochs=1)
    path = stopped(clip, output, config, monkeypatch)
    data = path.read_bytes()
    if what == "settings":
        config = config.replace(seed=7) if model == "network" else config.replace(rate_weight=3.0)
    else:
        path.unlink()
        make = {"folder": Path.mkdir, "pipe": os.mkfifo, "foreign": lambda path: path.write_bytes(b"my letter")}
        flipped = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        make.get(what, lambda path: path.write_bytes(flipped))(path)
    nerv360.encode(clip, output, config)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"{path}: not used, for it is ")
    assert told.endswith(f"; kept as {path.name}.1, work begins anew")
    assert os.path.lexists(set_aside(path))
    assert not path.exists()
    nerv360.encode(clip, tmp_path / "fresh.nerv360", config)
    assert output.read_bytes() == (tmp_path / "fresh.nerv360").read_bytes()


@pytest.mark.parametrize("change", ["renamed", "reshaped", "missing", "optimiser", "progress"])
def test_every_field_of_a_checkpoint_is_checked(
    clip: Path,
    quick: nerv360.EncodingConfig,
    change: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What another version might have written, with the right checksum."""
    output, config = tmp_path / "o.nerv360", quick.replace(epochs=1)
    path = stopped(clip, output, config, monkeypatch)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weight = next(name for name in tensors if name.startswith("now.model") and tensors[name].dim() == 4)
    moment = next(name for name in tensors if name.startswith("now.optimiser.0") and tensors[name].dim())
    if change == "renamed":
        tensors[f"{weight}_of_old"] = tensors.pop(weight)
    elif change == "reshaped":
        tensors[weight] = tensors[weight][..., :1].contiguous()
    elif change == "missing":
        del tensors["now.optimiser.0.step"]
    elif change == "optimiser":
        tensors[moment] = tensors[moment].flatten()[:1].contiguous()
    else:
        metadata["step"] = "-4"
    del metadata["checksum"]
    metadata["checksum"] = str(checkpoint.checksum(metadata, tensors))
    save_file(tensors, path, metadata)
    nerv360.encode(clip, output, config)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"{path}: not used, for ")
    assert set_aside(path).exists()


@pytest.mark.parametrize("change", ["picture", "data", "order", "number", "work"])
def test_the_keys_of_a_checkpoint_are_those_of_the_video(
    clip: Path, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What another version might have written, with the right checksum."""
    output = tmp_path / "o.nerv360"
    path = stopped(clip, output, INSTANT, monkeypatch)
    fields = msgspec.msgpack.decode(path.read_bytes()[4:])
    keys = fields["keys"]
    if change == "picture":
        keys[0][3] ^= 1
    elif change == "data":
        keys[1][0] = bytes(len(keys[1][0]))
    elif change == "order":
        keys.reverse()
    else:
        fields["outcomes"] = {fields["work"]: (0, float("nan"), 1.0)}
        fields["keys"] = []
    if change == "work":
        del fields["outcomes"]
    data = msgspec.msgpack.encode(fields)
    path.write_bytes(zlib.crc32(data).to_bytes(4, "little") + data)
    nerv360.encode(clip, output, INSTANT)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"{path}: not used, for it")
    assert set_aside(path).exists()
    nerv360.encode(clip, tmp_path / "fresh.nerv360", INSTANT)
    assert output.read_bytes() == (tmp_path / "fresh.nerv360").read_bytes()


def test_a_log_is_not_added_to_a_file_of_something_else(clip: Path, tmp_path: Path) -> None:
    kept(clip, lambda: log_to(clip), "is no log of nerv360")
    for text in ('{\n "head": ""}', '{"format": "mine"}', "{letter"):
        manifest = tmp_path / "film.json"
        manifest.write_text(text)
        kept(manifest, lambda: log_to(manifest), "is no log of nerv360")  # noqa: B023
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="it is a pipe"):
        log_to(tmp_path / "pipe")
