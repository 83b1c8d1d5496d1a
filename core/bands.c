/* Bands of a key as bits: which contexts predict what; and which integers are worth their bits.

   An encoder quantises while it codes: of every coefficient that is not surely 0, the integer with the least squared
   error + rate_weight * bits is taken, by the bits that the contexts ask at that moment.
*/
#include "core.h"

enum { BLOCK = 8 };

/* A band within a plane; without rows where there is none. */
typedef struct {
    int top, left, rows, columns;
} Band;

/* Of what the contexts of a band are made. */
typedef struct {
    i16 *plane;                 /* that is coded */
    const i16 *luma;            /* the plane before, whose bands of the same sizes lie at the same places */
    const i16 *before, *behind; /* the same plane of the references */
    int stride, luma_stride, kind, orientation;
    Band band, parent, siblings[2];
    u8 *flags; /* blocks that hold anything */
    float rate_weight;
} Coded;

static i32 few(i32 value) { return value <= 1 ? value : value <= 3 ? 2 : 3; }

static const u8 GRADES[29] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
static i32 grade(i32 value) { return value < 29 ? GRADES[value] : 10; }
static i32 grade7(i32 value) { return value < 9 ? GRADES[value] : 7; }

/* Magnitude in a band: round the sphere, 0 beyond the poles. */
static i32 at(const i16 *plane, int stride, const Band *b, int y, int x) {
    if (y < 0 || y >= b->rows) return 0;
    if (x < 0) x += b->columns;
    else if (x >= b->columns) x -= b->columns;
    if (x < 0 || x >= b->columns) return 0;
    return magnitude(plane[(b->top + y) * stride + b->left + x]);
}

/* Twice the magnitude at a place, and those at its four sides. */
static i32 cross(const i16 *plane, int stride, const Band *b, int y, int x) {
    if (y > 0 && x > 0 && y + 1 < b->rows && x + 1 < b->columns) {
        const i16 *p = plane + (b->top + y) * stride + b->left + x;
        return 2 * magnitude(p[0]) + magnitude(p[-stride]) + magnitude(p[stride]) + magnitude(p[-1]) + magnitude(p[1]);
    }
    return 2 * at(plane, stride, b, y, x) + at(plane, stride, b, y - 1, x) + at(plane, stride, b, y + 1, x) +
           at(plane, stride, b, y, x - 1) + at(plane, stride, b, y, x + 1);
}

typedef i16 Eight __attribute__((vector_size(16)));
typedef i32 EightWide __attribute__((vector_size(32)));

/* Sum of magnitudes in a region of a band; most are as wide as a block, which takes one load a row. */
static i32 sum_of(const i16 *plane, int stride, const Band *b, int y0, int x0, int y1, int x1) {
    const i16 *row = plane + (b->top + y0) * stride + b->left;
    i32 total = 0;
    if (x1 - x0 == BLOCK) {
        EightWide sums = {0};
        for (int y = y0; y < y1; y++, row += stride) {
            Eight values;
            memcpy(&values, row + x0, sizeof values);
            EightWide wide = __builtin_convertvector(values, EightWide), signs = wide >> 31;
            sums += (wide ^ signs) - signs;
        }
        for (int k = 0; k < BLOCK; k++) total += sums[k];
        return total;
    }
    for (int y = y0; y < y1; y++, row += stride)
        for (int x = x0; x < x1; x++) total += magnitude(row[x]);
    return total;
}

/* Whether a block's coefficients are worth about the bits that they take. */
static int worth(const float *coefficients, const Coded *b, int y0, int x0, int y1, int x1) {
    float gain = 0, bits = 1;
    for (int y = y0; y < y1; y++) {
        const float *row = coefficients + (b->band.top + y) * b->stride + b->band.left;
        for (int x = x0; x < x1; x++) {
            float c = fabsf(row[x]);
            if (c <= 0.62f) continue;
            int q = (int)(c + 0.38f);
            gain += c * c - (c - q) * (c - q);
            bits += 5.5f - 2 * (COST[least(q, 4096)] - 12);
        }
    }
    return gain > b->rate_weight * bits;
}

