/* Sectors: squares of the panorama, of which the fine bands and the motion between the nodes of the base are coded apart, so
   that whoever sees a view reads no others. Each key's begin anew, and know nothing of others but for the same sector of the
   references. Where one is missing, the picture is soft.
*/
#include "core.h"

enum {
    AROUND = 4,   /* pixels: coefficients further off hardly change a pixel */
    REACH = 32,   /* pixels from which on they do not at all */
    USED_AT = 0,  /* contexts of lengths */
    LENGTHS_AT = USED_AT + 3 * 4,
    LENGTH_CONTEXTS = LENGTHS_AT + 3 * 3 * 16,
};

static int sector_at(int y, int x) {
    int row = clamp(y, 0, layout.rows - 1) / layout.sector, column = modulo(x, layout.columns) / layout.sector;
    return row * sectors_across() + column;
}

/* Whether a tile lacks any sector whose coefficients change its pixels. */
int lacks_sectors(const Key *key, int tile_row, int tile_column) {
    if (!layout.sector) return 0;
    for (int y = tile_row * TILE - REACH; y <= tile_row * TILE + TILE + REACH; y += TILE / 2)
        for (int x = tile_column * TILE - REACH; x <= tile_column * TILE + TILE + REACH; x += TILE / 2)
            if (!key->known[sector_at(y, x)]) return 1;
    return 0;
}

/* Whether all sectors are read, also those of its references. */
static int is_whole(const Key *key) {
    for (int sector = 0; sector < sectors(); sector++)
        if (!key->known[sector]) return 0;
    return 1;
}

static void forget_soft_tile(Key *key, int row, int column) {
    u8 *done = &key->done[clamp(row, 0, tiles_down() - 1) * tiles_across() + modulo(column, tiles_across())];
    if (*done == SOFT) *done = NOT_PAINTED;
}

/* A sector was read. Soft tiles that its coefficients change are painted anew; once a key has all sectors, all are. */
void know_sector(Key *key, int sector) {
    Rect r = rect_of_part(sector + 1);
    key->known[sector] = 1;
    for (int i = r.top / TILE - 1; i <= r.bottom / TILE; i++)
        for (int j = r.left / TILE - 1; j <= r.right / TILE; j++) forget_soft_tile(key, i, j);
    if (!is_whole(key)) return;
    for (int slot = 0; slot < SLOTS; slot++)
        for (int tile = 0; keys[slot].done && tile < tiles_across() * tiles_down(); tile++)
            forget_soft_tile(&keys[slot], tile / tiles_across(), tile % tiles_across());
}

/* Ask for a sector of a key, and of its references, where it is not known. */
static int ask(Key *key, int sector) {
    if (key->known[sector] || key->asked[sector]) return !key->known[sector];
    key->asked[sector] = 1;
    find_references(key);
    for (int k = 0; k < key->references; k++) ask(key->reference[k], sector);
    return 1;
}

enum { NOT_WANTED, HAS_ALL, LACKS_SOME }; /* of a spot; the last as far as it was looked at by one call */

/* Ask for what a spot of a key's picture depends on, as far as is known from its motion: sectors of coefficients, of the
   nodes around; spots of the references. A soft tile is painted anew once a spot of it has all. Says whether anything is
   lacking. */
static int want_spot(Key *key, int row, int column) {
    int top = row * SPOT, left = column * SPOT, rows[2], columns[2], lacks = 0;
    u8 *state = &key->wanted[row * spots_across() + column];
    if (*state != NOT_WANTED) return *state == LACKS_SOME;
    *state = LACKS_SOME;
    for (int k = 0; k < 2; k++) {
        rows[k] = clamp(((row - 1) >> 1) + k, 0, layout.down - 1);
        columns[k] = modulo(((column - 1) >> 1) + k, layout.across);
    }
    for (int k = 0; k < 4; k++) {
        int part = key->references ? part_of_node(rows[k / 2], columns[k % 2]) : 0;
        int y = k / 2 ? top + SPOT - 1 + AROUND : top - AROUND, x = k % 2 ? left + SPOT - 1 + AROUND : left - AROUND;
        lacks |= ask(key, sector_at(y, x)) | (part ? ask(key, part - 1) : 0);
    }
    if (lacks) return 1;
    find_references(key);
    for (int n = 0; n < 4 * key->references; n++) {
        Vector v = key->motion[n / 4][rows[n % 4 / 2] * layout.across + columns[n % 2]];
        int y = top + (v.y >> 2), x = left + (v.x >> 2);
        for (int r = (y + SPOT / 2 - 1) >> 3; r <= (y + SPOT / 2) >> 3; r++)
            for (int c = (x + SPOT / 2 - 1) >> 3; c <= (x + SPOT / 2) >> 3; c++) {
                int at_row, at_column;
                on_sphere(r * SPOT, c * SPOT, layout.height, layout.width, &at_row, &at_column);
                lacks |= want_spot(key->reference[n / 4], at_row / SPOT, at_column / SPOT);
            }
    }
    if (lacks) return 1;
    forget_soft_tile(key, top / TILE, left / TILE);
    *state = HAS_ALL;
    return 0;
}

