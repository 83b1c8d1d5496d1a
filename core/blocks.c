/* Blocks of a band: which hold anything, and how much. */
#include "bands.h"

int kind_of(int plane, int level, int orientation) {
    return plane * 16 + (orientation ? (level - 1) * 3 + orientation - 1 : 15);
}

int level_of(int kind) { return kind % 16 == 15 ? plane_levels(kind / 16) : kind % 16 / 3 + 1; }

size_t squares_of(int kind) {
    int plane = kind / 16, level = level_of(kind);
    return (size_t)squares(plane_rows(plane) >> level) * squares(plane_columns(plane) >> level);
}

int is_in_strips(int plane, int level) { return strips() > 1 && level <= FINE - (plane > 0); }

int band_width(int plane, int level) {
    return (is_in_strips(plane, level) ? layout.strip : layout.columns) >> (level + (plane > 0));
}

i16 *band_at(const Key *key, int plane, int level, int orientation, int row, int column) {
    int width = band_width(plane, level);
    i16 *const *bands = is_in_strips(plane, level) ? key->strips[column / width]->bands : key->bands;
    return bands[kind_of(plane, level, orientation)] + (size_t)row * width + column % width;
}

/* Whether a region of a band, whose columns may go round, holds anything but zeros. A root's average always does. */
int is_busy(const Key *key, int plane, int level, int orientation, int top, int left, int height, int width) {
    int rows = plane_rows(plane) >> level, columns = plane_columns(plane) >> level, across = squares(columns);
    int first = clamp(top, 0, rows - 1) / SQUARE, last = clamp(top + height - 1, 0, rows - 1) / SQUARE;
    if (!orientation && !key->references) return 1;
    const u8 *busy = key->busy[kind_of(plane, level, orientation)];
    for (int c = 0, column = modulo(left, columns); c < width; c += columns - column, column = 0)
        for (int j = column / SQUARE; j * SQUARE < least(column + width - c, columns); j++)
            for (int i = first; i <= last; i++)
                if (busy[i * across + j]) return 1;
    return 0;
}

/* Whether a block's coefficients are worth about the bits that they take. */
static int worth(const Coded *b, int y0, int x0) {
    int y1 = least(b->band.rows, y0 + BLOCK), x1 = least(b->band.columns, x0 + BLOCK);
    float gain = 0, bits = 1;
    for (int y = y0; y < y1; y++) {
        const float *row = b->coefficients + y * plane_columns(b->kind / 16);
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

/* Sum of magnitudes in a block of a band. */
static i32 block_sum(const Band *b, int i, int j) {
    if (!b->rows) return 0;
    const u8 *upper = b->busy + 2 * i * b->busy_stride + 2 * j, *lower = upper + b->busy_stride;
    return upper[0] + upper[1] + lower[0] + lower[1];
}

/* Which blocks of a band hold anything. */
void code_blocks(Stream *s, Contexts *c, const Coded *b) {
    int rows = blocks(b->band.rows), columns = blocks(b->band.columns), first = BLOCKS_AT + b->kind * 64;
    memset(b->flags, 1, (size_t)rows * columns);
    if (!b->in_blocks) return;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            u8 *here = b->flags + i * columns + j;
            i32 above = b->parent.rows ? b->parent.busy[i * b->parent.busy_stride + j] : 0;
            i32 other = block_sum(&b->luma, i, j) + block_sum(&b->siblings[0], i, j);
            i32 time = block_sum(&b->before, i, j) + block_sum(&b->behind, i, j);
            i32 west = j ? here[-1] : 0, north = i ? here[-columns] : 0, east = i && j + 1 < columns ? here[1 - columns] : 0;
            Mix m = {.count = 3, .mixers = {BLOCK_MIXERS + b->kind, BLOCK_MIXERS + BANDS + (b->kind & ~15)}};
            m.mixers[1] += few(time) * 4 + few(above);
            m.context[0] = first + (west + 2 * north + east) * 4 + few(above);
            m.context[1] = first + 20 + few(time) * 4 + few(above);
            m.context[2] = first + 40 + few(other) * 4 + west + north + east;
            predict(&m, c);
            *here = (u8)code_mixed(s, c, &m, s->decoding ? 0 : worth(b, i * BLOCK, j * BLOCK));
        }
}

/* What magnitudes come to in the squares of a block, for the blocks of others. */
void sum_squares(const Band *b, int i, int j) {
    static const I16x8 number = {0, 1, 2, 3, 4, 5, 6, 7};
    I16x8 inside = number < (i16)(b->columns - j * BLOCK);
    for (int k = 0; k < 2; k++) {
        I16x8 sums = {0};
        int top = i * BLOCK + k * SQUARE;
        for (int y = top; y < least(top + SQUARE, b->rows); y++)
            sums += sizes(b->first + y * b->stride + j * BLOCK) & inside;
        u8 *square = b->busy + (2 * i + k) * b->busy_stride + 2 * j;
        square[0] = (u8)least(MOST, sums[0] + sums[1] + sums[2] + sums[3]);
        square[1] = (u8)least(MOST, sums[4] + sums[5] + sums[6] + sums[7]);
    }
}