/* Which blocks of a band hold anything. */
static void code_blocks(Stream *s, Contexts *c, const Coded *b, const float *coefficients) {
    const Band *band = &b->band, *parent = &b->parent, *sibling = &b->siblings[0];
    int rows = (band->rows + BLOCK - 1) / BLOCK, columns = (band->columns + BLOCK - 1) / BLOCK;
    memset(b->flags, 1, (size_t)rows * columns);
    if (band->rows < 2 * BLOCK) return;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            int y0 = i * BLOCK, x0 = j * BLOCK, y1 = least(band->rows, y0 + BLOCK), x1 = least(band->columns, x0 + BLOCK);
            int flag = s->decoding ? 0 : worth(coefficients, b, y0, x0, y1, x1);
            i32 above = parent->rows ? sum_of(b->plane, b->stride, parent, y0 / 2, x0 / 2, y1 / 2, x1 / 2) : 0;
            i32 other = b->luma ? sum_of(b->luma, b->luma_stride, band, y0, x0, y1, x1) : 0;
            if (sibling->rows) other += sum_of(b->plane, b->stride, sibling, y0, x0, y1, x1);
            i32 time = b->before ? sum_of(b->before, b->stride, band, y0, x0, y1, x1) : 0;
            if (b->behind) time += sum_of(b->behind, b->stride, band, y0, x0, y1, x1);
            const u8 *here = b->flags + i * columns + j;
            i32 west = j ? here[-1] : 0, north = i ? here[-columns] : 0;
            i32 east = i && j + 1 < columns ? here[1 - columns] : 0, first = BLOCKS_AT + b->kind * 64;
            Mix m = {.count = 3, .mixers = {BLOCK_MIXERS + b->kind, BLOCK_MIXERS + BANDS + (b->kind & ~15)}};
            m.mixers[1] += few(time) * 4 + few(above);
            m.context[0] = first + (west + 2 * north + east) * 4 + few(above);
            m.context[1] = first + 20 + few(time) * 4 + few(above);
            m.context[2] = first + 40 + few(other) * 4 + west + north + east;
            predict(&m, c);
            b->flags[i * columns + j] = (u8)code_mixed(s, c, &m, flag);
        }
}

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

/* Sums of magnitudes around a coefficient. */
typedef struct {
    i32 west, north, near, far, along, above, around_above, other, time, total;
} Around;

static Around look_around(const Coded *b, int i, int j) {
    const Band *band = &b->band;
    int stride = b->stride;
    Around a = {0};
    i32 north2, west2, corners, beyond;
    if (i > 1 && j > 1 && j + 2 < band->columns) {
        const i16 *p = b->plane + (band->top + i) * stride + band->left + j;
        const i16 *up = p - stride, *upper = up - stride;
        a.west = magnitude(p[-1]), west2 = magnitude(p[-2]), a.north = magnitude(up[0]), north2 = magnitude(upper[0]);
        corners = magnitude(up[-1]) + magnitude(up[1]);
        beyond = magnitude(upper[-1]) + magnitude(upper[1]) + magnitude(up[-2]) + magnitude(up[2]);
    } else {
        a.west = j ? at(b->plane, stride, band, i, j - 1) : 0, west2 = j > 1 ? at(b->plane, stride, band, i, j - 2) : 0;
        a.north = at(b->plane, stride, band, i - 1, j), north2 = at(b->plane, stride, band, i - 2, j);
        corners = at(b->plane, stride, band, i - 1, j - 1) + at(b->plane, stride, band, i - 1, j + 1);
        beyond = at(b->plane, stride, band, i - 2, j - 1) + at(b->plane, stride, band, i - 2, j + 1) +
                 at(b->plane, stride, band, i - 1, j - 2) + at(b->plane, stride, band, i - 1, j + 2);
    }
    a.near = 2 * (a.west + a.north) + corners;
    a.along = b->orientation == 1   ? a.west + 2 * a.north + north2
              : b->orientation == 2 ? 2 * a.west + a.north + west2
                                    : a.west + a.north + corners;
    a.far = north2 + west2 + corners + beyond;
    if (b->parent.rows) {
        a.above = magnitude(b->plane[(b->parent.top + i / 2) * stride + b->parent.left + j / 2]);
        a.around_above = cross(b->plane, stride, &b->parent, i / 2, j / 2);
    }
    for (int k = 0; k < 2; k++)
        if (b->siblings[k].rows) a.other += cross(b->plane, stride, &b->siblings[k], i, j);
    if (b->luma) a.other += cross(b->luma, b->luma_stride, band, i, j);
    if (b->before) a.time += cross(b->before, stride, band, i, j);
    if (b->behind) a.time += cross(b->behind, stride, band, i, j);
    a.total = a.near + a.along + a.around_above + a.other + a.time;
    return a;
}

