"""Motion: one vector for every node of 16x16 pixels, overlapped block motion compensation, and the search for vectors.

Vectors are quarter pixels of the panorama, right and down, from a pixel to where its content lies in the reference.
Columns go round; beyond a pole a row is its mirror, half a turn on. All that a decoder does here is integers.
"""

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

NODE = 16
WIDEST = 8  # nodes between those that are coded first


def _interpolation_taps(sharpness: float = -0.6) -> NDArray[np.int32]:
    """Four taps for every 64th of a pixel [64, 4], of a cubic kernel; they sum to 64."""
    taps = np.zeros((64, 4), np.int32)
    for phase in range(64):
        x = np.abs(np.array([phase + 64, phase, phase - 64, phase - 128]) / 64)
        inner = (sharpness + 2) * x**3 - (sharpness + 3) * x**2 + 1
        outer = sharpness * (x**3 - 5 * x**2 + 8 * x - 4)
        taps[phase] = np.rint(64 * np.where(x <= 1, inner, outer))
        taps[phase, 1 if phase < 32 else 2] += 64 - taps[phase].sum()
    return taps


TAPS = _interpolation_taps()


@njit(cache=True)
def compensate(reference, nodes, node, scale, width, predicted):
    """Overlapped block motion compensation: every node's window is shifted by its vector, and fades linearly into its
    neighbours'.

    `node` are pixels of this plane between nodes, `scale` 64ths of its pixels for a unit of the vectors, `width` its
    columns round the sphere. Reference and result are int16 planes.
    """
    height = reference.shape[0]
    rows, columns = predicted.shape
    total = np.zeros((rows, columns), np.int32)
    window = 2 * node
    fade = np.array([2 * k + 1 if k < node else 4 * node - 2 * k - 1 for k in range(window)], np.int32)
    lines = np.empty((window + 3, window), np.int32)
    down = np.empty(window, np.int32)
    for i in range(nodes.shape[0]):
        top = i * node - node // 2
        for k in range(window):
            outside = (i == 0 and k < node) or (i == nodes.shape[0] - 1 and k >= node)
            down[k] = window if outside else fade[k]
        for j in range(nodes.shape[1]):
            left = j * node - node // 2
            dx, dy = nodes[i, j, 0] * scale, nodes[i, j, 1] * scale
            tx, ty = TAPS[dx & 63], TAPS[dy & 63]
            x0, y0 = left + (dx >> 6) - 1, top + (dy >> 6) - 1
            if x0 >= 0 and y0 >= 0 and x0 + window + 3 <= width and y0 + window + 3 <= height:
                for r in range(window + 3):
                    row = reference[y0 + r]
                    for c in range(window):
                        x = x0 + c
                        lines[r, c] = (
                            tx[0] * row[x] + tx[1] * row[x + 1] + tx[2] * row[x + 2] + tx[3] * row[x + 3] + 4
                        ) >> 3
            else:
                for r in range(window + 3):
                    y, x = _on_sphere(y0 + r, x0, height, width)
                    for c in range(window):
                        value = 0
                        for k in range(4):
                            value += tx[k] * reference[y, (x + c + k) % width]
                        lines[r, c] = (value + 4) >> 3
            for r in range(window):
                y = top + r
                if y < 0 or y >= rows:
                    continue
                for c in range(window):
                    x = left + c
                    if x < 0:
                        x += columns
                    elif x >= columns:
                        x -= columns
                    value = (
                        ty[0] * lines[r, c]
                        + ty[1] * lines[r + 1, c]
                        + ty[2] * lines[r + 2, c]
                        + ty[3] * lines[r + 3, c]
                    )
                    total[y, x] += ((value + 32) >> 6) * fade[c] * down[r]
    shift = 3
    while window > 1:
        shift, window = shift + 2, window >> 1
    for y in range(rows):
        for x in range(columns):
            predicted[y, x] = (total[y, x] + (1 << (shift - 1))) >> shift


@njit(cache=True)
def _on_sphere(y, x, height, width):
    """The row of the picture that a row beyond a pole is, and the column to go on from."""
    y = y % (2 * height)
    if y >= height:
        return 2 * height - 1 - y, x + width // 2
    return y, x


@njit(cache=True)
def coding_order(rows, columns):
    """Nodes coarse to fine: (row, column, spacing, pass) [rows * columns, 4]."""
    order = np.empty((rows * columns, 4), np.int64)
    n = 0
    for i in range(0, rows, WIDEST):
        for j in range(0, columns, WIDEST):
            order[n] = (i, j, WIDEST, 0)
            n += 1
    d = WIDEST // 2
    while d:
        for kind in range(1, 4):  # between four, beside, below
            for i in range(0 if kind == 2 else d, rows, 2 * d):
                for j in range(0 if kind == 3 else d, columns, 2 * d):
                    order[n] = (i, j, d, kind)
                    n += 1
        d //= 2
    return order


