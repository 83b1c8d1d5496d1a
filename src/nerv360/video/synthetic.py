"""A procedural 360-degree clip: a walk down an avenue of columns while striped balls fly and roll around.

Every colour is a function of the ray direction and of time = index / frames, so the scene is the same at any
picture size and has no seam.  The world is a ground plane, spheres and upright cylinders (metres, y up).
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]


class Thing(NamedTuple):
    """An upright cylinder standing on (x, y, z) or, if its height is 0, a sphere centred there."""

    kind: str
    x: float
    y: float
    z: float
    radius: float
    height: float
    colour: Colour
    roll: float = 0.0


CHUNK_PIXELS = 1 << 16
EYE_HEIGHT, WALK = 1.9, 10.0
SUN = np.array([0.48, 0.60, 0.64], np.float32)  # a unit vector, 0.8 long in plan
SUNLIGHT, SKYLIGHT, BOUNCE = (0.50, 0.44, 0.34), (0.57, 0.62, 0.68), (0.60, 0.56, 0.50)
ZENITH, HORIZON, GLOW = (0.28, 0.52, 0.82), (0.83, 0.89, 0.92), (1.00, 0.88, 0.68)
CLOUD, CLOUD_SHADE = (1.00, 0.99, 0.96), (0.74, 0.79, 0.87)
GRASS, MEADOW, PETAL = (0.25, 0.44, 0.17), (0.57, 0.66, 0.30), (0.98, 0.90, 0.55)
TILE, TILE_DARK, GROUT = (0.90, 0.82, 0.69), (0.75, 0.60, 0.48), (0.52, 0.45, 0.39)
CREAM, STONE, GLASS = (1.00, 0.97, 0.90), (0.93, 0.88, 0.79), (0.25, 0.33, 0.44)
LEAF, BARK, SNOW, SHADOW = (0.27, 0.50, 0.17), (0.45, 0.33, 0.24), (0.97, 0.98, 1.00), (0.52, 0.57, 0.70)
TEAL, BRICK, SLATE = (0.20, 0.54, 0.56), (0.80, 0.43, 0.28), (0.36, 0.45, 0.70)
# mountain ranges, far to near: noise cells per radian, middle and relief of the ridge (as slopes), colour
RANGES = (
    (3.1, 0.19, 0.20, (0.50, 0.59, 0.76)),
    (4.3, 0.10, 0.12, (0.36, 0.49, 0.58)),
    (5.9, 0.04, 0.06, (0.33, 0.48, 0.35)),
)
# towers: x, z, radius, height, dome
TOWERS = (
    (-19, 24, 3.0, 11, TEAL),
    (-25, 15, 2.2, 7, BRICK),
    (17, 38, 3.4, 14, BRICK),
    (24, 8, 2.8, 8, TEAL),
    (-15, -21, 2.8, 10, BRICK),
    (21, -19, 3.0, 12, TEAL),
    (-30, -3, 3.2, 9, SLATE),
)
# trees: x, z, radius of the crown
TREES = (
    (-8, 8, 1.5),
    (-11, 1, 1.9),
    (-8, -7, 1.6),
    (-13, 17, 2.1),
    (9, 3, 1.8),
    (11, 13, 2.0),
    (8, -5, 1.4),
    (14, -9, 2.2),
    (9, 22, 1.7),
    (-9, 29, 1.9),
)
# balls: three vectors, phase, radius, turns about their axis, colour; seen from the eye they are at
# first + second * sin a + third * cos a, where a = 2 pi (time + phase)
BALLS = (
    ((0.0, 1.2, 0.0), (0.3, 0.0, 4.6), (0.0, 2.6, 0.0), 0.90, 0.42, 2.0, (0.88, 0.24, 0.22)),
    ((0.0, 0.0, 0.0), (2.5, 0.0, 0.0), (0.0, 0.4, 2.5), 0.20, 0.40, 3.0, (0.98, 0.72, 0.15)),
    ((0.0, 9.5, 0.0), (13.0, 0.0, 9.0), (0.0, 2.0, 0.0), 0.85, 2.60, 0.5, (0.93, 0.46, 0.20)),
    ((0.0, 0.36 - EYE_HEIGHT, 0.0), (0.6, 0.0, 5.0), (0.0, 0.0, 0.0), 0.62, 0.36, 5.0, (0.15, 0.48, 0.80)),
    ((0.0, 9.0, -21.0), (-13.0, 0.0, 0.0), (0.0, 2.0, 3.0), 0.40, 2.20, 0.5, (0.58, 0.30, 0.62)),
)


def mix(low: Array | Colour, high: Array | Colour, share: Array) -> Array:
    """Blend two colours, each [3] or [3, n], by share [n]."""
    first, second = (np.asarray(colour, np.float32).reshape(3, -1) for colour in (low, high))
    return first + (second - first) * share


def step(value: Array, start: float, end: float) -> Array:
    """Rise smoothly from 0 at start to 1 at end."""
    share = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def pulse(x: Array, duty: float, foot: Array | float) -> Array:
    """A square wave of period 1, high for duty of it, averaged over pixels that span foot."""
    foot = np.maximum(foot, np.float32(1e-3))
    ends = x - foot / 2, x + foot / 2
    low, high = (np.floor(end) * duty + np.minimum(end - np.floor(end), duty) for end in ends)
    return np.asarray((high - low) / foot)


@cache
def lattice() -> Array:
    """The bilinear coefficients [4, 128 * 128] of the noise cells, whose corners lie in -1..1."""
    corner = np.random.default_rng(360).uniform(-1, 1, (128, 128)).astype(np.float32)
    right, below = np.roll(corner, -1, 1) - corner, np.roll(corner, -1, 0) - corner
    return np.stack([corner, right, below, np.roll(right, -1, 0) - right]).reshape(4, -1)


def noise(x: Array, z: Array) -> Array:
    """Smooth value noise in -1..1 with cells one unit wide."""
    left, top = np.floor(x), np.floor(z)
    cell = (top.astype(np.int32) & 127) << 7 | (left.astype(np.int32) & 127)
    base, right, below, cross = (table.take(cell, mode="clip") for table in lattice())
    x, z = x - left, z - top
    x, z = x * x * (3 - 2 * x), z * z * (3 - 2 * z)
    return np.asarray(base + right * x + (below + cross * x) * z)


def fractal(x: Array, z: Array, foot: Array | float, octaves: int) -> Array:
    """Noise summed over octaves, each faded out where pixels, spanning foot cells, can no longer show it."""
    total, gain = np.zeros_like(x), np.float32(0.6)
    for _ in range(octaves):
        weight = gain * np.clip(2 - 3 * foot, 0, 1, dtype=np.float32)
        if not weight.any():
            break
        total += weight * noise(x, z)
        x, z, foot, gain = 1.6 * x + 1.2 * z + 17, 1.6 * z - 1.2 * x + 31, 2 * foot, gain * np.float32(0.6)
    return total


def turn(angle: float, first: int, second: int) -> Array:
    """The rotation [3, 3] by an angle in the plane of two axes."""
    matrix = np.eye(3, dtype=np.float32)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = np.sin(angle), -np.sin(angle)
    return matrix


def camera(time: float) -> tuple[Array, Array]:
    """The walker's eye [3] in the world, and the rotation [3, 3] from its axes to the world's."""
    angle = 2 * np.pi * time
    eye = np.array([0.25 * np.sin(angle), EYE_HEIGHT, WALK * time], np.float32)
    yaw, pitch, roll = 0.06 * np.sin(angle), 0.03 * np.sin(2 * angle), 0.03 * np.sin(angle + 1)
    return eye, turn(yaw, 0, 2) @ turn(pitch, 1, 2) @ turn(roll, 0, 1)


def balls(time: float) -> list[Thing]:
    """The flying and rolling balls, in the world."""
    found = []
    for centre, swing, rise, phase, radius, turns, colour in BALLS:
        angle = 2 * np.pi * (time + phase)
        x, y, z = camera(time)[0] + centre + np.sin(angle) * np.array(swing) + np.cos(angle) * np.array(rise)
        found.append(Thing("ball", float(x), float(y), float(z), radius, 0, colour, 2 * np.pi * turns * time))
    return found


def ball_directions(time: float) -> Array:
    """Unit vectors [balls, 3] towards the balls, in the camera's axes."""
    eye, rotation = camera(time)
    offset = np.array([ball[1:4] for ball in balls(time)], np.float32) - eye
    return np.asarray(offset / np.linalg.norm(offset, axis=1, keepdims=True) @ rotation)


