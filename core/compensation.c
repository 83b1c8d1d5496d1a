/* Overlapped block motion compensation: every node's window is shifted by its vector, and fades linearly into its
   neighbours'. Between four nodes lies a cell, whose prediction blends what the four vectors say of it.

   Columns go round the sphere; beyond a pole a row is its mirror, half a turn on.
*/
#include "core.h"

enum {
    CELL = NODE,
    VALUE_BITS = 3, /* of what is blended, below those of pixels */
    TAPS = 6,
    FIRST_TAP = TAPS / 2 - 1, /* pixels before a place, at which its taps begin */
    FETCHED = CELL + TAPS - 1,
};

static i16 taps[64][TAPS]; /* for every 64th of a pixel, of a sinc that fades out within 3 pixels; they sum to 64 */

/* Sine of pi x, by its series; a sum of products in a fixed order, so every machine makes the same. */
static double sine(double x) {
    double angle = 3.141592653589793 * x, power = angle, sum = angle;
    for (int k = 2; k < 40; k += 2) sum += power *= -angle * angle / (k * (k + 1));
    return sum;
}

static double sinc(double x) { return x ? sine(x) / (3.141592653589793 * x) : 1; }

void make_taps(void) {
    for (int phase = 0; phase < 64; phase++) {
        double kernel[TAPS], whole = 0;
        for (int k = 0; k < TAPS; k++) {
            double x = phase / 64.0 + FIRST_TAP - k;
            whole += kernel[k] = sinc(x) * sinc(x / (TAPS / 2));
        }
        i32 sum = 0;
        for (int k = 0; k < TAPS; k++) sum += taps[phase][k] = (i16)rint(64 * kernel[k] / whole);
        taps[phase][phase < 32 ? FIRST_TAP : FIRST_TAP + 1] += (i16)(64 - sum);
    }
}

/* Where a row and a column that may lie beyond a pole or the seam are found. */
void on_sphere(int y, int x, int height, int width, int *row, int *column) {
    y = modulo(y, 2 * height);
    *row = y < height ? y : 2 * height - 1 - y;
    *column = modulo(y < height ? x : x + width / 2, width);
}

/* Rows of a block shifted along x, from the first pixel that taps meet: 1/8 of their unit. Eight columns are made at a
   time, whose pixels meet taps in pairs. */
static void along_rows(const i16 *from, int stride, int rows, int w, const i16 *tap, i32 *out) {
    I16x8 pairs[TAPS / 2];
    for (int k = 0; k < TAPS / 2; k++) pairs[k] = twice_by_turns(tap[2 * k], tap[2 * k + 1]);
    for (int r = 0; r < rows; r++, from += stride, out += CELL)
        for (int c = 0; c < w; c += 8) {
            I32x4 low = splat(4), high = low;
            for (int k = 0; k < TAPS / 2; k++) {
                I16x8 even = load_i16(from + c + 2 * k), odd = load_i16(from + c + 2 * k + 1);
                low += dot_pairs(low_by_turns(even, odd), pairs[k]);
                high += dot_pairs(high_by_turns(even, odd), pairs[k]);
            }
            store_i32(out + c, low >> 3);
            store_i32(out + c + 4, high >> 3);
        }
}

/* The same along y, of lines that are TAPS - 1 more than rows. */
static void along_columns(const i32 *lines, int rows, int w, const i16 *tap, i32 *out) {
    for (int c = 0; c < w; c += 4) {
        I32x4 held[TAPS];
        for (int k = 1; k < TAPS; k++) held[k] = load_i32(lines + (k - 1) * CELL + c);
        for (int r = 0; r < rows; r++) {
            for (int k = 1; k < TAPS; k++) held[k - 1] = held[k];
            held[TAPS - 1] = load_i32(lines + (r + TAPS - 1) * CELL + c);
            I32x4 sum = splat(32);
            for (int k = 0; k < TAPS; k++) sum += held[k] * splat(tap[k]);
            store_i32(out + r * CELL + c, sum >> 6);
        }
    }
}

/* A region of a plane, over the seam and the poles. */
void fetch(Strip *const *from, int plane, int top, int left, int rows, int columns, i16 *out, int stride) {
    int width = plane_width(plane), together = strip_width(plane);
    for (int r = 0; r < rows; r++, out += stride) {
        int row, column;
        on_sphere(top + r, left, plane_height(plane), width, &row, &column);
        for (int c = 0, run; c < columns; c += run) {
            const i16 *line = pixel_at(from, plane, row, column);
            int k = 0;
            run = least(columns - c, least(width - column, together - column % together));
            for (; k + 8 <= run; k += 8) memcpy(out + c + k, line + k, sizeof(I16x8));
            for (; k < run; k++) out[c + k] = line[k];
            column = column + run < width ? column + run : 0;
        }
    }
}

