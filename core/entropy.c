/* Binary range coding with mixed contexts, one path for both directions.

   A bit is predicted by several contexts; their predictions are mixed as logits, by weights that learn (as in PAQ).
   Tables are made by products and quotients of doubles in a fixed order, so every machine makes the same.
*/
#include "core.h"

enum {
    SLOWEST = 120, /* observations after which a context adapts no slower */
    SURE = 24,     /* observations on other clips that count, at most */
    BEYOND = 64,   /* zeros that may be read behind the end of a key */
};

float COST[4097];
static i32 LOGISTIC[4096]; /* of logits -2048..2047 in 1/256: the probability in 16 bits */
static i32 LOGIT[4096];    /* its inverse, of probabilities in 12 bits */
static i32 RATE[SLOWEST + 1];

/* Logarithm to the base 2, bit by bit: of its fraction, every square tells one. */
static double log2_of(u32 value) {
    double x = value, result = 0;
    for (; x >= 2; x /= 2) result++;
    for (double bit = 0.5; bit > 1e-9; bit /= 2) {
        x *= x;
        if (x >= 2) result += bit, x /= 2;
    }
    return result;
}

void make_tables(void) {
    double power = 1.0; /* e^(k / 256) */
    for (int k = 0; k <= 2048; k++) {
        i32 upper = clamp((i32)(power / (1 + power) * 65536 + 0.5), 16, 65520);
        i32 lower = clamp((i32)(65536 / (1 + power) + 0.5), 16, 65520);
        if (k < 2048) LOGISTIC[2048 + k] = upper;
        if (k) LOGISTIC[2048 - k] = lower;
        if (k < 2047) power *= 1.003913889338348;
    }
    for (int k = 0, at = 0; k < 4096; k++) {
        while (at < 4095 && LOGISTIC[at] < 16 * k + 8) at++;
        LOGIT[k] = at - 2048;
    }
    for (int seen = 0; seen <= SLOWEST; seen++) RATE[seen] = (i32)(65536 / (seen + 1.6));
    COST[0] = 16;
    for (int k = 1; k <= 4096; k++) COST[k] = (float)(12 - log2_of(k));
}

/* What was learned on other clips; returns what follows it. */
const u8 *read_contexts(Contexts *c, const u8 *learned) {
    const u8 *counts = learned + CONTEXTS, *weights = counts + CONTEXTS;
    for (int k = 0; k < CONTEXTS; k++)
        c->of[k] = (Context){(u16)LOGISTIC[16 * (signed char)learned[k] + 2048], counts[k]};
    for (int k = 0; k < MIXERS * INPUTS; k++, weights += 2)
        c->weights[k / INPUTS][k % INPUTS] = 256 * (i16)(weights[0] | weights[1] << 8);
    return weights;
}

/* The same the other way round; returns what follows it. */
u8 *write_contexts(const Contexts *c, u8 *learned) {
    u8 *counts = learned + CONTEXTS, *weights = counts + CONTEXTS;
    for (int k = 0; k < CONTEXTS; k++) {
        learned[k] = (u8)clamp((LOGIT[c->of[k].probability >> 4] + 8) >> 4, -127, 127);
        counts[k] = (u8)least(c->of[k].seen, SURE);
    }
    for (int k = 0; k < MIXERS * INPUTS; k++, weights += 2) {
        i32 weight = (c->weights[k / INPUTS][k % INPUTS] + 128) >> 8;
        weights[0] = (u8)weight, weights[1] = (u8)(weight >> 8);
    }
    return weights;
}

void begin_writing(Stream *s, u8 *data, u32 length) {
    *s = (Stream){.data = data, .length = length, .high = 0xFFFFFFFFu};
}

void begin_reading(Stream *s, u8 *data, u32 length) {
    *s = (Stream){.data = data, .length = length, .high = 0xFFFFFFFFu, .decoding = 1};
    for (; s->position < 4; s->position++)
        s->code = s->code << 8 | (s->position < length ? data[s->position] : 0);
}

/* The number between the bounds that has the most zeros at its end, and how many bits of these are not written. */
static u32 shortest_end(const Stream *s, int *shift) {
    for (*shift = 24;; *shift -= 8) {
        u64 value = ((u64)s->low + (1u << *shift) - 1) >> *shift << *shift;
        if (value <= s->high) return (u32)value;
    }
}

/* Bytes that were written: the shortest end between the bounds; a reader takes what is missing behind for zeros, but no
   more than BEYOND of them: a few bytes are no large picture. Then it reads nothing more, and is `counting`. */
