"""Binary range coding with mixed contexts. One code path for both directions: `Stream.encode` and `Stream.decode` make
the state.

A bit is predicted by several contexts; their predictions are mixed as logits by weights that learn (as in PAQ).
Integers only, but for two tables, which are made by products of doubles in a fixed order: every machine computes the
same.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

INPUTS = 6  # of a mixer, at most
SLOWEST = 120  # observations after which a context adapts no slower
POSITION, LOW, HIGH, DECODING, CODE = range(5)  # of the coder's state


def _logistic() -> NDArray[np.int32]:
    """Of logits -2048..2047 in 1/256: the probability in 16 bits."""
    powers = np.multiply.accumulate(np.concatenate(([1.0], np.full(2047, 1.003913889338348))))  # e^(1/256)
    powers = np.append(powers, powers[-1])
    larger = powers / (1 + powers)
    upper = np.clip((larger * 65536 + 0.5).astype(np.int32), 16, 65520)
    lower = np.clip((65536 / (1 + powers) + 0.5).astype(np.int32), 16, 65520)
    return np.concatenate((lower[:0:-1], upper[:-1]))


def _logit(logistic: NDArray[np.int32]) -> NDArray[np.int32]:
    """Inverse of the table, of probabilities in 12 bits."""
    return np.searchsorted(logistic, 16 * np.arange(4096) + 8).clip(0, 4095).astype(np.int32) - 2048


LOGISTIC = _logistic()
LOGIT = _logit(LOGISTIC)
RATES = np.array([65536 / (n + 1.6) for n in range(SLOWEST + 1)]).astype(np.int32)
COST = np.array([16.0] + [-math.log2(p / 4096) for p in range(1, 4097)], np.float32)  # bits, for decisions only


@dataclass
class Contexts:
    """Probabilities of a one, how often each was seen, and the weights of the mixers."""

    probabilities: NDArray[np.int32]
    seen: NDArray[np.int32]
    weights: NDArray[np.int32]

    @classmethod
    def fresh(cls, contexts: int, mixers: int) -> "Contexts":
        return cls(
            np.full(contexts, 14000, np.int32), np.zeros(contexts, np.int32), np.full((mixers, INPUTS), 19661, np.int32)
        )

    def copy(self) -> "Contexts":
        return Contexts(self.probabilities.copy(), self.seen.copy(), self.weights.copy())


@dataclass
class Stream:
    """A coded key, while it is written or read."""

    state: NDArray[np.int64]
    data: NDArray[np.uint8]
    bits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))  # an estimate

    @classmethod
    def encode(cls, most: int) -> "Stream":
        return cls(np.array([0, 0, 0xFFFFFFFF, 0, 0], np.int64), np.zeros(most, np.uint8))

    @classmethod
    def decode(cls, data: bytes) -> "Stream":
        head = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        return cls(np.array([4, 0, 0xFFFFFFFF, 1, head], np.int64), np.frombuffer(bytearray(data), np.uint8))

    def finish(self) -> bytes:
        """The bytes of what was written: the shortest end that lies between the bounds, zeros follow by themselves."""
        position, low, high = (int(self.state[k]) for k in (POSITION, LOW, HIGH))
        for size in range(1, 5):
            shift = 32 - 8 * size
            value = -(-low >> shift)
            if value << shift <= high:
                break
        data = bytes(self.data[:position]) + value.to_bytes(size, "big")
        return data.rstrip(b"\0")


@njit(cache=True, inline="always")
def code_bit(bit, probability, state, data):
    """Code a bit that is 1 with this probability in 16 bits; returns it."""
    low, high = state[LOW], state[HIGH]
    span = high - low
    middle = low + (span >> 16) * probability + (((span & 65535) * probability) >> 16)
    if state[DECODING]:
        bit = 1 if state[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & 0xFF000000) == 0:
        position = state[POSITION]
        if state[DECODING]:
            byte = data[position] if position < len(data) else 0
            state[CODE] = ((state[CODE] << 8) & 0xFFFFFFFF) | byte
        else:
            data[position] = high >> 24
        state[POSITION] = position + 1
        low, high = (low << 8) & 0xFFFFFFFF, ((high << 8) & 0xFFFFFFFF) | 255
    state[LOW], state[HIGH] = low, high
    return bit


@njit(cache=True, inline="always")
def predict(contexts, count, mixer, probabilities, weights, logits):
    """The probability of a one that `count` contexts mix to; keeps their logits for `learn`."""
    total = 0
    for k in range(count):
        logits[k] = LOGIT[probabilities[contexts[k]] >> 4]
        total += weights[mixer, k] * logits[k]
    return LOGISTIC[min(2047, max(-2047, total >> 16)) + 2048]


@njit(cache=True, inline="always")
def learn(bit, probability, contexts, count, mixer, probabilities, seen, weights, logits):
    """Move the mixer's weights and the contexts towards the bit."""
    error = (bit << 16) - probability
    goal = 65535 if bit else 0
    for k in range(count):
        weights[mixer, k] += (logits[k] * error * 3 + (1 << 17)) >> 18
        context = contexts[k]
        probabilities[context] += ((goal - probabilities[context]) * RATES[seen[context]]) >> 16
        if seen[context] < SLOWEST:
            seen[context] += 1


@njit(cache=True, inline="always")
def code_simple(bit, context, probabilities, seen, state, data, bits):
    """Code a bit by one context alone."""
    probability = min(65535 - 64, max(64, probabilities[context]))
    bit = code_bit(bit, probability, state, data)
    bits[0] += COST[(probability if bit else 65536 - probability) >> 4]
    goal = 65535 if bit else 0
    probabilities[context] += ((goal - probabilities[context]) * RATES[seen[context]]) >> 16
    if seen[context] < SLOWEST:
        seen[context] += 1
    return bit


@njit(cache=True)
def code_golomb(value, context, probabilities, seen, state, data, bits):
    """Code an integer >= 0: Exp-Golomb, whose length adapts in 16 contexts."""
    encoding = not state[DECODING]
    length = 0
    while True:
        more = 1 if encoding and (value + 1) >> (length + 1) else 0
        if length > 18 or not code_simple(more, context + min(length, 15), probabilities, seen, state, data, bits):
            break
        length += 1
    coded = 1
    for k in range(length - 1, -1, -1):
        coded = 2 * coded + code_bit(((value + 1) >> k) & 1 if encoding else 0, 32768, state, data)
        bits[0] += 1
    return coded - 1
