/* The motion of a key: what its references' motion says of it, and what is coded beside that, coarse to fine. */
#include "core.h"

/* Nodes coarse to fine: every node lies between, beside or below such as are known. */
void make_order(void) {
    layout.order = allocate((size_t)layout.down * layout.across * sizeof(Turn));
    Turn *next = layout.order;
    for (int i = 0; i < layout.down; i += WIDEST)
        for (int j = 0; j < layout.across; j += WIDEST) *next++ = (Turn){(i16)i, (i16)j, WIDEST, 0};
    for (int d = WIDEST / 2; d; d /= 2)
        for (int kind = 1; kind < 4; kind++)
            for (int i = kind == 2 ? 0 : d; i < layout.down; i += 2 * d)
                for (int j = kind == 3 ? 0 : d; j < layout.across; j += 2 * d)
                    *next++ = (Turn){(i16)i, (i16)j, (u8)d, (u8)kind};
    layout.turns = (int)(next - layout.order);
}

static i32 floored(i32 a, i32 b) {
    i32 quotient = a / b;
    return quotient - (quotient * b != a && (a ^ b) < 0);
}

/* The known nodes around one, at most four; returns how many. */
int around(const Turn *t, int places[4]) {
    static const int down[4][4] = {{0, -1}, {-1, 1, -1, 1}, {0, 0, -1, 1}, {0, 0, -1, 1}};
    static const int right[4][4] = {{-1, 0}, {-1, -1, 1, 1}, {-1, 1, 0, 0}, {-1, 1, 0, 0}};
    int found = 0;
    for (int k = 0; k < (t->kind ? 4 : 2); k++) {
        int i = t->row + down[t->kind][k] * t->distance, j = t->column + right[t->kind][k] * t->distance;
        if (i >= 0 && j >= 0 && i < layout.down && j < layout.across) places[found++] = i * layout.across + j;
    }
    return found;
}

static i32 mean(i32 total, i32 count) {
    if (count == 3) return floored(2 * total + 3, 6);
    return (2 * total + count) >> (count == 4 ? 3 : count);
}

/* What the known nodes around say of one: their mean, rounded. */
Vector interpolated(const Vector *field, const Turn *t) {
    int places[4], count = around(t, places);
    i32 x = 0, y = 0;
    for (int k = 0; k < count; k++) x += field[places[k]].x, y += field[places[k]].y;
    return (Vector){(i16)mean(x, count), (i16)mean(y, count)};
}

static i32 octave(i32 value) {
    return value < 3 ? value : value < 5 ? 3 : value < 9 ? 4 : value < 17 ? 5 : value < 40 ? 6 : 7;
}

static i32 moved_at(const u8 *moved, int i, int j) {
    return i >= 0 && j >= 0 && i < layout.down && j < layout.across ? moved[i * layout.across + j] : 0;
}

/* How much was coded around a node: near, and further. */
static void coded_around(const u8 *moved, const Turn *t, i32 *near, i32 *far) {
    int i = t->row, j = t->column, d = t->distance;
    i32 west = moved_at(moved, i, j - d), north = moved_at(moved, i - d, j);
    *near = west + north, *far = 0;
    if (t->kind == 0) return;
    i32 sides = west + north + moved_at(moved, i, j + d) + moved_at(moved, i + d, j);
    i32 corners = moved_at(moved, i - d, j - d) + moved_at(moved, i - d, j + d) + moved_at(moved, i + d, j - d) +
                  moved_at(moved, i + d, j + d);
    *near = t->kind == 1 ? corners : sides, *far = t->kind == 1 ? sides : corners;
}

/* What predicts the components of a node's vector: how much was coded around, of the first reference, of all. */
typedef struct {
    int use, level; /* of keys with one reference, of the first of two, of the second */
    i32 near, far, other, inherited;
} Place;

static Place place_of(const Key *key, int k, const Turn *t, u8 *const moved[2]) {
    int node = t->row * layout.across + t->column;
    Place p = {.use = k + key->references - 1, .other = k ? moved[0][node] : 0};
    p.level = t->kind == 0 ? 0 : t->distance == 4 ? 1 : t->distance == 2 ? 2 : 3;
    coded_around(moved[k], t, &p.near, &p.far);
    for (int r = 0; r < key->references; r++) p.inherited += key->reference[r]->moved[node];
    return p;
}

/* Of whether a component is not 0; `known` tells of the other, once it is coded. */
static Mix component(const Place *p, int known) {
    int first = MOTION_AT + p->use * 1024, mixer = MOTION_MIXERS + p->use * 16;
    Mix m = {.count = 4, .mixers = {mixer + p->level, mixer + 4 + known * 3 + least(2, octave(p->near))}};
    m.context[0] = first + (p->level * 8 + octave(p->near)) * 4 + known;
    m.context[1] = first + 128 + (octave(p->other) * 4 + p->level) * 4 + known;
    m.context[2] = first + 256 + (octave(p->near + p->far) * 4 + known) * 4 + least(3, octave(p->inherited));
    m.context[3] = first + 384 + (octave(p->inherited) * 4 + p->level) * 4 + known;
    return m;
}

static int sizes_of(const Place *p) {
    return MOTION_AT + p->use * 1024 + 512 + (p->level * 4 + least(3, octave(p->near) / 2)) * 16;
}

static i32 code_component(Stream *s, Contexts *c, const Place *p, int known, i32 value) {
    Mix m = component(p, known);
    predict(&m, c);
    if (!code_mixed(s, c, &m, value != 0)) return 0;
    int negative = code_sign(s, value < 0);
    i32 size = 1 + code_golomb(s, c, sizes_of(p), magnitude(value) - 1);
    return negative ? -size : size;
}

