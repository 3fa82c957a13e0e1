/* Softmax, its logarithm, the sums it divides by, and their gradients: each row on its own, float64 inside, one rounding.
 *
 * All are made of e^(x - shift), where shift is the row's first maximum, or 0 where that is not finite. Its own power is 1; the
 * others have a sum of their own, rest, which keeps the digits that 1 + rest loses. Unless the comment of a kernel says more,
 * its arrays are float32 (rows, columns).
 */

#include "elementary.h"
#include "sums.h"

struct row {
  const float *x, *g;
  const double *kept; /* the powers, or 0 where a row is too long to keep them */
  int64_t place;      /* of the first maximum */
  double shift, own, total, change;
};

/* The greatest of x (n); NaN if one is, -infinity of none. NumPy version: np.maximum.reduce */
static float greatest(const float *restrict x, int64_t n) {
  enum { LANES = 32 };
  float tops[LANES], top = -(float)INFINITE;
  int32_t nan = 0;
  int64_t whole = n / LANES * LANES;
  for (int j = 0; j < LANES; j++) tops[j] = top;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) {
      nan |= x[i + j] != x[i + j];
      tops[j] = x[i + j] > tops[j] ? x[i + j] : tops[j];
    }
  for (int64_t i = whole; i < n; i++) {
    nan |= x[i] != x[i];
    top = x[i] > top ? x[i] : top;
  }
  for (int j = 0; j < LANES; j++) top = tops[j] > top ? tops[j] : top;
  return nan ? (float)NOT_A_NUMBER : top;
}

/* The powers e^(x - shift). */
static void powers(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  if (row->kept)
    for (int64_t i = 0; i < count; i++) out[i] = row->kept[start + i];
  else
    for (int64_t i = 0; i < count; i++) out[i] = exp_short((double)row->x[start + i] - row->shift);
}

/* The same, but 0 for the first maximum. */
static void other_powers(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  powers(context, start, count, out);
  if (row->place >= start && row->place < start + count) out[row->place - start] = 0.0;
}

/* Row r of the job, of which x and, where it is not 0, g are arrays; its powers are kept if there is scratch for them. */
static struct row open_row(const struct job *job, int64_t r, const void *x, const void *g, int keep) {
  int64_t n = job->columns;
  struct row row = {(const float *)x + r * n, g ? (const float *)g + r * n : 0, 0, 0, 0.0, 0.0, 0.0, 0.0};
  float top = greatest(row.x, n);
  while (row.place < n - 1 && !(top != top ? row.x[row.place] != row.x[row.place] : row.x[row.place] == top)) row.place++;
  row.shift = absolute(top) < INFINITE ? top : 0.0;
  row.own = exp_short((double)top - row.shift);
  if (keep && n <= SCRATCH) {
    powers(&row, 0, n, job->scratch);
    row.kept = job->scratch;
  }
  return row;
}

/* out = e^x / sum(e^x), x. Each row's maximum must be finite. NumPy version: probabilities._softmax_formula */
int softmax(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], 0, 1);
    if (!(absolute(row.x[row.place]) < INFINITE)) return 1;
    double total = tree_sum(powers, &row, n), block[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t count = least(BLOCK, n - start);
      powers(&row, start, count, block);
      for (int64_t i = 0; i < count; i++) out[start + i] = narrow(block[i] / total);
    }
  }
  return 0;
}

/* out = x - shift - log(sum(e^(x - shift))), x. Each row's maximum must be finite. NumPy version: probabilities._log_softmax_formula */
int log_softmax(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], 0, 0);
    if (!(absolute(row.x[row.place]) < INFINITE)) return 1;
    double logarithm = log1p_(tree_sum(other_powers, &row, n));
    for (int64_t i = 0; i < n; i++) out[i] = narrow((double)row.x[i] - row.shift - logarithm);
  }
  return 0;
}

