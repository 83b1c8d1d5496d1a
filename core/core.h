/* The core of nerv360-motion: keys that predict one another along motion, and the bands of what is left.

   Compiled to WebAssembly, and run by Python and by the player alike. Files, from bits to pictures:

       entropy.c                                  codes bits
       motion_coding.c, motion_field.c            vectors as bits; what is known of them before
       bands.c, blocks.c, around.c (bands.h)      bands as bits; which blocks hold anything; what lies around coefficients
       compensation.c, transform.c                predictions; the inverse wavelet
       filter.c, colours.c                        the learned filter; red, green and blue
       search.c, refine.c, encode.c               what only an encoder does
       keys.c                                     holds keys, and is called from outside
       sectors.c                                  which parts of keys a view needs, and how long these are

   All that a decoder computes is integers, but for colours.
*/
#ifndef CORE_H
#define CORE_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef int16_t i16;
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;

/* There is no C library; these are instructions of WebAssembly. */
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define sqrt __builtin_sqrt
#define rint __builtin_rint
#define rintf __builtin_rintf
#define fabs __builtin_fabs
#define fabsf __builtin_fabsf

#include "vectors.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

enum {
    NODE = 16,         /* pixels of brightness between nodes of the motion field */
    WIDEST = 8,        /* nodes between those that are coded first */
    LEVELS = 4,        /* of the wavelet of brightness; one less of the differences of colours */
    PLANES = 3,        /* brightness, and two differences of colours */
    TILE = 64,         /* pixels of brightness that are painted at once */
    ON_BASE = 4,       /* nodes between those of the base, where there are sectors */
    FINE = 3,          /* levels of brightness that lie in sectors; one less of the colours */
    INPUTS = 6,        /* of a mixer, at most */
    LANES = 8,         /* that hold them in two vectors */
    SLOTS = 256,       /* of keys */
};

static const float SQRT2 = 1.41421356f, SQRT3 = 1.73205081f, SQRT6 = 2.44948974f; /* of the colours' transform */

static inline i32 least(i32 a, i32 b) { return a < b ? a : b; }
static inline i32 most(i32 a, i32 b) { return a > b ? a : b; }
static inline i32 clamp(i32 value, i32 low, i32 high) { return most(low, least(high, value)); }
static inline int modulo(int value, int size) {
    value %= size;
    return value < 0 ? value + size : value;
}
static inline i32 magnitude(i32 value) { return value < 0 ? -value : value; }

/* keys.c */
void *allocate(size_t bytes); /* zeroed, and never given back */

/* entropy.c */
enum {
    BANDS = 48, /* kinds: three planes of up to five levels of three orientations, and the coarsest band */
    ZEROS = 64,
    ABOVE_ONE = 32,
    SIGNS = 36, /* contexts of an input */
    SIGN_INPUTS = 4,
    FILTERS = 4, /* of keys of a kind */
    ZERO_AT = 0,
    ABOVE_AT = ZERO_AT + BANDS * INPUTS * ZEROS,
    MAGNITUDE_AT = ABOVE_AT + BANDS * 3 * ABOVE_ONE,
    BLOCKS_AT = MAGNITUDE_AT + BANDS * 64,
    AVERAGE_AT = BLOCKS_AT + BANDS * 64,
    MOTION_CONTEXTS = 1216, /* of each use of a vector, as mixers of motion */
    MOTION_AT = AVERAGE_AT + PLANES * 80,
    SIGNS_AT = MOTION_AT + 3 * MOTION_CONTEXTS, /* both differences of colours share them */
    FILTERS_AT = SIGNS_AT + 32 * SIGN_INPUTS * SIGNS, /* by the filters of the tiles west and north */
    CONTEXTS = FILTERS_AT + (FILTERS + 1) * (FILTERS + 1) * FILTERS,

    ZERO_MIXERS = 0, /* by the band and what is near, by the band and what lies elsewhere */
    ABOVE_MIXERS = ZERO_MIXERS + 8 * BANDS,
    BLOCK_MIXERS = ABOVE_MIXERS + 2 * BANDS,
    SIGN_MIXERS = BLOCK_MIXERS + 2 * BANDS, /* of these by the band, by the plane and up to 16 states around */
    MOTION_MIXERS = SIGN_MIXERS + 2 * BANDS,
    MIXERS_OF_MOTION = 40,
    MIXERS = MOTION_MIXERS + 3 * MIXERS_OF_MOTION,
};