@cache
def buildings() -> list[Thing]:
    """All that stands still: columns with globes, trees and towers."""
    found = []
    for x, z in ((x, z) for z in range(-18, 34, 5) for x in (-3.7, 3.7)):
        found += [Thing("column", x, 0, z, 0.34, 4.4, STONE), Thing("globe", x, 4.75, z, 0.45, 0, CREAM)]
    for x, z, radius in TREES:
        found += [Thing("trunk", x, 0, z, 0.13 * radius, 2 * radius, BARK)]
        found += [Thing("crown", x, 2.3 * radius, z, radius, 0, LEAF)]
    for x, z, radius, height, dome in TOWERS:
        found += [Thing("dome", x, height, z, 0.98 * radius, 0, dome)]
        found += [Thing("tower", x, 0, z, radius, height, STONE)]
    return found


def sky(rays: Array, pixel: float, time: float) -> Array:
    """Colours [3, n] of the air, the sun and the clouds along rays."""
    lift, toward = np.maximum(rays[1], 0), SUN @ rays
    colour = mix(ZENITH, HORIZON, np.exp(-3 * lift))
    colour = mix(colour, GLOW, 0.25 * np.exp(6 * toward - 6) + 0.5 * np.exp(60 * toward - 60))
    x, z = 1.3 * rays[0] / (lift + 0.16) + 2 * time, 1.3 * rays[2] / (lift + 0.16)
    foot = 1.3 * pixel / (lift + 0.16) ** 2
    density = fractal(x, z, foot, 5)
    light = 0.5 + 0.8 * (density - fractal(x + 0.35 * SUN[0], z + 0.35 * SUN[2], foot, 2))
    cloud = mix(CLOUD_SHADE, CLOUD, np.clip(light, 0, 1))
    colour = mix(colour, cloud, step(density, 0, 0.55) * step(lift, 0.02, 0.3) * np.float32(0.95))
    return mix(colour, (1.0, 0.97, 0.88), step(toward, 0.9975, 0.9985))


