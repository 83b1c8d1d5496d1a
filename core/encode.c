/* A key is written: its motion is searched for, and what is left becomes bands. Closed loop: what is predicted from is
   what a decoder has. */
#include "core.h"

static float *source[PLANES], *coefficients[PLANES], *scratch; /* source in 1/16 of a level, coefficients in steps */

/* The picture RGB [height, width, 3] of the next key: orthonormal brightness, and two differences of colours at half
   the resolution. */
void EXPORT(set_source)(const u8 *rgb) {
    if (!scratch) {
        for (int plane = 0; plane < PLANES; plane++) {
            source[plane] = allocate(plane_size(plane) * sizeof(float));
            coefficients[plane] = allocate(plane_size(plane) * sizeof(float));
        }
        scratch = allocate(plane_size(0) * sizeof(float));
    }
    for (int plane = 1; plane < PLANES; plane++) memset(source[plane], 0, plane_size(plane) * sizeof(float));
    for (int y = 0; y < layout.rows; y++)
        for (int x = 0; x < layout.columns; x++) {
            const u8 *p = rgb + 3 * ((size_t)least(y, layout.height - 1) * layout.width + least(x, layout.width - 1));
            float r = p[0] - 128.0f, g = p[1] - 128.0f, b = p[2] - 128.0f;
            size_t half = (size_t)(y / 2) * (layout.columns / 2) + x / 2;
            source[0][(size_t)y * layout.columns + x] = rintf((r + g + b) * (16 / SQRT3));
            source[1][half] += (r - b) * (4 / SQRT2);
            source[2][half] += (r - 2 * g + b) * (4 / SQRT6);
        }
    for (int plane = 1; plane < PLANES; plane++)
        for (size_t n = 0; n < plane_size(plane); n++) source[plane][n] = rintf(source[plane][n]);
}

/* Where the motion to a reference begins: what is inherited, and what the first reference's says of the second. */
static void base_of(const Key *key, int k, Vector *const inherited[2], const Vector *added, Vector *base) {
    memcpy(base, inherited[k], (size_t)layout.down * layout.across * sizeof(Vector));
    if (k) mirror_motion(key, nodes_of(0), added, base);
}

/* What is to be predicted by one of two references: what the other leaves of twice the picture. */
static void rest_of(const Key *key, int k, i16 *rest) {
    static i16 said[TILE * TILE];
    for (int top = 0; top < layout.rows; top += TILE)
        for (int left = 0; left < layout.columns; left += TILE) {
            int height = least(TILE, layout.rows - top), width = least(TILE, layout.columns - left);
            compensate_from(key, 1 - k, 0, top, left, height, width, said);
            for (int r = 0; r < height; r++)
                for (int c = 0; c < width; c++) {
                    size_t at = (size_t)(top + r) * layout.columns + left + c;
                    rest[at] = (i16)(2 * (i32)source[0][at] - said[r * width + c]);
                }
        }
}

/* Motion to every reference is searched for alone, then refined, with two references each beside the other. */
static void search_motion(Key *key, float rate_weight, float motion_weight, const Vector *candidates, int count) {
    static Strip wanted;
    static u8 *moved[2];
    size_t nodes = (size_t)layout.down * layout.across;
    Vector *inherited[2] = {field_number(0), field_number(1)}, *base = field_number(2), **added = key->added;
    float squared = key->step * key->step / 256.0f;
    if (!wanted.pixels[0]) {
        wanted.pixels[0] = allocate(plane_size(0) * sizeof(i16));
        moved[0] = allocate(nodes), moved[1] = allocate(nodes);
    }
    i16 *target = wanted.pixels[0];
    inherit_motion(key, nodes_of(0), inherited);
    for (size_t n = 0; n < plane_size(0); n++) target[n] = (i16)source[0][n];
    for (int k = 0; k < key->references; k++) {
        base_of(key, k, inherited, added[0], base);
        search(&(Strip *){&wanted}, key->reference[k]->strips, base, candidates + (size_t)k * count * nodes, count, 4 * squared,
               motion_weight * squared, 1.0f / key->references, added[k]);
        for (size_t n = 0; n < nodes; n++) key->motion[k][n] = vector_sum(base[n], added[k][n]);
    }
    for (int k = 0; k < key->references; k++) {
        if (key->references == 2) rest_of(key, k, target);
        base_of(key, k, inherited, added[0], base);
        for (size_t n = 0; n < nodes; n++) added[k][n] = vector_less(key->motion[k][n], base[n]);
        refine(target, &(Field){key, k, base, added[k], moved, rate_weight, key->references == 2 ? 0.25f : 1.0f});
        for (size_t n = 0; n < nodes; n++) key->motion[k][n] = vector_sum(base[n], added[k][n]);
    }
}

