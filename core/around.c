/* What lies around eight coefficients at once: sums of magnitudes, and grades of them. */
#include "bands.h"

/* Grades as in bands.c, of many bytes; from 15 on nothing changes. */
static const U8x16 FEW = {0, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
static const U8x16 UP_TO_6 = {0, 1, 2, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6};
static const U8x16 UP_TO_7 = {0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 7, 7, 7};
static U8x16 graded(U8x16 table, U8x16 values) {
    return look_up(table, __builtin_elementwise_min(values, (U8x16){} + 15));
}

/* Eight columns of a row of a band with two on either side: they go round the sphere; elsewhere beyond it are zeros. */
static const i16 *row_at(const Band *b, int y, int x, i16 copy[12]) {
    static const i16 nothing[12];
    if (y < 0 || y >= b->rows) return nothing + 2;
    const i16 *row = b->first + y * b->stride;
    if (x >= 2 && x + 10 <= b->columns) return row + x;
    for (int k = 0; k < 12; k++) {
        int column = x + k - 2;
        if (column < 0 && !b->is_sector) column += b->columns;
        else if (column >= b->columns && !b->is_sector) column -= b->columns;
        copy[k] = column >= 0 && column < b->columns ? row[column] : 0;
    }
    return copy + 2;
}

/* Twice the magnitudes at eight places, and those at their four sides; of no band nothing. */
static I16x8 cross(const Band *b, int y, int x) {
    i16 copies[3][12];
    if (!b->rows) return (I16x8){0};
    const i16 *here = row_at(b, y, x, copies[0]);
    const i16 *up = row_at(b, y - 1, x, copies[1]), *down = row_at(b, y + 1, x, copies[2]);
    return 2 * sizes(here) + sizes(here - 1) + sizes(here + 1) + sizes(up) + sizes(down);
}

/* The same of what a reference has where the motion of the block's middle leads. */
static I16x8 moved_cross(const Coded *b, const Band *band, const Vector *motion, int i, int j) {
    if (!band->rows) return (I16x8){0};
    int row = least((((i & -BLOCK) + BLOCK / 2 + b->top) << b->halvings) / NODE, layout.down - 1);
    int column = least(((j + BLOCK / 2 + b->left) << b->halvings) / NODE, layout.across - 1), quarters = b->halvings + 2;
    Vector v = motion[row / b->apart * b->apart * layout.across + column / b->apart * b->apart];
    i32 half = 1 << (quarters - 1), down = (v.y + half) >> quarters, right = (v.x + half) >> quarters;
    int x = band->is_sector ? clamp(j + right, -2 * BLOCK, band->columns + BLOCK) : modulo(j + right, band->columns);
    return cross(band, i + down, x);
}

static I16x8 doubled(I16x8 values) { return low_by_turns(values, values); }
static void put_bytes(u8 *to, U8x16 values) { memcpy(to, &values, BLOCK); }
static void put(i16 *to, I16x8 values) { memcpy(to, &values, sizeof values); }
static U8x16 upper_half(U8x16 values) {
    return __builtin_shufflevector(values, values, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
}

void look_around(const Coded *b, int i, int j, Around *a) {
    i16 copies[3][12];
    const i16 *up = row_at(&b->band, i - 1, j, copies[0]), *upper = row_at(&b->band, i - 2, j, copies[1]);
    I16x8 north = sizes(up), north2 = sizes(upper), corners = sizes(up - 1) + sizes(up + 1), near = 2 * north + corners;
    I16x8 beyond = sizes(upper - 1) + sizes(upper + 1) + sizes(up - 2) + sizes(up + 2);
    I16x8 along = b->orientation == 1 ? 2 * north + north2 : b->orientation == 2 ? north : north + corners;
    I16x8 above = {0}, wide = doubled(cross(&b->parent, i / 2, j / 2));
    if (b->parent.rows) above = doubled(sizes(row_at(&b->parent, i / 2, j / 2, copies[2])));
    I16x8 other = cross(&b->siblings[0], i, j) + cross(&b->siblings[1], i, j) + cross(&b->luma, i, j);
    I16x8 time = moved_cross(b, &b->before, b->motion[0], i, j) + moved_cross(b, &b->behind, b->motion[1], i, j);
    put(a->north, north), put(a->near, near), put(a->along, along), put(a->far, north2 + corners + beyond);
    put(a->total, near + along + wide + other + time);
    U8x16 elsewhere = narrow_bytes(other, wide), in_time = graded(UP_TO_7, narrow_bytes(time, time + above));
    U8x16 few_above = narrow_bytes((time + wide) >> 1, above), grades = graded(UP_TO_7, elsewhere);
    put_bytes(a->other6, graded(UP_TO_6, elsewhere)), put_bytes(a->other7, grades), put_bytes(a->parent, upper_half(grades));
    put_bytes(a->time, in_time), put_bytes(a->time_and_above, upper_half(in_time));
    put_bytes(a->mixer, graded(FEW, few_above));
    put_bytes(a->above, __builtin_elementwise_min(upper_half(few_above), (U8x16){} + 4));
}
