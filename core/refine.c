/* Vectors are refined, which only an encoder does: one node after the other, by what the blend of all windows leaves to
   be coded, and by the bits that motion asks.

   What is left within a window is transformed in patches (Hadamard), whose coefficients cost about as those of bands
   do: small ones their square, large ones little more than a few bits.
*/
#include "core.h"

enum {
    SPAN = 2 * NODE,
    PATCH = 8,
    PATCHES = SPAN / PATCH * SPAN / PATCH,
    UNIT = 8, /* of what `shifted` says in that of pixels */
    PASSES = 2,
    AFFECTED = 48,
    TRIES = 5 + MERGES + 2 * 3 * 4, /* the mean, neighbours, merges, steps */
};
static const float KNEE = 1.5f;   /* squared steps: what a coefficient costs at most */
static const float HOPED = 0.95f; /* of what patches cost with the best vector, which another's may come down to */

/* What a vector says of a window, as far as it was asked. */
typedef struct {
    int quarters;
    i32 of[PATCHES / 4][NODE * NODE];
    float rest[PATCHES + 1]; /* what patches from the k-th on cost */
} Said;

/* A node whose vector is sought, and what its choice depends on. */
typedef struct {
    const Field *field;
    const Turn *turn;
    float per_step;                 /* squared steps in a squared coefficient of a patch */
    float down[SPAN], across[SPAN]; /* how its window fades */
    Said *best, *tried;             /* by its vector, and by another */
    Vector seen[TRIES];             /* what was tried, which costs no less another time */
    int tries;
    float around;                   /* what bits of others cost with its vector */
} Window;

static float *left; /* what the blend leaves of the target */
static const Turn **turn_of;
static u8 *changed_in; /* pass in which a node's vector changed last */

static Window window_of(const Field *f, const Turn *t) {
    static Said said[2];
    Window w = {.field = f, .turn = t, .best = &said[0], .tried = &said[1]};
    w.best->quarters = 0;
    double area = area_of(t->row * NODE + NODE / 2, layout.rows), step = f->key->step;
    w.per_step = (float)(area * f->share / (UNIT * UNIT * PATCH * PATCH * step * step));
    for (int k = 0; k < SPAN; k++) {
        int outside = k < NODE ? t->row == 0 : t->row == layout.down - 1;
        w.across[k] = (float)(k < NODE ? 2 * k + 1 : 2 * (SPAN - k) - 1) / SPAN;
        w.down[k] = outside ? 1 : w.across[k];
    }
    return w;
}

/* What the node's vector says of a quarter of the window; quarters are asked one after the other. */
static const i32 *quarter(const Window *w, Said *said, int number) {
    const Field *f = w->field;
    const Turn *t = w->turn;
    Vector v = vector_sum(f->base[node_of(t)], f->added[node_of(t)]);
    for (int k = said->quarters; k <= number; k++) {
        int y = t->row * NODE - NODE / 2 + k / 2 * NODE, x = t->column * NODE - NODE / 2 + k % 2 * NODE;
        shifted(f->key->reference[f->k]->strips, 0, v, y, x, NODE, NODE, said->of[k]);
        said->quarters = k + 1;
    }
    return said->of[number];
}

/* The vector's part in the blend, of four columns. */
static inline F32x4 part_of(const Window *w, const i32 said[NODE * NODE], int r, int c) {
    F32x4 values = __builtin_convertvector(load_i32(said + r % NODE * NODE + c % NODE), F32x4);
    return w->down[r] * load_f32(w->across + c) * values;
}

/* The k-th patch of a window, quarter by quarter: where it lies in the plane, or -1, and in the window. */
static i32 patch_at(const Turn *t, int k, int *r, int *c) {
    *r = k / 8 * NODE + k / 2 % 2 * PATCH, *c = k / 4 % 2 * NODE + k % 2 * PATCH;
    int y = t->row * NODE - NODE / 2 + *r, x = t->column * NODE - NODE / 2 + *c;
    if (y < 0 || y >= layout.rows) return -1;
    return y * layout.columns + (x < 0 ? x + layout.columns : x >= layout.columns ? x - layout.columns : x);
}