/* A key is read anew: others that know of its sectors have to ask for them again. */
void forget_wanted(int frame) {
    int known = 0;
    for (int k = 0; k < SLOTS; k++)
        for (int r = 0; keys[k].frame >= 0 && r < keys[k].references; r++) known |= keys[k].reference_frame[r] == frame;
    for (int k = 0; known && k < SLOTS; k++)
        if (keys[k].wanted) memset(keys[k].wanted, 0, (size_t)spots_down() * spots_across());
}

/* Ask for the sectors that a region of a key's picture depends on, in this key and in others: `asked` tells which, of those
   that are not known. Returns how many these are. Motion says where to look next: once these are read, ask again. */
u32 EXPORT(ask_sectors)(int slot, int top, int left, int height, int width) {
    u32 count = 0;
    for (int k = 0; k < SLOTS; k++) {
        if (!keys[k].wanted) continue;
        memset(keys[k].asked, 0, sectors());
        for (int n = 0; n < spots_down() * spots_across(); n++) keys[k].wanted[n] &= HAS_ALL;
    }
    for (int r = top / SPOT; r <= (top + height - 1) / SPOT; r++)
        for (int c = left >> 3; c <= (left + width - 1) >> 3; c++) {
            int row, column;
            on_sphere(r * SPOT, c * SPOT, layout.height, layout.width, &row, &column);
            want_spot(&keys[slot], row / SPOT, column / SPOT);
        }
    for (int k = 0; k < SLOTS; k++)
        for (int sector = 0; keys[k].asked && sector < sectors(); sector++) count += keys[k].asked[sector];
    return count;
}

const u8 *EXPORT(asked)(int slot) { return keys[slot].asked; }
const u8 *EXPORT(known)(int slot) { return keys[slot].known; }
i32 EXPORT(sector_count)(void) { return sectors(); }

/* The bytes that sectors of keys take, key by key. `references` is how many each key has. */
static void code_lengths(Stream *s, const u8 *references, int keys_coded, u32 *lengths) {
    static Contexts contexts;
    int count = sectors(), before[3] = {-1, -1, -1}; /* the key before of each kind */
    for (int k = 0; k < LENGTH_CONTEXTS; k++) contexts.of[k] = (Context){32768, 0};
    for (int n = 0; n < keys_coded; n++) {
        u32 *here = lengths + (size_t)n * count;
        int kind = least(2, references[n]);
        for (int sector = 0; sector < count; sector++) {
            u32 last = before[kind] < 0 ? 0 : lengths[(size_t)before[kind] * count + sector];
            int west = sector % sectors_across() && here[sector - 1], size = !last ? 0 : last < 32 ? 1 : 2;
            int used = code_simple(s, &contexts, USED_AT + 4 * kind + 2 * (last > 0) + west, here[sector] != 0);
            int first = LENGTHS_AT + 16 * (3 * kind + size);
            here[sector] = used ? 1 + (u32)code_golomb(s, &contexts, first, (i32)here[sector] - 1) : 0;
        }
        before[kind] = n;
    }
}

u32 EXPORT(write_lengths)(const u8 *references, int count, u32 *lengths, u8 *data, u32 length) {
    Stream s;
    begin_writing(&s, data, length);
    code_lengths(&s, references, count, lengths);
    return end_writing(&s);
}

void EXPORT(read_lengths)(const u8 *references, int count, u8 *data, u32 length, u32 *lengths) {
    Stream s;
    begin_reading(&s, data, length);
    code_lengths(&s, references, count, lengths);
    if (s.counting) __builtin_trap();
}
