/* Bands of a key as bits: which contexts predict what; and which integers are worth their bits.

   An encoder quantises while it codes: of every coefficient that is not surely 0, the integer with the least squared
   error + rate_weight * bits is taken, by the bits that the contexts ask at that moment.
*/
#include "bands.h"

static const u8 GRADES[29] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
static i32 grade(i32 value) { return value < 29 ? GRADES[value] : 10; }
static i32 grade7(i32 value) { return value < 9 ? GRADES[value] : 7; }

/* The integer that is worth its bits. */
static i32 chosen(float coefficient, i32 probability, i32 above_one, float rate_weight) {
    float size = fabsf(coefficient);
    i32 value = (i32)(size + 0.5f);
    if (!value) return 0;
    float best = size * size + rate_weight * cost_of(probability, 0);
    i32 best_value = 0;
    for (i32 candidate = most(1, value - 1); candidate <= value; candidate++) {
        float rate = cost_of(probability, 1) + 1 + cost_of(above_one, candidate > 1);
        if (candidate > 1) rate += 1 - 1.5f * (COST[least(candidate - 1, 4096)] - 12);
        float cost = (size - candidate) * (size - candidate) + rate_weight * rate;
        if (cost < best) best = cost, best_value = candidate;
    }
    return coefficient < 0 ? -best_value : best_value;
}

/* Sums around one coefficient, with what is west of it. */
typedef struct {
    const Around *around;
    int k; /* of the eight */
    i32 west, near, along, far, total;
} Place;

static Place place_of(const Coded *b, const Around *a, int k, i32 west, i32 west2) {
    i32 west_along = b->orientation == 2 ? 2 * west + west2 : west;
    Place p = {a, k, west, a->near[k] + 2 * west, a->along[k] + west_along, a->far[k] + west2, a->total[k]};
    p.total += 2 * west + west_along;
    return p;
}

/* Sign in a band: 0, 1 or 2 for less than, equal to or more than 0, which is what lies outside. */
static i32 sign_at(const Band *b, int y, int x) {
    if (y < 0 || x < 0 || y >= b->rows || x >= b->columns) return 1;
    i32 value = b->first[y * b->stride + x];
    return value < 0 ? 0 : value > 0 ? 2 : 1;
}

/* By the signs around: a detail goes on along an edge, and swings across it. */
static int code_sign_in(Stream *s, Contexts *c, const Coded *b, int i, int j, int negative) {
    const Band *band = &b->band;
    int first = SIGNS_AT + (b->kind < 32 ? b->kind : b->kind - 16) * SIGN_INPUTS * SIGNS;
    i32 west = sign_at(band, i, j - 1), north = sign_at(band, i - 1, j), above = sign_at(&b->parent, i / 2, j / 2);
    i32 luma = b->luma.rows ? sign_at(&b->luma, i, j) : sign_at(band, i, j - 2);
    i32 corners = sign_at(band, i - 1, j - 1) * 3 + sign_at(band, i - 1, j + 1);
    i32 beside = sign_at(&b->siblings[0], i, j) * 3 + sign_at(&b->siblings[1], i, j);
    Mix m = {.count = SIGN_INPUTS, .mixers = {SIGN_MIXERS + b->kind, SIGN_MIXERS + BANDS + (b->kind & ~15)}};
    m.mixers[1] += luma * 3 + above;
    m.context[0] = first + (luma * 3 + north) * 3 + west;
    m.context[1] = first + SIGNS + north * 9 + corners;
    m.context[2] = first + 2 * SIGNS + ((i & 1) * 2 + (j & 1)) * 9 + above * 3 + west;
    m.context[3] = first + 3 * SIGNS + beside * 3 + sign_at(band, i - 2, j);
    predict(&m, c);
    return code_mixed(s, c, &m, negative);
}

/* Whether a coefficient is not 0. */
static Mix above_zero(const Contexts *c, const Coded *b, const Place *p) {
    const Around *a = p->around;
    int first = ZERO_AT + b->kind * INPUTS * ZEROS, mixer = ZERO_MIXERS + b->kind * 8, k = p->k;
    Mix m = {.count = 6, .mixers = {mixer + few(p->near), mixer + 4 + a->mixer[k]}};
    m.context[0] = first + grade(p->near) * 5 + a->above[k];
    m.context[1] = first + ZEROS + a->other6[k] * 8 + grade7(p->along);
    m.context[2] = first + 2 * ZEROS + a->time[k] * 8 + grade7(p->west + a->north[k]);
    m.context[3] = first + 3 * ZEROS + grade7(p->far) * 8 + grade7(p->near);
    m.context[4] = first + 4 * ZEROS + least(63, p->total < 24 ? p->total : 24 + (p->total - 24) / 4);
    m.context[5] = first + 5 * ZEROS + a->parent[k] * 8 + a->other7[k];
    predict(&m, c);
    return m;
}

