/* Random numbers from the raw words of PCG64, which NumPy makes. NumPy versions: core/random.py */

#include "elementary.h"

typedef unsigned __int128 wide;

/* out (n) float32 = low + (high - low) u, at most below, from words (n) uint64; numbers: high - low, low, below, float64.
 * A row is an element. NumPy version: random._uniform */
int random_uniform(const struct job *job) {
  float *restrict out = job->arrays[0];
  const uint64_t *restrict words = job->arrays[1];
  const double *numbers = job->arrays[2];
  float below = (float)numbers[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    float y = (float)((double)(int64_t)(words[i] >> 40) * 0x1p-24 * numbers[0] + numbers[1]);
    out[i] = y < below ? y : below;
  }
  return 0;
}

/* out (n, 2) float32 = mean + std times two normal numbers from words (n, 2) uint64; numbers: std, mean, float64.
 * NumPy version: random._normal */
int random_normal(const struct job *job) {
  const double *numbers = job->arrays[2];
  for (int64_t start = job->start; start < job->stop; start += BLOCK / 2) {
    float *restrict out = (float *)job->arrays[0] + 2 * start;
    const uint64_t *restrict words = (const uint64_t *)job->arrays[1] + 2 * start;
    int64_t n = least(BLOCK / 2, job->stop - start);
    for (int64_t i = 0; i < n; i++) {
      double radius = (double)(int64_t)(words[2 * i] >> 11) * 0x1p-53 + 0x1p-53;
      double angle = (double)(int64_t)(words[2 * i + 1] >> 11) * 0x1p-53 * 0x1.921fb54442d18p+2;
      radius = __builtin_sqrt(log_(radius) * -2.0);
      out[2 * i] = narrow(sine(angle, 0.5) * radius * numbers[0] + numbers[1]);
      out[2 * i + 1] = narrow(sine(angle, 0.0) * radius * numbers[0] + numbers[1]);
    }
  }
  return 0;
}

/* out (n) int64 = the upper 64 bits of words (n) uint64 times range, plus low; numbers: range, low, uint64. A row is an element.
 * NumPy version: random._integers */
int random_integers(const struct job *job) {
  uint64_t *restrict out = job->arrays[0];
  const uint64_t *restrict words = job->arrays[1], *numbers = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = (uint64_t)((wide)words[i] * numbers[0] >> 64) + numbers[1];
  return 0;
}

/* out (n) bool = whether the upper 53 bits of words (n) uint64 are below limit () uint64. A row is an element.
 * NumPy version: random._bernoulli */
int random_bernoulli(const struct job *job) {
  uint8_t *restrict out = job->arrays[0];
  const uint64_t *restrict words = job->arrays[1], *limit = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = words[i] >> 11 < *limit;
  return 0;
}