/* Sign in a band: 0, 1 or 2 for less than, equal to or more than 0, which is what lies outside. */
static i32 sign_at(const i16 *plane, int stride, const Band *b, int y, int x) {
    if (y < 0 || x < 0 || y >= b->rows || x >= b->columns) return 1;
    i32 value = plane[(b->top + y) * stride + b->left + x];
    return value < 0 ? 0 : value > 0 ? 2 : 1;
}

/* By the signs around: a detail goes on along an edge, and swings across it. */
static int code_sign_in(Stream *s, Contexts *c, const Coded *b, int i, int j, int negative) {
    const i16 *p = b->plane;
    const Band *band = &b->band, *parent = &b->parent, *siblings = b->siblings;
    int stride = b->stride, first = SIGNS_AT + (b->kind < 32 ? b->kind : b->kind - 16) * SIGN_INPUTS * SIGNS;
    i32 west = sign_at(p, stride, band, i, j - 1), north = sign_at(p, stride, band, i - 1, j);
    i32 luma = b->luma ? sign_at(b->luma, b->luma_stride, band, i, j) : sign_at(p, stride, band, i, j - 2);
    i32 above = sign_at(p, stride, parent, i / 2, j / 2);
    i32 corners = sign_at(p, stride, band, i - 1, j - 1) * 3 + sign_at(p, stride, band, i - 1, j + 1);
    i32 beside = sign_at(p, stride, &siblings[0], i, j) * 3 + sign_at(p, stride, &siblings[1], i, j);
    Mix m = {.count = SIGN_INPUTS, .mixers = {SIGN_MIXERS + b->kind, SIGN_MIXERS + BANDS + (b->kind & ~15)}};
    m.mixers[1] += luma * 3 + above;
    m.context[0] = first + (luma * 3 + north) * 3 + west;
    m.context[1] = first + SIGNS + north * 9 + corners;
    m.context[2] = first + 2 * SIGNS + ((i & 1) * 2 + (j & 1)) * 9 + above * 3 + west;
    m.context[3] = first + 3 * SIGNS + beside * 3 + sign_at(p, stride, band, i - 2, j);
    predict(&m, c);
    return code_mixed(s, c, &m, negative);
}

static void code_coefficient(Stream *s, Contexts *c, const Coded *b, int i, int j, const float *coefficient) {
    Around a = look_around(b, i, j);
    i32 zero = ZERO_AT + b->kind * INPUTS * ZEROS, one = ABOVE_AT + b->kind * 3 * ABOVE_ONE;
    Mix m = {.count = 6, .mixers = {ZERO_MIXERS + b->kind * 8 + few(a.near), ZERO_MIXERS + b->kind * 8 + 4}};
    m.mixers[1] += few((a.time + a.around_above) / 2);
    m.context[0] = zero + grade(a.near) * 5 + least(4, a.above);
    m.context[1] = zero + ZEROS + least(6, grade(a.other)) * 8 + grade7(a.along);
    m.context[2] = zero + 2 * ZEROS + grade7(a.time) * 8 + grade7(a.west + a.north);
    m.context[3] = zero + 3 * ZEROS + grade7(a.far) * 8 + grade7(a.near);
    m.context[4] = zero + 4 * ZEROS + least(63, a.total < 24 ? a.total : 24 + (a.total - 24) / 4);
    m.context[5] = zero + 5 * ZEROS + grade7(a.around_above) * 8 + grade7(a.other);
    predict(&m, c);
    Mix larger = {.count = 3, .mixers = {ABOVE_MIXERS + b->kind, ABOVE_MIXERS + BANDS + (b->kind & ~15)}};
    larger.mixers[1] += least(15, a.near / 2);
    larger.context[0] = one + least(31, a.near);
    larger.context[1] = one + ABOVE_ONE + least(31, a.total / 2);
    larger.context[2] = one + 2 * ABOVE_ONE + least(3, a.west) * 8 + grade7(a.time + a.above);
    i32 value = 0;
    if (coefficient && fabsf(*coefficient) >= 0.5f) {
        predict(&larger, c);
        value = chosen(*coefficient, m.probability, larger.probability, b->rate_weight);
    }
    i16 *place = b->plane + (b->band.top + i) * b->stride + b->band.left + j;
    *place = 0;
    if (!code_mixed(s, c, &m, value != 0)) return;
    int negative = code_sign_in(s, c, b, i, j, value < 0);
    predict(&larger, c);
    i32 size = 1, wanted = magnitude(value);
    if (code_mixed(s, c, &larger, wanted > 1)) {
        int first = MAGNITUDE_AT + b->kind * 64, step = first + least(2, a.near / 6) * 14;
        size = 2;
        while (size < 15 && code_simple(s, c, step + size - 2, wanted > size)) size++;
        if (size == 15) size = least(32767, size + code_golomb(s, c, first + 44, wanted - 15));
    }
    *place = (i16)(negative ? -size : size);
}

