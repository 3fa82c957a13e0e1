/* Softmax, its logarithm, the sums it divides by, and their gradients: each row on its own, float64 inside, one rounding.
 *
 * All are made of e^(x - shift), where shift is the row's first maximum, or 0 where that is not finite. Its own power is 1; the
 * others have a sum of their own, rest, which keeps the digits that 1 + rest loses. Unless the comment of a kernel says more,
 * its arrays are float32 (rows, columns).
 */

#include "quick.h"
#include "sums.h"

enum { LANES = 16 };

struct row {
  const float *x, *g;
  const double *kept; /* the powers, or 0 where a row is too long to keep them */
  int64_t place;      /* of the first maximum */
  int near;           /* whether all x - shift are in [-700, 0] */
  double shift, own, total, change;
};

enum { WIDTH = 2 * LANES };

struct range {
  float tops[WIDTH], bottoms[WIDTH];
  int32_t nans[WIDTH];
};

static inline __attribute__((always_inline)) void widen(struct range *range, const float *restrict x, int64_t count) {
  for (int j = 0; j < count; j++) {
    range->tops[j] = x[j] > range->tops[j] ? x[j] : range->tops[j];
    range->bottoms[j] = x[j] < range->bottoms[j] ? x[j] : range->bottoms[j];
    range->nans[j] |= x[j] != x[j];
  }
}

/* The greatest of x (n), NaN if one is, and the least of the others. NumPy versions: np.maximum.reduce, np.fmin.reduce */
static float greatest(const float *restrict x, int64_t n, float *bottom) {
  struct range range;
  for (int j = 0; j < WIDTH; j++) {
    range.tops[j] = -(float)INFINITE;
    range.bottoms[j] = (float)INFINITE;
    range.nans[j] = 0;
  }
  int64_t whole = n / WIDTH * WIDTH;
  for (int64_t i = 0; i < whole; i += WIDTH) widen(&range, x + i, WIDTH);
  widen(&range, x + whole, n - whole);
  for (int half = WIDTH / 2; half; half /= 2)
    for (int j = 0; j < half; j++) {
      range.tops[j] = range.tops[j + half] > range.tops[j] ? range.tops[j + half] : range.tops[j];
      range.bottoms[j] = range.bottoms[j + half] < range.bottoms[j] ? range.bottoms[j + half] : range.bottoms[j];
      range.nans[j] |= range.nans[j + half];
    }
  *bottom = range.bottoms[0];
  return range.nans[0] ? (float)NOT_A_NUMBER : range.tops[0];
}

/* Where x (n) is first the value, or NaN if that is NaN. */
static int64_t first(const float *restrict x, int64_t n, float value) {
  int64_t place = 0;
  while (value != value && place < n - 1 && x[place] == x[place]) place++;
  if (value != value) return place;
  for (; place + LANES <= n; place += LANES) {
    int32_t found = 0;
    for (int j = 0; j < LANES; j++) found |= x[place + j] == value;
    if (found) break;
  }
  while (place < n - 1 && x[place] != value) place++;
  return place;
}

/* The powers e^(x - shift). */
static void powers(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  if (row->kept)
    for (int64_t i = 0; i < count; i++) out[i] = row->kept[start + i];
  else if (row->near)
    for (int64_t i = 0; i < count; i++) out[i] = exp_near((double)row->x[start + i] - row->shift);
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
  struct row row = {(const float *)x + r * n, g ? (const float *)g + r * n : 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0};
  float bottom, top = greatest(row.x, n, &bottom);
  row.place = first(row.x, n, top);
  top = row.x[row.place]; /* for the sign of zero */
  row.shift = absolute(top) < INFINITE ? top : 0.0;
  row.near = top - row.shift == 0.0 && bottom - row.shift >= -700.0;
  row.own = exp_short((double)top - row.shift);
  if (keep && n <= SCRATCH) {
    powers(&row, 0, n, job->scratch);
    row.kept = job->scratch;
  }
  return row;
}

/* More than the relative difference between quotients by sums of n positive numbers, at most SCRATCH, here and in the halving tree. */
static double sum_margin(int64_t n) { return (double)(n + 512) * 0x1p-57; }

