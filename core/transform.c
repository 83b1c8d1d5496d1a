/* The 9/7 wavelet by lifting: forward in floats for an encoder, inverse in integers (modulo 2^32) for everybody.

   A plane becomes bands in Mallat's layout: the coarsest average at the top left, beside and below it the details, level
   by level. Columns go round the sphere, rows are mirrored at the poles. The inverse makes any region by itself: it
   reads two coefficients more on every side, level by level.
*/
#include "core.h"

enum { HELD = TILE / 2 + 12, SHRINK = 12 }; /* of a row of a band: a tile's half, what is around it, and up to 3 more */

static const double LIFTING[4] = {-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971};
static const double LOW_GAIN = 1.149604398860241; /* what makes it orthonormal */
static const i32 FIXED[4] = {-6497, -217, 3616, 1817}; /* LIFTING in 1/4096 */
static const double CHROMA_STEP = 0.6;

/* Quantisation */

enum { STEPS = 64 };
static struct Factors {
    int step;
    i32 *of[2][LEVELS + 1][3]; /* brightness or colours, level, high passes: of every row */
} known_factors[STEPS];
static int factors_known;

/* The quantiser's step of a row of a band, in levels: rows near the poles have larger ones. */
static double step_of(int step, int plane, int row, int rows) {
    return (plane ? CHROMA_STEP : 1.0) * (step / 16.0) / sqrt(area_of(row, rows));
}

float band_step(int step, int plane, int level, int row) {
    return (float)step_of(step, plane, row, plane_rows(plane) >> level);
}

/* What an integer is multiplied by, in 1/256 of the inverse's units: an orthonormal coefficient is larger than one of
   those by the gain of its band. */
static void fill_factors(struct Factors *f, int step) {
    f->step = step;
    for (int colours = 0; colours < 2; colours++)
        for (int level = 1; level <= plane_levels(colours); level++)
            for (int high = level == plane_levels(colours) ? 0 : 1; high < 3; high++) {
                double gain = 1;
                for (int k = 0; k < 2 * level - 2 * high; k++) gain *= LOW_GAIN;
                for (int k = 0; k < 2 * high - 2 * level; k++) gain /= LOW_GAIN;
                int rows = plane_rows(colours) >> level;
                i32 *of_row = f->of[colours][level][high];
                if (!of_row) of_row = f->of[colours][level][high] = allocate(rows * sizeof(i32));
                for (int row = 0; row < rows; row++)
                    of_row[row] = (i32)rint(step_of(step, colours, row, rows) / gain * 256);
            }
}

/* Of every row. Steps are few; where they are many, the oldest give way, and are made again. */
static const i32 *factors_of(int step, int plane, int level, int high_passes) {
    int k = 0;
    while (k < STEPS && known_factors[k].step != step) k++;
    if (k == STEPS) fill_factors(&known_factors[k = factors_known++ % STEPS], step);
    return known_factors[k].of[plane > 0][level][high_passes];
}

/* A magnitude of 1 is a little less where it is decoded: most lie below. */
static I32x4 dequantised(I32x4 q, i32 factor) {
    I32x4 value = q * factor, ones = (q == 1) | (q == -1);
    return (value - ((value * SHRINK >> 8) & ones) + 8) >> 4;
}

/* Inverse */

/* The row that a row beyond a pole mirrors, of a low or a high band. */
static int mirrored(int row, int rows, int high) {
    while (row < 0 || row >= rows) row = row < 0 ? -high - row : 2 * rows - 1 - high - row;
    return row;
}

/* Fill a region of a band, or, where it holds nothing but zeros, say so. */
static int gather(const Key *key, int plane, int level, int orientation, int top, int left, int height, int width,
                  i32 out[HELD][HELD]) {
    int rows = plane_rows(plane) >> level, columns = plane_columns(plane) >> level, together = band_width(plane, level);
    int vertical = orientation >> 1, horizontal = orientation & 1;
    if (!is_busy(key, plane, level, orientation, top, left, height, width)) return 0;
    const i32 *factors = factors_of(key->step, plane, level, vertical + horizontal);
    for (int c = 0, run; c < width; c += run) {
        int column = modulo(left + c, columns);
        const i16 *band = band_at(key, plane, level, orientation, 0, column);
        run = least(width - c, least(columns - column, together - column % together));
        for (int r = 0; r < height; r++) {
            int row = mirrored(top + r, rows, vertical);
            for (int k = 0; k < run; k += 4)
                store_i32(out[r] + c + k, dequantised(widened(band + row * together + k), factors[row]));
        }
    }
    return 1;
}

/* Up to three numbers more are changed. */
static void lift(i32 *into, const i32 *one, const i32 *other, int count, i32 factor) {
    for (int k = 0; k < count; k += 4)
        store_i32(into + k, load_i32(into + k) - ((factor * (load_i32(one + k) + load_i32(other + k)) + 2048) >> 12));
}

/* Undo the lifting along columns: rows `low[k]` and `high[k]` become rows 2 k and 2 k + 1 but for two at either end. */
static void merge_rows(i32 low[HELD][HELD], i32 high[HELD][HELD], int height, int width) {
    for (int k = 1; k < height; k++) lift(low[k], high[k], high[k - 1], width, FIXED[3]);
    for (int k = 1; k < height - 1; k++) lift(high[k], low[k], low[k + 1], width, FIXED[2]);
    for (int k = 2; k < height - 1; k++) lift(low[k], high[k], high[k - 1], width, FIXED[1]);
    for (int k = 2; k < height - 2; k++) lift(high[k], low[k], low[k + 1], width, FIXED[0]);
}