static void code_band(Stream *s, Contexts *c, const Coded *b, const float *coefficients) {
    code_blocks(s, c, b, coefficients);
    int columns = (b->band.columns + BLOCK - 1) / BLOCK;
    for (int i = 0; i < b->band.rows; i++)
        for (int j = 0; j < b->band.columns; j++) {
            if (!b->flags[i / BLOCK * columns + j / BLOCK]) {
                j |= BLOCK - 1;
                continue;
            }
            size_t place = (size_t)(b->band.top + i) * b->stride + b->band.left + j;
            code_coefficient(s, c, b, i, j, coefficients ? coefficients + place : NULL);
        }
}

/* The coarsest band of a root: integers beside the median of what lies west, north and in the plane of both. */
static void code_average(Stream *s, Contexts *c, i16 *plane, const float *coefficients, int stride, int rows, int columns,
                         int number) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            i16 *p = plane + i * stride + j;
            i32 west = j ? p[-1] : i ? p[-stride] : 0, north = i ? p[-stride] : west, corner = i && j ? p[-stride - 1] : north;
            i32 high = most(west, north), low = least(west, north);
            i32 predicted = corner >= high ? low : corner <= low ? high : west + north - corner;
            i32 activity = magnitude(west - corner) + magnitude(north - corner);
            i32 busy = activity < 2 ? 0 : activity < 5 ? 1 : activity < 12 ? 2 : 3, first = AVERAGE_AT + number * 80;
            i32 value = s->decoding ? 0 : (i32)rintf(coefficients[i * stride + j]) - predicted;
            if (code_simple(s, c, first + busy, value != 0)) {
                int negative = code_sign(s, value < 0);
                i32 size = 1 + code_golomb(s, c, first + 4 + busy * 15, magnitude(value) - 1);
                value = negative ? -size : size;
            }
            *p = (i16)clamp(predicted + value, -32768, 32767);
        }
}

/* All bands of brightness, then of both differences of colours, coarse to fine. */
void code_bands(Stream *s, Contexts *c, Key *key, float *const coefficients[PLANES], float rate_weight) {
    static u8 *flags;
    if (!flags) flags = allocate((size_t)(layout.rows / 16 + 2) * (layout.columns / 16 + 2));
    const Band absent = {0};
    for (int plane = 0; plane < PLANES; plane++) {
        int levels = plane_levels(plane), rows = plane_rows(plane), columns = plane_columns(plane);
        const float *reals = coefficients ? coefficients[plane] : NULL;
        Coded b = {.plane = key->bands[plane], .stride = columns, .flags = flags, .rate_weight = rate_weight};
        b.luma_stride = plane ? plane_columns(plane - 1) : 0;
        for (int k = 0; k < key->references; k++)
            if (key->reference[k]->references) *(k ? &b.behind : &b.before) = key->reference[k]->bands[plane];
        int h = rows >> levels, w = columns >> levels;
        if (!key->references) {
            code_average(s, c, b.plane, reals, columns, h, w, plane);
        } else {
            b.luma = plane == 2 ? key->bands[1] : NULL;
            b.band = (Band){0, 0, h, w}, b.kind = plane * 16 + 15;
            code_band(s, c, &b, reals);
        }
        b.luma = plane ? key->bands[plane - 1] : NULL;
        for (int level = levels; level > 0; level--) {
            h = rows >> level, w = columns >> level;
            for (b.orientation = 1; b.orientation < 4; b.orientation++) {
                int top = b.orientation == 1 ? 0 : h, left = b.orientation == 2 ? 0 : w;
                b.band = (Band){top, left, h, w};
                b.parent = level < levels ? (Band){top / 2, left / 2, h / 2, w / 2} : absent;
                b.siblings[0] = b.orientation > 1 ? (Band){0, w, h, w} : absent;
                b.siblings[1] = b.orientation == 3 ? (Band){h, 0, h, w} : absent;
                b.kind = plane * 16 + (level - 1) * 3 + b.orientation - 1;
                code_band(s, c, &b, reals);
            }
        }
    }
}
