/* Vectors on grids of 15 bits, as int16: one chunk of K at a time.
 *
 * A vector of at most CHUNK elements with the sum of squares S has e, the least integer with S (1 + 2^-11) < 4^e (all zeros: -511), the
 * integers q = round-half-even(x 2^(15-e)), and the scale 2^(e-15). NumPy version: grid.grid_vectors, whose results are q 2^(e-15).
 */
#ifndef SAMEBITS_GEMM16_H
#define SAMEBITS_GEMM16_H

#include "grid.h"

enum {
  CHUNK = 256, /* part of the definition */
  PANEL = 16,  /* columns that lie together */
  BITS = 15,
  AHEAD = 16 /* rows that are fetched before they are needed */
};

typedef float floats __attribute__((vector_size(4 * PANEL)));
typedef int32_t ints __attribute__((vector_size(4 * PANEL)));
typedef uint32_t words __attribute__((vector_size(4 * PANEL)));
typedef double doubles __attribute__((vector_size(8 * PANEL)));
typedef int32_t quad __attribute__((vector_size(16)));

static inline int64_t parts_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* sums (tall, wide * PANEL) int32 of the products of rows, so many numbers apart, and panels, so many pairs apart, of so many pairs:
 * one, two, four (if that is less than TALL) or TALL rows by WIDE panels or one; one row by FEW panels, two by half of that. */
typedef void tiles(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b, int64_t apart, int64_t count, int tall,
                   int wide);

/* Whether products and their sum are one instruction on this CPU (dot16.h), and the quickest tiles. */
int64_t fuses(void);
tiles *chosen_tiles(void);

/* e of x (n), its elements so far apart; returns what a kernel returns. The sum of squares, which are exact, is summed to 2^-90 of
 * itself, so that 2 is almost never. */
static inline int exponent(const float *x, int64_t n, int64_t apart, int64_t *e) {
  double sum = 0.0, rest = 0.0;
  uint32_t any = 0;
  for (int64_t i = 0; i < n; i++) any |= word32(x[i * apart]) << 1;
  *e = -511;
  if (!any) return 0;
  for (int64_t i = 0; i < n; i++) {
    double square = (double)x[i * apart] * (double)x[i * apart], next = sum + square, added = next - sum;
    rest += (sum - (next - added)) + (square - added);
    sum = next;
  }
  if (!(sum - sum == 0.0)) return 1;
  int64_t bits = word(sum + rest), least_e = half_exponent(word(number(bits - 1) * (1.0 + 0x1p-11)));
  *e = half_exponent(word(number(bits) * (1.0 + 0x1p-11)));
  return least_e == *e && half_exponent(word(number(bits + 1) * (1.0 + 0x1p-11))) == *e ? 0 : 2;
}

/* Find e from a sum of at most CHUNK squares in float32, which is less than 2^-15 of itself off; 0 where that cannot decide. */
static inline int estimate(float squares, int64_t *e) {
  double v = (double)squares * (1.0 + 0x1p-11);
  *e = half_exponent(word(v * (1.0 - 0x1p-15)));
  return squares > 0x1p-120f && squares < 0x1p120f && *e == half_exponent(word(v * (1.0 + 0x1p-15)));
}

static inline double scale_of(int64_t e) { return number((e + 1023 - BITS) << 52); }

/* Whether 2^(15-e) is no float32, as for numbers near the least. */
static inline int is_tiny(int64_t e) { return e < BITS - 127; }
static inline float factor_of(int64_t e) { return is_tiny(e) ? 0.0f : number32((uint32_t)(BITS - e + 127) << 23); }
static inline int16_t tiny(float x, int64_t e) { return (int16_t)word((double)x * number((BITS - e + 1023) << 52) + 0x1.8p52); }

/* 1.5 * 2^23: added to a number below 2^22, it rounds it to an integer, which is then in the low bits. */
static const float ROUND = 12582912.0f;

/* q (n), then 0 if n is odd, and scale, of x (n), contiguous; returns what a kernel returns. What is needed later, so far on, is fetched. */
static inline int grid16(int16_t *restrict q, double *restrict scale, const float *restrict x, int64_t n, int64_t later) {
  floats lanes[2] = {{0}, {0}}, part[2];
  int64_t whole = n / (2 * PANEL) * (2 * PANEL), e;
  for (int64_t i = 0; i < whole; i += 2 * PANEL) {
    __builtin_prefetch(x + i + later);
    __builtin_prefetch(x + i + later + PANEL);
    __builtin_memcpy(part, x + i, sizeof part);
    lanes[0] += part[0] * part[0];
    lanes[1] += part[1] * part[1];
  }
  for (int64_t i = whole; i < n; i++) lanes[0][i % PANEL] += x[i] * x[i];
  float last[PANEL];
  lanes[0] += lanes[1];
  __builtin_memcpy(last, lanes, sizeof last);
  for (int half = PANEL / 2; half; half /= 2)
    for (int j = 0; j < half; j++) last[j] += last[j + half];
  if (!estimate(last[0], &e)) {
    int problem = exponent(x, n, 1, &e);
    if (problem) return problem;
  }
  float factor = factor_of(e);
  *scale = scale_of(e);
  for (int64_t i = 0; i < n; i++) q[i] = (int16_t)word32(x[i] * factor + ROUND);
  for (int64_t i = 0; is_tiny(e) && i < n; i++) q[i] = tiny(x[i], e);
  if (n % 2) q[n] = 0;
  return 0;
}