def mountains(colour: Array, flat: Array, pixel: float) -> Array:
    """Paint the mountain ranges over the sky's colours [3, n]; flat rays are one long in plan."""
    x, slope, z = flat
    for cells, ridge, relief, tint in RANGES:
        crest = ridge + relief * fractal(cells * x, cells * z, cells * pixel, 5)
        rock = fractal(cells * (5 * x + 6 * slope), cells * (5 * z - 4 * slope), 8 * cells * pixel, 3)
        flank = mix(tint, SNOW, step(slope + 0.08 * rock, 0.20, 0.27)) * (1 + 0.16 * rock)
        flank = mix(flank, HORIZON, 0.7 * np.exp(-np.maximum(slope, 0) / (0.4 * ridge)))
        colour = mix(colour, flank, np.clip(0.5 + (crest - slope) / pixel, 0, 1))
    return colour


def ground(rays: Array, eye: Array, pixel: float, things: list[Thing]) -> Array:
    """Colours [3, n] of the meadow and the path along rays that point down."""
    reach = eye[1] / -rays[1]
    x, z = eye[0] + rays[0] * reach, eye[2] + rays[2] * reach
    foot = pixel * reach * np.sqrt(reach / eye[1])
    patches = fractal(0.11 * x, 0.11 * z, 0.11 * foot, 3)
    grain = fractal(3.1 * x, 3.1 * z, 3.1 * foot, 5)
    colour = mix(GRASS, MEADOW, np.clip(0.45 + 0.5 * patches + 0.5 * grain, 0, 1))
    petals = step(noise(6 * x + 4 * z, 6 * z - 4 * x) + 0.6 * patches, 0.85, 1.1)
    colour = mix(colour, PETAL, petals * np.clip(1.5 - 9 * foot, 0, 1))
    colour = path(colour, x, z, foot, grain) * mix((1, 1, 1), SHADOW, shadows(x, z, foot, things))
    return mix(HORIZON, colour, np.exp(-reach / 150) * np.clip(1.2 - reach / 400, 0, 1))


