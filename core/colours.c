/* A key's picture in red, green and blue: colour differences are enlarged bilinearly. Eight pixels are made at a time. */
#include "core.h"

/* Of columns [first, end) of a plane of colour differences, which go round: three parts of the row that a row of the
   panorama lies in, and one of the row beside it. */
static void blend_rows(Strip *const *strips, int plane, int y, int first, int end, i32 *out) {
    int columns = plane_columns(plane), together = strip_width(plane), row = y >> 1;
    int beside = clamp(row + (y & 1 ? 1 : -1), 0, plane_rows(plane) - 1);
    for (int c = first, run; c < end; c += run, out += run) {
        int column = modulo(c, columns);
        const i16 *a = pixel_at(strips, plane, row, column), *b = pixel_at(strips, plane, beside, column);
        run = least(end - c, least(columns - column, together - column % together));
        for (int k = 0; k < run; k++) out[k] = 3 * a[k] + b[k];
    }
}

/* Eight pixels of a difference out of four columns of both rows, and those beside them; in 1/16 of its unit. */
static void blend_columns(const i32 *blended, F32x4 out[2]) {
    I32x4 here = 3 * load_i32(blended), even = here + load_i32(blended - 1), odd = here + load_i32(blended + 1);
    out[0] = __builtin_convertvector(__builtin_shufflevector(even, odd, 0, 4, 1, 5), F32x4);
    out[1] = __builtin_convertvector(__builtin_shufflevector(even, odd, 2, 6, 3, 7), F32x4);
}

/* Whole levels of eight numbers; of those below 0 it only matters that they do not come to more. */
static I16x8 levels(const F32x4 numbers[2]) {
    return narrow(__builtin_convertvector(numbers[0], I32x4), __builtin_convertvector(numbers[1], I32x4));
}

/* RGB of columns [first, end) of a row, multiples of 8, in one strip; eight bytes more are written. */
void colour_row(Strip *const *strips, int y, int first, int end, u8 *out) {
    static i32 *blended[2];
    const i16 *row = pixel_at(strips, 0, y, first) - first;
    for (int k = 0; k < 2; k++) {
        if (!blended[k]) blended[k] = allocate((layout.columns / 2 + 2) * sizeof(i32));
        blend_rows(strips, k + 1, y, first / 2 - 1, end / 2 + 1, blended[k]);
    }
    for (int x = first; x < end; x += 8, out += 24) {
        F32x4 differences[2][2], red[2], green[2], blue[2];
        for (int k = 0; k < 2; k++) blend_columns(blended[k] + 1 + (x - first) / 2, differences[k]);
        for (int k = 0; k < 2; k++) {
            F32x4 luma = __builtin_convertvector(widened(row + x + 4 * k), F32x4) / (16 * SQRT3) + 128.5f;
            F32x4 red_blue = differences[0][k] / (256 * SQRT2), greens = differences[1][k] / (256 * SQRT6);
            red[k] = luma + red_blue + greens, green[k] = luma - 2 * greens, blue[k] = luma - red_blue + greens;
        }
        U8x16 rg = narrow_bytes(levels(red), levels(green)), b = narrow_bytes(levels(blue), levels(blue));
        U8x16 head = __builtin_shufflevector(rg, b, 0, 8, 16, 1, 9, 17, 2, 10, 18, 3, 11, 19, 4, 12, 20, 5);
        U8x16 tail = __builtin_shufflevector(rg, b, 13, 21, 6, 14, 22, 7, 15, 23, 0, 0, 0, 0, 0, 0, 0, 0);
        memcpy(out, &head, sizeof head);
        memcpy(out + sizeof head, &tail, sizeof tail);
    }
}