/* out = e^x / sum(e^x), 0 where the sum is 0, x. NumPy version: probabilities._shares_formula */
int exp_shares(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], 0, 1);
    double total = tree_sum(other_powers, &row, n) + row.own, block[BLOCK];
    if (total == 0.0) total = 1.0;
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t count = least(BLOCK, n - start);
      powers(&row, start, count, block);
      for (int64_t i = 0; i < count; i++) out[start + i] = narrow(block[i] / total);
    }
  }
  return 0;
}

/* (g - change) y, with the softmax y; change is g at the first maximum. */
static void weighted(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  powers(context, start, count, out);
  for (int64_t i = 0; i < count; i++) out[i] = ((double)row->g[start + i] - row->change) * (out[i] / row->total);
}

/* out = y (d - sum(d y)), with the softmax y of x and d = g less its value at the first maximum; x, g.
 * NumPy version: probabilities._softmax_gradient */
int softmax_gradient(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], job->arrays[2], 1);
    row.total = tree_sum(other_powers, &row, n) + row.own;
    row.change = row.g[row.place];
    double sum = tree_sum(weighted, &row, n), block[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t count = least(BLOCK, n - start);
      powers(&row, start, count, block);
      for (int64_t i = 0; i < count; i++)
        out[start + i] = narrow(((double)row.g[start + i] - row.change - sum) * (block[i] / row.total));
    }
  }
  return 0;
}

/* g, but 0 at the first maximum. */
static void other_gradients(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  for (int64_t i = 0; i < count; i++) out[i] = row->g[start + i];
  if (row->place >= start && row->place < start + count) out[row->place - start] = 0.0;
}

/* out = g - y sum(g), with the softmax y of x; at the first maximum (g rest - own (sum of the other g)) / total; x, g.
 * NumPy version: probabilities._log_softmax_gradient */
int log_softmax_gradient(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], job->arrays[2], 1);
    double rest = tree_sum(other_powers, &row, n), total = rest + row.own, top = row.g[row.place];
    double sum = tree_sum(other_gradients, &row, n), share = (sum + top) / total, block[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t count = least(BLOCK, n - start);
      powers(&row, start, count, block);
      for (int64_t i = 0; i < count; i++) out[start + i] = narrow((double)row.g[start + i] - block[i] * share);
    }
    out[row.place] = narrow((top * rest - row.own * sum) / total);
  }
  return 0;
}

/* shifts, totals, logs (rows) float64: the sums of e^(x - shift), and their logarithms; x.
 * NumPy version: loss._exp_sums */
int exp_sums(const struct job *job) {
  double *shifts = job->arrays[0], *totals = job->arrays[1], *logs = job->arrays[2];
  for (int64_t r = job->start; r < job->stop; r++) {
    struct row row = open_row(job, r, job->arrays[3], 0, 0);
    double rest = tree_sum(other_powers, &row, job->columns);
    shifts[r] = row.shift;
    totals[r] = rest + row.own;
    logs[r] = log1p_(row.own == 1.0 ? rest : rest + row.own - 1.0);
  }
  return 0;
}

/* out = (e^(x - shift) / total - onehot(id)) share in counted rows, 0 in others; x; shifts, totals, logs (rows) float64, ids (rows)
 * int64, counted (rows) bool, share () float64. At the target it is -(total - own) / total, and where that is the maximum,
 * total - own is expm1(log). NumPy version: loss._logits_gradient */
int cross_entropy_gradient(const struct job *job) {
  int64_t n = job->columns;
  const double *shifts = job->arrays[2], *totals = job->arrays[3], *logs = job->arrays[4], *share = job->arrays[7];
  const int64_t *ids = job->arrays[5];
  const uint8_t *counted = job->arrays[6];
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    const float *restrict x = (const float *)job->arrays[1] + r * n;
    if (!counted[r]) {
      for (int64_t i = 0; i < n; i++) out[i] = 0.0f;
      continue;
    }
    double shift = shifts[r], factor = *share / totals[r], target = x[ids[r]];
    for (int64_t i = 0; i < n; i++) out[i] = narrow(exp_short((double)x[i] - shift) * factor);
    double others = target == shift ? expm1_(logs[r]) : totals[r] - exp_short(target - shift);
    out[ids[r]] = narrow(0.0 - others * factor);
  }
  return 0;
}
