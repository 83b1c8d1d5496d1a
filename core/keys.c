/* The keys of a segment, as they are called from Python and from the player. An instance is one segment's.

       decode_key     bits -> motion and bands of a key, or its base
       decode_sector  bits -> motion and fine bands of a sector
       read_pixels    a region of a key's picture: predictions and bands; the tiles that it is predicted from come first
*/
#include "core.h"

Layout layout;
Key keys[SLOTS];
static Contexts *priors; /* of roots, keys with one reference and keys with two */

/* Memory: taken from the end; WebAssembly gives it zeroed */

extern u8 __heap_base;
static size_t heap_end, heap_limit;

void *allocate(size_t bytes) {
    if (!heap_end) heap_end = (size_t)&__heap_base, heap_limit = __builtin_wasm_memory_size(0) << 16;
    size_t start = (heap_end + 15) & ~(size_t)15;
    if (start + bytes > heap_limit) {
        size_t pages = (start + bytes - heap_limit + 65535) >> 16;
        if (start + bytes < start || __builtin_wasm_memory_grow(0, pages) == (size_t)-1) __builtin_trap();
        heap_limit += pages << 16;
    }
    heap_end = start + bytes;
    return (void *)start;
}

u8 *EXPORT(reserve)(u32 bytes) { return allocate(bytes); }

/* Begin a segment, with sectors of so many pixels, or 0, to encode it or to read it. `learned` holds what was learned on
   other clips, for roots, keys with one reference and keys with two: a logit in 1/16 and a count of every context, and the
   mixers' weights in 1/256. */
void EXPORT(begin)(int width, int height, int sector, int encoding, const u8 *learned) {
    make_tables();
    make_taps();
    layout = (Layout){.width = width, .height = height, .sector = sector};
    layout.columns = (width + NODE - 1) / NODE * NODE, layout.rows = (height + NODE - 1) / NODE * NODE;
    layout.strip = sector && !encoding ? least(sector, layout.columns) : layout.columns;
    layout.across = layout.columns / NODE, layout.down = layout.rows / NODE;
    make_order();
    priors = allocate(3 * sizeof(Contexts));
    for (int k = 0; k < 3; k++) learned = read_contexts(&priors[k], learned);
    read_networks(learned);
    for (int slot = 0; slot < SLOTS; slot++) keys[slot].frame = -1;
}

/* What a key has learned, all keys of its kind go on from. */
void EXPORT(teach)(int slot) {
    const Key *teacher = &keys[slot];
    priors[teacher->references] = *teacher->contexts;
    for (int k = 0; k < SLOTS; k++)
        if (keys[k].frame >= 0 && keys[k].references == teacher->references && k != slot)
            *keys[k].contexts = *teacher->contexts;
}

/* What was learned, as `begin` reads it; returns its bytes. */
u32 EXPORT(learned)(u8 *out) {
    u8 *end = out;
    for (int k = 0; k < 3; k++) end = write_contexts(&priors[k], end);
    return (u32)(end - out);
}

/* No tile is painted, and none has a filter. */
static void clear_tiles(Key *key) {
    memset(key->done, 0, (size_t)tiles_across() * tiles_down());
    memset(key->filter, 0, (size_t)tiles_across() * tiles_down());
}

/* A key's picture is painted without its filters, until it is read again: for them to be learned. */
void EXPORT(unfilter)(int slot) { clear_tiles(&keys[slot]); }

u32 EXPORT(motion_length)(int slot) { return keys[slot].motion_length; }

static Key *found(int frame) {
    for (int slot = 0; slot < SLOTS; slot++)
        if (keys[slot].frame == frame) return &keys[slot];
    __builtin_trap();
}

/* References may have been read again, into other slots. */
void find_references(Key *key) {
    for (int k = 0; k < key->references; k++)
        if (!key->reference[k] || key->reference[k]->frame != key->reference_frame[k])
            key->reference[k] = found(key->reference_frame[k]);
}

/* Strips */

static Strip nothing, *free_strips; /* all 0, and never written */

/* Those that lie in strips, or the others. */
static void allocate_bands(i16 **bands, int in_strips) {
    for (int kind = 0; kind < BANDS; kind++) {
        int plane = kind / 16, level = level_of(kind);
        size_t size = (size_t)(plane_rows(plane) >> level) * band_width(plane, level);
        if (is_in_strips(plane, level) == in_strips) bands[kind] = allocate(size * sizeof(i16));
    }
}

static void allocate_strip(Strip *strip) {
    allocate_bands(strip->bands, 1);
    for (int plane = 0; plane < PLANES; plane++)
        strip->pixels[plane] = allocate((size_t)plane_rows(plane) * strip_width(plane) * sizeof(i16));
}