/* What a vector says of a block: pixels in 1/8 of their unit, a whole number of eight columns. */
void shifted(Strip *const *reference, int plane, Vector v, int y, int x, int h, int w, i32 *out) {
    static i16 fetched[FETCHED * FETCHED];
    static i32 lines[FETCHED * CELL];
    int stride = strip_width(plane), scale = plane ? 8 : 16, wide = (w + 7) & ~7;
    i32 dx = v.x * scale, dy = v.y * scale;
    int y0 = y + (dy >> 6) - FIRST_TAP, x0 = x + (dx >> 6) - FIRST_TAP;
    int inside = x0 >= 0 && y0 >= 0 && x0 + wide + TAPS <= plane_width(plane) && y0 + h + TAPS <= plane_height(plane);
    const i16 *from = fetched;
    if (inside && x0 % stride + wide + TAPS <= stride)
        from = pixel_at(reference, plane, y0, x0);
    else
        fetch(reference, plane, y0, x0, h + TAPS - 1, wide + TAPS - 1, fetched, stride = FETCHED);
    /* a whole number of pixels needs no taps */
    int rows = h + (dy & 63 ? TAPS - 1 : 0);
    i32 *between = dy & 63 ? lines : out;
    if (!(dy & 63)) from += FIRST_TAP * stride;
    if (dx & 63)
        along_rows(from, stride, rows, w, taps[dx & 63], between);
    else
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < wide; c++) between[r * CELL + c] = from[r * stride + c + FIRST_TAP] << VALUE_BITS;
    if (dy & 63) along_columns(lines, h, w, taps[dy & 63], out);
}

/* A part [y0, y1) x [x0, x1) of the cell whose lower right node is (i, j), blended of up to four. Columns go by fours. */
static void blend_cell(Strip *const *reference, int plane, const Vector *motion, int i, int j, int y0, int x0, int y1,
                       int x1, i16 *out, int stride) {
    static i32 values[4][CELL * CELL];
    const i32 *said[4];
    int node = plane ? NODE / 2 : NODE, h = y1 - y0, w = x1 - x0;
    int lines[2] = {most(i - 1, 0), least(i, layout.down - 1)};
    int places[2] = {modulo(j - 1, layout.across), modulo(j, layout.across)};
    Vector v[4];
    for (int k = 0; k < 4; k++) {
        v[k] = motion[lines[k >> 1] * layout.across + places[k & 1]];
        int first = 0;
        while (!same(v[first], v[k])) first++;
        said[k] = values[first];
        if (first == k) shifted(reference, plane, v[k], y0, x0, h, w, values[k]);
    }
    /* weights of a direction sum to 2 node */
    int bits = VALUE_BITS + (plane ? 8 : 10);
    for (int r = 0; r < h; r++)
        for (int c = 0; c < w; c += 4) {
            int at = r * CELL + c;
            I32x4 below = splat(2 * (y0 + r - (i * node - node / 2)) + 1), above = 2 * node - below;
            I32x4 right = splat(2 * (x0 + c - (j * node - node / 2)) + 1) + (I32x4){0, 2, 4, 6}, left = 2 * node - right;
            I32x4 upper = load_i32(said[0] + at) * left + load_i32(said[1] + at) * right;
            I32x4 lower = load_i32(said[2] + at) * left + load_i32(said[3] + at) * right;
            store_i16(out + r * stride + c, (upper * above + lower * below + (1 << (bits - 1))) >> bits);
        }
}

/* What one reference says of a region. */
void compensate_from(const Key *key, int k, int plane, int top, int left, int height, int width, i16 *out) {
    int node = plane ? NODE / 2 : NODE;
    Strip *const *reference = key->reference[k]->strips;
    for (int i = (top + node / 2) / node; i * node - node / 2 < top + height; i++)
        for (int j = (left + node / 2) / node; j * node - node / 2 < left + width; j++) {
            int y0 = most(i * node - node / 2, top), y1 = least((i + 1) * node - node / 2, top + height);
            int x0 = most(j * node - node / 2, left), x1 = least((j + 1) * node - node / 2, left + width);
            blend_cell(reference, plane, key->motion[k], i, j, y0, x0, y1, x1, out + (y0 - top) * width + x0 - left, width);
        }
}

/* Prediction of a region of a plane: of one reference, or the mean of two; nothing for a root. */
void compensate(const Key *key, int plane, int top, int left, int height, int width, i16 *out) {
    size_t size = (size_t)height * width;
    if (!key->references) memset(out, 0, size * sizeof(i16));
    if (key->references) compensate_from(key, 0, plane, top, left, height, width, out);
    if (key->references == 2) {
        static i16 second[TILE * TILE];
        compensate_from(key, 1, plane, top, left, height, width, second);
        for (size_t k = 0; k < size; k++) out[k] = (i16)((out[k] + second[k] + 1) >> 1);
    }
}