@njit(cache=True)
def interpolated(field, i, j, d, kind, component):
    """What the known nodes around say of one: their mean, rounded."""
    rows, columns = field.shape[:2]
    total, count = 0, 0
    for k in range(4):
        if kind == 1:
            y, x = i + (d if k & 1 else -d), j + (d if k & 2 else -d)
        elif kind == 0:
            y, x = i - (d if k == 0 else 0), j - (d if k == 1 else 0)
            if k > 1:
                continue
        else:
            y, x = i + (0, 0, -d, d)[k], j + (-d, d, 0, 0)[k]
        if y < 0 or x < 0 or y >= rows or x >= columns:
            continue
        total += field[y, x, component]
        count += 1
    return (2 * total + count) // (2 * count) if count else 0


@njit(cache=True)
def _sample(reference, fx, fy, height, width):
    """Bilinear, at quarter pixels, times 16: good enough to choose by."""
    ix, iy, a, b = fx >> 2, fy >> 2, fx & 3, fy & 3
    if ix >= 0 and iy >= 0 and ix + 1 < width and iy + 1 < height:
        p00, p01 = reference[iy, ix], reference[iy, ix + 1]
        p10, p11 = reference[iy + 1, ix], reference[iy + 1, ix + 1]
    else:
        y, x = _on_sphere(iy, ix, height, width)
        p00, p01 = reference[y, x % width], reference[y, (x + 1) % width]
        y, x = _on_sphere(iy + 1, ix, height, width)
        p10, p11 = reference[y, x % width], reference[y, (x + 1) % width]
    return ((4 - a) * p00 + a * p01) * (4 - b) + ((4 - a) * p10 + a * p11) * b


