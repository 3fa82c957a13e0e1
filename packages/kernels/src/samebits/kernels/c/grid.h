/* Grids for exact products: float64 values rounded to multiples of a power of two. NumPy versions: core/grid.py
 *
 * Where S, the sum of a vector's squares, comes so near to where its exponent changes that the order of the sum could decide, a
 * kernel returns 2 and NumPy computes, which then rounds the true sum. It is one vector in a million.
 */
#ifndef SAMEBITS_KERNELS_GRID_H
#define SAMEBITS_KERNELS_GRID_H

#include "kernels.h"

enum { LANES = 16 };

/* The least e with v < 4^e, from the bits of v >= 0. NumPy version: grid._half_exponents */
static inline int64_t half_exponent(int64_t bits) { return (bits - (INT64_C(1021) << 52)) >> 53; }

/* M = 1.5 * 2^(52 + e - bits) for the sum S of a vector's squares; 0, or why there is none. NumPy version: grid._exponents */
static inline int grid_constant(double squares, int64_t bits, double *constant) {
  if (!(squares - squares == 0.0)) return 1;
  int64_t found = word(squares * (1.0 + 0x1p-11));
  int64_t e = half_exponent(found - (1 << 30));
  if (e != half_exponent(found + (1 << 30))) return 2;
  *constant = number(((e + 1023 + 52 - bits) << 52) | (INT64_C(1) << 51));
  return 0;
}

/* The sum of lanes, which are overwritten, in an order of its own. */
static inline double total(double *lanes) {
  for (int half = LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
  return lanes[0];
}

/* An element of float32 or, if it is wide, float64. */
static inline __attribute__((always_inline)) double at(const void *x, int64_t i, int is_wide) {
  return is_wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

/* out (n) float64 = x (n), on the grid of its norm; returns what a kernel returns. */
static inline __attribute__((always_inline)) int on_grid(double *restrict out, const void *restrict x, int64_t n, int64_t bits,
                                                         int is_wide) {
  double lanes[LANES] = {0}, constant;
  int64_t whole = n / LANES * LANES;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += at(x, i + j, is_wide) * at(x, i + j, is_wide);
  for (int64_t i = whole; i < n; i++) lanes[i - whole] += at(x, i, is_wide) * at(x, i, is_wide);
  int problem = grid_constant(total(lanes), bits, &constant);
  if (problem) return problem;
  for (int64_t i = 0; i < n; i++) out[i] = (at(x, i, is_wide) + constant) - constant;
  return 0;
}

/* The product of two vectors (n) on grids, the second of float32 or float64: exact, whatever the order of the sum. */
static inline __attribute__((always_inline)) double product(const double *restrict row, const void *restrict column, int64_t n,
                                                            int is_wide) {
  double lanes[LANES] = {0};
  int64_t whole = n / LANES * LANES;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += row[i + j] * at(column, i + j, is_wide);
  for (int64_t i = whole; i < n; i++) lanes[i - whole] += row[i] * at(column, i, is_wide);
  return total(lanes);
}

#endif