/* What the prediction leaves of a plane, as bands in steps of the quantiser. */
static void transform_residual(const Key *key, int plane) {
    static i16 predicted[TILE * TILE];
    int size = plane ? TILE / 2 : TILE, rows = plane_rows(plane), columns = plane_columns(plane);
    float *residual = coefficients[plane];
    for (int top = 0; top < rows; top += size)
        for (int left = 0; left < columns; left += size) {
            int height = least(size, rows - top), width = least(size, columns - left);
            compensate(key, plane, top, left, height, width, predicted);
            for (int r = 0; r < height; r++)
                for (int c = 0; c < width; c++) {
                    size_t at = (size_t)(top + r) * columns + left + c;
                    residual[at] = (source[plane][at] - predicted[r * width + c]) / 16;
                }
        }
    forward(residual, rows, columns, plane_levels(plane), scratch);
    for (int level = plane_levels(plane); level > 0; level--) {
        int h = rows >> level, w = columns >> level;
        for (int r = 0; r < 2 * h; r++) {
            float per_step = 1 / band_step(key->step, plane, level, r < h ? r : r - h);
            float *row = residual + (size_t)r * columns;
            for (int c = r < h && level < plane_levels(plane) ? w : 0; c < 2 * w; c++) row[c] *= per_step;
        }
    }
}

/* Whether a sector that was coded is worth its bytes, and that of its length. Motion beside the mean is. */
static int is_worth(const Key *key, int sector, u32 length, float rate_weight) {
    for (int n = layout.firsts[sector + 1]; n < layout.firsts[sector + 2]; n++)
        for (int k = 0; k < key->references; k++)
            if (key->moved_by[k][node_of(&layout.order[n])]) return 1;
    return gain_of_part(key, sector + 1, coefficients) > 8 * rate_weight * (length + 1);
}

/* Write the sectors of a key, one behind the other. */
static void write_sectors(Key *key, float rate_weight, u8 *data, u32 length, u32 *lengths) {
    for (int sector = 0; sector < sectors(); sector++) {
        Stream s;
        Contexts *c = sector_contexts(key);
        begin_writing(&s, data, length);
        code_motion(&s, c, key, sector + 1);
        code_bands(&s, c, key, sector + 1, coefficients, rate_weight);
        lengths[sector] = end_writing(&s);
        if (!is_worth(key, sector, lengths[sector], rate_weight)) {
            clear_part(key, sector + 1);
            lengths[sector] = 0;
        }
        data += lengths[sector], length -= lengths[sector];
        key->known[sector] = 1;
    }
}

/* Write a key, or its base; returns its bytes. `candidates` [references][count][nodes] are vectors to try. Sectors are
   written to `fine`, where they have as much room, `length`, and their `lengths` are filled in. */
u32 EXPORT(encode_key)(int slot, int frame, int level, int first, int second, int step, float rate_weight,
                       float motion_weight, const Vector *candidates, int count, u32 length, u8 *data, u8 *fine,
                       u32 *lengths) {
    Key *key = fresh_key(slot, frame, level, first, second, step);
    Stream s;
    begin_writing(&s, data, length);
    search_motion(key, rate_weight, motion_weight, candidates, count);
    code_motion(&s, key->contexts, key, 0);
    for (int plane = 0; plane < PLANES; plane++) transform_residual(key, plane);
    code_bands(&s, key->contexts, key, 0, coefficients, rate_weight);
    write_sectors(key, rate_weight, fine, length, lengths);
    for (int i = 0; i < tiles_down(); i++)
        for (int j = 0; j < tiles_across(); j++) {
            paint_tile(key, i, j);
            key->filter[i * tiles_across() + j] = (u8)best_filter(key, i, j, source[0], rate_weight);
        }
    code_filters(&s, key->contexts, key);
    return end_writing(&s);
}
