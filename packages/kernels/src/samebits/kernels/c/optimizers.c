/* Updates of optimizers: one loop over elements, in float32 as the NumPy versions. */

#include "kernels.h"

/* p, m, v (n), in place, g (n), and 1 - beta_1, beta_2, 1 - beta_2, keep, eps, size (6), float32; a row is an element:
 * m = m + (1 - beta_1) (g - m), v = beta_2 v + (1 - beta_2) g^2, p = keep p - size m / (sqrt(v) + eps).
 * NumPy version: adamw._adam */
int adam(const struct job *job) {
  float *restrict p = job->arrays[0], *restrict m = job->arrays[1], *restrict v = job->arrays[2];
  const float *restrict g = job->arrays[3], *restrict numbers = job->arrays[4];
  float new_1 = numbers[0], beta_2 = numbers[1], new_2 = numbers[2], keep = numbers[3], eps = numbers[4], size = numbers[5];
  for (int64_t i = job->start; i < job->stop; i++) {
    m[i] = m[i] + (g[i] - m[i]) * new_1;
    v[i] = v[i] * beta_2 + g[i] * new_2 * g[i];
    float root = __builtin_sqrtf(v[i]) + eps;
    p[i] = p[i] * keep - m[i] / root * size;
  }
  return 0;
}
