/* The search for motion, which only an encoder does: vectors coarse to fine, by distortion + rate_weight * bits. */
#include "core.h"

enum { CANDIDATES = 16 };

/* Of what the cost of a node's vectors is made. */
typedef struct {
    const i16 *target, *reference;
    int row, column;         /* of the node */
    Vector base, predicted;  /* what is inherited; what coarser nodes say beside it */
    float cap, share;        /* squared errors count less from `cap` on; part that this reference has of the error */
    float rate_weight, area;
} Node;

/* Bilinear at quarter pixels, times 16: good enough to choose by. */
static i32 sample(const i16 *reference, i32 fx, i32 fy) {
    int x = fx >> 2, y = fy >> 2, a = fx & 3, b = fy & 3, stride = layout.columns;
    if (x >= 0 && y >= 0 && x + 1 < layout.width && y + 1 < layout.height) {
        const i16 *p = reference + y * stride + x;
        return ((4 - a) * p[0] + a * p[1]) * (4 - b) + ((4 - a) * p[stride] + a * p[stride + 1]) * b;
    }
    i32 value[2];
    for (int k = 0; k < 2; k++) {
        int row, column;
        on_sphere(y + k, x, layout.height, layout.width, &row, &column);
        const i16 *line = reference + row * stride;
        value[k] = (4 - a) * line[column] + a * line[column + 1 == layout.width ? 0 : column + 1];
    }
    return value[0] * (4 - b) + value[1] * b;
}

/* Squared error of a node's window in levels^2, on every fourth pixel; large errors count less, for they will be coded.
   Stops above the limit. */
static float distortion(const Node *n, i32 vx, i32 vy, float limit) {
    float total = 0;
    int cy = n->row * NODE + NODE / 2, cx = n->column * NODE + NODE / 2;
    for (int y = cy - NODE + 1; y < cy + NODE; y += 2) {
        if (y < 0 || y >= layout.height) continue;
        const i16 *line = n->target + y * layout.columns;
        float down = (float)(NODE - magnitude(y - cy));
        for (int x = cx - NODE + 1 + (y & 2) / 2; x < cx + NODE; x += 2) {
            int column = x < 0 ? x + layout.width : x >= layout.width ? x - layout.width : x;
            float error = (float)(sample(n->reference, 4 * column + vx, 4 * y + vy) - 16 * line[column]) / 256;
            error *= error * n->share;
            total += error * n->cap / (error + n->cap) * down * (float)(NODE - magnitude(x - cx));
        }
        if (total * (4.0f / (NODE * NODE)) > limit) break;
    }
    return total * (4.0f / (NODE * NODE));
}

static float bits_of(i32 value) {
    return value ? 2.6f - 2 * (COST[least(magnitude(value), 4096)] - 12) : 0.4f;
}

/* Take a vector, beside the base, if it costs less than the best. */
static int improve(const Node *n, i32 x, i32 y, Vector *best, float *cost) {
    if (magnitude(n->base.x + x) > 32000 || magnitude(n->base.y + y) > 32000) return 0;
    float bits = n->rate_weight * (bits_of(x - n->predicted.x) + bits_of(y - n->predicted.y));
    if (bits >= *cost) return 0;
    float found = bits + n->area * distortion(n, n->base.x + x, n->base.y + y, (*cost - bits) / n->area);
    if (found >= *cost) return 0;
    *cost = found;
    *best = (Vector){(i16)x, (i16)y};
    return 1;
}

/* Vectors to try first, beside the base: what the encoder has from elsewhere, known nodes around, standing still. */
static int gather_candidates(const Turn *t, const Vector *candidates, int count, const Vector *base, const Vector *added,
                             Vector *tried) {
    size_t nodes = (size_t)layout.down * layout.across, node = (size_t)t->row * layout.across + t->column;
    int places[4], found = 0;
    for (int k = 0; k < count; k++, found++) {
        Vector v = candidates[k * nodes + node];
        tried[found] = (Vector){(i16)(v.x - base[node].x), (i16)(v.y - base[node].y)};
    }
    for (int k = around(t, places) - 1; k >= 0; k--) tried[found++] = added[places[k]];
    tried[found++] = (Vector){(i16)-base[node].x, (i16)-base[node].y};
    tried[found++] = (Vector){0, 0};
    return found;
}

/* What is added to `base` at every node. `candidates` [count][nodes] are whole vectors to be tried. */
void search(const i16 *target, const i16 *reference, const Vector *base, const Vector *candidates, int count, float cap,
            float rate_weight, float share, Vector *added) {
    static const int right[4] = {0, 0, -1, 1}, down[4] = {-1, 1, 0, 0};
    for (const Turn *t = layout.order; t < layout.order + layout.turns; t++) {
        size_t node = (size_t)t->row * layout.across + t->column;
        double u = (t->row * NODE + NODE / 2 + 0.5) / layout.rows, area = 4 * u * (1 - u);
        Node n = {.target = target, .reference = reference, .row = t->row, .column = t->column, .base = base[node]};
        n.predicted = (Vector){(i16)interpolated(added, t, 0), (i16)interpolated(added, t, 1)};
        n.cap = cap, n.share = share, n.rate_weight = rate_weight, n.area = (float)(area > 0.0625 ? area : 0.0625);
        Vector best = n.predicted, tried[CANDIDATES];
        float cost = rate_weight * 2 * bits_of(0) + n.area * distortion(&n, n.base.x + best.x, n.base.y + best.y, 1e30f);
        int many = gather_candidates(t, candidates, count, base, added, tried);
        for (int k = 0; k < many; k++) improve(&n, tried[k].x, tried[k].y, &best, &cost);
        for (int stride = 4; stride; stride /= 2) {
            int moved = 1;
            for (int tries = 0; moved && tries < 4; tries++) {
                Vector from = best;
                moved = 0;
                for (int k = 0; k < 4; k++)
                    moved |= improve(&n, from.x + stride * right[k], from.y + stride * down[k], &best, &cost);
            }
        }
        added[node] = best;
    }
}
