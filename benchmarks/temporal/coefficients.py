"""Bands and motion of a key, as bits: which contexts foretell what; and which integers are worth their bits.

`code_bands` quantises while it encodes: of every coefficient that is not surely 0, the integer with the least squared
error + rate_weight * bits is taken, by the bits that the contexts ask at that moment.
"""

import numpy as np
from entropy import COST, DECODING, INPUTS, LOGISTIC, LOGIT, code_bit, code_golomb, code_simple, learn, predict
from motion import interpolated
from numba import njit

BLOCK = 8
BANDS = 48  # kinds: three planes of up to five levels of three orientations, and the coarsest band
ZEROS, ABOVE_ONE = 64, 32  # contexts of an input
ZERO = 0
ABOVE = ZERO + BANDS * INPUTS * ZEROS
MAGNITUDE = ABOVE + BANDS * 3 * ABOVE_ONE
BLOCKS = MAGNITUDE + BANDS * 64
AVERAGE = BLOCKS + BANDS * 64
MOTION = AVERAGE + 3 * 80
CONTEXTS = MOTION + 3 * 1024
MIXERS = 3 * BANDS + 12


@njit(cache=True, inline="always")
def _few(value):
    return 0 if value == 0 else (1 if value <= 1 else (2 if value <= 3 else 3))


@njit(cache=True, inline="always")
def _grade(value):
    if value < 5:
        return value
    if value < 7:
        return 5
    if value < 9:
        return 6
    if value < 13:
        return 7
    if value < 19:
        return 8
    return 9 if value < 29 else 10


@njit(cache=True, inline="always")
def _at(plane, y, x, top, left, bottom, right):
    """Magnitude in a band: round the sphere, 0 beyond the poles."""
    if y < top or y >= bottom:
        return 0
    if x < left:
        x += right - left
    elif x >= right:
        x -= right - left
    return abs(plane[y, x])


@njit(cache=True)
def _cross(plane, y, x, top, left, bottom, right):
    """Twice the magnitude at a place, and those at its four sides."""
    sides = _at(plane, y - 1, x, top, left, bottom, right) + _at(plane, y + 1, x, top, left, bottom, right)
    sides += _at(plane, y, x - 1, top, left, bottom, right) + _at(plane, y, x + 1, top, left, bottom, right)
    return 2 * abs(plane[y, x]) + sides


@njit(cache=True)
def _block_sum(plane, top, left, bottom, right):
    total = 0
    for y in range(top, bottom):
        for x in range(left, right):
            total += abs(plane[y, x])
    return total


@njit(cache=True)
def _worth(coefficients, top, left, bottom, right, rate_weight):
    """Whether a block's coefficients are worth about the bits that they take."""
    gain, bits = 0.0, 1.0
    for y in range(top, bottom):
        for x in range(left, right):
            c = abs(coefficients[y, x])
            if c > 0.62:
                q = int(c + 0.38)
                gain += c * c - (c - q) * (c - q)
                bits += 5.5 + 2.0 * np.log2(q)
    return 1 if gain > rate_weight * bits else 0


@njit(cache=True)
def _code_blocks(
    plane,
    coefficients,
    band,
    parent,
    sibling,
    luma,
    with_luma,
    before,
    behind,
    kind,
    rate_weight,
    p,
    n,
    w,
    s,
    data,
    bits,
    flags,
):
    """Which blocks of a band hold anything."""
    top, left, h, w_ = band
    encoding = not s[DECODING]
    rows, columns = (h + BLOCK - 1) // BLOCK, (w_ + BLOCK - 1) // BLOCK
    contexts, logits = np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64)
    for i in range(rows):
        for j in range(columns):
            flags[i, j] = 1
            if h < 2 * BLOCK:
                continue
            y0, x0 = i * BLOCK, j * BLOCK
            y1, x1 = min(h, y0 + BLOCK), min(w_, x0 + BLOCK)
            a, b, c, d = top + y0, left + x0, top + y1, left + x1
            flag = _worth(coefficients, a, b, c, d, rate_weight) if encoding else 0
            above = _block_sum(
                plane, parent[0] + y0 // 2, parent[1] + x0 // 2, parent[0] + y1 // 2, parent[1] + x1 // 2
            )
            if parent[2] == 0:
                above = 0
            other = _block_sum(luma, a, b, c, d) if with_luma else 0
            if sibling[2]:
                other += _block_sum(plane, sibling[0] + y0, sibling[1] + x0, sibling[0] + y1, sibling[1] + x1)
            time = _block_sum(before, a, b, c, d) + _block_sum(behind, a, b, c, d)
            west, north = flags[i, j - 1] if j else 0, flags[i - 1, j] if i else 0
            east = flags[i - 1, j + 1] if i and j + 1 < columns else 0
            first = BLOCKS + kind * 64
            contexts[0] = first + (west + 2 * north + east) * 4 + _few(above)
            contexts[1] = first + 20 + _few(time) * 4 + _few(above)
            contexts[2] = first + 40 + _few(other) * 4 + west + north + east
            probability = predict(contexts, 3, 2 * BANDS + kind, p, w, logits)
            flag = code_bit(flag, probability, s, data)
            bits[0] += COST[(probability if flag else 65536 - probability) >> 4]
            learn(flag, probability, contexts, 3, 2 * BANDS + kind, p, n, w, logits)
            flags[i, j] = flag


