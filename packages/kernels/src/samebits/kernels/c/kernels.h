/* What every kernel shares: the job it is given, and the bits of numbers.
 *
 * A kernel is int NAME(const struct job *): it fills some arrays from others, for the rows from start to stop, and
 * returns 0; 1 where an argument that must be finite is not; 2 where NumPy must compute. Rows do not influence each other,
 * so the caller may cut them as it likes and give the parts to threads. Only + - * / sqrt, comparisons, casts and integer operations are used,
 * in the order of the NumPy version: IEEE 754 defines their bits.
 */
#ifndef SAMEBITS_KERNELS_H
#define SAMEBITS_KERNELS_H

#include <stdint.h>

struct job {
  int64_t start, stop; /* the rows to work on */
  int64_t columns;     /* the elements of a row, where all arrays of the kernel agree on that */
  double *scratch;     /* MEMORY elements, this thread's own */
  void *arrays[16];    /* C-ordered; results first, then arguments, then what all rows share */
};

enum {
  BLOCK = 256,    /* elements worked on together: they stay in the first-level cache */
  SCRATCH = 1 << 17, /* elements of a part of that memory that caches hold */
  MEMORY = 1 << 19   /* kernel.py has the same number */
};

static inline int64_t word(double x) {
  int64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double number(int64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint32_t word32(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float number32(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

/* Sums and differences modulo 2^64, as NumPy's: those of NaN's bits overflow. */
static inline int64_t plus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t minus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Round to float32, every NaN to the one with the bits 0x7fc00000. NumPy version: blocks.narrow */
static inline float narrow(double x) {
  float y = (float)x;
  return y != y ? number32(0x7fc00000) : y;
}

static inline int is_finite(float x) { return (word32(x) & 0x7f800000) != 0x7f800000; }

/* x within [low, high]; NaN stays. */
static inline double clip(double x, double low, double high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

#endif
