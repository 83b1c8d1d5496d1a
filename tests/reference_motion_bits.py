"""Bits of nerv360-motion, and what predicts them: the coder, contexts and mixers of docs/motion-bitstream.md."""

import math
import struct
import zlib
from bisect import bisect_left
from functools import cache
from itertools import accumulate, repeat
from pathlib import Path
from typing import NamedTuple

from reference_decoder import Refusal

import nerv360

MOTION_AT = 29424
FILTERS_AT = 37680
CONTEXTS, MIXERS = 37780, 792
PRIORS = Path(nerv360.__file__).parent / "motion" / "priors.bin"


class State(NamedTuple):
    probabilities: list[int]
    counts: list[int]
    weights: list[list[int]]

    def of_sector(self) -> "State":
        """What a sector begins with, from the state at the end of the base."""
        counts = [n // 2 if context < MOTION_AT else n for context, n in enumerate(self.counts)]
        return State(self.probabilities[:], counts, [weights[:] for weights in self.weights])

    def copy(self) -> "State":
        return State(self.probabilities[:], self.counts[:], [weights[:] for weights in self.weights])


@cache
def squashed() -> list[int]:
    """S(-2048), ..., S(2047)."""
    odds = list(accumulate(repeat(1.003913889338348, 2047), lambda a, b: a * b, initial=1.0))
    above = [math.floor(e / (1 + e) * 65536 + 0.5) for e in odds]
    below = [math.floor(65536 / (1 + e) + 0.5) for e in odds]
    return [max(16, min(65520, p)) for p in (below[-1], *reversed(below[1:]), *above)]


@cache
def stretched() -> list[int]:
    """T(0), ..., T(4095)."""
    return [min(2047, bisect_left(squashed(), 16 * q + 8) - 2048) for q in range(4096)]


@cache
def priors() -> list[State]:
    """For keys with no, one and two references."""
    return unpacked(zlib.decompress(PRIORS.read_bytes()))


def unpacked(data: bytes) -> list[State]:
    states, size = [], 2 * CONTEXTS + 12 * MIXERS
    for part in (data[i * size : (i + 1) * size] for i in range(3)):
        logits = struct.unpack(f"<{CONTEXTS}b", part[:CONTEXTS])
        weights = [256 * u for u in struct.unpack(f"<{6 * MIXERS}h", part[2 * CONTEXTS :])]
        states.append(
            State(
                [squashed()[2048 + 16 * logit] for logit in logits],
                list(part[CONTEXTS : 2 * CONTEXTS]),
                [weights[6 * mixer : 6 * mixer + 6] for mixer in range(MIXERS)],
            )
        )
    return states


class Bits:
    def __init__(self, data: bytes, state: State) -> None:
        self.data, self.taken = data, 0
        self.low, self.high, self.code = 0, 2**32 - 1, 0
        for _ in range(4):
            self.code = self.code << 8 | self.next_byte()
        self.state = state

    def next_byte(self) -> int:
        if self.taken == len(self.data) + 64:
            raise Refusal
        self.taken += 1
        return self.data[self.taken - 1] if self.taken <= len(self.data) else 0

    def check_end(self) -> None:
        """Refuse bytes that do not end as they are written."""
        for count in (1, 2, 3, 4):
            unit = 256 ** (4 - count)
            end = -(-self.low // unit) * unit
            if end <= self.high:
                break
        written = (self.data + bytes(64))[: self.taken - 4] + end.to_bytes(4, "big")[:count]
        zeros = len(written) - len(written.rstrip(b"\0"))
        if written[: len(written) - min(zeros, 56)] != self.data:
            raise Refusal

    def bit(self, p: int) -> int:
        d = self.high - self.low
        middle = self.low + (d >> 16) * p + ((d & 65535) * p >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low << 8 & 0xFFFFFFFF
            self.high = (self.high << 8 & 0xFFFFFFFF) + 255
            self.code = (self.code << 8 & 0xFFFFFFFF) + self.next_byte()
        return bit

    def learn(self, context: int, bit: int) -> None:
        p, n = self.state.probabilities, self.state.counts
        p[context] += (65535 * bit - p[context]) * math.floor(65536 / (n[context] + 1.6)) >> 16
        n[context] = min(120, n[context] + 1)

    def simple(self, context: int) -> int:
        bit = self.bit(max(64, min(65471, self.state.probabilities[context])))
        self.learn(context, bit)
        return bit

    def mixed(self, mixer: int, other: int, *contexts: int) -> int:
        sets = self.state.weights[mixer], self.state.weights[other]
        inputs = [stretched()[self.state.probabilities[context] >> 4] for context in contexts]
        t = sum((a + b) * value for a, b, value in zip(*sets, inputs, strict=False)) >> 17
        p = squashed()[2048 + max(-2047, min(2047, t))]
        bit = self.bit(p)
        for i, value in enumerate(inputs):
            change = 3 * value * (65536 * bit - p) + 2**17 >> 18
            for weights in sets:
                weights[i] = max(-(2**20), min(2**20, weights[i] + change))
        for context in contexts:
            self.learn(context, bit)
        return bit

    def plain(self) -> int:
        return self.bit(32768)

    def golomb(self, context: int) -> int:
        k, value = 0, 1
        while k < 19 and self.simple(context + min(k, 15)):
            k += 1
        for _ in range(k):
            value = 2 * value + self.plain()
        return value - 1
