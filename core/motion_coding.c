/* The vectors of a motion field as bits: every node's is the mean of what is known around, or else one that is known from
   elsewhere (a merge), or else is told by its difference to the mean.
*/
#include "core.h"

enum {
    MEAN_AT = 0, /* contexts of a use */
    MERGED_AT = MEAN_AT + 4 * 128,
    TAKEN_AT = MERGED_AT + 64 + 32 + 32,
    COMPONENT_AT = TAKEN_AT + 48 + 128 + 128,
    SIZES_AT = COMPONENT_AT + 16,
    MEAN_MIXERS = 0,
    MERGED_MIXERS = MEAN_MIXERS + 16,
    TAKEN_MIXERS = MERGED_MIXERS + 8,
};

static i32 octave(i32 value) {
    return value < 3 ? value : value < 5 ? 3 : value < 9 ? 4 : value < 17 ? 5 : value < 40 ? 6 : 7;
}

static i32 moved_at(const u8 *moved, const Turn *t, int i, int j) {
    if (i < 0 || j < 0 || i >= layout.down || j >= layout.across || !is_known_to(t, i, j)) return 0;
    return moved[i * layout.across + j];
}

/* How much was coded around a node: near, and further. */
static void coded_around(const u8 *moved, const Turn *t, i32 *near, i32 *far) {
    int i = t->row, j = t->column, d = t->distance;
    i32 west = moved_at(moved, t, i, j - d), north = moved_at(moved, t, i - d, j);
    *near = west + north, *far = 0;
    if (t->kind == 0) return;
    i32 sides = west + north + moved_at(moved, t, i, j + d) + moved_at(moved, t, i + d, j);
    i32 corners = moved_at(moved, t, i - d, j - d) + moved_at(moved, t, i - d, j + d) + moved_at(moved, t, i + d, j - d) +
                  moved_at(moved, t, i + d, j + d);
    *near = t->kind == 1 ? corners : sides, *far = t->kind == 1 ? sides : corners;
}

/* What predicts the components of a node's vector: how much was coded around, of the first reference, of all. */
typedef struct {
    int use, level; /* of keys with one reference, of the first of two, of the second */
    i32 near, far, other, inherited;
} Place;

static Place place_of(const Key *key, int k, const Turn *t, u8 *const moved[2]) {
    int node = node_of(t);
    Place p = {.use = k + key->references - 1, .other = k ? moved[0][node] : 0};
    p.level = t->kind == 0 ? 0 : t->distance == 4 ? 1 : t->distance == 2 ? 2 : 3;
    coded_around(moved[k], t, &p.near, &p.far);
    for (int r = 0; r < key->references; r++) p.inherited += key->reference[r]->moved[node];
    return p;
}

static int context_of(const Place *p, int at) { return MOTION_AT + p->use * MOTION_CONTEXTS + at; }
static int mixer_of(const Place *p, int at) { return MOTION_MIXERS + p->use * MIXERS_OF_MOTION + at; }

static int code(Stream *s, Contexts *c, Mix *m, int bit) {
    predict(m, c);
    return code_mixed(s, c, m, bit);
}

/* Whether a vector is not the mean. */
static int code_other(Stream *s, Contexts *c, const Place *p, const Merges *merges, int other) {
    int first = context_of(p, MEAN_AT), mixer = mixer_of(p, MEAN_MIXERS), variety = least(3, merges->variety);
    Mix m = {.count = 4, .mixers = {mixer + p->level, mixer + 4 + variety * 3 + least(2, octave(p->near))}};
    m.context[0] = first + (p->level * 8 + octave(p->near)) * 4 + variety;
    m.context[1] = first + 128 + (octave(p->other) * 4 + p->level) * 4 + variety;
    m.context[2] = first + 256 + (octave(p->near + p->far) * 4 + variety) * 4 + least(3, octave(p->inherited));
    m.context[3] = first + 384 + (octave(p->inherited) * 4 + p->level) * 4 + variety;
    return code(s, c, &m, other);
}

/* Whether it is a merge. */
static int code_merged(Stream *s, Contexts *c, const Place *p, const Merges *merges, int merged) {
    int first = context_of(p, MERGED_AT), mixer = mixer_of(p, MERGED_MIXERS), variety = least(3, merges->variety);
    Mix m = {.count = 3, .mixers = {mixer + p->level, mixer + 4 + variety}};
    m.context[0] = first + (p->level * 4 + least(3, octave(p->near) / 2)) * 4 + least(3, merges->count - 1);
    m.context[1] = first + 64 + octave(p->other) * 4 + variety;
    m.context[2] = first + 96 + octave(p->near + p->far) * 4 + least(3, octave(p->inherited));
    return code(s, c, &m, merged);
}

