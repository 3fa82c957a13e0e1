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

enum { WIDE = 8 }; /* terms added at a time; not part of the order */

/* The sum of up to 8 terms, behind which come -0.0, which change nothing. */
static inline double few_terms(const double *u, int64_t n) {
  if (n > 6) return ((u[0] + u[4]) + (u[2] + u[6])) + ((u[1] + u[5]) + (u[3] + u[7]));
  if (n > 4) return ((u[0] + u[3]) + (u[2] + u[5])) + (u[1] + u[4]);
  return (u[0] + u[2]) + (u[1] + u[3]);
}

/* The sum of n terms, at most BLOCK, which are overwritten. WIDE more may be read. */
static double fold(double *terms, int64_t n) {
  double others[BLOCK / 2 + WIDE], last[WIDE], *from = terms, *to = others;
  while (n > 2 * WIDE) {
    int64_t half = n / 2, quarter = n / 4;
    if (n % 4 == 0 && quarter >= WIDE) { /* two halvings at once */
      for (int64_t i = 0; i < quarter; i += WIDE) {
        const double *at = from + least(i, quarter - WIDE);
        double *sums = to + least(i, quarter - WIDE);
        for (int j = 0; j < WIDE; j++) sums[j] = (at[j] + at[j + half]) + (at[j + quarter] + at[j + quarter + half]);
      }
      n = quarter;
    } else {
      n -= half;
      to[n - 1] = from[n - 1]; /* the middle term of an odd number; else it is overwritten */
      for (int64_t i = 0; i < half; i += WIDE) {
        const double *at = from + least(i, half - WIDE);
        double *sums = to + least(i, half - WIDE);
        for (int j = 0; j < WIDE; j++) sums[j] = at[j] + at[j + n];
      }
    }
    double *swapped = from;
    from = to;
    to = swapped;
  }
  int64_t half = n / 2;
  n -= half;
  for (int j = 0; j < WIDE; j++) {
    double more = from[j + n];
    last[j] = j < n ? from[j] + (j < half ? more : -0.0) : -0.0;
  }
  return few_terms(last, n);
}

/* The halvings after which at most BLOCK numbers are left of n terms of so many lanes, at most BLOCK. */
static inline int64_t halvings_of(int64_t n, int64_t lanes) {
  int64_t halvings = 0;
  while (after(n, halvings) * lanes > BLOCK && after(n, halvings) > 1) halvings++;
  return halvings;
}

/* sums (lanes) = the sums of the n terms, at most BLOCK numbers, in values, which are overwritten. 2 WIDE more are, too. */
static void add_rest(double *restrict values, int64_t n, int64_t lanes, double *restrict sums) {
  if (lanes == 1) {
    for (int j = 0; j < 2 * WIDE; j++) values[n + j] = 0.0; /* not used, but read */
    *sums = fold(values, n);
    return;
  }
  while (n > 1) {
    int64_t half = n / 2;
    add_terms(values, values + (n - half) * lanes, half * lanes);
    n -= half;
  }
  for (int64_t i = 0; i < lanes; i++) sums[i] = values[i];
}

/* sums (lanes) = the sums of n terms of so many lanes, at most BLOCK; 0 of no terms. NumPy version: summation.fold */
static void tree_sums(terms *fill, const void *context, int64_t n, int64_t lanes, double *restrict sums) {
  double values[BLOCK + 2 * WIDE];
  int64_t halvings = halvings_of(n, lanes), left = after(n, halvings);
  for (int64_t i = 0; i < lanes; i++) sums[i] = 0.0;
  if (n == 0) return;
  tree_terms(fill, context, n, lanes, halvings, 0, left, values);
  add_rest(values, left, lanes, sums);
}

/* The sum of n terms. NumPy version: summation.pairwise_sum */
static inline double tree_sum(terms *fill, const void *context, int64_t n) {
  double sum;
  tree_sums(fill, context, n, 1, &sum);
  return sum;
}

#endif