/* Of a bit: the probability of a one in 16 bits, and how often it was seen. */
typedef struct {
    u16 probability, seen;
} Context;

/* What was learned so far, with the mixers' weights, which fill vectors. */
typedef struct {
    Context of[CONTEXTS];
    i32 weights[MIXERS][LANES];
} Contexts;

/* A coded key, while it is written or read. */
typedef struct {
    u8 *data;
    u32 length, position, low, high, code;
    int decoding, counting;        /* which writes nothing, and learns nothing */
    double bits;                   /* an estimate */
} Stream;

/* Contexts of one bit, and their logits once they have predicted; those that there are not have 0. */
typedef struct {
    int count, mixers[2]; /* whose weights are added */
    i32 context[INPUTS], logit[LANES];
    i32 probability; /* of a one */
} Mix;

extern float COST[4097]; /* bits of what has a probability in 12 bits, for an encoder's decisions */
void make_tables(void);
const u8 *read_contexts(Contexts *c, const u8 *learned);
u8 *write_contexts(const Contexts *c, u8 *learned);
void begin_writing(Stream *s, u8 *data, u32 length);
void begin_reading(Stream *s, u8 *data, u32 length);
u32 end_writing(Stream *s);
int ends_as_written(const Stream *s);
void predict(Mix *m, const Contexts *c);
int code_mixed(Stream *s, Contexts *c, Mix *m, int bit);
int code_simple(Stream *s, Contexts *c, int context, int bit);
i32 code_golomb(Stream *s, Contexts *c, int context, i32 value);
int code_sign(Stream *s, int negative);
static inline float cost_of(i32 probability, int bit) { return COST[(bit ? probability : 65536 - probability) >> 4]; }

/* A node in the order of coding: what lies `distance` nodes around it is known. */
typedef struct {
    i16 row, column;
    u8 distance, kind; /* 0: the coarsest; 1: between four; 2: beside; 3: below */
} Turn;

/* Sizes that follow from a panorama's: planes reach to whole nodes. */
typedef struct {
    int width, height; /* of the panorama */
    int columns, rows; /* of the plane of brightness */
    int across, down;  /* nodes */
    int sector;        /* pixels each way that are coded apart, a multiple of TILE; 0 for all in one */
    int strip;         /* columns that lie in memory together (`Strip`): of a sector, or all */
    int turns;         /* nodes, in the order of coding: those of the base, then of each sector */
    Turn *order;
    int *firsts;       /* turns that each part begins with, and the last one ends before */
} Layout;

typedef struct {
    i16 x, y;
} Vector; /* quarter pixels, from a pixel to where its content lies in the reference */

static inline Vector vector(i32 x, i32 y) { return (Vector){(i16)clamp(x, -32768, 32767), (i16)clamp(y, -32768, 32767)}; }
static inline Vector vector_sum(Vector a, Vector b) { return vector(a.x + b.x, a.y + b.y); }
static inline Vector vector_less(Vector a, Vector b) { return vector(a.x - b.x, a.y - b.y); }
static inline i32 distance(Vector a, Vector b) { return magnitude(a.x - b.x) + magnitude(a.y - b.y); }
static inline int same(Vector a, Vector b) { return a.x == b.x && a.y == b.y; }