static double total_of(double *lanes) {
  for (int half = LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
  return lanes[0];
}

/* The ends of an interval with 1 / sum(e^(x - shift)), as sums of the powers in any order give it. */
static void shares(const struct row *row, int64_t n, double *less, double *more) {
  const double *restrict kept = row->kept;
  double lanes[LANES] = {0};
  int64_t whole = n / LANES * LANES;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += kept[i + j];
  for (int64_t i = whole; i < n; i++) lanes[i - whole] += kept[i];
  double share = 1.0 / total_of(lanes);
  *less = share * (1.0 - sum_margin(n));
  *more = share * (1.0 + sum_margin(n));
}

/* Nonzero where the formula must decide. */
static uint32_t softmax_quick(const struct row *row, float *restrict out, int64_t n) {
  const double *restrict kept = row->kept;
  double less, more;
  uint32_t open = 0;
  shares(row, n, &less, &more);
  for (int64_t i = 0; i < n; i++) open |= settle(&out[i], kept[i] * less, kept[i] * more);
  return open;
}

/* out = e^x / sum(e^x), x. Each row's maximum must be finite. NumPy version: probabilities._softmax_formula */
int softmax(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], 0, 1);
    if (!(absolute(row.x[row.place]) < INFINITE)) return 1;
    if (row.kept && !softmax_quick(&row, out, n)) continue;
    double total = tree_sum(powers, &row, n), block[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
      int64_t count = least(BLOCK, n - start);
      powers(&row, start, count, block);
      for (int64_t i = 0; i < count; i++) out[start + i] = narrow(block[i] / total);
    }
  }
  return 0;
}

/* out (count) = the softmax of x, one row, at places (count) int64, where it has the same bits for every order of x; sizes: count, int64.
 * NumPy version: probabilities._softmax_at */
int softmax_at(const struct job *job) {
  float *restrict out = job->arrays[0];
  const int64_t *restrict places = job->arrays[2], *sizes = job->arrays[3];
  struct row row = open_row(job, 0, job->arrays[1], 0, 1);
  double less, more;
  uint32_t open = 0;
  if (!row.kept || !(absolute(row.x[row.place]) < INFINITE)) return 2;
  shares(&row, job->columns, &less, &more);
  for (int64_t i = 0; i < sizes[0]; i++) open |= settle(&out[i], row.kept[places[i]] * less, row.kept[places[i]] * more);
  return open ? 2 : 0;
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

/* Nonzero where the formula must decide. With A = sum(|d| y), its sum and this one differ by less than 2 sum_margin A. */
static uint32_t softmax_gradient_quick(const struct row *row, float *restrict out, int64_t n) {
  const double *restrict kept = row->kept;
  const float *restrict g = row->g;
  double lanes[LANES] = {0}, sums[LANES] = {0}, sizes[LANES] = {0}, change = g[row->place];
  int64_t whole = n / LANES * LANES;
  uint32_t open = 0;
  for (int64_t i = 0; i < whole; i += LANES)
    for (int j = 0; j < LANES; j++) {
      double product = ((double)g[i + j] - change) * kept[i + j];
      lanes[j] += kept[i + j];
      sums[j] += product;
      sizes[j] += absolute(product);
    }
  for (int64_t i = whole; i < n; i++) {
    double product = ((double)g[i] - change) * kept[i];
    lanes[i - whole] += kept[i];
    sums[i - whole] += product;
    sizes[i - whole] += absolute(product);
  }
  double share = 1.0 / total_of(lanes), sum = total_of(sums) * share, size = total_of(sizes) * share;
  double margin = 4.0 * sum_margin(n);
  for (int64_t i = 0; i < n; i++) {
    double d = (double)g[i] - change, y = kept[i] * share, error = (absolute(d) + size) * margin;
    open |= settle(&out[i], (d - sum - error) * y, (d - sum + error) * y);
  }
  return open;
}

/* out = y (d - sum(d y)), with the softmax y of x and d = g less its value at the first maximum; x, g.
 * NumPy version: probabilities._softmax_gradient */
int softmax_gradient(const struct job *job) {
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = open_row(job, r, job->arrays[1], job->arrays[2], 1);
    if (row.kept && !softmax_gradient_quick(&row, out, n)) continue;
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
    float bottom, top = greatest(x, n, &bottom);
    if (top - shift <= 700.0 && bottom - shift >= -700.0)
      for (int64_t i = 0; i < n; i++) out[i] = narrow(exp_near((double)x[i] - shift) * factor);
    else
      for (int64_t i = 0; i < n; i++) out[i] = narrow(exp_short((double)x[i] - shift) * factor);
    double others = target == shift ? expm1_(logs[r]) : totals[r] - exp_short(target - shift);
    out[ids[r]] = narrow(0.0 - others * factor);
  }
  return 0;
}
