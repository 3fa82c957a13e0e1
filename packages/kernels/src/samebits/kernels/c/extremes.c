/* Maxima and minima over an axis: NaN if an element is; zeros are positive. NumPy versions: core/reductions.py
 *
 * Each: out (outer, inner) float32, x (outer, n, inner) float32, sizes: n, inner, int64; n is at least 1. A row is one of outer.
 */

#include "kernels.h"

enum { LANES = 64 };

#define ALWAYS static inline __attribute__((always_inline))

/* The one further up, or down; NaN if one is. */
ALWAYS float further(float a, float b, int up) { return ((up ? a > b : a < b) | (a != a)) ? a : b; }

/* The extreme of x (n). */
ALWAYS float of_row(const float *restrict x, int64_t n, int up) {
  float found[LANES];
  int64_t whole = n / LANES * LANES;
  float last = x[n - 1];
  for (int64_t i = whole; i < n; i++) last = further(x[i], last, up);
  if (!whole) return last;
  for (int j = 0; j < LANES; j++) found[j] = x[j];
  for (int64_t i = LANES; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) found[j] = further(x[i + j], found[j], up);
  for (int half = LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) found[j] = further(found[j + half], found[j], up);
  return further(found[0], last, up);
}

/* found (width) = the extremes of x (n, width), of which rows are so far apart. */
ALWAYS void of_columns(float *restrict found, const float *restrict x, int64_t n, int64_t apart, int64_t width, int up) {
  for (int64_t j = 0; j < width; j++) found[j] = x[j];
  for (int64_t i = 1; i < n; i++)
    for (int64_t j = 0; j < width; j++) found[j] = further(x[i * apart + j], found[j], up);
}

ALWAYS int extremes(const struct job *job, int up) {
  const int64_t *sizes = job->arrays[2];
  int64_t n = sizes[0], inner = sizes[1];
  for (int64_t outer = job->start; outer < job->stop; outer++)
    for (int64_t first = 0; first < inner; first += BLOCK) {
      float *restrict out = (float *)job->arrays[0] + outer * inner + first, found[BLOCK];
      const float *restrict x = (const float *)job->arrays[1] + outer * n * inner + first;
      int64_t width = least(BLOCK, inner - first);
      if (inner == 1)
        found[0] = of_row(x, n, up);
      else
        of_columns(found, x, n, inner, width, up);
      for (int64_t j = 0; j < width; j++) out[j] = narrow(found[j]) + 0.0f;
    }
  return 0;
}

/* NumPy version: reductions._maxima */
int maxima(const struct job *job) { return extremes(job, 1); }

/* NumPy version: reductions._minima */
int minima(const struct job *job) { return extremes(job, 0); }
