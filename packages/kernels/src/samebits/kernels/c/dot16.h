/* Sums of products of int16 pairs in int32, by the instructions that each CPU level has for them: integers, so exact. And float16
 * as float32, which is exact too.
 *
 * A panel has 16 columns, and a vector of pairs some of them, each with two neighbors along K. The rest of gemm16.c is written once:
 * here are the names that it uses. `dot` adds a0 b0 + a1 b1 to each column's sum; where it is fused, by one instruction that not every
 * CPU of the level has.
 */
#ifndef SAMEBITS_DOT16_H
#define SAMEBITS_DOT16_H

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* PARTS: vectors of a panel. TALL: rows of a tile, which meet WIDE panels at a time; one row meets FEW panels, two meet half of that. */
#if defined(__AVX512BW__)
enum { PARTS = 1, TALL = 12, WIDE = 2, FEW = 8 };
typedef __m512i pairs, sums;
static inline pairs load_pairs(const int16_t *x) { return _mm512_loadu_si512(x); }
static inline pairs spread(int32_t pair) { return _mm512_set1_epi32(pair); }
static inline sums no_sums(void) { return _mm512_setzero_si512(); }
static inline void store_sums(int32_t *out, sums x) { _mm512_storeu_si512(out, x); }
static inline __attribute__((always_inline)) sums dot(sums sum, pairs a, pairs b, int fused) {
  if (!fused) return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}
/* AVX-512 VNNI */
static inline int has_fused(void) {
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_AVX512VNNI);
}

#elif defined(__AVX2__)
enum { PARTS = 2, TALL = 6, WIDE = 1, FEW = 4 };
typedef __m256i pairs, sums;
static inline pairs load_pairs(const int16_t *x) { return _mm256_loadu_si256((const __m256i *)x); }
static inline pairs spread(int32_t pair) { return _mm256_set1_epi32(pair); }
static inline sums no_sums(void) { return _mm256_setzero_si256(); }
static inline void store_sums(int32_t *out, sums x) { _mm256_storeu_si256((__m256i *)out, x); }
static inline __attribute__((always_inline)) sums dot(sums sum, pairs a, pairs b, int fused) {
  if (!fused) return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
  __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
}
/* AVX-VNNI */
static inline int has_fused(void) {
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1 << 4));
}

#elif defined(__x86_64__)
enum { PARTS = 4, TALL = 2, WIDE = 1, FEW = 2 };
typedef __m128i pairs, sums;
static inline pairs load_pairs(const int16_t *x) { return _mm_loadu_si128((const __m128i *)x); }
static inline pairs spread(int32_t pair) { return _mm_set1_epi32(pair); }
static inline sums no_sums(void) { return _mm_setzero_si128(); }
static inline void store_sums(int32_t *out, sums x) { _mm_storeu_si128((__m128i *)out, x); }
static inline __attribute__((always_inline)) sums dot(sums sum, pairs a, pairs b, int fused) {
  (void)fused;
  return _mm_add_epi32(sum, _mm_madd_epi16(a, b));
}
static inline int has_fused(void) { return 0; }

#else
/* The products of even and of odd numbers have sums of their own. */
enum { PARTS = 4, TALL = 3, WIDE = 1, FEW = 2 };
typedef int16x8_t pairs;
typedef struct {
  int32x4_t low, high;
} sums;
static inline pairs load_pairs(const int16_t *x) { return vld1q_s16(x); }
static inline pairs spread(int32_t pair) { return vreinterpretq_s16_s32(vdupq_n_s32(pair)); }
static inline sums no_sums(void) { return (sums){vdupq_n_s32(0), vdupq_n_s32(0)}; }
static inline void store_sums(int32_t *out, sums x) { vst1q_s32(out, vpaddq_s32(x.low, x.high)); }
static inline __attribute__((always_inline)) sums dot(sums sum, pairs a, pairs b, int fused) {
  (void)fused;
  sum.low = vmlal_s16(sum.low, vget_low_s16(a), vget_low_s16(b));
  sum.high = vmlal_high_s16(sum.high, a, b);
  return sum;
}
static inline int has_fused(void) { return 0; }
#endif

/* `dot` of a pair at an even place and every column, where AVX-512 needs no register for the pair. */
static inline __attribute__((always_inline)) sums dot_spread(sums sum, const int16_t *pair, pairs b, int fused) {
#if defined(__AVX512BW__)
  typedef int32_t pair_in_memory __attribute__((may_alias));
  if (fused) {
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*(const pair_in_memory *)pair));
    return sum;
  }
#endif
  int32_t both;
  __builtin_memcpy(&both, pair, sizeof both);
  return dot(sum, spread(both), b, fused);
}

/* out (8) = x (8) float16, which are finite. */
static inline void widen_halves(float *out, const uint16_t *x) {
#if defined(__F16C__)
  _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x)));
#else
  for (int i = 0; i < 8; i++) {
    float normal = number32((uint32_t)((x[i] & 0x7fff) << 13) + (UINT32_C(112) << 23));
    float size = x[i] & 0x7c00 ? normal : normal + normal - 0x1p-14f; /* with exponent 0 there is no leading 1 */
    out[i] = x[i] & 0x8000 ? -size : size;
  }
#endif
}

/* The rows of a tile, of which so many are left. */
static inline int height(int64_t left) {
  return left >= TALL ? TALL : left == 1 ? 1 : left == 2 ? 2 : left <= 4 && TALL > 4 ? 4 : TALL;
}

#endif
