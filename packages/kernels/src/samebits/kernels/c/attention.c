/* The weights of attention, between its two products. NumPy versions: core/mixing.py */

#include "elementary.h"

static const double LEAST_SCORE = -700.0;

/* e^(score - shift), 0 on the grid for scores that are far below. */
static inline double weight(double score, double shift) {
  double x = score - shift;
  return exp_short(x < LEAST_SCORE ? LEAST_SCORE : x);
}

/* scores (rows, columns), in place: e^(score - shift); shifts (rows), float64. NumPy version: mixing._powers */
int attention_powers(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    double *restrict scores = (double *)job->arrays[0] + r * n, shift = ((const double *)job->arrays[1])[r];
    for (int64_t i = 0; i < n; i++) scores[i] = weight(scores[i], shift);
  }
  return 0;
}

/* scores (rows, columns), in place: e^(score - max) on multiples of 2^-36; totals (rows), their sums, which are exact, and logs
 * (rows), the log-sum-exp of the scores; float64. NumPy version: mixing._weigh */
int attention_weights(const struct job *job) {
  enum { LANES = 16 };
  const double step = 0x1.8p16; /* adding and subtracting it rounds to multiples of 2^-36 */
  int64_t n = job->columns, whole = n / LANES * LANES;
  double *totals = job->arrays[1], *logs = job->arrays[2];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *restrict scores = (double *)job->arrays[0] + r * n;
    double tops[LANES], sums[LANES], shift = -INFINITE, total = 0.0;
    for (int j = 0; j < LANES; j++) tops[j] = -INFINITE, sums[j] = 0.0;
    for (int64_t i = 0; i < whole; i += LANES)
      for (int j = 0; j < LANES; j++) tops[j] = scores[i + j] > tops[j] ? scores[i + j] : tops[j];
    for (int64_t i = whole; i < n; i++) shift = scores[i] > shift ? scores[i] : shift;
    for (int j = 0; j < LANES; j++) shift = tops[j] > shift ? tops[j] : shift;
    for (int64_t i = 0; i < n; i++) scores[i] = weight(scores[i], shift) + step - step;
    for (int64_t i = 0; i < whole; i += LANES)
      for (int j = 0; j < LANES; j++) sums[j] += scores[i + j];
    for (int64_t i = whole; i < n; i++) total += scores[i];
    for (int j = 0; j < LANES; j++) total += sums[j];
    totals[r] = total;
    logs[r] = log_(total) + shift;
  }
  return 0;
}