u32 end_writing(Stream *s) {
    int shift;
    u32 value = shortest_end(s, &shift);
    for (int at = 24; at >= shift; at -= 8, s->position++)
        if (s->position < s->length) s->data[s->position] = (u8)(value >> at);
    if (s->position > s->length) return s->position;
    for (int k = 0; k < BEYOND - 8 && s->position && s->data[s->position - 1] == 0; k++) s->position--;
    return s->position;
}

static u8 byte_at(const Stream *s, u32 at) { return at < s->length ? s->data[at] : 0; }

/* Whether what was read ends as `end_writing` ends it. Of damaged bytes, it hardly does. */
int ends_as_written(const Stream *s) {
    int shift;
    u32 value = shortest_end(s, &shift), end = s->position - sizeof s->code;
    for (int at = 24; at >= shift; at -= 8, end++)
        if (byte_at(s, end) != (u8)(value >> at)) return 0;
    for (int k = 0; k < BEYOND - 8 && end && byte_at(s, end - 1) == 0; k++) end--;
    return end == s->length;
}

static int code_bit(Stream *s, int bit, i32 probability) {
    if (s->counting) return bit;
    u32 span = s->high - s->low;
    u32 middle = s->low + (span >> 16) * (u32)probability + (((span & 65535) * (u32)probability) >> 16);
    if (s->decoding) bit = s->code <= middle;
    if (bit) s->high = middle;
    else s->low = middle + 1;
    while (((s->low ^ s->high) & 0xFF000000u) == 0) {
        if (s->decoding && s->position >= s->length + BEYOND) return s->counting = 1, bit;
        if (s->decoding) s->code = s->code << 8 | (s->position < s->length ? s->data[s->position] : 0);
        else if (s->position < s->length) s->data[s->position] = (u8)(s->high >> 24);
        s->position++;
        s->low <<= 8;
        s->high = s->high << 8 | 255;
    }
    return bit;
}

static void learn(Context *c, int bit) {
    i32 distance = (bit ? 65535 : 0) - c->probability;
    c->probability = (u16)(c->probability + (((i64)distance * RATE[c->seen]) >> 16));
    if (c->seen < SLOWEST) c->seen++;
}

void predict(Mix *m, const Contexts *c) {
    const i32 *weights = c->weights[m->mixers[0]], *others = c->weights[m->mixers[1]];
    i64 total = 0;
    for (int k = 0; k < m->count; k++) {
        m->logit[k] = LOGIT[c->of[m->context[k]].probability >> 4];
        total += (i64)(weights[k] + others[k]) * m->logit[k];
    }
    total >>= 17;
    m->probability = LOGISTIC[(total < -2047 ? -2047 : total > 2047 ? 2047 : total) + 2048];
}

/* Weights move by so much, and stay within +-2^20. */
static void adjust(i32 *weights, I32x4 change) {
    I32x4 moved = load_i32(weights) + change;
    store_i32(weights, __builtin_elementwise_max(__builtin_elementwise_min(moved, splat(1 << 20)), splat(-(1 << 20))));
}

/* Code a bit that was predicted; the contexts and the mixer's weights move towards it. */
int code_mixed(Stream *s, Contexts *c, Mix *m, int bit) {
    bit = code_bit(s, bit, m->probability);
    if (!s->decoding) s->bits += cost_of(m->probability, bit);
    if (s->counting) return bit;
    i32 error = ((bit << 16) - m->probability) * 3; /* times a logit, it has 30 bits */
    for (int k = 0; k < m->count; k += 4) {
        I32x4 change = (load_i32(m->logit + k) * error + (1 << 17)) >> 18;
        for (int set = 0; set < 2; set++) adjust(c->weights[m->mixers[set]] + k, change);
    }
    for (int k = 0; k < m->count; k++) learn(&c->of[m->context[k]], bit);
    return bit;
}

/* Code a bit by one context alone. */
int code_simple(Stream *s, Contexts *c, int context, int bit) {
    i32 probability = clamp(c->of[context].probability, 64, 65535 - 64);
    bit = code_bit(s, bit, probability);
    if (!s->decoding) s->bits += cost_of(probability, bit);
    if (!s->counting) learn(&c->of[context], bit);
    return bit;
}

int code_sign(Stream *s, int negative) {
    s->bits += 1;
    return code_bit(s, negative, 32768);
}

/* Code an integer >= 0: Exp-Golomb, whose length adapts in 16 contexts. */
i32 code_golomb(Stream *s, Contexts *c, int context, i32 value) {
    int length = 0;
    while (length < 19 && code_simple(s, c, context + least(length, 15), (value + 1) >> (length + 1) != 0)) length++;
    i32 coded = 1;
    for (int k = length - 1; k >= 0; k--) {
        coded = 2 * coded + code_bit(s, ((value + 1) >> k) & 1, 32768);
        s->bits += 1;
    }
    return coded - 1;
}