extern Layout layout;
static inline int plane_rows(int plane) { return plane ? layout.rows / 2 : layout.rows; }
static inline int plane_columns(int plane) { return plane ? layout.columns / 2 : layout.columns; }
static inline int plane_height(int plane) { return plane ? layout.height / 2 : layout.height; } /* of the sphere */
static inline int plane_width(int plane) { return plane ? layout.width / 2 : layout.width; }
static inline int plane_levels(int plane) { return plane ? LEVELS - 1 : LEVELS; }
static inline size_t plane_size(int plane) { return (size_t)plane_rows(plane) * plane_columns(plane); }
static inline int sectors_across(void) { return layout.sector ? (layout.columns + layout.sector - 1) / layout.sector : 0; }
static inline int sectors_down(void) { return layout.sector ? (layout.rows + layout.sector - 1) / layout.sector : 0; }
static inline int sectors(void) { return sectors_across() * sectors_down(); }
static inline int strips(void) { return (layout.columns + layout.strip - 1) / layout.strip; }
static inline int strip_width(int plane) { return plane ? layout.strip / 2 : layout.strip; }
static inline int tiles_across(void) { return (layout.columns + TILE - 1) / TILE; }
static inline int tiles_down(void) { return (layout.rows + TILE - 1) / TILE; }
static inline int node_of(const Turn *t) { return t->row * layout.across + t->column; }

/* A rectangle: rows from top to bottom, columns from left to right, both without the last. */
typedef struct {
    int top, left, bottom, right;
} Rect;

/* The base is part 0; sector n, in rows of them, is part n + 1. Without sectors, all is the base. */
static inline int part_of_node(int row, int column) {
    if (!layout.sector || !((row | column) % ON_BASE)) return 0;
    return 1 + row * NODE / layout.sector * sectors_across() + column * NODE / layout.sector;
}

/* Pixels of brightness. */
static inline Rect rect_of_part(int part) {
    if (!part) return (Rect){0, 0, layout.rows, layout.columns};
    int top = (part - 1) / sectors_across() * layout.sector, left = (part - 1) % sectors_across() * layout.sector;
    return (Rect){top, left, least(layout.rows, top + layout.sector), least(layout.columns, left + layout.sector)};
}

/* What a row of the sphere weighs: about the cosine of its latitude (a parabola here, at least 1/16). */
static inline double area_of(int row, int rows) {
    double u = (row + 0.5) / rows, area = 4 * u * (1 - u);
    return area > 0.0625 ? area : 0.0625;
}

/* Columns of a key's picture, row by row, and the bands of sectors there. A reader of views has memory for those that he
   needs; others are one strip that holds nothing. An encoder has one strip for all. */
typedef struct Strip {
    i16 *pixels[PLANES];   /* in 1/16 of a level, where a tile is done */
    i16 *bands[BANDS];     /* integers of levels that lie in sectors, where there are several strips */
    struct Strip *another; /* that no key has either */
} Strip;

static inline i16 *pixel_at(Strip *const *strips, int plane, int row, int column) {
    int width = strip_width(plane);
    return strips[column / width]->pixels[plane] + (size_t)row * width + column % width;
}

/* Of a tile. What is soft lacks sectors that it depends on, and is painted anew when some come. */
enum Painted { NOT_PAINTED, SHARP, SOFT };

/* A key: a frame as it is kept to predict others. */
typedef struct Key {
    int frame, level, references;  /* the number of these */
    int reference_frame[2];
    struct Key *reference[2]; /* valid while they are in their slots: `find_references` */
    int step;                      /* of the quantiser, in 1/16 of a level */
    Vector *motion[2], *added[2];  /* of every node, to each reference; what was coded of it */
    u8 *moved, *moved_by[2];       /* how much that is, at most 255: of all references, of each */
    u32 motion_length;             /* bytes that its motion takes */
    Strip **strips;
    i16 *bands[BANDS];             /* integers, but for those in strips */
    u8 *busy[BANDS];               /* sums of their magnitudes in squares of 4x4, at most 255 */
    u8 *done, *filter;             /* of tiles: which are painted (`Painted`); which filter they have, 0 for none */
    u8 *known, *asked, *wanted;    /* of sectors: which are read, which are asked for; of spots (sectors.c) */
    Contexts *contexts;
} Key;

/* transform.c */
float band_step(int step, int plane, int level, int row);
void forward(float *plane, int rows, int columns, int levels, float *scratch);
int inverse_region(const Key *key, int plane, int top, int left, int height, int width, i32 *out);

/* blocks.c: bands of details lie right of the average (orientation 1), below it (2) or beside both (3); 0 is the average */
int kind_of(int plane, int level, int orientation);
int level_of(int kind);
size_t squares_of(int kind);
int is_in_strips(int plane, int level);
int band_width(int plane, int level); /* columns that lie in memory together */
i16 *band_at(const Key *key, int plane, int level, int orientation, int row, int column);
int is_busy(const Key *key, int plane, int level, int orientation, int top, int left, int height, int width);

