/* Quick results, checked. The bits are those of a formula, which the NumPy version has; a quick function computes the same to an error
 * that is known, with fewer divisions. Where both ends of the interval of that error round to one float32, the formula rounds to it
 * too. For a block where one of them does not, or is not finite, the formula is computed.
 */
#ifndef SAMEBITS_QUICK_H
#define SAMEBITS_QUICK_H

#include "elementary.h"

typedef int formula(const struct job *job);
typedef uint32_t quick(const struct job *job); /* nonzero where the formula must decide */

/* More than the relative difference of two float64 results of the same real number by at most 64 roundings. */
static const double MARGIN = 0x1p-46;

/* out = the float32 that all numbers from one end to the other round to; nonzero where there is none. */
static inline uint32_t settle(float *out, double end, double other) {
  float y = (float)end;
  *out = y;
  return (word32(y) ^ word32((float)other)) | word32(y - y);
}

/* out = y, which differs from the formula's by less than MARGIN. */
static inline uint32_t settle_near(float *out, double y) { return settle(out, y * (1.0 - MARGIN), y * (1.0 + MARGIN)); }

/* Every block of a job's rows, which are elements, by the quick function or the formula. */
static inline __attribute__((always_inline)) int by_blocks(const struct job *job, quick *estimate, formula *exact) {
  struct job part = *job;
  for (part.start = job->start; part.start < job->stop; part.start = part.stop) {
    part.stop = least(part.start + 4 * BLOCK, job->stop);
    if (estimate(&part)) exact(&part);
  }
  return 0;
}

/* e^x as a quotient; beyond [-700, 700] as at the end. */
static inline double exp_quotient(double x, double *under) { return power_quotient(clip(x, -700.0, 700.0) * INV_LN2, under); }

/* 2 atanh(s) / s in s^2 for |s| up to (sqrt(2) - 1) / (sqrt(2) + 1), to 2^-45 relative: the polynomial through its values at the
 * zeros of a Chebyshev polynomial. */
static const double ATANH_SHORT[6] = {0x1.9193ad03f043fp-3, 0x1.c620e127cf081p-3, 0x1.24943845c59dbp-2,
                                      0x1.9999962baa8cep-2, 0x1.55555556716dap-1, 0x1.fffffffffff12p+0};

/* More than the relative error of the logarithms below. */
static const double ROUGH = 0x1p-42;

/* log(1 + f). */
static inline double log_of_one_plus(double f) {
  double s = f / (f + 2.0), z = s * s, y = z * ATANH_SHORT[0];
  for (int i = 1; i < 5; i++) y = (y + ATANH_SHORT[i]) * z;
  return (y + ATANH_SHORT[5]) * s;
}

/* k and f of a positive, finite and normal x = 2^k (1 + f), as split. */
static inline double split_quick(double x, double *f) {
  int64_t bits = minus(word(x), word(ROOT_HALF));
  *f = number((bits & ((INT64_C(1) << 52) - 1)) + word(ROOT_HALF)) - 1.0;
  return number((int64_t)((uint64_t)plus(bits, INT64_C(1024) << 52) >> 52) + word(MAGIC)) - (MAGIC + 1024.0);
}

static inline double log_quick(double x) {
  double f, k = split_quick(x, &f);
  return k * LN2_WHOLE + log_of_one_plus(f);
}

static inline double log2_quick(double x) {
  double f, k = split_quick(x, &f);
  return k + log_of_one_plus(f) * INV_LN2;
}

static inline double log10_quick(double x) {
  double f, k = split_quick(x, &f);
  return k * LOG10_2[0] + log_of_one_plus(f) * INV_LN10;
}

static inline double log1p_quick(double x) {
  double f, k = split_quick(x + 1.0, &f);
  return with_sign(k * LN2_WHOLE + log_of_one_plus(k == 0.0 ? x : f), x);
}

#endif
