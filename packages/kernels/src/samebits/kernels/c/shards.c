/* Means over shards, on grids that their largest exponents choose. NumPy versions: core/shards.py
 *
 * Each: arrays of n elements; exponents are fields of float32, uint8.
 */

#include "kernels.h"

/* The larger of each exponent and that of x. NumPy version: shards._raise_exponents */
int raise_exponents(const struct job *job) {
  uint8_t *restrict exponents = job->arrays[0];
  const float *restrict x = job->arrays[1];
  int64_t stop = job->stop; /* bytes may be part of the job, as far as the compiler knows */
  for (int64_t i = job->start; i < stop; i++) {
    uint8_t found = (uint8_t)(word32(x[i]) >> 23); /* the sign is cut off */
    exponents[i] = found > exponents[i] ? found : exponents[i];
  }
  return 0;
}

/* total += x rounded to the grid of its exponent; bits: int64. NumPy version: shards._add_on_grids */
int add_on_grids(const struct job *job) {
  double *restrict total = job->arrays[0];
  const float *restrict x = job->arrays[1];
  const uint8_t *restrict exponents = job->arrays[2];
  int64_t bias = 1023 + 52 - 126 - *(const int64_t *)job->arrays[3];
  for (int64_t i = job->start; i < job->stop; i++) {
    double constant = number((exponents[i] + bias) << 52 | (int64_t)1 << 51);
    total[i] += ((double)x[i] + constant) - constant;
  }
  return 0;
}

/* mean = total / count, rounded; count: float64. NumPy version: shards._rounded_mean */
int rounded_mean(const struct job *job) {
  float *restrict mean = job->arrays[0];
  const double *restrict total = job->arrays[1];
  double count = *(const double *)job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) mean[i] = narrow(total[i] / count);
  return 0;
}