def path(colour: Array, x: Array, z: Array, foot: Array, grain: Array) -> Array:
    """Lay the tiled path and its kerb over the ground's colours [3, n]."""
    odd, even = pulse(x / 2, 0.5, foot / 2), pulse(z / 2, 0.5, foot / 2)
    tiles = mix(TILE, TILE_DARK, odd + even - 2 * odd * even) * (1 + 0.16 * grain)
    seams = 1 - pulse(2 * x - 0.02, 0.96, 2 * foot) * pulse(2 * z - 0.02, 0.96, 2 * foot)
    tiles = mix(tiles, GROUT, 0.7 * seams)
    tiles = mix(tiles, STONE, np.clip(0.5 + (np.abs(x) - 2.5) / foot, 0, 1))
    return mix(colour, tiles, np.clip(0.5 + (2.8 - np.abs(x)) / foot, 0, 1))


def shadows(x: Array, z: Array, foot: Array, things: list[Thing]) -> Array:
    """How much of the sunlight [n] the things keep from points of the ground."""
    turned = np.array([[-SUN[0], -SUN[2]], [SUN[2], -SUN[0]]]) / 0.8  # away from the sun, and across
    along, across = turned.astype(np.float32) @ np.stack([x, z])
    shade, soft = np.zeros_like(x), np.minimum(foot, 0.5) + np.float32(0.12)
    for thing in things:
        start, line = (turned @ (thing.x, thing.z)).tolist()
        aside = np.abs(across - line)
        at = np.flatnonzero(aside < thing.radius + soft)
        middle, half = 0.8 / 0.6 * (thing.y + thing.height / 2), 0.4 * thing.height
        beyond = np.abs(along[at] - start - middle) * SUN[1] - half
        gap = np.maximum(aside[at], beyond) if thing.height else np.sqrt(aside[at] ** 2 + beyond**2)
        shade[at] = np.maximum(shade[at], np.clip(0.5 + (thing.radius - gap) / soft[at], 0, 1))
    return shade


def leaves(normal: Array, foot: float) -> Array:
    """The leafy texture [n] of a sphere, by its normals [3, n]."""
    x, y, z = np.float32(4) * normal
    level = np.floor(2 * y)
    low, high = (fractal(x + 37 * cut, z + 23 * cut, 4 * foot, 4) for cut in (level, level + 1))
    return low + (high - low) * step(2 * y - level, 0, 1)


def stripes(thing: Thing, normal: Array, foot: float) -> Array:
    """The colours [3, n] of a rolling beach ball."""
    x, y, z = turn(0.4, 0, 1) @ turn(thing.roll, 1, 2) @ normal
    thin = foot / np.maximum(np.sqrt(x**2 + z**2), 0.05)
    coloured = pulse(3 / np.pi * np.arctan2(x, z), 0.5, 3 / np.pi * thin)
    return mix(CREAM, thing.colour, coloured * np.clip(0.5 + (0.93 - np.abs(y)) / foot, 0, 1))


def paint(thing: Thing, normal: Array, rise: Array, foot: float) -> Array:
    """Unlit colours [3, n] of a thing, by its normals and its metres of rise; pixels span foot radii."""
    if thing.kind == "ball":
        return stripes(thing, normal, foot)
    plain = np.array(thing.colour, np.float32)[:, None]
    if thing.kind == "crown":
        return plain * (1 + 0.5 * leaves(normal, foot))
    around, foot = np.arctan2(normal[0], normal[2]) / np.float32(2 * np.pi), foot / (2 * np.pi)
    if thing.kind != "tower":
        return plain * (0.84 + 0.16 * pulse(16 * around, 0.7, 16 * foot + 0.25))
    columns, floor = round(3.2 * thing.radius), 2 * np.pi * thing.radius / 1.9
    window = pulse(columns * around, 0.38, columns * foot) * pulse(rise / 1.9 - 0.35, 0.5, floor * foot)
    return mix(plain * (0.9 + 0.1 * pulse(6 * rise / 1.9, 0.9, 6 * floor * foot)), GLASS, window)


def lighting(normal: Array) -> Array:
    """Light [3, n] of the sky, the ground and the sun on surfaces with these normals [3, n]."""
    shade = mix(BOUNCE, SKYLIGHT, 0.5 + 0.5 * normal[1])
    return shade + mix((0, 0, 0), SUNLIGHT, np.maximum(0.8 * (SUN @ normal) + 0.2, 0))


