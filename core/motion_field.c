/* The motion of a key: what its references' motion says of it, and what is coded beside that, coarse to fine. */
#include "core.h"

/* Nodes coarse to fine: every node lies between, beside or below such as are known. */
static void order_all(Turn *next) {
    for (int i = 0; i < layout.down; i += WIDEST)
        for (int j = 0; j < layout.across; j += WIDEST) *next++ = (Turn){(i16)i, (i16)j, WIDEST, 0};
    for (int d = WIDEST / 2; d; d /= 2)
        for (int kind = 1; kind < 4; kind++)
            for (int i = kind == 2 ? 0 : d; i < layout.down; i += 2 * d)
                for (int j = kind == 3 ? 0 : d; j < layout.across; j += 2 * d)
                    *next++ = (Turn){(i16)i, (i16)j, (u8)d, (u8)kind};
}

/* In this order, part by part. */
void make_order(void) {
    layout.turns = layout.down * layout.across;
    Turn *all = allocate(layout.turns * sizeof(Turn));
    layout.order = allocate(layout.turns * sizeof(Turn));
    layout.firsts = allocate((sectors() + 3) * sizeof(int));
    int *next = layout.firsts + 1; /* of each part */
    order_all(all);
    for (int n = 0; n < layout.turns; n++) next[part_of_node(all[n].row, all[n].column) + 1]++;
    for (int part = 0; part <= sectors(); part++) next[part + 1] += next[part];
    for (int n = 0; n < layout.turns; n++) layout.order[next[part_of_node(all[n].row, all[n].column)]++] = all[n];
}

/* Whether a node may be known when another is coded: a sector knows itself and the base. */
int is_known_to(const Turn *t, int row, int column) {
    int part = part_of_node(row, column);
    return !part || part == part_of_node(t->row, t->column);
}

static i32 floored(i32 a, i32 b) {
    i32 quotient = a / b;
    return quotient - (quotient * b != a && (a ^ b) < 0);
}

/* The known nodes around one, at most four; returns how many. */
static int around(const Turn *t, int places[4]) {
    static const int down[4][4] = {{0, -1}, {-1, 1, -1, 1}, {0, 0, -1, 1}, {0, 0, -1, 1}};
    static const int right[4][4] = {{-1, 0}, {-1, -1, 1, 1}, {-1, 1, 0, 0}, {-1, 1, 0, 0}};
    int found = 0;
    for (int k = 0; k < (t->kind ? 4 : 2); k++) {
        int i = t->row + down[t->kind][k] * t->distance, j = t->column + right[t->kind][k] * t->distance;
        if (i < 0 || j < 0 || i >= layout.down || j >= layout.across || !is_known_to(t, i, j)) continue;
        places[found++] = i * layout.across + j;
    }
    return found;
}

static i32 mean(i32 total, i32 count) {
    if (count == 3) return floored(2 * total + 3, 6);
    return (2 * total + count) >> (count == 4 ? 3 : count);
}

/* The mean of nodes, rounded. */
static Vector mean_of(const Vector *field, const int places[4], int count) {
    i32 x = 0, y = 0;
    for (int k = 0; k < count; k++) x += field[places[k]].x, y += field[places[k]].y;
    return (Vector){(i16)mean(x, count), (i16)mean(y, count)};
}

/* What the known nodes around say of one. */
Vector interpolated(const Vector *field, const Turn *t) {
    int places[4], count = around(t, places);
    return mean_of(field, places, count);
}

/* The number of a merge, or that of all where there is none of this vector. */
int find_merge(const Merges *m, Vector v) {
    int k = 0;
    while (k < m->count && !same(m->of[k].vector, v)) k++;
    return k;
}

static void offer(Merges *m, int origin, i32 x, i32 y) {
    Vector v = vector(x, y);
    if (same(v, m->mean)) return;
    int k = find_merge(m, v);
    if (k == m->count) m->of[m->count++] = (Merge){.vector = v, .origin = (u8)origin};
    m->of[k].votes++;
}

/* The mean of what was added to nodes around, and that itself. */
Merges near_merges(const Turn *t, const Vector *added) {
    Merges m = {0};
    m.around = around(t, m.places);
    m.mean = mean_of(added, m.places, m.around);
    for (int k = 0; k < m.around; k++) offer(&m, 0, added[m.places[k]].x, added[m.places[k]].y);
    m.variety = m.count;
    return m;
}

