/* What a band's bits are predicted from: blocks.c codes where there is anything, around.c sums what lies around
   coefficients, bands.c codes them. */
#ifndef BANDS_H
#define BANDS_H

#include "core.h"

enum {
    BLOCK = 8,
    SQUARE = BLOCK / 2, /* coefficients each way, whose magnitudes are summed */
    MOST = 255,         /* of a magnitude, and of a sum: contexts do not differ long before */
};

/* A band, in its plane, or a sector of it, which knows nothing beyond itself; without rows where there is none. */
typedef struct {
    i16 *first;
    int stride, rows, columns;
    u8 *busy;      /* sums of magnitudes in squares */
    int busy_stride;
    int is_sector; /* else columns go round */
} Band;

/* Of what the contexts of a band are made. */
typedef struct {
    Band band, parent, siblings[2];
    Band luma;                 /* of the same size, in the plane before */
    Band before, behind;       /* the same of the references, to which vectors lead */
    Vector *const *motion;
    int apart;                 /* nodes from one whose motion is looked up to the next */
    int halvings;              /* from the plane of brightness */
    int top, left;             /* of a sector, in the band */
    int in_blocks;             /* of which a bit says whether they hold anything */
    const float *coefficients; /* an encoder's, in rows of the plane */
    int kind, orientation;
    u8 *flags; /* blocks that hold anything */
    float rate_weight;
} Coded;

static inline int blocks(int size) { return (size + BLOCK - 1) / BLOCK; }
static inline int squares(int size) { return 2 * blocks(size); }

static inline i32 few(i32 value) { return value <= 1 ? value : value <= 3 ? 2 : 3; }

static inline I16x8 sizes(const i16 *from) {
    return __builtin_elementwise_min(__builtin_elementwise_abs(load_i16(from)), (I16x8){} + MOST);
}

/* blocks.c */
void code_blocks(Stream *s, Contexts *c, const Coded *b);
void sum_squares(const Band *b, int i, int j);

/* around.c: sums of magnitudes around eight coefficients of a row, without those west of them; and grades of such sums. */
typedef struct {
    i16 north[BLOCK], near[BLOCK], along[BLOCK], far[BLOCK], total[BLOCK];
    u8 above[BLOCK], parent[BLOCK], other6[BLOCK], other7[BLOCK], time[BLOCK], time_and_above[BLOCK], mixer[BLOCK];
} Around;

void look_around(const Coded *b, int i, int j, Around *a);

#endif
