/* Learned filters: small networks that add to a tile of brightness what coding usually takes from it.

       tile ── less its mean, in steps ── 3x3, 8 channels ── 3x3, 8 channels ── 3x3 ── added

   A tile is filtered by itself: beyond it, its outermost pixels go on. There are some for roots, for keys with one
   reference and for keys with two, each learned on tiles of its kind (core/train_filters.py); of every tile is said which
   it has, if any.
*/
#include "core.h"

enum {
    CHANNELS = 8,
    MARGIN = 3, /* pixels that three layers of 3x3 reach */
    SIDE = TILE + 2 * MARGIN,
    LARGEST = 8191, /* in 1/64 of a step */
    WEIGHT_BITS = 9,
    BIAS_BITS = 7, /* below which those of sums lie */
    AT_ONCE = 2,   /* columns, which share the loads of weights */
    DEAR = 8,      /* bits that a filtered tile has to be worth */
};

/* Weights go by rows of 3x3; of the first layer in two pairs of columns, whose last is 0, of the second in columns. */
typedef struct {
    i32 bias[3][CHANNELS];
    i16 first[3][2][CHANNELS][2];
    i16 second[3][3][CHANNELS / 2][CHANNELS][2]; /* by pairs of inputs */
    i16 third[3][3][CHANNELS];
} Network;

static Network networks[3][FILTERS]; /* by references */

static i16 next_number(const u8 **from) {
    i16 value = (i16)((*from)[0] | (*from)[1] << 8);
    *from += 2;
    return value;
}

/* Of each network and layer, numbers of 16 bits: biases, then weights by row, column, input and output. */
void read_networks(const u8 *learned) {
    for (Network *n = networks[0]; n < networks[0] + 3 * FILTERS; n++) {
        for (int k = 0; k < CHANNELS; k++) n->bias[0][k] = next_number(&learned) * (1 << BIAS_BITS);
        for (int k = 0; k < 9 * CHANNELS; k++) {
            int row = k / CHANNELS / 3, column = k / CHANNELS % 3;
            n->first[row][column / 2][k % CHANNELS][column % 2] = next_number(&learned);
        }
        for (int k = 0; k < CHANNELS; k++) n->bias[1][k] = next_number(&learned) * (1 << BIAS_BITS);
        for (int k = 0; k < 9 * CHANNELS * CHANNELS; k++) {
            int place = k / CHANNELS / CHANNELS, input = k / CHANNELS % CHANNELS;
            n->second[place / 3][place % 3][input / 2][k % CHANNELS][input % 2] = next_number(&learned);
        }
        n->bias[2][0] = next_number(&learned) * (1 << BIAS_BITS);
        for (int k = 0; k < 9 * CHANNELS; k++) n->third[k / CHANNELS / 3][k / CHANNELS % 3][k % CHANNELS] = next_number(&learned);
    }
}

static inline I16x8 pair_at(const i16 *from) {
    i32 both;
    memcpy(&both, from, sizeof both);
    return (I16x8)splat(both);
}

/* All channels of a place, from their sums. */
static inline void put_channels(i16 *out, const I32x4 sums[2]) {
    I16x8 values = narrow(sums[0] >> WEIGHT_BITS, sums[1] >> WEIGHT_BITS);
    values = __builtin_elementwise_max(__builtin_elementwise_min(values, (I16x8){} + LARGEST), (I16x8){});
    memcpy(out, &values, sizeof values);
}

/* What two inputs add to the sums of all channels, of columns whose numbers lie `apart`. */
static inline void add_pairs(I32x4 sums[AT_ONCE][2], const i16 *in, int apart, const i16 *weights) {
    I16x8 low = load_i16(weights), high = load_i16(weights + CHANNELS);
    for (int k = 0; k < AT_ONCE; k++) {
        I16x8 pair = pair_at(in + k * apart);
        sums[k][0] += dot_pairs(pair, low), sums[k][1] += dot_pairs(pair, high);
    }
}

static void first_layer(const Network *n, const i16 *in, int rows, int columns, i16 *out) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c += AT_ONCE) {
            I32x4 sums[AT_ONCE][2];
            for (int k = 0; k < AT_ONCE; k++) sums[k][0] = load_i32(n->bias[0]), sums[k][1] = load_i32(n->bias[0] + 4);
            for (int y = 0; y < 3; y++)
                for (int half = 0; half < 2; half++)
                    add_pairs(sums, in + (r + y) * SIDE + c + 2 * half, 1, n->first[y][half][0]);
            for (int k = 0; k < AT_ONCE; k++) put_channels(out + (r * SIDE + c + k) * CHANNELS, sums[k]);
        }
}

static void second_layer(const Network *n, const i16 *in, int rows, int columns, i16 *out) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c += AT_ONCE) {
            I32x4 sums[AT_ONCE][2];
            for (int k = 0; k < AT_ONCE; k++) sums[k][0] = load_i32(n->bias[1]), sums[k][1] = load_i32(n->bias[1] + 4);
            for (int y = 0; y < 3; y++)
                for (int x = 0; x < 3; x++)
                    for (int input = 0; input < CHANNELS; input += 2)
                        add_pairs(sums, in + ((r + y) * SIDE + c + x) * CHANNELS + input, CHANNELS, n->second[y][x][input / 2][0]);
            for (int k = 0; k < AT_ONCE; k++) put_channels(out + (r * SIDE + c + k) * CHANNELS, sums[k]);
        }
}