def may_meet(slope: Array, centre: Array, thing: Thing) -> bool:
    """Whether rays of these slopes may reach up or down to a thing."""
    margin = 1.2 * thing.radius
    near = max(float(np.hypot(centre[0], centre[2])) - margin, 1e-3)
    low, high = min(centre[1] - margin, 0) / near, max(centre[1] + thing.height + margin, 0) / near
    return bool(slope.max() > low and slope.min() < high)


def draw(colour: Array, rays: Array, centre: Array, pixel: float, thing: Thing) -> None:
    """Paint a thing, its centre taken from the eye, over the colours [3, n] of rays (flat for a cylinder)."""
    axes = np.array([1, thing.height == 0, 1], np.float32)
    square = float(centre**2 @ axes)
    span = pixel * square**0.5
    closest = (centre * axes) @ rays
    at = np.flatnonzero(closest > max(square - (1.2 * thing.radius + span) ** 2, 0) ** 0.5)
    seen, closest = rays[:, at], closest[at]
    aside = np.sqrt(np.maximum(square - closest**2, 0))
    reach = closest - np.sqrt(np.maximum(thing.radius**2 - aside**2, 0))
    normal = (seen * reach - centre[:, None]) * axes[:, None] / np.maximum(aside, thing.radius)
    rise = seen[1] * reach - centre[1]
    inside = (thing.radius - aside) / span
    if thing.height:
        steep = (np.clip(rise, 0, thing.height) + centre[1]) ** 2 / square
        inside = np.minimum(inside, np.minimum(rise, thing.height - rise) / (span * (1 + steep)))
    if thing.kind == "crown":
        inside = inside + 0.12 * thing.radius / span * leaves(normal, span / thing.radius)
    painted = paint(thing, normal, rise, span / thing.radius) * lighting(normal)
    hazy = mix(HORIZON, painted, np.exp(-reach / 90))
    colour[:, at] = mix(colour[:, at], hazy, np.clip(0.5 + inside, 0, 1))


def unit_vectors(top: int, bottom: int, width: int, height: int) -> Array:
    """The directions [3, n] of the pixels of rows top..bottom, in the camera's axes."""
    lon = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    lat = (0.5 - (np.arange(top, bottom)[:, None] + 0.5) / height) * np.pi
    rays = np.sin(lon) * np.cos(lat), np.sin(lat) + 0 * lon, np.cos(lon) * np.cos(lat)
    return np.stack(rays).reshape(3, -1).astype(np.float32)


def render_rays(rays: Array, pixel: float, time: float, things: list[Thing]) -> Array:
    """Colours [3, n] in 0..1 along world rays [3, n], pixel radians apart; things go from far to near."""
    eye = camera(time)[0]
    flat = rays / np.maximum(np.sqrt(rays[0] ** 2 + rays[2] ** 2), np.float32(1e-4))
    colour = np.empty_like(rays)
    low, high = np.flatnonzero(rays[1] < -1e-3), np.flatnonzero(rays[1] >= -1e-3)
    ridge = np.flatnonzero(np.abs(flat[1] - 0.2) < 0.2)
    colour[:, low] = ground(rays[:, low], eye, pixel, things)
    colour[:, high] = sky(rays[:, high], pixel, time)
    colour[:, ridge] = mountains(colour[:, ridge], flat[:, ridge], pixel)
    for thing in things:
        centre = np.array(thing[1:4], np.float32) - eye
        if may_meet(flat[1], centre, thing):
            draw(colour, flat if thing.height else rays, centre, pixel, thing)
    return np.clip(colour, 0, 1)


def render_frame(index: int, *, width: int, height: int, frames: int) -> NDArray[np.uint8]:
    """Frame index of frames as RGB [height, width, 3], for any 2:1 size."""
    time = index / frames
    eye, rotation = camera(time)
    things = [*buildings(), *balls(time)]
    things.sort(key=lambda thing: thing.radius - np.hypot(thing.x - eye[0], thing.z - eye[2]))
    picture = np.empty((height, width, 3), np.uint8)
    rows = max(1, CHUNK_PIXELS // width)
    for top in range(0, height, rows):
        rays = rotation @ unit_vectors(top, min(top + rows, height), width, height)
        colour = render_rays(rays, np.pi / height, time, things)
        picture[top : top + rows] = (colour * 255 + 0.5).astype(np.uint8).T.reshape(-1, width, 3)
    return picture