/* bands.c: bands of a part, coarse to fine; an encoder's coefficients are in steps of the quantiser, NULL for a decoder */
void clear_bands(Key *key);
void clear_part(Key *key, int part);
double gain_of_part(const Key *key, int part, float *const coefficients[PLANES]);
void code_bands(Stream *s, Contexts *c, Key *key, int part, float *const coefficients[PLANES], float rate_weight);

/* motion_field.c */
enum { MERGES = 10 };

/* A vector that is known from elsewhere. */
typedef struct {
    Vector vector;
    u8 origin, votes; /* how it came to be, first (`near_merges`, `add_merges`); how often it did */
} Merge;

/* What a node may have, all different: the mean of the known nodes around, and others. */
typedef struct {
    Vector mean;
    Merge of[MERGES];
    int count, variety;    /* the number of all, and of those that are added vectors of nodes around */
    int around, places[4]; /* these nodes */
} Merges;

void make_order(void);
int is_known_to(const Turn *turn, int row, int column);
Vector interpolated(const Vector *field, const Turn *turn);
Merges near_merges(const Turn *turn, const Vector *added);
void add_merges(Merges *merges, const Turn *turn, const Vector *added, const Vector *base);
Merges merges_of(const Turn *turn, const Vector *added, const Vector *base); /* both */
int find_merge(const Merges *merges, Vector v);
void inherit_motion(const Key *key, Rect nodes, Vector *const predicted[2]);
void mirror_motion(const Key *key, Rect nodes, const Vector *added, Vector *second);

/* motion_coding.c */
Rect nodes_of(int part);
void code_motion(Stream *s, Contexts *c, Key *key, int part);
float motion_bits(const Key *key, int k, const Turn *turn, u8 *const moved[2], Vector *added, const Vector *base);

/* compensation.c */
void make_taps(void);
void on_sphere(int y, int x, int height, int width, int *row, int *column);
void fetch(Strip *const *from, int plane, int top, int left, int rows, int columns, i16 *out, int stride);
void shifted(Strip *const *reference, int plane, Vector v, int y, int x, int h, int w, i32 *out);
void compensate_from(const Key *key, int k, int plane, int top, int left, int height, int width, i16 *out);
void compensate(const Key *key, int plane, int top, int left, int height, int width, i16 *out);

/* filter.c */
void read_networks(const u8 *learned);
void filter_tile(Key *key, int tile_row, int tile_column);
int best_filter(Key *key, int tile_row, int tile_column, const float *source, float rate_weight);
void code_filters(Stream *s, Contexts *c, Key *key);

/* colours.c */
void colour_row(Strip *const *strips, int y, int first, int end, u8 *out);

/* keys.c */
Key *fresh_key(int slot, int frame, int level, int first, int second, int step);
Vector *field_number(int number); /* of nodes, to work in */
void paint_tile(Key *key, int tile_row, int tile_column);
void find_references(Key *key);
extern Key keys[SLOTS];
Contexts *sector_contexts(const Key *key);

/* sectors.c */
enum { SPOT = 8 }; /* pixels each way, for which is found out what they depend on */
static inline int spots_across(void) { return layout.columns / SPOT; }
static inline int spots_down(void) { return layout.rows / SPOT; }
void forget_wanted(int frame);
void know_sector(Key *key, int sector);
int lacks_sectors(const Key *key, int tile_row, int tile_column);

/* search.c */
void search(Strip *const *target, Strip *const *reference, const Vector *base, const Vector *candidates, int count,
            float cap, float rate_weight, float share, Vector *added);

/* refine.c */
typedef struct {
    const Key *key;
    int k;              /* of its references */
    const Vector *base; /* beside which vectors are added */
    Vector *added;
    u8 *const *moved;   /* how much is coded of them, of each reference */
    float rate_weight;  /* of a bit, in squared steps */
    float share;        /* part that this reference has of the error */
} Field;

void refine(const i16 *target, const Field *field);

#endif