static i32 third_layer(const Network *n, const i16 *in) {
    I32x4 sums = {n->bias[2][0], 0, 0, 0};
    for (int place = 0; place < 9; place++)
        sums += dot_pairs(load_i16(in + (place / 3 * SIDE + place % 3) * CHANNELS), load_i16(n->third[place / 3][place % 3]));
    return clamp((sums[0] + sums[1] + sums[2] + sums[3]) >> WEIGHT_BITS, -LARGEST, LARGEST);
}

/* What a filter makes of a tile of height x width pixels, in rows of TILE. */
static void filter(const Key *key, int number, const i16 *pixels, int height, int width, i16 *out) {
    static i16 values[SIDE * SIDE + 1], one[SIDE * SIDE * CHANNELS], other[SIDE * SIDE * CHANNELS];
    const Network *n = &networks[key->references][number - 1];
    int stride = strip_width(0);
    i32 sum = 0, factor = 64 * 65536 / key->step;
    for (int r = 0; r < height; r++)
        for (int c = 0; c < width; c++) sum += pixels[r * stride + c] + 32768;
    i32 mean = sum / (height * width) - 32768;
    for (int r = 0; r < height + 2 * MARGIN; r++)
        for (int c = 0; c < width + 2 * MARGIN; c++) {
            i32 pixel = pixels[clamp(r - MARGIN, 0, height - 1) * stride + clamp(c - MARGIN, 0, width - 1)];
            values[r * SIDE + c] = (i16)clamp((i32)((i64)(pixel - mean) * factor >> 16), -LARGEST, LARGEST);
        }
    first_layer(n, values, height + 4, width + 4, one);
    second_layer(n, one, height + 2, width + 2, other);
    for (int r = 0; r < height; r++)
        for (int c = 0; c < width; c++) {
            i32 added = third_layer(n, other + (r * SIDE + c) * CHANNELS) * key->step;
            out[r * TILE + c] = (i16)clamp(pixels[r * stride + c] + ((added + 32) >> 6), -32768, 32767);
        }
}

/* Where a tile of brightness lies. */
static i16 *tile_at(const Key *key, int tile_row, int tile_column, int *height, int *width) {
    *height = least(TILE, layout.rows - tile_row * TILE), *width = least(TILE, layout.columns - tile_column * TILE);
    return pixel_at(key->strips, 0, tile_row * TILE, tile_column * TILE);
}

static void put_back(const i16 *filtered, int height, int width, i16 *pixels) {
    for (int r = 0; r < height; r++) memcpy(pixels + r * strip_width(0), filtered + r * TILE, width * sizeof(i16));
}

void filter_tile(Key *key, int tile_row, int tile_column) {
    static i16 filtered[TILE * TILE];
    int height, width;
    i16 *pixels = tile_at(key, tile_row, tile_column, &height, &width);
    filter(key, key->filter[tile_row * tiles_across() + tile_column], pixels, height, width, filtered);
    put_back(filtered, height, width, pixels);
}

/* Which filter a tile has, or none, by those west and north. */
static int code_filter(Stream *s, Contexts *c, const Key *key, int tile, int number) {
    int west = tile % tiles_across() ? key->filter[tile - 1] : 0;
    int north = tile >= tiles_across() ? key->filter[tile - tiles_across()] : 0, found = 0;
    int first = FILTERS_AT + (west * (FILTERS + 1) + north) * FILTERS;
    while (found < FILTERS && code_simple(s, c, first + found, number > found)) found++;
    return found;
}

static float filter_bits(const Key *key, int tile, int number) {
    Stream s = {.counting = 1};
    code_filter(&s, key->contexts, key, tile, number);
    return (float)s.bits;
}

/* Filter a tile as brings it nearest to the source, with regard to the bits of saying so; returns by which filter. */
int best_filter(Key *key, int tile_row, int tile_column, const float *source, float rate_weight) {
    static i16 filtered[TILE * TILE], best[TILE * TILE];
    int height, width, found = 0;
    i16 *pixels = tile_at(key, tile_row, tile_column, &height, &width);
    int tile = tile_row * tiles_across() + tile_column;
    float per_bit = rate_weight * (float)key->step * (float)key->step, least_cost = per_bit * filter_bits(key, tile, 0);
    for (int number = 1; number <= FILTERS; number++) {
        float cost = per_bit * (filter_bits(key, tile, number) + DEAR);
        filter(key, number, pixels, height, width, filtered);
        for (int r = 0; r < height; r++)
            for (int c = 0; c < width; c++) {
                float wanted = source[(size_t)(tile_row * TILE + r) * layout.columns + tile_column * TILE + c];
                float before = pixels[r * strip_width(0) + c] - wanted, after = filtered[r * TILE + c] - wanted;
                cost += after * after - before * before;
            }
        if (cost >= least_cost) continue;
        least_cost = cost, found = number;
        memcpy(best, filtered, sizeof best);
    }
    if (found) put_back(best, height, width, pixels);
    return found;
}

/* The filters of all tiles, row by row. */
void code_filters(Stream *s, Contexts *c, Key *key) {
    for (int tile = 0; tile < tiles_across() * tiles_down(); tile++)
        key->filter[tile] = (u8)code_filter(s, c, key, tile, key->filter[tile]);
}