/* Whether its magnitude is more than 1. */
static Mix above_one(const Contexts *c, const Coded *b, const Place *p) {
    int first = ABOVE_AT + b->kind * 3 * ABOVE_ONE;
    Mix m = {.count = 3, .mixers = {ABOVE_MIXERS + b->kind, ABOVE_MIXERS + BANDS + (b->kind & ~15)}};
    m.mixers[1] += least(15, p->near / 2);
    m.context[0] = first + least(31, p->near);
    m.context[1] = first + ABOVE_ONE + least(31, p->total / 2);
    m.context[2] = first + 2 * ABOVE_ONE + least(3, p->west) * 8 + p->around->time_and_above[p->k];
    predict(&m, c);
    return m;
}

/* The coefficient in row i and column j of a band. */
static i32 code_coefficient(Stream *s, Contexts *c, const Coded *b, const Place *p, int i, int j) {
    Mix larger, m = above_zero(c, b, p);
    i32 value = 0;
    if (!s->decoding) {
        float coefficient = b->coefficients[i * plane_columns(b->kind / 16) + j];
        if (fabsf(coefficient) >= 0.5f) {
            larger = above_one(c, b, p);
            value = chosen(coefficient, m.probability, larger.probability, b->rate_weight);
        }
    }
    if (!code_mixed(s, c, &m, value != 0)) return 0;
    int negative = code_sign_in(s, c, b, i, j, value < 0);
    larger = above_one(c, b, p);
    i32 size = 1, wanted = magnitude(value);
    if (code_mixed(s, c, &larger, wanted > 1)) {
        int first = MAGNITUDE_AT + b->kind * 64, step = first + least(2, p->near / 6) * 14;
        size = 2;
        while (size < 15 && code_simple(s, c, step + size - 2, wanted > size)) size++;
        if (size == 15) size = least(32767, size + code_golomb(s, c, first + 44, wanted - 15));
    }
    return negative ? -size : size;
}

/* Eight coefficients of a row. */
static void code_eight(Stream *s, Contexts *c, const Coded *b, int i, int first) {
    i16 *row = b->band.first + i * b->band.stride;
    i32 west = first ? least(MOST, magnitude(row[first - 1])) : 0;
    i32 west2 = first ? least(MOST, magnitude(row[first - 2])) : 0;
    Around around;
    look_around(b, i, first, &around);
    for (int j = first; j < least(b->band.columns, first + BLOCK); j++) {
        Place p = place_of(b, &around, j - first, west, west2);
        row[j] = (i16)code_coefficient(s, c, b, &p, i, j);
        west2 = west, west = least(MOST, magnitude(row[j]));
    }
}

static void clear_busy(const Band *b) {
    for (int k = 0; k < squares(b->rows); k++) memset(b->busy + k * b->busy_stride, 0, squares(b->columns));
}

/* Rows of blocks, through all that hold anything. */
static void code_band(Stream *s, Contexts *c, const Coded *b) {
    static i32 *held;
    int rows = b->band.rows, columns = blocks(b->band.columns);
    if (!held) held = allocate((layout.columns / 16 + 2) * sizeof(i32));
    code_blocks(s, c, b);
    clear_busy(&b->band);
    for (int i = 0; i < blocks(rows); i++) {
        int count = 0;
        for (int j = 0; j < columns; j++)
            if (b->flags[i * columns + j]) held[count++] = j;
        for (int y = i * BLOCK; y < least(rows, i * BLOCK + BLOCK); y++)
            for (int k = 0; k < count; k++) code_eight(s, c, b, y, held[k] * BLOCK);
        for (int k = 0; k < count; k++) sum_squares(&b->band, i, held[k]);
    }
}

/* A band, or its part in a sector. */
static Band band_of(const Key *key, int part, int plane, int level, int orientation) {
    int halvings = level + (plane > 0), across = squares(plane_columns(plane) >> level);
    Rect r = rect_of_part(part);
    int top = r.top >> halvings, left = r.left >> halvings;
    return (Band){
        .first = band_at(key, plane, level, orientation, top, left),
        .stride = band_width(plane, level),
        .rows = (r.bottom >> halvings) - top,
        .columns = (r.right >> halvings) - left,
        .busy = key->busy[kind_of(plane, level, orientation)] + top / SQUARE * across + left / SQUARE,
        .busy_stride = across,
        .is_sector = part > 0,
    };
}

/* The coarsest band of a root: integers beside the median of what lies west, north and in the plane of both. */
static void code_average(Stream *s, Contexts *c, const Key *key, int plane, const float *coefficients) {
    Band b = band_of(key, 0, plane, plane_levels(plane), 0);
    for (int i = 0; i < b.rows; i++)
        for (int j = 0; j < b.columns; j++) {
            i16 *p = b.first + i * b.stride + j;
            i32 west = j ? p[-1] : i ? p[-b.stride] : 0, north = i ? p[-b.stride] : west;
            i32 corner = i && j ? p[-b.stride - 1] : north;
            i32 high = most(west, north), low = least(west, north);
            i32 predicted = corner >= high ? low : corner <= low ? high : west + north - corner;
            i32 activity = magnitude(west - corner) + magnitude(north - corner);
            i32 busy = activity < 2 ? 0 : activity < 5 ? 1 : activity < 12 ? 2 : 3, first = AVERAGE_AT + plane * 80;
            i32 value = s->decoding ? 0 : (i32)rintf(coefficients[i * plane_columns(plane) + j]) - predicted;
            if (code_simple(s, c, first + busy, value != 0)) {
                int negative = code_sign(s, value < 0);
                i32 size = 1 + code_golomb(s, c, first + 4 + busy * 15, magnitude(value) - 1);
                value = negative ? -size : size;
            }
            *p = (i16)clamp(predicted + value, -32768, 32767);
        }
}

