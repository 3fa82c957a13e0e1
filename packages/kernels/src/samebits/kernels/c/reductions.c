/* Sums over an axis by the halving tree, running sums, and sums of rows with the same id. NumPy versions: core/reductions.py
 *
 * Each of the former: sums (outer, inner), float64 unless the comment says more; x (outer, n, inner) float32; centers (outer, inner)
 * float64 where the terms have a center; sizes: n, inner, int64. A row is one of outer.
 */

#include "elementary.h"
#include "sums.h"

enum { SHORT = 32 }; /* terms of lanes that are summed together: a sum of few terms takes less time than its call */

/* Where the terms of so many lanes are: from one term to the next, and from one lane to the next. */
struct lanes {
  const float *x;
  const double *centers;
  int64_t apart, lane, width;
};

static void plain(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  const float *restrict x = lanes->x + start * lanes->apart;
  int64_t width = lanes->width;
  if (width == 1 && lanes->apart == 1)
    for (int64_t i = 0; i < count; i++) out[i] = x[i];
  else if (lanes->lane == 1)
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < width; j++) out[i * width + j] = x[i * lanes->apart + j];
  else
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < width; j++) out[i * width + j] = x[i * lanes->apart + j * lanes->lane];
}

static void squares(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  plain(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] *= out[i];
}

static void centered(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  plain(context, start, count, out);
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < lanes->width; j++) out[i * lanes->width + j] -= lanes->centers[j];
}

static void distances(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  centered(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] *= out[i];
}

static void powers(const void *context, int64_t start, int64_t count, double *restrict out) {
  const struct lanes *lanes = context;
  centered(context, start, count, out);
  for (int64_t i = 0; i < count * lanes->width; i++) out[i] = exp_wide(out[i]);
}

/* The number at x, or its square. */
static inline double term(const float *x, int is_square) { return is_square ? (double)*x * (double)*x : (double)*x; }

/* values (count) = the numbers from x on after 3 halvings, if all of these are of an even number: all 8 parts are read at once. */
static inline __attribute__((always_inline)) void eighths(const float *restrict x, int64_t half, int64_t count, int is_square,
                                                          double *restrict values) {
  int64_t quarter = half / 2, eighth = half / 4;
  for (int64_t i = 0; i < count; i++) {
    const float *at = x + i, *other = at + eighth;
    double a = term(at, is_square) + term(at + half, is_square);
    double b = term(at + quarter, is_square) + term(at + quarter + half, is_square);
    double c = term(other, is_square) + term(other + half, is_square);
    double d = term(other + quarter, is_square) + term(other + quarter + half, is_square);
    values[i] = (a + b) + (c + d);
  }
}

/* The same as `tree_terms` of numbers or of their squares, n being a multiple of 8, and lanes, or the terms of the only one, contiguous;
 * at least 3 halvings. */
static void number_terms(const struct lanes *lanes, int64_t n, int64_t halvings, int64_t start, int64_t stop, int is_square,
                         double *restrict values) {
  int64_t apart = lanes->apart, width = lanes->width;
  if (halvings == 3) {
    int64_t rows = apart == 1 ? 1 : stop - start, count = apart == 1 ? stop - start : width;
    for (int64_t i = 0; i < rows; i++)
      is_square ? eighths(lanes->x + (start + i) * apart, n / 2 * apart, count, 1, values + i * count)
                : eighths(lanes->x + (start + i) * apart, n / 2 * apart, count, 0, values + i * count);
    return;
  }
  double more[BLOCK];
  int64_t left = after(n, halvings), last = least(stop + left, after(n, halvings - 1));
  number_terms(lanes, n, halvings - 1, start, stop, is_square, values);
  if (start + left >= last) return;
  number_terms(lanes, n, halvings - 1, start + left, last, is_square, more);
  add_terms(values, more, (last - start - left) * width);
}

/* sums (width) of the n terms of lanes; `is_square`: of their squares. */
static void number_sums(const struct lanes *lanes, int64_t n, int is_square, double *restrict sums) {
  int64_t width = lanes->width, halvings = halvings_of(n, width), left = after(n, halvings);
  if (halvings < 3 || n % 8 || (width > 1 && lanes->lane != 1))
    return tree_sums(is_square ? squares : plain, lanes, n, width, sums);
  double values[BLOCK + 2 * WIDE];
  number_terms(lanes, n, halvings, 0, left, is_square, values);
  add_rest(values, left, width, sums);
}

enum result { SUM, ROUNDED, ROOT };

/* Sum the lanes of a row, at most BLOCK at a time, or those of several rows, where each is one short lane. */
static inline __attribute__((always_inline)) int sums_of(const struct job *job, terms *fill, const double *centers,
                                                         const int64_t *sizes, enum result result) {
  const float *x = job->arrays[1];
  int64_t n = sizes[0], inner = sizes[1], lane = inner == 1 ? n : 1;
  int64_t rows = inner == 1 && n > 0 && n <= SHORT ? BLOCK / n : 1;
  for (int64_t outer = job->start; outer < job->stop; outer += rows)
    for (int64_t j = 0; j < inner; j += BLOCK) {
      int64_t place = outer * inner + j, width = inner == 1 ? least(rows, job->stop - outer) : least(BLOCK, inner - j);
      struct lanes lanes = {x + outer * n * inner + j, centers ? centers + place : 0, inner, lane, width};
      double *sums = job->scratch; /* BLOCK numbers, too many for small stacks beside those of the tree */
      if (fill == plain || fill == squares)
        number_sums(&lanes, n, fill == squares, sums);
      else
        tree_sums(fill, &lanes, n, width, sums);
      for (int64_t i = 0; i < width; i++)
        if (result == SUM)
          ((double *)job->arrays[0])[place + i] = sums[i];
        else
          ((float *)job->arrays[0])[place + i] = narrow(result == ROOT ? __builtin_sqrt(sums[i]) : sums[i]) + 0.0f;
    }
  return 0;
}