/* Bits that a node's vector, less what is predicted, would take as contexts are now. */
float motion_bits(const Key *key, int k, const Turn *t, u8 *const moved[2], Vector coded) {
    Place p = place_of(key, k, t, moved);
    if (t->kind != 3) p.far = 0; /* it comes later */
    float bits = 0;
    for (int vertical = 0; vertical < 2; vertical++) {
        i32 value = vertical ? coded.y : coded.x;
        Mix m = component(&p, vertical ? 1 + least(2, magnitude(coded.x)) : 0);
        predict(&m, key->contexts);
        bits += cost_of(m.probability, value != 0);
        if (value) bits += 1 + golomb_bits(key->contexts, sizes_of(&p), magnitude(value) - 1);
    }
    return bits;
}

/* What is added to the motion that is inherited, to every reference [nodes], beside what coarser nodes say. Contexts are
   magnitudes: around, of the first reference at the same node, of the references' own motion. */
void code_motion(Stream *s, Contexts *c, Key *key, Vector *const added[2]) {
    static u8 *moved[2];
    size_t nodes = (size_t)layout.down * layout.across;
    for (int k = 0; k < 2; k++) {
        if (!moved[k]) moved[k] = allocate(nodes);
        memset(moved[k], 0, nodes); /* also what is further off may not be known yet */
    }
    memset(key->moved, 0, nodes);
    for (int k = 0; k < key->references; k++) {
        for (const Turn *t = layout.order; t < layout.order + layout.turns; t++) {
            size_t node = (size_t)t->row * layout.across + t->column;
            Place p = place_of(key, k, t, moved);
            Vector *v = &added[k][node];
            Vector near = interpolated(added[k], t);
            i32 dx = code_component(s, c, &p, 0, s->decoding ? 0 : v->x - near.x);
            i32 dy = code_component(s, c, &p, 1 + least(2, magnitude(dx)), s->decoding ? 0 : v->y - near.y);
            *v = vector(near.x + dx, near.y + dy);
            moved[k][node] = (u8)least(255, magnitude(dx) + magnitude(dy));
        }
        for (size_t n = 0; n < nodes; n++) key->moved[n] = (u8)least(255, key->moved[n] + moved[k][n]);
    }
}

/* value * numerator / denominator, rounded */
static i32 scaled(i32 value, i32 numerator, i32 denominator) {
    if (denominator < 0) numerator = -numerator, denominator = -denominator;
    return floored(2 * value * numerator + denominator, 2 * denominator);
}

static int field_of(const Key *key, const Key *reference) {
    for (int k = 0; k < key->references; k++)
        if (key->reference_frame[k] == reference->frame) return k;
    return -1;
}

/* Between two keys, one of which has the other as its reference, content moves evenly: the motion is looked up where the
   content was. */
static void inherit_between(const Key *key, int origin, const Vector *field, Vector *const predicted[2]) {
    const Key *from = key->reference[origin], *to = key->reference[1 - origin];
    i32 part = key->frame - to->frame, whole = from->frame - to->frame;
    for (int i = 0; i < layout.down; i++)
        for (int j = 0; j < layout.across; j++) {
            Vector v = field[i * layout.across + j];
            i32 x = scaled(v.x, part, whole) - v.x, y = scaled(v.y, part, whole) - v.y;
            int row = clamp(i + floored(y + 2 * NODE, 4 * NODE), 0, layout.down - 1);
            int column = (j + floored(x + 2 * NODE, 4 * NODE)) % layout.across;
            if (column < 0) column += layout.across;
            v = field[row * layout.across + column];
            Vector goal = vector(scaled(v.x, part, whole), scaled(v.y, part, whole));
            predicted[1 - origin][i * layout.across + j] = goal;
            predicted[origin][i * layout.across + j] = vector(goal.x - v.x, goal.y - v.y);
        }
}

/* The motion to each reference that known keys predict. */
void inherit_motion(const Key *key, Vector *const predicted[2]) {
    size_t nodes = (size_t)layout.down * layout.across;
    for (int k = 0; k < key->references; k++) memset(predicted[k], 0, nodes * sizeof(Vector));
    if (key->references == 2) {
        for (int origin = 1; origin >= 0; origin--) {
            int k = field_of(key->reference[origin], key->reference[1 - origin]);
            if (k >= 0) {
                inherit_between(key, origin, key->reference[origin]->motion[k], predicted);
                return;
            }
        }
    } else if (key->references && key->reference[0]->references == 1) {
        const Key *reference = key->reference[0];
        i32 since = reference->frame - key->frame, whole = reference->reference_frame[0] - reference->frame;
        if (since * whole <= 0) return;
        for (size_t n = 0; n < nodes; n++) {
            Vector v = reference->motion[0][n];
            predicted[0][n] = vector(scaled(v.x, since, whole), scaled(v.y, since, whole));
        }
    }
}

/* What the vectors added for the first reference say of the second's; goes onto `second`. */
void mirror_motion(const Key *key, const Vector *added, Vector *second) {
    double ratio = 256.0 * (key->reference[1]->frame - key->frame) / (key->reference[0]->frame - key->frame);
    i32 factor = (i32)rint(ratio);
    for (int n = 0; n < layout.down * layout.across; n++)
        second[n] = vector(second[n].x + ((added[n].x * factor + 128) >> 8), second[n].y + ((added[n].y * factor + 128) >> 8));
}