@njit(cache=True)
def _code_band(
    plane, coefficients, band, orientation, parent, first, second, luma, with_luma, before, behind, kind, rate_weight,
    p, n, w, s, data, bits, flags,
):  # fmt: skip
    """A band [top, left, rows, columns] of a plane; `parent`, `first`, `second` are such bands, or have no rows."""
    top, left, h, width = band
    bottom, right = top + h, left + width
    encoding = not s[DECODING]
    contexts, logits = np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64)
    _code_blocks(
        plane, coefficients, band, parent, first, luma, with_luma, before, behind, kind, rate_weight, p, n, w, s, data,
        bits, flags
    )  # fmt: skip
    for i in range(h):
        for j in range(width):
            y, x = top + i, left + j
            if not flags[i // BLOCK, j // BLOCK]:
                plane[y, x] = 0
                continue
            west = abs(plane[y, x - 1]) if j else 0
            west2 = abs(plane[y, x - 2]) if j > 1 else 0
            north = _at(plane, y - 1, x, top, left, bottom, right)
            north2 = _at(plane, y - 2, x, top, left, bottom, right)
            corners = _at(plane, y - 1, x - 1, top, left, bottom, right) + _at(
                plane, y - 1, x + 1, top, left, bottom, right
            )
            near = 2 * (west + north) + corners
            if orientation == 1:
                along = west + 2 * north + north2
            elif orientation == 2:
                along = 2 * west + north + west2
            else:
                along = west + north + corners
            far = north2 + west2 + corners
            far += _at(plane, y - 2, x - 1, top, left, bottom, right) + _at(
                plane, y - 2, x + 1, top, left, bottom, right
            )
            far += _at(plane, y - 1, x - 2, top, left, bottom, right) + _at(
                plane, y - 1, x + 2, top, left, bottom, right
            )
            above, around_above = 0, 0
            if parent[2]:
                a, b = parent[0] + i // 2, parent[1] + j // 2
                above = abs(plane[a, b])
                around_above = _cross(plane, a, b, parent[0], parent[1], parent[0] + parent[2], parent[1] + parent[3])
            other = 0
            if first[2]:
                a, b = first[0], first[1]
                other = _cross(plane, a + i, b + j, a, b, a + h, b + width)
            if second[2]:
                a, b = second[0], second[1]
                other += _cross(plane, a + i, b + j, a, b, a + h, b + width)
            if with_luma:
                other += _cross(luma, y, x, top, left, bottom, right)
            time = _cross(before, y, x, top, left, bottom, right) + _cross(behind, y, x, top, left, bottom, right)
            total = near + along + around_above + other + time

            zero = ZERO + kind * INPUTS * ZEROS
            contexts[0] = zero + _grade(near) * 5 + min(4, above)
            contexts[1] = zero + ZEROS + min(6, _grade(other)) * 8 + min(7, _grade(along))
            contexts[2] = zero + 2 * ZEROS + min(7, _grade(time)) * 8 + min(7, _grade(west + north))
            contexts[3] = zero + 3 * ZEROS + min(7, _grade(far)) * 8 + min(7, _grade(near))
            contexts[4] = zero + 4 * ZEROS + min(63, total if total < 24 else 24 + (total - 24) // 4)
            contexts[5] = zero + 5 * ZEROS + min(7, _grade(around_above)) * 8 + min(7, _grade(other))
            probability = predict(contexts, 6, kind, p, w, logits)
            one = ABOVE + kind * 3 * ABOVE_ONE
            one0, one1 = one + min(31, near), one + ABOVE_ONE + min(31, total // 2)
            one2 = one + 2 * ABOVE_ONE + min(3, west) * 8 + min(7, _grade(time + above))

            value, negative = 0, 0
            if encoding:
                c = coefficients[y, x]
                size, negative = abs(c), 1 if c < 0 else 0
                value = int(size + 0.5)
                if value:
                    mixed = LOGIT[p[one0] >> 4] * w[BANDS + kind, 0] + LOGIT[p[one1] >> 4] * w[BANDS + kind, 1]
                    mixed += LOGIT[p[one2] >> 4] * w[BANDS + kind, 2]
                    above_one = LOGISTIC[min(2047, max(-2047, mixed >> 16)) + 2048]
                    best, chosen = size * size + rate_weight * COST[(65536 - probability) >> 4], 0
                    for candidate in range(max(1, value - 1), value + 1):
                        rate = COST[probability >> 4] + 1
                        if candidate == 1:
                            rate += COST[(65536 - above_one) >> 4]
                        else:
                            rate += COST[above_one >> 4] + 1.0 + 1.5 * np.log2(candidate - 1.0)
                        cost = (size - candidate) ** 2 + rate_weight * rate
                        if cost < best:
                            best, chosen = cost, candidate
                    value = chosen
            bit = code_bit(1 if value else 0, probability, s, data)
            bits[0] += COST[(probability if bit else 65536 - probability) >> 4]
            learn(bit, probability, contexts, 6, kind, p, n, w, logits)
            if not bit:
                plane[y, x] = 0
                continue
            negative = code_bit(negative, 32768, s, data)
            contexts[0], contexts[1], contexts[2] = one0, one1, one2
            probability = predict(contexts, 3, BANDS + kind, p, w, logits)
            bit = code_bit(1 if value > 1 else 0, probability, s, data)
            bits[0] += 1 + COST[(probability if bit else 65536 - probability) >> 4]
            learn(bit, probability, contexts, 3, BANDS + kind, p, n, w, logits)
            size = 1
            if bit:
                size = 2
                magnitude = MAGNITUDE + kind * 64
                step = magnitude + min(2, near // 6) * 14
                while size < 15 and code_simple(1 if value > size else 0, step + size - 2, p, n, s, data, bits):
                    size += 1
                if size == 15:
                    size += code_golomb(value - 15, magnitude + 44, p, n, s, data, bits)
            plane[y, x] = -size if negative else size


@njit(cache=True)
def _code_average(plane, coefficients, rows, columns, number, p, n, s, data, bits):
    """The coarsest band of a root: integers beside the median of what lies west, north and in the plane of both."""
    for i in range(rows):
        for j in range(columns):
            west = plane[i, j - 1] if j else (plane[i - 1, 0] if i else 0)
            north = plane[i - 1, j] if i else west
            corner = plane[i - 1, j - 1] if i and j else north
            most, least = max(west, north), min(west, north)
            foretold = least if corner >= most else (most if corner <= least else west + north - corner)
            activity = abs(west - corner) + abs(north - corner)
            grade = 0 if activity < 2 else (1 if activity < 5 else (2 if activity < 12 else 3))
            context = AVERAGE + number * 80
            value = 0 if s[DECODING] else int(np.rint(coefficients[i, j])) - foretold
            if code_simple(1 if value else 0, context + grade, p, n, s, data, bits):
                negative = code_bit(1 if value < 0 else 0, 32768, s, data)
                bits[0] += 1
                size = 1 + code_golomb(abs(value) - 1, context + 4 + grade * 15, p, n, s, data, bits)
                value = -size if negative else size
            plane[i, j] = foretold + value


@njit(cache=True)
def code_bands(planes, coefficients, levels, root, before, behind, rate_weight, p, n, w, s, data, bits):
    """All bands of brightness and both differences of colours, coarse to fine. `before`, `behind`: the same of the
    references.

    Planes hold the integers, `coefficients` those of an encoder in steps of the quantiser.
    """
    rows, columns = planes[0].shape
    flags = np.zeros((rows // 16 + 2, columns // 16 + 2), np.int64)
    absent = (0, 0, 0, 0)
    for number in range(3):
        deepest = levels if number == 0 else levels - 1
        plane, coefficient = planes[number], coefficients[number]
        luma = planes[0] if number == 1 else planes[1]
        rows, columns = plane.shape
        h, width = rows >> deepest, columns >> deepest
        if root:
            _code_average(plane, coefficient, h, width, number, p, n, s, data, bits)
        else:
            _code_band(
                plane, coefficient, (0, 0, h, width), 0,
                absent, absent, absent, luma, number == 2, before[number], behind[number],
                number * 16 + 15, rate_weight, p, n, w, s, data, bits, flags,
            )  # fmt: skip
        for level in range(deepest, 0, -1):
            h, width = rows >> level, columns >> level
            for orientation in range(1, 4):
                top, left = (0 if orientation == 1 else h), (0 if orientation == 2 else width)
                parent = (top // 2, left // 2, h // 2, width // 2) if level < deepest else absent
                first = (0, width, h, width) if orientation > 1 else absent
                second = (h, 0, h, width) if orientation == 3 else absent
                _code_band(
                    plane, coefficient, (top, left, h, width), orientation, parent, first, second, luma, number > 0,
                    before[number], behind[number],
                    number * 16 + (min(level, 5) - 1) * 3 + orientation - 1, rate_weight,
                    p, n, w, s, data, bits, flags,
                )  # fmt: skip


@njit(cache=True, inline="always")
def _octave(value):
    if value < 3:
        return value
    if value < 5:
        return 3
    if value < 9:
        return 4
    if value < 17:
        return 5
    return 6 if value < 40 else 7


@njit(cache=True)
def code_motion(field, order, use, other, inherited, magnitudes, p, n, w, s, data, bits):
    """What is added to foretold vectors [rows, columns, 2], coarse to fine, beside what coarser nodes say.

    Contexts are magnitudes: around, of the other reference at the same node, of the references' own motion. `use` tells
    apart the only reference, the first and the second; `magnitudes` are filled.
    """
    rows, columns = field.shape[:2]
    contexts, logits = np.zeros(INPUTS, np.int64), np.zeros(INPUTS, np.int64)
    for k in range(len(order)):
        i, j, d, kind = order[k]
        near, far = 0, 0
        if kind == 0:
            near = (magnitudes[i, j - d] if j >= d else 0) + (magnitudes[i - d, j] if i >= d else 0)
        else:
            for a in range(-1, 2):
                for b in range(-1, 2):
                    y, x = i + a * d, j + b * d
                    if (a == 0 and b == 0) or y < 0 or y >= rows or x < 0 or x >= columns:
                        continue
                    if (kind == 1) == (a != 0 and b != 0):
                        near += magnitudes[y, x]
                    else:
                        far += magnitudes[y, x]
        level = 0 if kind == 0 else (1 if d == 4 else (2 if d == 2 else 3))
        total = 0
        first = MOTION + use * 1024
        px, py = interpolated(field, i, j, d, kind, 0), interpolated(field, i, j, d, kind, 1)
        for component in range(2):
            foretold = px if component == 0 else py
            known = 0 if component == 0 else 1 + min(2, total)
            value = 0 if s[DECODING] else field[i, j, component] - foretold
            contexts[0] = first + (level * 8 + _octave(near)) * 4 + known
            contexts[1] = first + 128 + (_octave(other[i, j]) * 4 + level) * 4 + known
            contexts[2] = first + 256 + (_octave(near + far) * 4 + known) * 4 + min(3, _octave(inherited[i, j]))
            contexts[3] = first + 384 + (_octave(inherited[i, j]) * 4 + level) * 4 + known
            mixer = 3 * BANDS + use * 4 + level
            probability = predict(contexts, 4, mixer, p, w, logits)
            bit = code_bit(1 if value else 0, probability, s, data)
            bits[0] += COST[(probability if bit else 65536 - probability) >> 4]
            learn(bit, probability, contexts, 4, mixer, p, n, w, logits)
            if bit:
                negative = code_bit(1 if value < 0 else 0, 32768, s, data)
                bits[0] += 1
                context = first + 512 + (level * 4 + min(3, _octave(near) // 2)) * 16
                size = 1 + code_golomb(abs(value) - 1, context, p, n, s, data, bits)
                value = -size if negative else size
                total += size
            field[i, j, component] = foretold + value
        magnitudes[i, j] = total