/* Whether it is the k-th merge, if none before. */
static int code_taken(Stream *s, Contexts *c, const Place *p, const Merges *merges, int k, int taken) {
    const Merge *merge = &merges->of[k];
    int first = context_of(p, TAKEN_AT), mixer = mixer_of(p, TAKEN_MIXERS), at = least(3, k);
    int voted = merge->origin * 3 + least(3, merge->votes) - 1;
    Mix m = {.count = 3, .mixers = {mixer + voted, mixer + 12 + p->level}};
    m.context[0] = first + voted * 4 + at;
    m.context[1] = first + 48 + (least(7, merges->count - k - 1) * 4 + at) * 4 + p->level;
    m.context[2] = first + 176 + (octave(distance(merge->vector, merges->mean) / 4) * 4 + merge->origin) * 4 + at;
    return code(s, c, &m, taken);
}

/* A component that is not 0. */
static i32 code_size(Stream *s, Contexts *c, const Place *p, i32 value) {
    int negative = code_sign(s, value < 0);
    int context = context_of(p, SIZES_AT) + (p->level * 4 + least(3, octave(p->near) / 2)) * 16;
    i32 size = 1 + code_golomb(s, c, context, magnitude(value) - 1);
    return negative ? -size : size;
}

/* A component; `known` tells of the one before, and is 0 at the first. */
static i32 code_component(Stream *s, Contexts *c, const Place *p, int known, i32 value) {
    int moves = code_simple(s, c, context_of(p, COMPONENT_AT) + known * 4 + p->level, value != 0);
    return moves ? code_size(s, c, p, value) : 0;
}

/* The added vector of a node, which a decoder does not know, but those before. Returns how far it is off the mean. */
static i32 code_vector(Stream *s, Contexts *c, const Place *p, const Turn *t, Vector *added, const Vector *base) {
    Merges merges = near_merges(t, added);
    Vector *v = &added[node_of(t)], mean = merges.mean;
    if (!code_other(s, c, p, &merges, !same(*v, mean))) {
        *v = mean;
        return 0;
    }
    add_merges(&merges, t, added, base);
    int last = merges.count - 1, k = s->decoding ? 0 : find_merge(&merges, *v);
    if (merges.count && code_merged(s, c, p, &merges, k <= last)) {
        int taken = 0;
        while (taken < last && !code_taken(s, c, p, &merges, taken, taken == k)) taken++;
        *v = merges.of[taken].vector;
    } else {
        i32 x = code_component(s, c, p, 0, v->x - mean.x), y = v->y - mean.y;
        y = x ? code_component(s, c, p, 1 + least(2, magnitude(x)), y) : code_size(s, c, p, y);
        *v = vector(mean.x + x, mean.y + y);
    }
    return distance(*v, mean);
}

/* Bits that a node's vector would take as contexts are now. */
float motion_bits(const Key *key, int k, const Turn *t, u8 *const moved[2], Vector *added, const Vector *base) {
    Place p = place_of(key, k, t, moved);
    if (t->kind != 3) p.far = 0; /* it comes later */
    Stream s = {.counting = 1};
    code_vector(&s, key->contexts, &p, t, added, base);
    return (float)s.bits;
}

/* The nodes of a part, and those of the base around a sector, which its nodes lie between. */
Rect nodes_of(int part) {
    Rect r = rect_of_part(part);
    int around = part ? 1 : 0;
    return (Rect){r.top / NODE, r.left / NODE, least(layout.down, r.bottom / NODE + around),
                  least(layout.across, r.right / NODE + around)};
}

/* The vectors of a part of a key, to every reference; what is not read yet is the mean of what is. */
void code_motion(Stream *s, Contexts *c, Key *key, int part) {
    Vector *base[2] = {field_number(0), field_number(1)};
    const Turn *first = layout.order + layout.firsts[part], *end = layout.order + layout.firsts[part + 1];
    const Turn *last = part || !s->decoding ? end : layout.order + layout.turns;
    Rect nodes = nodes_of(part);
    u32 began = s->position; /* a reader is some bytes ahead */
    inherit_motion(key, nodes, base);
    for (int k = 0; k < key->references; k++) {
        u8 *moved = key->moved_by[k];
        if (k) mirror_motion(key, nodes, key->added[0], base[1]);
        for (const Turn *t = first; t < end; t++) {
            Place p = place_of(key, k, t, key->moved_by);
            moved[node_of(t)] = (u8)least(255, code_vector(s, c, &p, t, key->added[k], base[k]));
        }
        for (const Turn *t = end; t < last; t++) key->added[k][node_of(t)] = interpolated(key->added[k], t);
        for (const Turn *t = first; t < last; t++) {
            int n = node_of(t);
            key->moved[n] = (u8)least(255, key->moved[n] + moved[n]);
            key->motion[k][n] = vector_sum(base[k][n], key->added[k][n]);
        }
    }
    key->motion_length += s->position - began;
}
