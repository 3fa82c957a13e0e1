/* The weights of attention, between its two products. NumPy versions: core/mixing.py */

#include "elementary.h"
#include "grid.h"
#include "sums.h"

static const double LEAST_SCORE = -700.0;

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

/* With v = 2^e u, |u| < 1: values (n) float64 = u on multiples of 2^-24, and e, at least -150; v (n) float32. It returns what a
 * kernel returns. */
static inline int split_value(double *restrict values, int64_t *exponent, const float *restrict v, int64_t n) {
  const double step = 0x1.8p28; /* adding and subtracting it rounds to multiples of 2^-24 */
  uint32_t top = 0;             /* the bits of the largest |v|: those of positive numbers are in the order of the numbers */
  for (int64_t i = 0; i < n; i++) {
    uint32_t size = word32(v[i]) & 0x7fffffff;
    top = size > top ? size : top;
  }
  if (top >= 0x7f800000) return 1;
  int64_t e = (word((double)number32(top)) >> 52) - 1022;
  e = e < -150 ? -150 : e;
  double factor = number((1023 - e) << 52);
  for (int64_t i = 0; i < n; i++) values[i] = (double)v[i] * factor + step - step;
  *exponent = e;
  return 0;
}

/* values (rows, columns) float64 and exponents (rows) int64 of `split_value`; v (rows, columns) float32, finite.
 * NumPy version: mixing._split */
int attention_values(const struct job *job) {
  int64_t n = job->columns, *exponents = job->arrays[1];
  for (int64_t r = job->start; r < job->stop; r++) {
    int problem = split_value((double *)job->arrays[0] + r * n, exponents + r, (const float *)job->arrays[2] + r * n, n);
    if (problem) return problem;
  }
  return 0;
}

/* keys and values (B, G, capacity, D), sizes and peaks (B, G, capacity), float64 and int64: at the places before to after (B)
 * int64 of each sequence, the keys on their grids, and the values of `split_value`, 2^e, and the largest e so far, of k and v
 * (B, G, T, D) float32, finite; shape: G, T, D, capacity, int64. A row of the job is one of (B, G). NumPy version: mixing._append */
int attention_append(const struct job *job) {
  const int64_t *before = job->arrays[6], *after = job->arrays[7], *shape = job->arrays[8];
  int64_t time = shape[1], width = shape[2], capacity = shape[3];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *sizes = (double *)job->arrays[2] + r * capacity;
    int64_t *peaks = (int64_t *)job->arrays[3] + r * capacity, first = before[r / shape[0]], last = after[r / shape[0]];
    for (int64_t t = 0; t < last - first; t++) {
      int64_t at = first + t, from = (r * time + t) * width, to = (r * capacity + at) * width;
      int problem = on_grid((double *)job->arrays[0] + to, (const float *)job->arrays[4] + from, width, 26, 0);
      if (!problem) problem = split_value((double *)job->arrays[1] + to, peaks + at, (const float *)job->arrays[5] + from, width);
      if (problem) return problem;
      sizes[at] = number((peaks[at] + 1023) << 52);
      if (at && peaks[at - 1] > peaks[at]) peaks[at] = peaks[at - 1];
    }
    for (int64_t i = (r * time + last - first) * width; i < (r + 1) * time * width; i++) /* padding must be finite too */
      if (!is_finite(((const float *)job->arrays[4])[i]) || !is_finite(((const float *)job->arrays[5])[i])) return 1;
  }
  return 0;
}

/* The weights of one row of scores (n), in place: e^(score - max) on multiples of 2^-36; returns their sum, which is exact. */
static inline __attribute__((always_inline)) double weigh(double *restrict scores, double shift, int64_t n) {
  const double step = 0x1.8p16; /* adding and subtracting it rounds to multiples of 2^-36 */
  int64_t whole = n / LANES * LANES;
  double sums[LANES] = {0}, sum = 0.0;
  for (int64_t i = 0; i < n; i++) scores[i] = weight(scores[i], shift) + step - step;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) sums[j] += scores[i + j];
  for (int64_t i = whole; i < n; i++) sum += scores[i];
  for (int j = 0; j < LANES; j++) sum += sums[j];
  return sum;
}

/* The constant that puts the weights of a row on the grid that their sum and the largest e of its values choose. */
static inline double weights_grid(double sum, int64_t peak) {
  int64_t exponent = (word(sum * (1.0 + 0x1p-9)) >> 52) - 1022 + peak;
  return number(((exponent + 1023 + 52 - 29) << 52) | (INT64_C(1) << 51));
}

/* scores (rows, columns), in place, become weights; totals (rows), their sums, and logs (rows), the log-sum-exp of the scores;
 * float64. NumPy version: mixing._weigh */
int attention_weights(const struct job *job) {
  int64_t n = job->columns;
  double *totals = job->arrays[1], *logs = job->arrays[2];
  for (int64_t r = job->start; r < job->stop; r++) {
    double *scores = (double *)job->arrays[0] + r * n, shift = greatest(scores, n);
    totals[r] = weigh(scores, shift, n);
    logs[r] = log_(totals[r]) + shift;
  }
  return 0;
}

/* out (B, T, H, D) float32 = the attention of q (B, H, T, D) float32 to the keys that each row sees, those up to offset (B) int64 + t,
 * of a context (B, G, capacity, D): keys and values, sizes, peaks; shape: H, T, D, G, capacity, the number of keys, int64.
 * A row of the job is one of (B, H, T). NumPy version: scaled_dot_product._attend */
int attention_few(const struct job *job) {
  const int64_t *offset = job->arrays[6], *shape = job->arrays[7];
  int64_t heads = shape[0], time = shape[1], width = shape[2], groups = shape[3], capacity = shape[4], keys = shape[5];
  double *query = job->scratch, *mixed = query + width, *scores = mixed + width;
  if (2 * width + keys > SCRATCH) return 2;
  float scale = (float)(1.0 / __builtin_sqrt((double)width));
  for (int64_t r = job->start; r < job->stop; r++) {
    int64_t sequence = r / (heads * time), head = r / time % heads, t = r % time;
    int64_t context = sequence * groups + head / (heads / groups), seen = least(offset[sequence] + t + 1, keys);
    const double *key = (const double *)job->arrays[2] + context * capacity * width;
    const double *value = (const double *)job->arrays[3] + context * capacity * width;
    const double *sizes = (const double *)job->arrays[4] + context * capacity;
    const float *q = (const float *)job->arrays[1] + r * width;
    float *out = (float *)job->arrays[0] + ((sequence * time + t) * heads + head) * width;
    for (int64_t i = 0; i < width; i++) mixed[i] = (double)(q[i] * scale);
    int problem = on_grid(query, mixed, width, 26, 1);
    if (problem) return problem;
    for (int64_t j = 0; j < seen; j++) scores[j] = product(query, key + j * width, width, 1);
    double sum = weigh(scores, greatest(scores, seen), seen);
    double constant = weights_grid(sum, ((const int64_t *)job->arrays[5])[context * capacity + seen - 1]);
    for (int64_t i = 0; i < width; i++) mixed[i] = 0.0;
    for (int64_t j = 0; j < seen; j++) {
      double w = scores[j] * sizes[j] + constant - constant;
      for (int64_t i = 0; i < width; i++) mixed[i] += w * value[j * width + i];
    }
    for (int64_t i = 0; i < width; i++) out[i] = (float)(mixed[i] / sum) + 0.0f;
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
    double constant = weights_grid(totals[r], peaks[head * n + last[sequence * shape[3] + r % shape[3]]]);
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
