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

/* p (n), in place, g (n), and weight_decay, momentum, size (3), float32; a row is an element: p = p - size (g + weight_decay p).
 * NumPy version: sgd._sgd */
int sgd(const struct job *job) {
  float *restrict p = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict numbers = job->arrays[2];
  float decay = numbers[0], size = numbers[2];
  for (int64_t i = job->start; i < job->stop; i++) p[i] = p[i] - (p[i] * decay + g[i]) * size;
  return 0;
}

/* The same with m (n), in place: m = momentum m + g + weight_decay p, p = p - size m. NumPy version: sgd._momentum */
int sgd_momentum(const struct job *job) {
  float *restrict p = job->arrays[0], *restrict m = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict numbers = job->arrays[3];
  float decay = numbers[0], momentum = numbers[1], size = numbers[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    m[i] = m[i] * momentum + (p[i] * decay + g[i]);
    p[i] = p[i] - m[i] * size;
  }
  return 0;
}

/* With h = g + weight_decay p: m = momentum m + h, p = p - size h - size momentum m. NumPy version: sgd._nesterov */
int sgd_nesterov(const struct job *job) {
  float *restrict p = job->arrays[0], *restrict m = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict numbers = job->arrays[3];
  float decay = numbers[0], momentum = numbers[1], size = numbers[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    float h = p[i] * decay + g[i];
    m[i] = m[i] * momentum + h;
    p[i] = p[i] - h * size - m[i] * momentum * size;
  }
  return 0;
}

/* p, m (n), in place, g (n), and 1 - beta_1, 1 - beta_2, keep, size, least (5), float32; a row is an element:
 * c = m + (1 - beta_1) (g - m), p = keep p - size c / max(|c|, least), m = m + (1 - beta_2) (g - m). NumPy version: lion._lion */
int lion(const struct job *job) {
  float *restrict p = job->arrays[0], *restrict m = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict numbers = job->arrays[3];
  float new_1 = numbers[0], new_2 = numbers[1], keep = numbers[2], size = numbers[3], least = numbers[4];
  for (int64_t i = job->start; i < job->stop; i++) {
    float c = (g[i] - m[i]) * new_1 + m[i];
    float length = __builtin_fabsf(c);
    length = length < least ? least : length;
    p[i] = p[i] * keep - c / length * size;
    m[i] = m[i] + (g[i] - m[i]) * new_2;
  }
  return 0;
}

/* out = a x + b y (rows, columns), and a, b (2), float32. NumPy version: muon._blend */
int blend(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1], *restrict y = job->arrays[2], *restrict numbers = job->arrays[3];
  float a = numbers[0], b = numbers[1];
  for (int64_t i = job->start * job->columns; i < job->stop * job->columns; i++) out[i] = x[i] * a + y[i] * b;
  return 0;
}
