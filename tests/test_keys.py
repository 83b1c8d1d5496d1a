"""The keys of nerv360-motion: which frames predict which, in which order."""

from hypothesis import given
from hypothesis import strategies as st

from nerv360.motion.keys import Key, key_order, keys_of_groups, pair_order


def test_keys_of_nine_frames() -> None:
    keys = {key.frame: key for key in key_order(9, 4)}
    assert [keys[frame].level for frame in range(9)] == [1, 3, 2, 3, 0, 3, 2, 3, 1]
    assert [keys[frame].kind for frame in range(9)] == ["P", "B", "B", "B", "root", "B", "B", "B", "P"]
    assert [keys[frame].references for frame in (0, 1, 2, 4, 8)] == [(4,), (0, 2), (0, 4), (), (4,)]


@given(st.integers(1, 300), st.integers(1, 64))
def test_every_frame_is_a_key_behind_those_that_predict_it(frames: int, interval: int) -> None:
    keys = key_order(frames, interval)
    coded: set[int] = set()
    for key in keys:
        assert coded.issuperset(key.references)
        coded.add(key.frame)
        assert len(key.references) == min(key.level, 2)
        assert max((abs(key.frame - each) for each in key.references), default=0) <= interval
        if key.level > 1:
            assert min(key.references) < key.frame < max(key.references)
    assert len(keys) == frames
    assert coded == set(range(frames))
    assert [key.level for key in keys].count(0) == 1


@given(st.integers(1, 100), st.integers(1, 64), st.integers(1, 16))
def test_right_keys_are_predicted_like_left_ones_or_from_them(frames: int, interval: int, levels: int) -> None:
    keys, of_one = pair_order(frames, interval, levels), key_order(frames, interval)
    coded: set[int] = set()
    for key in keys:
        assert coded.issuperset(key.references)
        coded.add(key.frame)
    assert coded == set(range(2 * frames))
    for left, right, alone in zip(keys[:frames], keys[frames:], of_one, strict=True):
        assert (left.frame, right.frame) == (2 * alone.frame, 2 * alone.frame + 1)
        assert left.level == right.level == alone.level
        assert left.references == tuple(2 * each for each in alone.references)
        inter_view = alone.level < levels
        assert right.references == ((left.frame,) if inter_view else tuple(each + 1 for each in left.references))


def test_groups_of_two_eyes_follow_one_another() -> None:
    keys = list(keys_of_groups((3, 1), 8, 10, 1))
    assert [key.frame for key in keys] == [12, 10, 14, 13, 11, 15, 16, 17]
    assert [key.references for key in keys[3:6]] == [(12,), (13,), (13,)]
    assert keys[7] == Key(17, (16,), 0)


def test_groups_follow_one_another() -> None:
    keys = list(keys_of_groups((3, 1, 2), 8))
    assert keys[3:] == [Key(3, (), 0), Key(5, (), 0), Key(4, (5,), 1)]
    assert keys[:3] == key_order(3, 8)