/* And what leads to where their whole vectors do, standing still, nothing added; `base` is what vectors are added to. */
void add_merges(Merges *m, const Turn *t, const Vector *added, const Vector *base) {
    Vector here = base[node_of(t)];
    for (int k = 0; k < m->around; k++) {
        Vector whole = vector_sum(base[m->places[k]], added[m->places[k]]);
        offer(m, 1, whole.x - here.x, whole.y - here.y);
    }
    offer(m, 2, -here.x, -here.y);
    offer(m, 3, 0, 0);
}

Merges merges_of(const Turn *t, const Vector *added, const Vector *base) {
    Merges m = near_merges(t, added);
    add_merges(&m, t, added, base);
    return m;
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

/* The node where content of a node was that has moved by (x, y) quarter pixels since: one that both may know, or itself. */
static int node_before(int i, int j, i32 x, i32 y) {
    int apart = layout.sector && !part_of_node(i, j) ? ON_BASE : 1, unit = 4 * NODE * apart;
    int row = clamp(i + apart * floored(y + unit / 2, unit), 0, (layout.down - 1) / apart * apart);
    int column = modulo(j + apart * floored(x + unit / 2, unit), layout.across) / apart * apart, part = part_of_node(row, column);
    return part && part != part_of_node(i, j) ? i * layout.across + j : row * layout.across + column;
}

/* Between two keys, one of which has the other as its reference, content moves evenly: the motion is looked up where the
   content was. */
static void inherit_between(const Key *key, Rect nodes, int origin, const Vector *field, Vector *const predicted[2]) {
    const Key *from = key->reference[origin], *to = key->reference[1 - origin];
    i32 part = key->frame - to->frame, whole = from->frame - to->frame;
    for (int i = nodes.top; i < nodes.bottom; i++)
        for (int j = nodes.left; j < nodes.right; j++) {
            Vector v = field[i * layout.across + j];
            v = field[node_before(i, j, scaled(v.x, part, whole) - v.x, scaled(v.y, part, whole) - v.y)];
            Vector goal = vector(scaled(v.x, part, whole), scaled(v.y, part, whole));
            predicted[1 - origin][i * layout.across + j] = goal;
            predicted[origin][i * layout.across + j] = vector(goal.x - v.x, goal.y - v.y);
        }
}

/* The motion to each reference that known keys predict, of some nodes. */
void inherit_motion(const Key *key, Rect nodes, Vector *const predicted[2]) {
    const Key *reference = key->reference[0];
    size_t wide = (size_t)(nodes.right - nodes.left) * sizeof(Vector);
    for (int k = 0; k < key->references; k++)
        for (int i = nodes.top; i < nodes.bottom; i++) memset(predicted[k] + i * layout.across + nodes.left, 0, wide);
    if (key->references == 2) {
        for (int origin = 1; origin >= 0; origin--) {
            int k = field_of(key->reference[origin], key->reference[1 - origin]);
            if (k >= 0) {
                inherit_between(key, nodes, origin, key->reference[origin]->motion[k], predicted);
                return;
            }
        }
    } else if (key->references && reference->references == 1) {
        i32 since = reference->frame - key->frame, whole = reference->reference_frame[0] - reference->frame;
        if (since * whole <= 0) return;
        for (int i = nodes.top; i < nodes.bottom; i++)
            for (int n = i * layout.across + nodes.left; n < i * layout.across + nodes.right; n++) {
                Vector v = reference->motion[0][n];
                predicted[0][n] = vector(scaled(v.x, since, whole), scaled(v.y, since, whole));
            }
    }
}

/* What the vectors added for the first reference say of the second's; goes onto `second`. */
void mirror_motion(const Key *key, Rect nodes, const Vector *added, Vector *second) {
    double ratio = 256.0 * (key->reference[1]->frame - key->frame) / (key->reference[0]->frame - key->frame);
    i32 factor = (i32)rint(ratio);
    for (int i = nodes.top; i < nodes.bottom; i++)
        for (int n = i * layout.across + nodes.left; n < i * layout.across + nodes.right; n++) {
            i32 x = (added[n].x * factor + 128) >> 8, y = (added[n].y * factor + 128) >> 8;
            second[n] = vector(second[n].x + x, second[n].y + y);
        }
}
