"""A decoder under many threads, after it is closed, and in a process that was forked; errors on their way to others."""

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nerv360
from nerv360 import errors
from nerv360.backends.registry import BACKENDS
from nerv360.bitstream.container import Container
from nerv360.errors import ArgumentError, Nerv360Error, NoSuchDecoder
from nerv360.geometry.viewport import Viewport

VIEWS = [
    (frame, Viewport(yaw_deg=60 * number, pitch_deg=9 * number - 30, width=64 + 8 * (number % 3), height=48))
    for number, frame in enumerate((0, 5, 2, 3, 1, 4))
]
ROUNDS = 3
THREADS = 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["encoded", "keys"])
def test_threads_share_a_decoder(source: str, backend: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(source)
    with nerv360.open(path, backend=backend) as decoder:
        alone = [decoder.viewport(*each) for each in VIEWS]
    gate = threading.Barrier(THREADS)

    def look(thread: int) -> list[tuple[int, Any]]:
        gate.wait()
        order = [(thread + step) % len(VIEWS) for step in range(ROUNDS * len(VIEWS))]
        return [(number, decoder.viewport(*VIEWS[number])) for number in order]

    with nerv360.open(path, backend=backend) as decoder, ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(look, range(THREADS)):
            for number, picture in found:
                np.testing.assert_array_equal(picture, alone[number])


USES: dict[str, Callable[[nerv360.Decoder], object]] = {
    "viewport": lambda decoder: decoder.viewport(1, VIEWS[0][1]),
    "panorama": lambda decoder: decoder.panorama(1),
    "play": lambda decoder: list(decoder.play(VIEWS)),
    "native_view": lambda decoder: decoder.native_view(),
    "verify": lambda decoder: decoder.container.verify(),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_closed_says_so(keys: Path, use: str) -> None:
    with nerv360.open(keys) as decoder:
        USES[use](decoder)
    with pytest.raises(Nerv360Error, match="is closed; open it again"):
        USES[use](decoder)
    decoder.close()


def test_closing_while_others_look_ends_them_in_order(encoded: Path) -> None:
    decoder = nerv360.open(encoded)
    begun = threading.Event()

    def look() -> str:
        try:
            while True:
                decoder.viewport(1, VIEWS[0][1])
                begun.set()
        except Nerv360Error as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        looking = [pool.submit(look) for _ in range(THREADS)]
        begun.wait()
        decoder.close()
        assert all("is closed" in each.result() for each in looking)


@pytest.mark.parametrize("use", USES)
def test_a_forked_process_is_told(keys: Path, use: str) -> None:
    """It has no threads of its parent's, and what they held stays held for ever."""
    with nerv360.open(keys) as decoder, decoder._reading:
        assert "was opened by process" in said_behind_a_fork(decoder, USES[use])


def test_a_forked_process_does_not_wait_for_views_that_play_prepares(keys: Path) -> None:
    with nerv360.open(keys) as decoder:
        playing = decoder.play(VIEWS[:3])
        next(playing)
        assert "was opened by process" in said_behind_a_fork(decoder, lambda _: list(playing))
    with pytest.raises(Nerv360Error, match="is closed; open it again"):
        list(playing)


def said_behind_a_fork(decoder: nerv360.Decoder, use: Callable[[nerv360.Decoder], object]) -> str:
    """The error of a use in a forked process, which then opens the file itself."""
    context = multiprocessing.get_context("fork")
    said = context.SimpleQueue()

    def child() -> None:
        try:
            use(decoder)
        except Nerv360Error as error:
            said.put(str(error))
        decoder.close()
        with nerv360.open(decoder.container.path) as own:
            own.native_view()

    process = context.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return "" if said.empty() else said.get()


def test_reading_does_not_move_what_a_forked_process_reads(keys: Path) -> None:
    with Container(keys) as container:
        before = container._file.tell()
        container.verify()
        assert container._file.tell() == before


@pytest.mark.parametrize("frame", [1.5, "1", None, float("nan")])
def test_a_frame_is_a_whole_number(keys: Path, frame: Any) -> None:
    with nerv360.open(keys) as decoder:
        for use in (lambda: decoder.viewport(frame, VIEWS[0][1]), lambda: decoder.panorama(frame)):
            with pytest.raises(ArgumentError, match="must be a whole number"):
                use()
        np.testing.assert_array_equal(decoder.panorama(np.uint8(1)), decoder.panorama(1))


def test_no_name_has_a_zero_byte(keys: Path) -> None:
    for use in (
        nerv360.open,
        lambda name: nerv360.decode(keys, name, None),
        lambda name: nerv360.encode(name, "a.nerv360"),
    ):
        with pytest.raises(ArgumentError, match="has a zero byte in it"):
            use("a\0b")


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_the_same_on_their_way_to_another_process(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("what is wrong", 7) if kind is NoSuchDecoder else kind("what is wrong")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "what is wrong"
    assert again.__dict__ == error.__dict__
