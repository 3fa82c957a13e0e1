/* Sums in the fixed order of the halving tree. NumPy version: core/summation.py, which has the picture.
 *
 * While there are n > 1 terms, the last n / 2 are added to the first n / 2. After k halvings ceil(n / 2^k) are left, and
 * term i of these is term i of those before plus, where there is one, term i + ceil(n / 2^k). So the tree is computed
 * depth first, BLOCK terms at a time, for any n, with a few BLOCKs of memory.
 */
#ifndef SAMEBITS_SUMS_H
#define SAMEBITS_SUMS_H

#include "kernels.h"

/* out (count * lanes) = the terms from start on, each of as many lanes as the sum has. */
typedef void terms(const void *context, int64_t start, int64_t count, double *restrict out);

static inline void add_terms(double *restrict values, const double *restrict more, int64_t count) {
  for (int64_t i = 0; i < count; i++) values[i] += more[i];
}

static inline int64_t after(int64_t n, int64_t halvings) { return (n + (INT64_C(1) << halvings) - 1) >> halvings; }

/* values = the terms start to stop of those left after some halvings of n. */
static void tree_terms(terms *fill, const void *context, int64_t n, int64_t lanes, int64_t halvings, int64_t start, int64_t stop,
                       double *restrict values) {
  if (halvings == 0) {
    fill(context, start, stop - start, values);
    return;
  }
  double more[BLOCK];
  int64_t left = after(n, halvings), last = least(stop + left, after(n, halvings - 1));
  tree_terms(fill, context, n, lanes, halvings - 1, start, stop, values);
  if (start + left >= last) return;
  tree_terms(fill, context, n, lanes, halvings - 1, start + left, last, more);
  add_terms(values, more, (last - start - left) * lanes);
}

/* sums (lanes) = the sums of n terms of so many lanes, at most BLOCK; 0 of no terms. NumPy version: summation.fold */
static void tree_sums(terms *fill, const void *context, int64_t n, int64_t lanes, double *restrict sums) {
  double values[BLOCK];
  int64_t halvings = 0;
  for (int64_t i = 0; i < lanes; i++) sums[i] = 0.0;
  if (n == 0) return;
  while (after(n, halvings) * lanes > BLOCK && after(n, halvings) > 1) halvings++;
  n = (tree_terms(fill, context, n, lanes, halvings, 0, after(n, halvings), values), after(n, halvings));
  while (n > 1) {
    int64_t half = n / 2;
    add_terms(values, values + (n - half) * lanes, half * lanes);
    n -= half;
  }
  for (int64_t i = 0; i < lanes; i++) sums[i] = values[i];
}

/* The sum of n terms. NumPy version: summation.pairwise_sum */
static inline double tree_sum(terms *fill, const void *context, int64_t n) {
  double sum;
  tree_sums(fill, context, n, 1, &sum);
  return sum;
}

#endif
