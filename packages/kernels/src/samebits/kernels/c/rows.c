/* Normalizations of rows, and sums of rows. float64 inside, sums by the halving tree, one rounding. */

#include "elementary.h"
#include "sums.h"

struct row {
  const float *x;
  double shift;
};

static void kept(const void *context, int64_t start, int64_t count, double *restrict out) {
  const double *values = context;
  for (int64_t i = 0; i < count; i++) out[i] = values[start + i];
}

static void plain(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  for (int64_t i = 0; i < count; i++) out[i] = row->x[start + i];
}

static void squares(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct row *row = context;
  for (int64_t i = 0; i < count; i++) {
    double centered = (double)row->x[start + i] - row->shift;
    out[i] = centered * centered;
  }
}

/* 1 / sqrt(mean((x - shift)^2) + eps) of a row. */
static double row_scale(const struct row *row, int64_t n, double eps) {
  return 1.0 / __builtin_sqrt(tree_sum(squares, row, n) / (double)n + eps);
}

/* out (n) = (x - mean) scale weight + bias of a row. */
static void put_normalized(float *restrict out, const float *restrict x, const double *restrict weight, const double *restrict bias,
                           double mean, double scale, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = narrow(((double)x[i] - mean) * scale * weight[i] + bias[i]);
}

/* out (rows, columns) float32, scales (rows) float64 = 1 / sqrt(variance + eps), means (rows) float64;
 * x (rows, columns) float32; weight, bias (columns) and eps () float64: out = (x - mean) scale weight + bias.
 * NumPy version: normalization._layer_norm_formula */
int layer_norm(const struct job *job) {
  int64_t n = job->columns;
  double *restrict scales = job->arrays[1], *restrict means = job->arrays[2];
  const double *restrict weight = job->arrays[4], *restrict bias = job->arrays[5], *eps = job->arrays[6];
  for (int64_t r = job->start; r < job->stop; r++) {
    struct row row = {(const float *)job->arrays[3] + r * n, 0.0};
    double mean = tree_sum(plain, &row, n) / (double)n;
    row.shift = mean;
    double scale = row_scale(&row, n, *eps);
    put_normalized((float *)job->arrays[0] + r * n, row.x, weight, bias, mean, scale, n);
    means[r] = mean;
    scales[r] = scale;
  }
  return 0;
}

/* out (rows, columns) float32, scales (rows) float64 = 1 / sqrt(mean(x^2) + eps); x (rows, columns) float32; weight (columns)
 * and eps () float64: out = x scale weight. NumPy version: normalization._rms_norm_formula */
int rms_norm(const struct job *job) {
  int64_t n = job->columns;
  double *restrict scales = job->arrays[1];
  const double *restrict weight = job->arrays[3], *eps = job->arrays[4];
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    struct row row = {(const float *)job->arrays[2] + r * n, 0.0};
    double scale = row_scale(&row, n, *eps);
    const float *restrict x = row.x;
    for (int64_t i = 0; i < n; i++) out[i] = narrow((double)x[i] * scale * weight[i]);
    scales[r] = scale;
  }
  return 0;
}

/* out (n) float64 = e^x, x (n) float64, to 7e-10; a row is an element; out may be x. NumPy version: exponential._exp_short */
int exp_float64(const struct job *job) {
  double *out = job->arrays[0];
  const double *x = job->arrays[1];
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    int64_t n = least(BLOCK, job->stop - start);
    double block[BLOCK];
    for (int64_t i = 0; i < n; i++) block[i] = exp_short(x[start + i]);
    for (int64_t i = 0; i < n; i++) out[start + i] = block[i];
  }
  return 0;
}

/* sums (rows) float64 of x (rows, columns) float64. NumPy version: summation._row_sums */
int row_sums(const struct job *job) {
  double *restrict sums = job->arrays[0];
  const double *x = job->arrays[1];
  for (int64_t r = job->start; r < job->stop; r++) sums[r] = tree_sum(kept, x + r * job->columns, job->columns);
  return 0;
}

enum {
  GROUP_ROWS = 32, /* rows added up first: part of the definition of sums over rows */
  STRIP = 64       /* columns at a time: not part of it */
};