/* The sums of x. NumPy version: reductions._sums */
int sums(const struct job *job) { return sums_of(job, plain, 0, job->arrays[2], SUM); }

/* The sums of x, rounded to float32, with positive zeros. NumPy version: reductions._totals */
int totals(const struct job *job) { return sums_of(job, plain, 0, job->arrays[2], ROUNDED); }

/* The roots of the sums of x^2, rounded like these. NumPy version: reductions._norms */
int norms(const struct job *job) { return sums_of(job, squares, 0, job->arrays[2], ROOT); }

/* The sums of (x - center)^2. NumPy version: reductions._distance_sums */
int distance_sums(const struct job *job) { return sums_of(job, distances, job->arrays[2], job->arrays[3], SUM); }

/* The sums of e^(x - center). NumPy version: reductions._power_sums */
int power_sums(const struct job *job) { return sums_of(job, powers, job->arrays[2], job->arrays[3], SUM); }

/* out (n, width) = the running sums of x (n, width), of which lanes and terms are so far apart. */
static inline __attribute__((always_inline)) void run(float *restrict out, const float *restrict x, int64_t n, int64_t apart,
                                                      int64_t lane, int64_t width) {
  double sums[BLOCK];
  for (int64_t j = 0; j < width; j++) sums[j] = 0.0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < width; j++) out[i * apart + j * lane] = narrow(sums[j] += x[i * apart + j * lane]) + 0.0f;
}

/* out (outer, n, inner) float32 = the running sums of x (outer, n, inner) float32, one after the other, with positive zeros; sizes:
 * n, inner, int64. A row is one of outer. Single lanes are summed four at a time: none waits for the sum of another.
 * NumPy version: reductions._running_sums */
int running_sums(const struct job *job) {
  const int64_t *sizes = job->arrays[2];
  int64_t n = sizes[0], inner = sizes[1], row = n * inner, outer = job->start;
  float *out = job->arrays[0];
  const float *x = job->arrays[1];
  for (; inner == 1 && outer + 4 <= job->stop; outer += 4) run(out + outer * n, x + outer * n, n, 1, n, 4);
  for (; inner == 1 && outer < job->stop; outer++) run(out + outer * n, x + outer * n, n, 1, 0, 1);
  for (; outer < job->stop; outer++)
    for (int64_t j = 0; j < inner; j += BLOCK)
      run(out + outer * row + j, x + outer * row + j, n, inner, 1, least(BLOCK, inner - j));
  return 0;
}

enum { RUN = 64, DEPTH = 8 }; /* rows added one after the other, part of the definition; RUN^DEPTH is more than there can be */

/* Runs of rows, runs of their sums, and so on: the sum of the open one of each depth, and of how many it is. */
struct runs {
  double *sums; /* (DEPTH, BLOCK) */
  int64_t filled[DEPTH], deepest;
};

/* Close the run at a depth: its sum goes into the run above. */
static void close_run(struct runs *runs, int64_t depth, int64_t width) {
  const double *restrict done = runs->sums + depth * BLOCK;
  double *restrict above = runs->sums + (depth + 1) * BLOCK;
  if (runs->filled[depth + 1]++)
    add_terms(above, done, width);
  else
    for (int64_t i = 0; i < width; i++) above[i] = done[i];
  runs->filled[depth] = 0;
  if (runs->deepest == depth) runs->deepest++;
}

/* sums (segments, columns) float64 of the rows values[order[start]], ... of each segment, so many as its count: runs of RUN rows
 * one after the other, then runs of these sums, and so on; starts, counts (segments) int64, values (N, columns) float32, order (N)
 * int64. A row of the job is a segment. NumPy version: indexing._sums */
int segment_sums(const struct job *job) {
  const int64_t *starts = job->arrays[1], *counts = job->arrays[2], *order = job->arrays[4];
  const float *values = job->arrays[3];
  int64_t n = job->columns;
  for (int64_t r = job->start; r < job->stop; r++)
    for (int64_t first = 0; first < n; first += BLOCK) {
      struct runs runs = {job->scratch, {0}, 0};
      int64_t width = least(BLOCK, n - first);
      double *restrict sum = runs.sums;
      for (int64_t k = 0; k < counts[r]; k++) {
        const float *restrict row = values + order[starts[r] + k] * n + first;
        if (runs.filled[0]++)
          for (int64_t i = 0; i < width; i++) sum[i] += row[i];
        else
          for (int64_t i = 0; i < width; i++) sum[i] = row[i];
        for (int64_t depth = 0; runs.filled[depth] == RUN; depth++) close_run(&runs, depth, width);
      }
      for (int64_t depth = 0; depth < runs.deepest; depth++)
        if (runs.filled[depth]) close_run(&runs, depth, width);
      double *restrict sums = (double *)job->arrays[0] + r * n + first;
      for (int64_t i = 0; i < width; i++) sums[i] = runs.sums[runs.deepest * BLOCK + i];
    }
  return 0;
}