/* See that a key has memory of its own for a column of brightness. */
static void own_strip(Key *key, int column) {
    Strip **place = &key->strips[column / layout.strip];
    if (*place != &nothing) return;
    if (free_strips) *place = free_strips, free_strips = free_strips->another;
    else allocate_strip(*place = allocate(sizeof(Strip)));
}

/* Have no strips but where there is one for all; their bands are 0. */
static void give_back_strips(Key *key) {
    for (int k = 0; strips() > 1 && k < strips(); k++)
        if (key->strips[k] != &nothing) {
            key->strips[k]->another = free_strips, free_strips = key->strips[k];
            key->strips[k] = &nothing;
        }
}

static void allocate_strips(Key *key) {
    if (strips() > 1 && !nothing.pixels[0]) allocate_strip(&nothing);
    key->strips = allocate(strips() * sizeof(Strip *));
    for (int k = 0; k < strips(); k++) key->strips[k] = &nothing;
    if (strips() == 1) own_strip(key, 0);
}

/* Make a slot a key of which nothing is known yet. */
Key *fresh_key(int slot, int frame, int level, int first, int second, int step) {
    Key *key = &keys[slot];
    size_t nodes = (size_t)layout.down * layout.across;
    if (key->done) { /* else memory is zeroed, and much of it need not be touched */
        clear_tiles(key);
        clear_bands(key);
        give_back_strips(key);
        for (int k = 0; k < 2; k++) {
            memset(key->motion[k], 0, nodes * sizeof(Vector));
            memset(key->added[k], 0, nodes * sizeof(Vector));
            memset(key->moved_by[k], 0, nodes);
        }
        memset(key->moved, 0, nodes);
        memset(key->known, 0, sectors()), memset(key->asked, 0, sectors());
        if (layout.sector) memset(key->wanted, 0, (size_t)spots_down() * spots_across());
    } else {
        allocate_bands(key->bands, 0);
        for (int kind = 0; kind < BANDS; kind++) key->busy[kind] = allocate(squares_of(kind));
        allocate_strips(key);
        for (int k = 0; k < 2; k++) {
            key->motion[k] = allocate(nodes * sizeof(Vector)), key->added[k] = allocate(nodes * sizeof(Vector));
            key->moved_by[k] = allocate(nodes);
        }
        key->moved = allocate(nodes);
        key->known = allocate(sectors()), key->asked = allocate(sectors());
        if (layout.sector) key->wanted = allocate((size_t)spots_down() * spots_across());
        key->done = allocate((size_t)tiles_across() * tiles_down());
        key->filter = allocate((size_t)tiles_across() * tiles_down());
        key->contexts = allocate(sizeof(Contexts));
    }
    if (layout.sector) forget_wanted(frame);
    key->frame = frame, key->level = level, key->step = step, key->motion_length = 0;
    key->references = (first >= 0) + (second >= 0);
    key->reference_frame[0] = first, key->reference_frame[1] = second;
    key->reference[0] = key->reference[1] = NULL;
    find_references(key);
    const Contexts *from = &priors[key->references];
    int deepest = -1; /* contexts go on from the newest reference of the same kind */
    for (int k = 0; k < key->references; k++) {
        const Key *r = key->reference[k];
        if (r->references == key->references && r->level > deepest) from = r->contexts, deepest = r->level;
    }
    *key->contexts = *from;
    return key;
}

Vector *field_number(int number) {
    static Vector *held[3];
    if (!held[number]) held[number] = allocate((size_t)layout.down * layout.across * sizeof(Vector));
    return held[number];
}

/* Read a key of `length` bytes. Its references, frames or -1, must be known. */
void EXPORT(decode_key)(int slot, int frame, int level, int first, int second, int step, u8 *data, u32 length) {
    Key *key = fresh_key(slot, frame, level, first, second, step);
    Stream s;
    begin_reading(&s, data, length);
    code_motion(&s, key->contexts, key, 0);
    code_bands(&s, key->contexts, key, 0, NULL, 0);
    code_filters(&s, key->contexts, key);
    if (s.counting) __builtin_trap();
}

/* What every sector of a key begins with, which depends on no other: what the base has learned of motion. What was learned
   of fine bands on other clips, few coefficients have to change. */
Contexts *sector_contexts(const Key *key) {
    static Contexts contexts;
    contexts = *key->contexts;
    for (int k = 0; k < MOTION_AT; k++) contexts.of[k].seen /= 2;
    return &contexts;
}

/* Read a sector of a key, of `length` bytes; of none, its motion is as the nodes around have it, and its bands are 0. Does
   nothing, and returns 0, where that of a reference is not known; -1 where the bytes are damaged. */
