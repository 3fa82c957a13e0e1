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

#endif
