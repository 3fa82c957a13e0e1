/* The weights of attention, between its two products. NumPy versions: core/mixing.py */

#include "elementary.h"
#include "sums.h"

static const double LEAST_SCORE = -700.0;

enum { LANES = 16 };

/* The greatest of x (n), -infinity of none; x has no NaN. NumPy version: np.maximum.reduce */
static double greatest(const double *restrict x, int64_t n) {
  double tops[LANES], top = -INFINITE;
  int64_t whole = n / LANES * LANES;
  for (int j = 0; j < LANES; j++) tops[j] = top;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) tops[j] = x[i + j] > tops[j] ? x[i + j] : tops[j];
  for (int64_t i = whole; i < n; i++) top = x[i] > top ? x[i] : top;
  for (int j = 0; j < LANES; j++) top = tops[j] > top ? tops[j] : top;
  return top;
}

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
  const double step = 0x1.8p16; /* adding and subtracting it rounds to multiples of 2^-36 */
  int64_t n = job->columns, whole = n / LANES * LANES;
  double *totals = job->arrays[1], *logs = job->arrays[2];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *restrict scores = (double *)job->arrays[0] + r * n;
    double sums[LANES] = {0}, shift = greatest(scores, n), total = 0.0;
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

/* With v = 2^e u, |u| < 1: values (rows, columns) float64 = u on multiples of 2^-24, exponents (rows) int64 = e, at least -150;
 * v (rows, columns) float32, finite. NumPy version: mixing._split */
int attention_values(const struct job *job) {
  const double step = 0x1.8p28; /* adding and subtracting it rounds to multiples of 2^-24 */
  int64_t n = job->columns, *exponents = job->arrays[1];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *restrict values = (double *)job->arrays[0] + r * n;
    const float *restrict v = (const float *)job->arrays[2] + r * n;
    uint32_t top = 0; /* the bits of the largest |v|: those of positive numbers are in the order of the numbers */
    for (int64_t i = 0; i < n; i++) {
      uint32_t size = word32(v[i]) & 0x7fffffff;
      top = size > top ? size : top;
    }
    if (top >= 0x7f800000) return 1;
    int64_t exponent = (word((double)number32(top)) >> 52) - 1022;
    exponent = exponent < -150 ? -150 : exponent;
    double factor = number((1023 - exponent) << 52);
    for (int64_t i = 0; i < n; i++) values[i] = (double)v[i] * factor + step - step;
    exponents[r] = exponent;
  }
  return 0;
}

/* weights (b, g, R, rows, columns), in place: w 2^e, each row on a grid chosen by the sum of its weights, totals (b, g, R, rows),
 * and the largest e it sees, peaks[last]; sizes (b, g, columns) = 2^e, peaks (b, g, columns) int64, last (b or 1, rows) int64;
 * shape: b, g, R rows, rows, the length of last, int64. NumPy version: mixing._grid_weights */
int attention_grids(const struct job *job) {
  int64_t n = job->columns;
  const double *totals = job->arrays[1];
  const int64_t *peaks = job->arrays[3], *last = job->arrays[4], *shape = job->arrays[5];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *restrict weights = (double *)job->arrays[0] + r * n;
    int64_t head = r / shape[2], sequence = shape[4] > 1 ? head / shape[1] : 0;
    const double *restrict sizes = (const double *)job->arrays[2] + head * n;
    int64_t exponent = (word(totals[r] * (1.0 + 0x1p-9)) >> 52) - 1022 + peaks[head * n + last[sequence * shape[3] + r % shape[3]]];
    double constant = number(((exponent + 1023 + 52 - 29) << 52) | (INT64_C(1) << 51));
    for (int64_t i = 0; i < n; i++) weights[i] = weights[i] * sizes[i] + constant - constant;
  }
  return 0;
}

struct pull {
  const double *p, *dp;
  double top;
};

static void products(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct pull *at = context;
  for (int64_t i = 0; i < count; i++) out[i] = at->p[start + i] * (at->dp[start + i] - at->top);
}

/* dp (rows, columns), in place: p (d - sum(p d)), d = dp less its value at the first largest weight of the row; p (rows, columns),
 * finite; float64. NumPy version: mixing._pull */
int attention_pull(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    double *dp = (double *)job->arrays[0] + r * n;
    const double *p = (const double *)job->arrays[1] + r * n;
    double top = greatest(p, n);
    int64_t place = 0;
    while (place < n - 1 && p[place] != top) place++;
    struct pull at = {p, dp, dp[place]};
    double sum = tree_sum(products, &at, n);
    for (int64_t i = 0; i < n; i++) dp[i] = (dp[i] - at.top - sum) * p[i];
  }
  return 0;
}
