/* Vectors of 128 bits: loops over pixels and coefficients are written with them where a compiler finds none by itself. */
#ifndef VECTORS_H
#define VECTORS_H

typedef u8 U8x16 __attribute__((vector_size(16)));
typedef i16 I16x4 __attribute__((vector_size(8)));
typedef i16 I16x8 __attribute__((vector_size(16)));
typedef i32 I32x4 __attribute__((vector_size(16)));
typedef float F32x4 __attribute__((vector_size(16)));

static inline I32x4 splat(i32 value) { return (I32x4){value, value, value, value}; }

/* A vector of numbers that may lie anywhere. */
#define LOAD(name, type, number)                  \
    static inline type name(const number *from) { \
        type values;                              \
        memcpy(&values, from, sizeof values);     \
        return values;                            \
    }
LOAD(load_half, I16x4, i16)
LOAD(load_i16, I16x8, i16)
LOAD(load_i32, I32x4, i32)
LOAD(load_f32, F32x4, float)

static inline I32x4 widened(const i16 *from) { return __builtin_convertvector(load_half(from), I32x4); }
static inline void store_f32(float *to, F32x4 values) { memcpy(to, &values, sizeof values); }
static inline void store_i32(i32 *to, I32x4 values) { memcpy(to, &values, sizeof values); }
static inline void store_i16(i16 *to, I32x4 values) {
    I16x4 narrow = __builtin_convertvector(values, I16x4);
    memcpy(to, &narrow, sizeof narrow);
}
/* Of two vectors, number by number in turn: what comes of their first and of their second halves. */
static inline I16x8 low_by_turns(I16x8 a, I16x8 b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
static inline I16x8 high_by_turns(I16x8 a, I16x8 b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
static inline I16x8 twice_by_turns(i32 a, i32 b) { return (I16x8)splat((a & 65535) | b << 16); }
/* a0 b0 + a1 b1, a2 b2 + a3 b3, ... */
static inline I32x4 dot_pairs(I16x8 a, I16x8 b) { return __builtin_wasm_dot_s_i32x4_i16x8(a, b); }
/* Bytes of a table of 16. */
static inline U8x16 look_up(U8x16 table, U8x16 places) { return (U8x16)__builtin_wasm_swizzle_i8x16(table, places); }
/* Eight numbers limited to 16 bits, sixteen to bytes. */
static inline I16x8 narrow(I32x4 a, I32x4 b) { return __builtin_wasm_narrow_s_i16x8_i32x4(a, b); }
static inline U8x16 narrow_bytes(I16x8 a, I16x8 b) { return __builtin_wasm_narrow_u_i8x16_i16x8(a, b); }

#endif