/* Take the node's part out of the blend, or put it back. */
static void blend(const Window *w, float sign) {
    for (int k = 0; k < PATCHES; k++) {
        int r, c;
        i32 at = patch_at(w->turn, k, &r, &c);
        if (at < 0) continue;
        const i32 *said = quarter(w, w->best, k / 4);
        for (int i = 0; i < PATCH; i++)
            for (int j = 0; j < PATCH; j += 4) {
                float *place = left + at + i * layout.columns + j;
                store_f32(place, load_f32(place) + sign * part_of(w, said, r + i, c + j));
            }
    }
}

typedef F32x4 Half[PATCH]; /* a half of a patch: rows of four */

static inline void butterflies(Half x) {
    for (int half = 1; half < PATCH; half *= 2)
        for (int k = 0; k < PATCH; k++) {
            if (k & half) continue;
            F32x4 a = x[k], b = x[k + half];
            x[k] = a + b, x[k + half] = a - b;
        }
}

/* Four rows become columns. */
static inline void transpose(const F32x4 x[4], F32x4 turned[4]) {
    F32x4 ab = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), cd = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    turned[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5), turned[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    ab = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7), cd = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    turned[2] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5), turned[3] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/* Of a patch in two strips. */
static float patch_cost(Half left_half, Half right_half, float per_step) {
    float total = 0;
    butterflies(left_half);
    butterflies(right_half);
    for (int r = 0; r < PATCH; r += 4) {
        Half turned;
        F32x4 sums = {0};
        transpose(left_half + r, turned);
        transpose(right_half + r, turned + 4);
        butterflies(turned);
        for (int k = 0; k < PATCH; k++) {
            F32x4 squared = turned[k] * turned[k] * per_step;
            sums += squared * KNEE / (squared + KNEE);
        }
        for (int k = 0; k < 4; k++) total += sums[k];
    }
    return total;
}

/* Of what is left with the node's vector, while its part is not in the blend; patches go quarter by quarter. Stops once
   the best vector's patches, where they are still to come, leave no hope for the limit. */
static float window_cost(const Window *w, Said *known, float limit) {
    Half rest[2];
    float total = 0;
    for (int k = 0; k < PATCHES; k++) {
        int r, c;
        i32 at = patch_at(w->turn, k, &r, &c);
        known->rest[k] = total;
        if (at < 0) continue;
        const i32 *said = quarter(w, known, k / 4);
        for (int i = 0; i < PATCH; i++)
            for (int j = 0; j < PATCH; j += 4)
                rest[j / 4][i] = load_f32(left + at + i * layout.columns + j) - part_of(w, said, r + i, c + j);
        total += patch_cost(rest[0], rest[1], w->per_step);
        if (known != w->best && total + HOPED * w->best->rest[k + 1] > limit) return total + w->best->rest[k + 1];
    }
    for (int k = 0; k < PATCHES; k++) known->rest[k] = total - known->rest[k];
    known->rest[PATCHES] = 0;
    return total;
}

/* The node, and all whose vectors are predicted from it; returns how many. */
static int affected(const Turn *t, const Turn *found[AFFECTED]) {
    int count = 1;
    found[0] = t;
    for (int d = t->kind == 1 ? t->distance : t->distance / 2; d; d /= 2)
        for (int a = -1; a < 2; a++)
            for (int b = -1; b < 2; b++) {
                int i = t->row + a * d, j = t->column + b * d;
                if ((!a && !b) || (d == t->distance && a && b)) continue;
                if (i < 0 || j < 0 || i >= layout.down || j >= layout.across) continue;
                found[count++] = turn_of[i * layout.across + j];
            }
    return count;
}

/* Bits of the vector of a node. */
static float bits_of(const Window *w, const Turn *t) {
    const Field *f = w->field;
    return f->rate_weight * motion_bits(f->key, f->k, t, f->moved, f->added, f->base);
}

/* Bits of all that are predicted from the node's vector. */
static float bits_around(const Window *w) {
    const Turn *found[AFFECTED];
    float bits = 0;
    for (int n = affected(w->turn, found) - 1; n > 0; n--) bits += bits_of(w, found[n]);
    return bits;
}

static void note(const Field *f, const Turn *t) {
    f->moved[f->k][node_of(t)] = (u8)least(255, distance(f->added[node_of(t)], interpolated(f->added, t)));
}