static void merge_columns(i32 *low, i32 *high, int width) {
    lift(low + 1, high + 1, high, width - 1, FIXED[3]);
    lift(high + 1, low + 1, low + 2, width - 2, FIXED[2]);
    lift(low + 2, high + 2, high + 1, width - 3, FIXED[1]);
    lift(high + 2, low + 2, low + 3, width - 4, FIXED[0]);
}

static i32 quadrants[LEVELS][4][HELD][HELD];

/* A region of the picture at a level, whose left and width are even: 0 is the plane itself. Says whether there is anything
   but zeros; else nothing is written. */
static int inverse_level(const Key *key, int plane, int level, int top, int left, int height, int width, i32 *out,
                         int stride) {
    int rows = plane_rows(plane) >> (level + 1);
    int first = (top >> 1) - 2, tall = ((top + height + 1) >> 1) + 2 - first;
    int left_most = ((left >> 1) - 2) & ~1, wide = ((((left + width) >> 1) + 3) & ~1) - left_most;
    i32(*q)[HELD][HELD] = quadrants[level];
    int any = 0;
    for (int k = level + 1 == plane_levels(plane) ? 0 : 1; k < 4; k++)
        any |= gather(key, plane, level + 1, k, first, left_most, tall, wide, q[k]) << k;
    if (level + 1 < plane_levels(plane)) {
        int from = most(first, 0), to = least(first + tall, rows);
        any |= inverse_level(key, plane, level + 1, from, left_most, to - from, wide, q[0][from - first], HELD);
        for (int r = 0; any & 1 && r < tall; r++)
            if (first + r < from || first + r >= to)
                memcpy(q[0][r], q[0][mirrored(first + r, rows, 0) - first], sizeof q[0][r]);
    }
    if (!any) return 0;
    for (int k = 0; k < 4; k++)
        if (!(any >> k & 1)) memset(q[k], 0, tall * sizeof q[k][0]);
    for (int k = 0; k < 2; k++)
        if (any & 5 << k) merge_rows(q[k], q[k + 2], tall, wide); /* zeros remain zeros */
    for (int r = 0; r < height; r++) {
        int k = ((top + r) >> 1) - first, odd = (top + r) & 1;
        i32 *low = q[2 * odd][k], *high = q[2 * odd + 1][k];
        merge_columns(low, high, wide);
        low += left / 2 - left_most, high += left / 2 - left_most;
        for (int c = 0; c < width; c += 8) {
            I32x4 even = load_i32(low + c / 2), uneven = load_i32(high + c / 2);
            store_i32(out + r * stride + c, __builtin_shufflevector(even, uneven, 0, 4, 1, 5));
            store_i32(out + r * stride + c + 4, __builtin_shufflevector(even, uneven, 2, 6, 3, 7));
        }
    }
    return 1;
}

/* What is added to the prediction of a region of at most a tile, whose sides are even and whose columns may go round, if
   it is anything but zeros. */
int inverse_region(const Key *key, int plane, int top, int left, int height, int width, i32 *out) {
    return inverse_level(key, plane, 0, top, left, height, width, out, TILE);
}

/* Forward */

static void lift_rows(float *into, const float *one, const float *other, int count, float factor) {
    for (int k = 0; k < count; k++) into[k] += factor * (one[k] + other[k]);
}

static void split_row(float *row, int columns, float *low, float *high) {
    int half = columns / 2;
    for (int k = 0; k < half; k++) low[k] = row[2 * k], high[k] = row[2 * k + 1];
    for (int step = 0; step < 4; step++) {
        float factor = (float)LIFTING[step];
        if (step % 2 == 0) {
            lift_rows(high, low, low + 1, half - 1, factor);
            high[half - 1] += factor * (low[half - 1] + low[0]);
        } else {
            low[0] += factor * (high[0] + high[half - 1]);
            lift_rows(low + 1, high + 1, high, half - 1, factor);
        }
    }
    for (int k = 0; k < half; k++) row[k] = low[k] * (float)LOW_GAIN, row[half + k] = high[k] * (float)(1 / LOW_GAIN);
}

static void split_rows(float *plane, int stride, int rows, int columns, float *scratch) {
    int half = rows / 2;
    for (int step = 0; step < 4; step++)
        for (int k = 0; k < half; k++) {
            float *low = plane + 2 * k * stride, *high = low + stride, factor = (float)LIFTING[step];
            if (step % 2 == 0) lift_rows(high, low, k + 1 < half ? high + stride : low, columns, factor);
            else lift_rows(low, high, k ? low - stride : high, columns, factor);
        }
    for (int k = 0; k < half; k++)
        for (int c = 0; c < columns; c++) {
            scratch[k * columns + c] = plane[2 * k * stride + c] * (float)LOW_GAIN;
            scratch[(half + k) * columns + c] = plane[(2 * k + 1) * stride + c] * (float)(1 / LOW_GAIN);
        }
    for (int k = 0; k < rows; k++) memcpy(plane + k * stride, scratch + k * columns, columns * sizeof(float));
}

/* A plane becomes orthonormal bands, in place; `scratch` is as large. */
void forward(float *plane, int rows, int columns, int levels, float *scratch) {
    for (int level = 0; level < levels; level++) {
        int h = rows >> level, w = columns >> level;
        for (int r = 0; r < h; r++) split_row(plane + r * columns, w, scratch, scratch + w);
        split_rows(plane, columns, h, w, scratch);
    }
}
