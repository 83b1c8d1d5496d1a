"""Which pictures predict which, and the order in which they are coded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "SECTOR_UNIT",
    "Key",
    "assign_slots",
    "find_ancestry",
    "key_order",
    "keys_of_groups",
    "pair_order",
    "split_into_spans",
]

SECTOR_UNIT = 64  # pixels: sectors (motion/sectors.py) are multiples of it, each way


@dataclass(frozen=True)
class Key:
    """A frame, the frames that predict it, and how deep it lies: 0 is a root, 1 a P key, a B key is deeper.

    Where there are two eyes, each frame is two pictures, and it is these that are numbered: 0, 2, ... of the left eye,
    1, 3, ... of the right.
    """

    frame: int
    references: tuple[int, ...]  # none for a root, one for a P key, two for a B key; or the left eye's picture
    level: int

    @property
    def kind(self) -> str:
        return ("root", "P", "B")[len(self.references)]


def key_order(frames: int, interval: int) -> list[Key]:
    """Keys of a group of frames, each behind those that predict it.

    The root is the middle frame. P keys lie every `interval` frames to both sides of it, and at both ends; each is
    predicted from its neighbour towards the root. B keys halve what lies between: hierarchical B pictures.

        frame    0  1  2  3  4  5  6  7  8      9 frames, interval 4
        kind     P  B  B  B  root  B  B  B  P
        level    1  3  2  3  0  3  2  3  1
    """
    keys = [Key(frames // 2, (), 0)]

    def between(first: int, last: int, level: int) -> None:
        if last - first > 1:
            middle = (first + last) // 2
            keys.append(Key(middle, (first, last), level))
            between(first, middle, level + 1)
            between(middle, last, level + 1)

    low = high = frames // 2
    while low > 0 or high < frames - 1:
        if low > 0:
            before = max(0, low - interval)
            keys.append(Key(before, (low,), 1))
            between(before, low, 2)
            low = before
        if high < frames - 1:
            behind = min(frames - 1, high + interval)
            keys.append(Key(behind, (high,), 1))
            between(high, behind, 2)
            high = behind
    return keys


def pair_order(frames: int, interval: int, inter_view_levels: int) -> list[Key]:
    """Keys of a group of frames of two eyes: those of the left eye as of a group of one, then those of the right.

    A right key of the first levels is predicted from the left picture of its frame, alone; a deeper one from right
    pictures, as the left key of its frame is from left ones.
    """
    keys = key_order(frames, interval)
    left = [Key(2 * key.frame, tuple(2 * each for each in key.references), key.level) for key in keys]
    right = [
        Key(
            key.frame + 1,
            (key.frame,) if key.level < inter_view_levels else tuple(each + 1 for each in key.references),
            key.level,
        )
        for key in left
    ]
    return left + right


def keys_of_groups(
    groups: Sequence[int], interval: int, first: int = 0, inter_view_levels: int | None = None
) -> Iterator[Key]:
    """Keys of groups of so many frames, one behind the other, of one eye, or with `inter_view_levels` of two.

    Frames, or the pictures of two eyes, are counted on through all groups, from `first`.
    """
    for frames in groups:
        keys = (
            key_order(frames, interval)
            if inter_view_levels is None
            else pair_order(frames, interval, inter_view_levels)
        )
        for key in keys:
            yield replace(key, frame=first + key.frame, references=tuple(first + each for each in key.references))
        first += len(keys)


def split_into_spans(keys: Iterable[Key]) -> list[list[Key]]:
    """Keys, as they lie in a file, by spans, whose sectors lie together: a root or P key, or the B keys behind one."""
    spans: list[list[Key]] = []
    for key in keys:
        if key.level < 2 or spans[-1][-1].level < 2:
            spans.append([])
        spans[-1].append(key)
    return spans


def find_ancestry(keys: Sequence[Key], frame: int) -> list[Key]:
    """All keys that a frame depends on, and its own, in the order of these keys."""
    by_frame = {key.frame: key for key in keys}
    wanted, found = [frame], set()
    while wanted:
        each = wanted.pop()
        if each not in found:
            found.add(each)
            wanted += by_frame[each].references
    return [key for key in keys if key.frame in found]


def assign_slots(keys: Sequence[Key]) -> list[int]:
    """A slot for every key: as few as do, where a key's slot is taken again once nothing later refers to it."""
    last_use = {key.frame: index for index, key in enumerate(keys)}
    for index, key in enumerate(keys):
        last_use |= dict.fromkeys(key.references, index)
    held: list[int] = []  # frame in each slot
    slots = []
    for index, key in enumerate(keys):
        free = [slot for slot, frame in enumerate(held) if last_use[frame] < index]
        slot = free[0] if free else len(held)
        held[slot : slot + 1] = [key.frame]
        slots.append(slot)
    return slots