int EXPORT(decode_sector)(int slot, int sector, u8 *data, u32 length) {
    Key *key = &keys[slot];
    find_references(key);
    for (int k = 0; k < key->references; k++)
        if (!key->reference[k]->known[sector]) return 0;
    int damaged = 0;
    if (length) {
        Stream s;
        Contexts *c = sector_contexts(key);
        own_strip(key, rect_of_part(sector + 1).left);
        begin_reading(&s, data, length);
        code_motion(&s, c, key, sector + 1);
        code_bands(&s, c, key, sector + 1, NULL, 0);
        damaged = !ends_as_written(&s);
        if (damaged) clear_part(key, sector + 1);
    }
    if (!length || damaged) code_motion(&(Stream){.counting = 1}, key->contexts, key, sector + 1);
    if (damaged) return -1;
    know_sector(key, sector);
    return 1;
}

/* Pictures */

/* Have a region of a key painted, in pixels of the sphere: rows may lie beyond the poles, columns go round. Says whether
   any of it is soft. */
static int paint_sphere(Key *key, int top, int left, int bottom, int right) {
    int soft = 0;
    for (int y = top; y < bottom;) {
        int row, column, turned = modulo(y, 2 * layout.height) >= layout.height;
        on_sphere(y, left, layout.height, layout.width, &row, &column);
        for (int x = left; x < right;) {
            u8 *done = &key->done[row / TILE * tiles_across() + column / TILE];
            if (!*done) paint_tile(key, row / TILE, column / TILE);
            soft |= *done == SOFT;
            int step = least(TILE - column % TILE, layout.width - column);
            x += step, column += step;
            if (column == layout.width) column = 0;
        }
        y += turned ? row % TILE + 1 : least(TILE - row % TILE, layout.height - row);
    }
    return soft;
}

/* Have everything painted that a tile is predicted from. Says whether any of it is soft. */
static int paint_sources(const Key *key, int tile_row, int tile_column) {
    int per_tile = TILE / NODE, soft = 0;
    for (int k = 0; k < key->references; k++)
        for (int i = tile_row * per_tile - 1; i <= (tile_row + 1) * per_tile; i++)
            for (int j = tile_column * per_tile - 1; j <= (tile_column + 1) * per_tile; j++) {
                int row = clamp(i, 0, layout.down - 1), column = (j + layout.across) % layout.across;
                Vector v = key->motion[k][row * layout.across + column];
                int y = row * NODE - NODE / 2 + (v.y >> 2), x = j * NODE - NODE / 2 + (v.x >> 2);
                soft |= paint_sphere(key->reference[k], y - 6, x - 6, y + 2 * NODE + 6, x + 2 * NODE + 6);
            }
    return soft;
}

void paint_tile(Key *key, int tile_row, int tile_column) {
    static i16 predicted[TILE * TILE];
    static i32 residual[TILE * TILE];
    find_references(key);
    own_strip(key, tile_column * TILE);
    int soft = paint_sources(key, tile_row, tile_column) || lacks_sectors(key, tile_row, tile_column);
    for (int plane = 0; plane < PLANES; plane++) {
        int size = plane ? TILE / 2 : TILE, top = tile_row * size, left = tile_column * size;
        int height = least(size, plane_rows(plane) - top), width = least(size, plane_columns(plane) - left);
        compensate(key, plane, top, left, height, width, predicted);
        int any = inverse_region(key, plane, top, left, height, width, residual);
        for (int r = 0; r < height; r++) {
            i16 *row = pixel_at(key->strips, plane, top + r, left);
            const i16 *said = predicted + r * width;
            const i32 *added = residual + r * TILE;
            if (!any) memcpy(row, said, width * sizeof(i16));
            for (int c = 0; any && c < width; c += 8) {
                I32x4 low = widened(said + c) + load_i32(added + c), high = widened(said + c + 4) + load_i32(added + c + 4);
                I16x8 pixels = narrow(low, high);
                memcpy(row + c, &pixels, sizeof pixels);
            }
        }
    }
    int tile = tile_row * tiles_across() + tile_column;
    if (key->filter[tile]) filter_tile(key, tile_row, tile_column);
    key->done[tile] = soft ? SOFT : SHARP;
}

/* RGB [height, width, 3] of a region of a key's picture, which is painted where it is not; columns may go round. */
void EXPORT(read_pixels)(int slot, int top, int left, int height, int width, u8 *out) {
    static u8 *line;
    Key *key = &keys[slot];
    if (!line) line = allocate(3 * layout.columns + 8);
    paint_sphere(key, top - 2, left - 2, top + height + 2, left + width + 2);
    for (int y = top; y < top + height; y++)
        for (int x = modulo(left, layout.width), rest = width; rest;) {
            int run = least(rest, least(layout.width, x - x % layout.strip + layout.strip) - x), first = x & ~7;
            colour_row(key->strips, y, first, (x + run + 7) & ~7, line);
            memcpy(out, line + 3 * (x - first), 3 * run);
            out += 3 * run, rest -= run, x = x + run < layout.width ? x + run : 0;
        }
}