/* Which band is coded next, and all that its contexts are made of. */
static Coded coded_band(const Key *key, int part, int plane, int level, int orientation) {
    Coded b = {.kind = kind_of(plane, level, orientation), .orientation = orientation, .motion = key->motion};
    Rect r = rect_of_part(part);
    b.band = band_of(key, part, plane, level, orientation);
    b.halvings = level + (plane > 0), b.top = r.top >> b.halvings, b.left = r.left >> b.halvings;
    b.apart = layout.sector && !part ? ON_BASE : 1;
    b.in_blocks = plane_rows(plane) >> level >= 2 * BLOCK;
    if (orientation && level < plane_levels(plane)) b.parent = band_of(key, part, plane, level + 1, orientation);
    for (int k = 0; k < orientation - 1; k++) b.siblings[k] = band_of(key, part, plane, level, k + 1);
    if (plane == 2 || (plane && orientation)) b.luma = band_of(key, part, plane - 1, level + (plane == 1), orientation);
    for (int k = 0; k < key->references; k++)
        if (key->reference[k]->references)
            *(k ? &b.behind : &b.before) = band_of(key->reference[k], part, plane, level, orientation);
    return b;
}

static int finest(int plane, int part) { return layout.sector && !part ? FINE + 1 - (plane > 0) : 1; }
static int coarsest(int plane, int part) { return part ? FINE - (plane > 0) : plane_levels(plane); }

void clear_part(Key *key, int part) {
    for (int plane = 0; plane < PLANES; plane++)
        for (int level = coarsest(plane, part); level >= finest(plane, part); level--)
            for (int orientation = !part && level == plane_levels(plane) ? 0 : 1; orientation < 4; orientation++) {
                Band b = band_of(key, part, plane, level, orientation);
                for (int k = 0; k < b.rows; k++) memset(b.first + k * b.stride, 0, b.columns * sizeof(i16));
                clear_busy(&b);
            }
}

/* What was read of a key becomes 0. The rest is, and its memory need not be touched. */
void clear_bands(Key *key) {
    for (int part = 0; part <= sectors(); part++)
        if (!part || key->known[part - 1]) clear_part(key, part);
}

/* Where an encoder has a part of a band. */
static const float *coefficients_at(float *const coefficients[PLANES], int part, int plane, int level, int orientation) {
    Rect r = rect_of_part(part);
    int top = (r.top >> (level + (plane > 0))) + (orientation & 2 ? plane_rows(plane) >> level : 0);
    int left = (r.left >> (level + (plane > 0))) + (orientation & 1 ? plane_columns(plane) >> level : 0);
    return coefficients[plane] + (size_t)top * plane_columns(plane) + left;
}

/* By how much the squared error of a sector is less, in squared steps, than without its coefficients. */
double gain_of_part(const Key *key, int part, float *const coefficients[PLANES]) {
    double gain = 0;
    for (int plane = 0; plane < PLANES; plane++)
        for (int level = coarsest(plane, part); level >= finest(plane, part); level--)
            for (int orientation = 1; orientation < 4; orientation++) {
                Band b = band_of(key, part, plane, level, orientation);
                const float *reals = coefficients_at(coefficients, part, plane, level, orientation);
                for (int i = 0; i < b.rows; i++)
                    for (int j = 0; j < b.columns; j++) {
                        float q = b.first[i * b.stride + j], c = reals[(size_t)i * plane_columns(plane) + j];
                        gain += q * (2 * c - q);
                    }
            }
    return gain;
}

/* The bands of a part: of brightness, then of both differences of colours, coarse to fine. */
void code_bands(Stream *s, Contexts *c, Key *key, int part, float *const coefficients[PLANES], float rate_weight) {
    static u8 *flags;
    if (!flags) flags = allocate((size_t)(layout.rows / 16 + 2) * (layout.columns / 16 + 2));
    for (int plane = 0; plane < PLANES; plane++) {
        int levels = plane_levels(plane);
        if (!part && !key->references) code_average(s, c, key, plane, coefficients ? coefficients[plane] : NULL);
        for (int level = coarsest(plane, part); level >= finest(plane, part); level--)
            for (int orientation = part || level < levels || !key->references ? 1 : 0; orientation < 4; orientation++) {
                Coded b = coded_band(key, part, plane, level, orientation);
                if (coefficients) b.coefficients = coefficients_at(coefficients, part, plane, level, orientation);
                b.flags = flags, b.rate_weight = rate_weight;
                code_band(s, c, &b);
            }
    }
}