@njit(cache=True)
def _distortion(target, reference, i, j, vx, vy, height, width, cap, share, limit):
    """Squared error of a node's window in levels^2, on every fourth pixel; large errors count less, for they will be
    coded.

    `share` is the part that this reference has of the error (1, or 1/4 of two). Stops above the limit.
    """
    total = 0.0
    cy, cx = i * NODE + NODE // 2, j * NODE + NODE // 2
    for y in range(cy - NODE + 1, cy + NODE, 2):
        if y < 0 or y >= height:
            continue
        for x in range(cx - NODE + 1 + (y & 2) // 2, cx + NODE, 2):
            column = x + width if x < 0 else (x - width if x >= width else x)
            error = (_sample(reference, 4 * column + vx, 4 * y + vy, height, width) - 16 * target[y, column]) / 256
            error *= error * share
            total += error * cap / (error + cap) * (NODE - abs(y - cy)) * (NODE - abs(x - cx)) * (4 / NODE**2)
        if total > limit:
            break
    return total


@njit(cache=True)
def _bits(value):
    return 0.4 if value == 0 else 2.6 + 2.0 * np.log2(abs(value))


@njit(cache=True)
def search(target, reference, base, candidates, height, width, cap, rate_weight, order, areas, share):
    """Vectors coarse to fine by distortion + rate_weight * bits: what is added to `base` [rows, columns, 2].

    `candidates` [n, rows, columns, 2] are whole vectors to be tried; `areas` weigh the rows of nodes.
    """
    rows, columns = base.shape[:2]
    chosen = np.zeros((rows, columns, 2), np.int32)
    for n in range(len(order)):
        i, j, d, kind = order[n]
        bx, by = base[i, j, 0], base[i, j, 1]
        px, py = interpolated(chosen, i, j, d, kind, 0), interpolated(chosen, i, j, d, kind, 1)
        area = areas[i]
        best = _distortion(target, reference, i, j, bx + px, by + py, height, width, cap, share, 1e30) * area
        best += rate_weight * 0.8
        sx, sy = px, py
        stride, tries, c, first = 4, 0, 0, len(candidates)
        # candidates first: flows, neighbours, standing still; then a descent with strides 4, 2, 1
        while True:
            if c < first:
                qx, qy = candidates[c, i, j, 0] - bx, candidates[c, i, j, 1] - by
            elif c < first + 4:
                k = c - first
                if kind == 1:
                    y, x = i + (d if k & 1 else -d), j + (d if k & 2 else -d)
                else:
                    y, x = i + (0, 0, -d, d)[k], j + (-d, d, 0, 0)[k]
                if y < 0 or x < 0 or y >= rows or x >= columns or (kind == 0 and k & 1):
                    c += 1
                    continue
                qx, qy = chosen[y, x, 0], chosen[y, x, 1]
            elif c == first + 4:
                qx, qy = -bx, -by
            elif c == first + 5:
                qx, qy = 0, 0
            else:
                break
            c += 1
            bits = rate_weight * (_bits(qx - px) + _bits(qy - py))
            if bits >= best or (qx == sx and qy == sy):
                continue
            limit = (best - bits) / area
            cost = bits + area * _distortion(
                target, reference, i, j, bx + qx, by + qy, height, width, cap, share, limit
            )
            if cost < best:
                best, sx, sy = cost, qx, qy
        while stride:
            ox, oy = sx, sy
            for k in range(4):
                qx, qy = ox + stride * (0, 0, -1, 1)[k], oy + stride * (-1, 1, 0, 0)[k]
                bits = rate_weight * (_bits(qx - px) + _bits(qy - py))
                if bits >= best:
                    continue
                limit = (best - bits) / area
                cost = bits + area * _distortion(
                    target, reference, i, j, bx + qx, by + qy, height, width, cap, share, limit
                )
                if cost < best:
                    best, sx, sy = cost, qx, qy
            tries += 1
            if (sx == ox and sy == oy) or tries == 4:
                stride, tries = stride // 2, 0
        chosen[i, j, 0], chosen[i, j, 1] = sx, sy
    return chosen


def _scaled(field: NDArray[np.int32], numerator: int, denominator: int) -> NDArray[np.int32]:
    """field * numerator / denominator, rounded."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    return (2 * field * numerator + denominator) // (2 * denominator)


def inherited(
    frame: int, references: tuple[int, ...], fields: dict[int, dict[int, NDArray[np.int32]]], shape: tuple[int, int]
) -> list[NDArray[np.int32]]:
    """The motion that known keys foretell, to each reference: `fields[frame][reference]` holds theirs.

    Between two keys, one of which has the other as its reference, content moves evenly. The motion is looked up where
    the content was.
    """
    nothing = np.zeros((*shape, 2), np.int32)
    if len(references) == 2:
        for origin, goal in (references[::-1], references):
            if goal not in fields.get(origin, {}):
                continue
            field = fields[origin][goal]
            to_origin = _scaled(field, frame - goal, origin - goal) - field
            row, column = np.indices(shape)
            row = np.clip(row + (to_origin[..., 1] + 2 * NODE) // (4 * NODE), 0, shape[0] - 1)
            column = (column + (to_origin[..., 0] + 2 * NODE) // (4 * NODE)) % shape[1]
            field = field[row, column]
            to_goal = _scaled(field, frame - goal, origin - goal)
            return [to_goal if reference == goal else to_goal - field for reference in references]
    elif references and len(known := fields.get(references[0], {})) == 1:
        ((goal, field),) = known.items()
        if (goal - references[0]) * (references[0] - frame) > 0:
            return [_scaled(field, references[0] - frame, goal - references[0])]
    return [nothing for _ in references]


class Flow:
    """Optical flow between the frames of a clip [n, H, W, 3], as candidates for vectors at nodes."""

    def __init__(self, frames: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        self.shape, (self.height, self.width) = shape, frames.shape[1:3]
        self._grey = [
            np.pad(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), ((0, 0), (64, 64)), mode="wrap") for frame in frames
        ]
        self._steps: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def candidates(self, frame: int, reference: int) -> NDArray[np.int32]:
        """Vectors [n, rows, columns, 2]: of flow composed from frame to frame, and of flow between the two; means and
        middles.
        """
        flows = [self._composed(frame, reference)]
        if abs(frame - reference) > 1:
            flows.append(self._between(frame, reference))
        found = []
        for flow in flows:
            rows, columns = (NODE * nodes for nodes in self.shape)
            flow = np.pad(flow, ((0, rows - self.height), (0, columns - self.width), (0, 0)), mode="edge")
            cells = flow.reshape(self.shape[0], NODE, self.shape[1], NODE, 2)
            found += [cells.mean((1, 3)), cells[:, 6:10, :, 6:10].mean((1, 3))]
        return np.rint(4 * np.stack(found)).astype(np.int32)

    def _between(self, frame: int, reference: int) -> NDArray[np.float32]:
        return self._dis.calc(self._grey[frame], self._grey[reference], np.zeros(0, np.float32))[:, 64:-64]

    def _composed(self, frame: int, reference: int) -> NDArray[np.float32]:
        step = 1 if reference > frame else -1
        row, column = np.indices((self.height, self.width), dtype=np.float32)
        flow = np.zeros((self.height, self.width, 2), np.float32)
        for t in range(frame, reference, step):
            if (t, t + step) not in self._steps:
                self._steps[t, t + step] = self._between(t, t + step)
            wrapped = np.pad(self._steps[t, t + step], ((0, 0), (16, 16), (0, 0)), mode="wrap")
            x, y = (column + flow[..., 0]) % self.width + 16, row + flow[..., 1]
            flow = flow + cv2.remap(wrapped, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return flow
