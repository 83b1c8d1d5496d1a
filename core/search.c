/* The search for motion, which only an encoder does: vectors coarse to fine, by distortion + rate_weight * bits. */
#include "core.h"

enum {
    CANDIDATES = 16,       /* vectors that are tried first, at most */
    DESCENTS = 2 * 4 * 4,  /* vectors that are tried in steps of 4 and 2 quarter pixels, at most */
    REACH = 2 * NODE + 1,  /* pixels each way that are read of a window */
};

static const float MERGE_BITS = 5, ANY_BITS = 1e9f; /* of a vector, at most */

/* Of what the cost of a node's vectors is made. */
typedef struct {
    Strip *const *target, *const *reference;
    int row, column;         /* of the node */
    Vector base, predicted;  /* what is inherited; what coarser nodes say beside it */
    float cap, share;        /* squared errors count less from `cap` on; part that this reference has of the error */
    float rate_weight, area;
    Vector tried[CANDIDATES + DESCENTS]; /* which cost no less another time */
    int tries;
} Node;

/* Where a window's pixels lie: a copy of them, if it goes over the seam or a pole. */
static const i16 *window_at(Strip *const *picture, int top, int left, i16 *copy, int *stride) {
    *stride = layout.columns;
    if (top >= 0 && left >= 0 && top + REACH <= layout.height && left + REACH <= layout.width)
        return picture[0]->pixels[0] + top * layout.columns + left;
    fetch(picture, 0, top, left, REACH, REACH, copy, *stride = REACH);
    return copy;
}

/* Squared error of a node's window in levels^2, on every fourth pixel; large errors count less, for they will be coded.
   What lies between pixels is bilinear: good enough to choose by. Stops above the limit. */
static float distortion(const Node *n, i32 vx, i32 vy, float limit) {
    static const float across[2][NODE] = {{1, 3, 5, 7, 9, 11, 13, 15, 15, 13, 11, 9, 7, 5, 3, 1},
                                          {2, 4, 6, 8, 10, 12, 14, 16, 14, 12, 10, 8, 6, 4, 2, 0}};
    static i16 copies[2][REACH * REACH];
    int top = n->row * NODE - NODE / 2 + 1, left = n->column * NODE - NODE / 2 + 1, strides[2];
    const i16 *target = window_at(n->target, top, left, copies[0], &strides[0]);
    const i16 *reference = window_at(n->reference, top + (vy >> 2), left + (vx >> 2), copies[1], &strides[1]);
    i32 a = vx & 3, b = vy & 3; /* weights in 1/16, also of the target */
    I16x8 wanted = twice_by_turns(16, 0), upper = twice_by_turns((4 - a) * (4 - b), a * (4 - b));
    I16x8 lower = twice_by_turns((4 - a) * b, a * b);
    float total = 0;
    for (int r = 0; r < 2 * NODE; r += 2) {
        if (top + r < 0 || top + r >= layout.height) continue;
        int odd = r / 2 % 2; /* every second row begins a pixel later */
        const i16 *from = target + r * strides[0] + odd, *place = reference + r * strides[1] + odd;
        float terms[NODE], down = (float)(NODE - magnitude(r + 1 - NODE));
        for (int k = 0; k < NODE; k += 4) {
            I32x4 said = dot_pairs(load_i16(place + 2 * k), upper) + dot_pairs(load_i16(place + strides[1] + 2 * k), lower);
            I32x4 difference = said - dot_pairs(load_i16(from + 2 * k), wanted);
            F32x4 error = __builtin_convertvector(difference, F32x4) / 256;
            error *= error * n->share;
            store_f32(terms + k, error * n->cap / (error + n->cap) * down * load_f32(across[odd] + k));
        }
        for (int k = 0; k < NODE; k++) total += terms[k];
        if (total * (4.0f / (NODE * NODE)) > limit) break;
    }
    return total * (4.0f / (NODE * NODE));
}

static float bits_of(i32 value) {
    return value ? 2.6f - 2 * (COST[least(magnitude(value), 4096)] - 12) : 0.4f;
}

/* Take a vector, beside the base, if it costs less than the best, with so many bits at most. */
static int improve(Node *n, i32 x, i32 y, float most_bits, Vector *best, float *cost) {
    Vector v = {(i16)x, (i16)y};
    if (magnitude(n->base.x + x) > 32000 || magnitude(n->base.y + y) > 32000) return 0;
    for (int k = 0; k < n->tries; k++)
        if (same(n->tried[k], v)) return 0;
    n->tried[n->tries++] = v;
    float bits = bits_of(x - n->predicted.x) + bits_of(y - n->predicted.y);
    bits = n->rate_weight * (bits < most_bits ? bits : most_bits);
    if (bits >= *cost) return 0;
    float found = bits + n->area * distortion(n, n->base.x + x, n->base.y + y, (*cost - bits) / n->area);
    if (found >= *cost) return 0;
    *cost = found;
    *best = v;
    return 1;
}

/* What is added to `base` at every node. `candidates` [count][nodes] are whole vectors to be tried. */
void search(Strip *const *target, Strip *const *reference, const Vector *base, const Vector *candidates, int count, float cap,
            float rate_weight, float share, Vector *added) {
    size_t nodes = (size_t)layout.down * layout.across;
    static const int right[4] = {0, 0, -1, 1}, down[4] = {-1, 1, 0, 0};
    for (const Turn *t = layout.order; t < layout.order + layout.turns; t++) {
        int node = node_of(t);
        Node n = {.target = target, .reference = reference, .row = t->row, .column = t->column, .base = base[node]};
        Merges merges = merges_of(t, added, base);
        n.predicted = merges.mean;
        n.cap = cap, n.share = share, n.rate_weight = rate_weight;
        n.area = (float)area_of(t->row * NODE + NODE / 2, layout.rows);
        Vector best = n.tried[n.tries++] = n.predicted;
        float cost = rate_weight * 2 * bits_of(0) + n.area * distortion(&n, n.base.x + best.x, n.base.y + best.y, 1e30f);
        for (int k = 0; k < merges.count; k++)
            improve(&n, merges.of[k].vector.x, merges.of[k].vector.y, MERGE_BITS, &best, &cost);
        for (const Vector *v = candidates + node; v < candidates + count * nodes; v += nodes)
            improve(&n, v->x - n.base.x, v->y - n.base.y, ANY_BITS, &best, &cost);
        for (int stride = 4; stride > 1; stride /= 2) {
            int moved = 1;
            for (int tries = 0; moved && tries < 4; tries++) {
                Vector from = best;
                moved = 0;
                for (int k = 0; k < 4; k++)
                    moved |= improve(&n, from.x + stride * right[k], from.y + stride * down[k], ANY_BITS, &best, &cost);
            }
        }
        added[node] = best;
    }
}