/* Panels of columns that are copied together: rows are read in whole cache lines, as far as they go. */
enum { COPIED = 4 };

struct columns {
  floats rows[COPIED][CHUNK]; /* panel by panel, zeros beyond the columns */
  floats squares[COPIED];     /* sums of squares, in float32 */
};

static inline __attribute__((always_inline)) void copy_panels(struct columns *restrict to, const float *restrict x, int64_t n,
                                                              int64_t apart, int panels) {
  floats sum[COPIED] = {{0}};
  for (int64_t i = 0; i < n; i++) {
    const float *from = x + i * apart;
    for (int v = 0; v < panels; v++) {
      floats row;
      __builtin_prefetch(from + AHEAD * apart + v * PANEL);
      __builtin_memcpy(&row, from + v * PANEL, sizeof row);
      sum[v] += row * row;
      to->rows[v][i] = row;
    }
  }
  for (int v = 0; v < panels; v++) to->squares[v] = sum[v];
}

/* Copy x (n, columns), at most COPIED panels and CHUNK rows, which are so far apart. */
static inline void copy_columns(struct columns *restrict to, const float *restrict x, int64_t n, int64_t apart, int64_t columns) {
  int64_t whole = columns / PANEL, rest = columns % PANEL;
  switch (whole) {
    case 4:
      copy_panels(to, x, n, apart, 4);
      break;
    case 3:
      copy_panels(to, x, n, apart, 3);
      break;
    case 2:
      copy_panels(to, x, n, apart, 2);
      break;
    case 1:
      copy_panels(to, x, n, apart, 1);
  }
  if (!rest) return;
  floats sum = {0};
  for (int64_t i = 0; i < n; i++) {
    floats row = {0};
    for (int64_t j = 0; j < rest; j++) row[j] = x[i * apart + whole * PANEL + j];
    sum += row * row;
    to->rows[whole][i] = row;
  }
  to->squares[whole] = sum;
}

/* The same as grid16 of the columns of a panel that was copied: q ((n + 1) / 2, PANEL, 2) int16, its rows so many pairs apart, and
 * scales (PANEL). */
static inline __attribute__((always_inline)) int grid16_panel(int16_t *restrict q, double *restrict scales,
                                                              const struct columns *columns, int64_t panel, int64_t n,
                                                              int64_t q_apart) {
  const floats *restrict x = columns->rows[panel];
  const float *numbers = (const float *)x;
  int64_t e[PANEL];
  float factor[PANEL];
  int is_any_tiny = 0;
  for (int64_t j = 0; j < PANEL; j++) {
    if (!estimate(columns->squares[panel][j], &e[j])) {
      int problem = exponent(numbers + j, n, PANEL, &e[j]);
      if (problem) return problem;
    }
    factor[j] = factor_of(e[j]);
    scales[j] = scale_of(e[j]);
    is_any_tiny |= is_tiny(e[j]);
  }
  floats factors;
  __builtin_memcpy(&factors, factor, sizeof factors);
  for (int64_t i = 0; i < n; i += 2) {
    words low = (words)(x[i] * factors + ROUND), high = {0};
    if (i + 1 < n) high = (words)(x[i + 1] * factors + ROUND);
    low = (low & 0xffff) | (high << 16);
    __builtin_memcpy(q + i * q_apart, &low, sizeof low);
  }
  for (int64_t j = 0; is_any_tiny && j < PANEL; j++)
    for (int64_t i = 0; is_tiny(e[j]) && i < n; i++) q[i / 2 * 2 * q_apart + 2 * j + i % 2] = tiny(numbers[i * PANEL + j], e[j]);
  return 0;
}

/* out (4, 4) = x (4, 4)^T of pairs of int16; the rows of x and out are so many pairs apart. */
static inline __attribute__((always_inline)) void transpose_four(int16_t *restrict out, int64_t out_apart,
                                                                 const int16_t *restrict x, int64_t x_apart) {
  quad a, b, c, d;
  __builtin_memcpy(&a, x, 16);
  __builtin_memcpy(&b, x + 2 * x_apart, 16);
  __builtin_memcpy(&c, x + 4 * x_apart, 16);
  __builtin_memcpy(&d, x + 6 * x_apart, 16);
  quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  quad ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  c = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
  d = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
  __builtin_memcpy(out, &a, 16);
  __builtin_memcpy(out + 2 * out_apart, &b, 16);
  __builtin_memcpy(out + 4 * out_apart, &c, 16);
  __builtin_memcpy(out + 6 * out_apart, &d, 16);
}

/* out (n, m) = x (m, n)^T in the same way; m is a multiple of 4. */
static inline void transpose_pairs(int16_t *restrict out, int64_t out_apart, const int16_t *restrict x, int64_t x_apart, int64_t m,
                                   int64_t n) {
  for (int64_t i = 0; i < m; i += 4) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) transpose_four(out + 2 * (j * out_apart + i), out_apart, x + 2 * (i * x_apart + j), x_apart);
    for (; j < n; j++)
      for (int64_t r = i; r < i + 4; r++) __builtin_memcpy(out + 2 * (j * out_apart + r), x + 2 * (r * x_apart + j), 4);
  }
}

#endif