struct gradient {
  const float *g, *x;
  const double *factors, *scales, *means;
  int64_t columns, width;                 /* from one row to the next; how many columns */
};

/* (x - mean) scale */
static inline double normalized(const struct gradient *at, int64_t row, int64_t i) {
  return ((double)at->x[row * at->columns + i] - at->means[row]) * at->scales[row];
}

static void weighted_products(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct gradient *at = context;
  for (int64_t i = 0; i < count; i++) out[i] = (double)at->g[start + i] * normalized(at, 0, start + i) * at->factors[start + i];
}

static void weighted(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct gradient *at = context;
  for (int64_t i = 0; i < count; i++) out[i] = (double)at->g[start + i] * at->factors[start + i];
}

static void column_products(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct gradient *at = context;
  for (int64_t r = 0; r < count; r++)
    for (int64_t i = 0; i < at->width; i++)
      out[r * at->width + i] = (double)at->g[(start + r) * at->columns + i] * normalized(at, start + r, i);
}

static void column_gradients(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct gradient *at = context;
  for (int64_t r = 0; r < count; r++)
    for (int64_t i = 0; i < at->width; i++) out[r * at->width + i] = at->g[(start + r) * at->columns + i];
}

/* out (n) = (a - h share) scale of a row, with a = g factor - mean and h = (x - shift) scale. */
static void put_gradient(float *restrict out, const float *restrict g, const float *restrict x, const double *restrict factors,
                         double shift, double scale, double mean, double share, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double a = (double)g[i] * factors[i] - mean, h = ((double)x[i] - shift) * scale;
    out[i] = narrow((a - h * share) * scale);
  }
}

/* The gradients of a normalization, for groups of GROUP_ROWS rows; without means, zeros are subtracted, which change nothing. */
static int normalize_gradient(const struct job *job, const double *means, const double *factors, const int64_t *sizes) {
  static const double zeros[GROUP_ROWS];
  int64_t rows = sizes[0], n = sizes[1];
  for (int64_t group = job->start; group < job->stop; group++) {
    int64_t first = group * GROUP_ROWS, count = least(GROUP_ROWS, rows - first), place = first * n;
    const float *restrict g = (const float *)job->arrays[3] + place, *restrict x = (const float *)job->arrays[4] + place;
    const double *scales = (const double *)job->arrays[5] + first;
    const double *shifts = means ? means + first : zeros;
    for (int64_t r = 0; r < count; r++) {
      struct gradient at = {g + r * n, x + r * n, factors, scales + r, shifts + r, n, n};
      double share = tree_sum(weighted_products, &at, n) / (double)n;
      double mean = means ? tree_sum(weighted, &at, n) / (double)n : 0.0;
      put_gradient((float *)job->arrays[0] + place + r * n, at.g, at.x, factors, shifts[r], scales[r], mean, share, n);
    }
    for (int64_t i = 0; i < n; i += STRIP) {
      struct gradient at = {g + i, x + i, factors, scales, shifts, n, least(STRIP, n - i)};
      tree_sums(column_products, &at, count, at.width, (double *)job->arrays[1] + group * n + i);
      tree_sums(column_gradients, &at, count, at.width, (double *)job->arrays[2] + group * n + i);
    }
  }
  return 0;
}

/* With h = (x - mean) scale and a = g weight: out (rows, columns) float32 = scale (a - mean(a) - h mean(a h)); to_weight and
 * to_bias (groups, columns) float64, the sums of g h and of g over groups of 32 rows; g, x (rows, columns) float32, scales and
 * means (rows), weight (columns) float64; sizes: rows, columns, int64. A row of the job is a group.
 * NumPy version: normalization._layer_norm_gradient */
int layer_norm_gradient(const struct job *job) { return normalize_gradient(job, job->arrays[6], job->arrays[7], job->arrays[8]); }

/* The same without means: out = scale (a - h mean(a h)). NumPy version: normalization._rms_norm_gradient */
int rms_norm_gradient(const struct job *job) { return normalize_gradient(job, 0, job->arrays[6], job->arrays[7]); }
