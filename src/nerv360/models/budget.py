"""Channel widths for a target decoder size."""

from collections.abc import Callable

from nerv360.errors import NoSuchDecoder

__all__ = ["solve_widths", "taper"]

TOLERANCE = 0.02


def taper(width: float, stages: int, reduction: float, minimum: int) -> tuple[int, ...]:
    """(c2, c2 / r, c2 / r^2, ...), rounded, none under the minimum (HNeRV, Sec. 3.2)."""
    return tuple(max(minimum, round(width / reduction**stage)) for stage in range(stages + 1))


def solve_widths(
    size_of: Callable[[tuple[int, ...]], int],
    target: int,
    stages: int,
    reduction: float,
    minimum: int,
) -> tuple[int, ...]:
    """Widths whose decoder is nearest to `target` parameters; the first may be any real number before rounding.

    Raises NoSuchDecoder where no widths come within 2 %.
    """
    low, high = float(minimum), float(minimum)
    while size_of(taper(high, stages, reduction, minimum)) < target:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        if size_of(taper(middle, stages, reduction, minimum)) < target:
            low = middle
        else:
            high = middle
    candidates = [taper(width, stages, reduction, minimum) for width in (low, high)]
    best = min(candidates, key=lambda widths: abs(size_of(widths) - target))
    if abs(size_of(best) - target) > TOLERANCE * target:
        nearest = size_of(best)
        raise NoSuchDecoder(f"decoder_size={target}: no decoder of this size; the nearest has {nearest}", nearest)
    return best
