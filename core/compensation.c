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

static i32 taps[64][TAPS]; /* for every 64th of a pixel, of a sinc that fades out within 3 pixels; they sum to 64 */

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
        for (int k = 0; k < TAPS; k++) sum += taps[phase][k] = (i32)rint(64 * kernel[k] / whole);
        taps[phase][phase < 32 ? FIRST_TAP : FIRST_TAP + 1] += 64 - sum;
    }
}

static int modulo(int value, int size) {
    value %= size;
    return value < 0 ? value + size : value;
}

void on_sphere(int y, int x, int height, int width, int *row, int *column) {
    y = modulo(y, 2 * height);
    *row = y < height ? y : 2 * height - 1 - y;
    *column = modulo(y < height ? x : x + width / 2, width);
}

static i16 fetched[FETCHED * FETCHED];

/* What a vector says of a block: pixels in 1/8 of their unit. */
void shifted(const i16 *reference, int plane, Vector v, int y, int x, int h, int w, i32 *out) {
    int stride = plane_columns(plane), height = plane ? layout.height / 2 : layout.height;
    int width = plane ? layout.width / 2 : layout.width, scale = plane ? 8 : 16;
    i32 dx = v.x * scale, dy = v.y * scale;
    const i32 *tx = taps[dx & 63], *ty = taps[dy & 63];
    int y0 = y + (dy >> 6) - FIRST_TAP, x0 = x + (dx >> 6) - FIRST_TAP;
    const i16 *from = reference + y0 * stride + x0;
    if (x0 < 0 || y0 < 0 || x0 + w + TAPS > width || y0 + h + TAPS > height) {
        for (int r = 0; r < h + TAPS - 1; r++) {
            int row, column;
            on_sphere(y0 + r, x0, height, width, &row, &column);
            for (int c = 0; c < w + TAPS - 1; c++) {
                fetched[r * FETCHED + c] = reference[row * stride + column];
                if (++column == width) column = 0;
            }
        }
        from = fetched, stride = FETCHED;
    }
    /* a whole number of pixels needs no taps */
    i32 lines[FETCHED][CELL];
    for (int r = dy & 63 ? 0 : FIRST_TAP; r < (dy & 63 ? h + TAPS - 1 : h + FIRST_TAP); r++) {
        const i16 *row = from + r * stride;
        if (dx & 63)
            for (int c = 0; c < w; c++)
                lines[r][c] = (tx[0] * row[c] + tx[1] * row[c + 1] + tx[2] * row[c + 2] + tx[3] * row[c + 3] +
                               tx[4] * row[c + 4] + tx[5] * row[c + 5] + 4) >> 3;
        else
            for (int c = 0; c < w; c++) lines[r][c] = row[c + FIRST_TAP] << VALUE_BITS;
    }
    for (int r = 0; r < h; r++)
        if (dy & 63)
            for (int c = 0; c < w; c++)
                out[r * CELL + c] = (ty[0] * lines[r][c] + ty[1] * lines[r + 1][c] + ty[2] * lines[r + 2][c] +
                                     ty[3] * lines[r + 3][c] + ty[4] * lines[r + 4][c] + ty[5] * lines[r + 5][c] + 32) >> 6;
        else
            memcpy(out + r * CELL, lines[r + FIRST_TAP], w * sizeof(i32));
}

/* A part [y0, y1) x [x0, x1) of the cell whose lower right node is (i, j), blended of up to four. */
static void blend_cell(const i16 *reference, int plane, const Vector *motion, int i, int j, int y0, int x0, int y1,
                       int x1, i16 *out, int stride) {
    int node = plane ? NODE / 2 : NODE, h = y1 - y0, w = x1 - x0;
    int lines[2] = {most(i - 1, 0), least(i, layout.down - 1)}, places[2] = {modulo(j - 1, layout.across), modulo(j, layout.across)};
    Vector v[2][2];
    for (int k = 0; k < 4; k++) v[k >> 1][k & 1] = motion[lines[k >> 1] * layout.across + places[k & 1]];
    static i32 value[CELL * CELL], total[CELL * CELL];
    if (same(v[0][0], v[0][1]) && same(v[0][0], v[1][0]) && same(v[0][0], v[1][1])) {
        shifted(reference, plane, v[0][0], y0, x0, h, w, value);
        for (int r = 0; r < h; r++)
            for (int c = 0; c < w; c++)
                out[r * stride + c] = (i16)((value[r * CELL + c] + (1 << (VALUE_BITS - 1))) >> VALUE_BITS);
        return;
    }
    int rows_off = y0 - (i * node - node / 2), columns_off = x0 - (j * node - node / 2);
    int bits = VALUE_BITS + (plane ? 8 : 10); /* weights of a direction sum to 2 node */
    memset(total, 0, sizeof total);
    for (int k = 0; k < 4; k++) {
        int below = k >> 1, right = k & 1;
        shifted(reference, plane, v[below][right], y0, x0, h, w, value);
        for (int r = 0; r < h; r++) {
            i32 down = 2 * (r + rows_off) + 1;
            down = below ? down : 2 * node - down;
            for (int c = 0; c < w; c++) {
                i32 across = 2 * (c + columns_off) + 1;
                total[r * CELL + c] += value[r * CELL + c] * down * (right ? across : 2 * node - across);
            }
        }
    }
    for (int r = 0; r < h; r++)
        for (int c = 0; c < w; c++) out[r * stride + c] = (i16)((total[r * CELL + c] + (1 << (bits - 1))) >> bits);
}

/* What one reference says of a region. */
void compensate_from(const Key *key, int k, int plane, int top, int left, int height, int width, i16 *out) {
    int node = plane ? NODE / 2 : NODE;
    const i16 *reference = key->reference[k]->pixels[plane];
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
        static i16 second[64 * 64];
        compensate_from(key, 1, plane, top, left, height, width, second);
        for (size_t k = 0; k < size; k++) out[k] = (i16)((out[k] + second[k] + 1) >> 1);
    }
}
