/* Products of vectors on grids, and what is before and after those of matrices. NumPy versions: core/grid.py, core/linalg.py */

#include "grid.h"

static inline __attribute__((always_inline)) int rows_on_grids(const struct job *job, int is_wide) {
  int64_t n = job->columns, bits = *(const int64_t *)job->arrays[2], size = is_wide ? 8 : 4;
  for (int64_t r = job->start; r < job->stop; r++) {
    int problem = on_grid((double *)job->arrays[0] + r * n, (const char *)job->arrays[1] + r * n * size, n, bits, is_wide);
    if (problem) return problem;
  }
  return 0;
}

static inline __attribute__((always_inline)) int columns_on_grids(const struct job *job, int is_wide) {
  const int64_t *sizes = job->arrays[2];
  int64_t rows = sizes[0], columns = sizes[1], strips = (columns + BLOCK - 1) / BLOCK, size = is_wide ? 8 : 4;
  for (int64_t strip = job->start; strip < job->stop; strip++) {
    int64_t first = strip % strips * BLOCK, n = least(BLOCK, columns - first);
    int64_t place = strip / strips * rows * columns + first;
    double *restrict out = (double *)job->arrays[0] + place;
    const void *restrict x = (const char *)job->arrays[1] + place * size;
    double squares[BLOCK];
    for (int64_t j = 0; j < n; j++) squares[j] = 0.0; /* an initializer would call memset, which there is none of on Windows */
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < n; j++) squares[j] += at(x, i * columns + j, is_wide) * at(x, i * columns + j, is_wide);
    for (int64_t j = 0; j < n; j++) {
      int problem = grid_constant(squares[j], sizes[2], &squares[j]);
      if (problem) return problem;
    }
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < n; j++) out[i * columns + j] = (at(x, i * columns + j, is_wide) + squares[j]) - squares[j];
  }
  return 0;
}

/* out (rows, columns) float64 = x (rows, columns), float32 or float64, each row on a grid of so many bits () int64.
 * NumPy version: grid._grid_rows */
int grid_rows(const struct job *job) { return rows_on_grids(job, 0); }
int grid_rows_float64(const struct job *job) { return rows_on_grids(job, 1); }

/* out (matrices, rows, columns) float64 = x, float32 or float64, each column on a grid; sizes: rows, columns, bits, int64.
 * A row of the job is a strip of BLOCK columns of a matrix. NumPy version: grid._grid_columns */
int grid_columns(const struct job *job) { return columns_on_grids(job, 0); }
int grid_columns_float64(const struct job *job) { return columns_on_grids(job, 1); }

/* out (n) float32 = x (n) float64, rounded, with positive zeros; a row is an element. NumPy version: linalg._round */
int round_product(const struct job *job) {
  float *restrict out = job->arrays[0];
  const double *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = (float)x[i] + 0.0f;
  return 0;
}

/* out (rows, n) float32 = x (rows, n) float64, rounded, with positive zeros, then + bias (n) float32. NumPy version: linalg._round */
int round_product_add(const struct job *job) {
  int64_t n = job->columns;
  const float *restrict bias = job->arrays[2];
  for (int64_t r = job->start; r < job->stop; r++) {
    float *restrict out = (float *)job->arrays[0] + r * n;
    const double *restrict x = (const double *)job->arrays[1] + r * n;
    for (int64_t i = 0; i < n; i++) out[i] = ((float)x[i] + 0.0f) + bias[i];
  }
  return 0;
}

enum { TOGETHER = 4, PARTS = 8 }; /* columns of `products`, and sums of each: as many as there are registers for */

/* sums (TOGETHER) = the products of a row (n) and as many columns (TOGETHER, n), on grids: exact, whatever the order of the sums. */
static inline void products(double *restrict sums, const double *restrict row, const float *restrict columns, int64_t n) {
  double parts[TOGETHER][PARTS] = {{0}};
  int64_t whole = n / PARTS * PARTS;
  for (int64_t i = 0; i < whole; i += PARTS)
    for (int c = 0; c < TOGETHER; c++)
      for (int j = 0; j < PARTS; j++) parts[c][j] += row[i + j] * (double)columns[c * n + i + j];
  for (int c = 0; c < TOGETHER; c++) {
    for (int64_t i = whole; i < n; i++) parts[c][i - whole] += row[i] * (double)columns[c * n + i];
    for (int half = PARTS / 2; half; half /= 2)
      for (int j = 0; j < half; j++) parts[c][j] += parts[c][j + half];
    sums[c] = parts[c][0];
  }
}

static inline __attribute__((always_inline)) int few(const struct job *job, const float *bias, const int64_t *sizes) {
  float *out = job->arrays[0];
  const float *a = job->arrays[1], *b = job->arrays[2];
  int64_t rows = sizes[0], length = sizes[1], n = sizes[2];
  if (length > SCRATCH) return 2;
  for (int64_t i = job->start; bias && i < job->stop; i++)
    if (!is_finite(bias[i])) return 1;
  for (int64_t first = 0, most = SCRATCH / length; first < rows; first += most) {
    int64_t count = least(most, rows - first);
    for (int64_t r = 0; r < count; r++) {
      int problem = on_grid(job->scratch + r * length, a + (first + r) * length, length, 26, 0);
      if (problem) return problem;
    }
    for (int64_t i = job->start; i < job->stop; i += TOGETHER)
      for (int64_t r = 0; r < count; r++) {
        const double *row = job->scratch + r * length;
        int64_t together = least(TOGETHER, job->stop - i);
        double sums[TOGETHER];
        if (together == TOGETHER)
          products(sums, row, b + i * length, length);
        else
          for (int64_t c = 0; c < together; c++) sums[c] = product(row, b + (i + c) * length, length, 0);
        for (int64_t c = 0; c < together; c++) {
          float sum = (float)sums[c] + 0.0f;
          out[(first + r) * n + i + c] = bias ? sum + bias[i + c] : sum;
        }
      }
  }
  return 0;
}

/* out (rows, n) float32 = the products of a (rows, K) and b (n, K), rounded, with positive zeros; a and b float32, the rows of b on
 * grids; those of a are put on grids of 26 bits here. sizes: rows, K, n, int64. A row of the job is a row of b.
 * NumPy version: linalg._multiply_few */
int multiply_few(const struct job *job) { return few(job, 0, job->arrays[3]); }

/* The same, then + bias (n) float32, which must be finite. NumPy version: linalg._multiply_few */
int multiply_few_add(const struct job *job) { return few(job, job->arrays[3], job->arrays[4]); }