static int was_tried(Window *w, Vector v) {
    for (int k = 0; k < w->tries; k++)
        if (same(w->seen[k], v)) return 1;
    w->seen[w->tries++] = v;
    return 0;
}

/* Take a vector if it costs less. What bits of others cost is dear to ask: it counts as before until all else is cheap. */
static int improve(Window *w, i32 x, i32 y, float *cost) {
    int node = node_of(w->turn);
    Vector *here = &w->field->added[node], before = *here, base = w->field->base[node], v = {(i16)x, (i16)y};
    if (magnitude(base.x + x) > 32000 || magnitude(base.y + y) > 32000 || same(v, before) || was_tried(w, v)) return 0;
    *here = v;
    w->tried->quarters = 0;
    float found = bits_of(w, w->turn), around = w->around;
    if (found + around < *cost) found += window_cost(w, w->tried, *cost - around - found);
    if (found + around < *cost) around = bits_around(w);
    if (found + around >= *cost) {
        *here = before;
        return 0;
    }
    *cost = found + around;
    w->around = around;
    Said *worse = w->best;
    w->best = w->tried, w->tried = worse;
    const Turn *changed[AFFECTED];
    for (int n = affected(w->turn, changed) - 1; n >= 0; n--) note(w->field, changed[n]);
    return 1;
}

/* Vectors nearby, then steps of up to so many quarter pixels. Says whether the node's changed. */
static int refine_node(Window *w, int widest) {
    static const int right[4] = {0, 0, -1, 1}, down[4] = {-1, 1, 0, 0};
    const Turn *t = w->turn;
    Vector *added = w->field->added, *here = &added[node_of(t)], before = *here;
    blend(w, 1);
    w->around = bits_around(w);
    float cost = bits_of(w, t) + w->around + window_cost(w, w->best, 1e30f);
    Merges merges = merges_of(t, added, w->field->base);
    improve(w, merges.mean.x, merges.mean.y, &cost);
    for (int k = 0; k < 4; k++) {
        int i = clamp(t->row + down[k], 0, layout.down - 1), j = (t->column + right[k] + layout.across) % layout.across;
        Vector beside = added[i * layout.across + j];
        int known = same(beside, merges.mean) || find_merge(&merges, beside) < merges.count;
        if (!known) improve(w, beside.x, beside.y, &cost);
    }
    for (int k = 0; k < merges.count; k++) improve(w, merges.of[k].vector.x, merges.of[k].vector.y, &cost);
    for (int stride = widest; stride; stride /= 2)
        for (int moved = 1, tries = 0; moved && tries < 3; tries++) {
            Vector from = *here;
            moved = 0;
            for (int k = 0; k < 4; k++)
                moved |= improve(w, from.x + stride * right[k], from.y + stride * down[k], &cost);
        }
    blend(w, -1);
    return !same(*here, before);
}

/* Whether a node's vector or one beside it has changed since the pass before. */
static int lively(const Turn *t, int pass) {
    for (int k = 0; k < 9; k++) {
        int i = clamp(t->row + k / 3 - 1, 0, layout.down - 1);
        int j = (t->column + k % 3 - 1 + layout.across) % layout.across;
        if (changed_in[i * layout.across + j] >= pass - 1) return 1;
    }
    return 0;
}

void refine(const i16 *target, const Field *f) {
    size_t nodes = (size_t)layout.down * layout.across;
    if (!left) {
        left = allocate(plane_size(0) * sizeof(float));
        turn_of = allocate(nodes * sizeof(Turn *));
        changed_in = allocate(nodes);
    }
    memset(changed_in, 0, nodes);
    for (size_t n = 0; n < plane_size(0); n++) left[n] = UNIT * target[n];
    for (const Turn *t = layout.order; t < layout.order + layout.turns; t++) {
        Window w = window_of(f, t);
        turn_of[node_of(t)] = t;
        note(f, t);
        blend(&w, -1);
    }
    for (int pass = 1; pass <= PASSES; pass++)
        for (const Turn *t = layout.order; t < layout.order + layout.turns; t++) {
            Window w = window_of(f, t);
            if (lively(t, pass) && refine_node(&w, pass == 1 ? 2 : 1)) changed_in[node_of(t)] = (u8)pass;
        }
}
