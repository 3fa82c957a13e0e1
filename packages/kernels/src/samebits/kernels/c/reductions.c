/* Sums over an axis by the halving tree. NumPy versions: core/reductions.py
 *
 * Each: sums (outer, inner) float64, x (outer, n, inner) float32, sizes: n, inner, int64; centers (outer, inner) float64 where
 * the terms have a center. A row is one of outer.
 */

#include "elementary.h"
#include "sums.h"

struct lanes {
  const float *x;
  const double *centers;
  int64_t inner, width; /* from one term to the next; how many lanes */
};

static void plain(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  if (lanes->inner == 1) {
    for (int64_t i = 0; i < count; i++) out[i] = lanes->x[start + i];
    return;
  }
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < lanes->width; j++) out[i * lanes->width + j] = lanes->x[(start + i) * lanes->inner + j];
}

static void squares(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  plain(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] *= out[i];
}

static void centered(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  plain(context, start, count, out);
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < lanes->width; j++) out[i * lanes->width + j] -= lanes->centers[j];
}

static void distances(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  centered(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] *= out[i];
}

static void powers(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  centered(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] = exp_wide(out[i]);
}

static int sums_of(const struct job *job, terms *fill, const double *centers, const int64_t *sizes) {
  double *sums = job->arrays[0];
  const float *x = job->arrays[1];
  int64_t n = sizes[0], inner = sizes[1];
  for (int64_t outer = job->start; outer < job->stop; outer++)
    for (int64_t j = 0; j < inner; j += BLOCK) {
      int64_t place = outer * inner + j;
      struct lanes lanes = {x + outer * n * inner + j, centers ? centers + place : 0, inner, least(BLOCK, inner - j)};
      tree_sums(fill, &lanes, n, lanes.width, sums + place);
    }
  return 0;
}

/* The sums of x. NumPy version: reductions._sums */
int sums(const struct job *job) { return sums_of(job, plain, 0, job->arrays[2]); }

/* The sums of x^2. NumPy version: reductions._square_sums */
int square_sums(const struct job *job) { return sums_of(job, squares, 0, job->arrays[2]); }

/* The sums of (x - center)^2. NumPy version: reductions._distance_sums */
int distance_sums(const struct job *job) { return sums_of(job, distances, job->arrays[2], job->arrays[3]); }

/* The sums of e^(x - center). NumPy version: reductions._power_sums */
int power_sums(const struct job *job) { return sums_of(job, powers, job->arrays[2], job->arrays[3]); }
