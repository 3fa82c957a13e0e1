/* The stable order of float32 rows, or the beginning of it, and running sums of weights to choose by. */

#include "kernels.h"

enum {
  SHORT = 64,  /* items that are sorted by insertion */
  BYTES = 256 /* values of a byte */
};

/* An unsigned number ordered as x is: -0 equals 0, NaNs are equal and last. */
static inline uint32_t rank(float x) {
  uint32_t bits = word32(x + 0.0f);
  return x != x ? UINT32_MAX : bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
}

static void insertion_sort(uint64_t *items, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    uint64_t item = items[i];
    int64_t place = i;
    for (; place > 0 && items[place - 1] > item; place--) items[place] = items[place - 1];
    items[place] = item;
  }
}

/* Sort items (n), of which the lower halves rise, by the bytes of their upper halves, from the last byte to the first;
 * other (n) and places (4, BYTES) are memory to work in. */
static void sort(uint64_t *items, uint64_t *other, int64_t *restrict places, int64_t n) {
  if (n <= SHORT) {
    insertion_sort(items, n);
    return;
  }
  for (int64_t i = 0; i < 4 * BYTES; i++) places[i] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int byte = 0; byte < 4; byte++) places[byte * BYTES + (items[i] >> (32 + 8 * byte) & 255)]++;
  for (int byte = 0; byte < 4; byte++) {
    int64_t *restrict place = places + byte * BYTES, before = 0;
    for (int64_t i = 0; i < BYTES; i++) {
      int64_t count = place[i];
      place[i] = before;
      before += count;
    }
    const uint64_t *restrict from = byte % 2 ? other : items;
    uint64_t *restrict to = byte % 2 ? items : other;
    for (int64_t i = 0; i < n; i++) to[place[from[i] >> (32 + 8 * byte) & 255]++] = from[i];
  }
}

/* Whether one of x (n) may be at most an item. */
static int any_below(const float *restrict x, int64_t n, uint64_t item) {
  uint32_t most = (uint32_t)(item >> 32), any = 0;
  for (int64_t i = 0; i < n; i++) any |= rank(x[i]) <= most;
  return any != 0;
}

/* order (rows, count) int64 = the first indices of the order of x (rows, columns) float32, the least first, equal ones as they
 * come; memory (rows, 2, size) uint64; sizes: count, size, int64, where size is that of a row, or at least count + 1. A row's
 * elements are collected, and where there is no more memory for them, only the first are kept, and no greater ones collected.
 * NumPy version: indexing._order */
int order_rows(const struct job *job) {
  const int64_t *sizes = job->arrays[3];
  int64_t n = job->columns, count = sizes[0], size = sizes[1];
  if (n > UINT32_MAX) return 2;
  for (int64_t r = job->start; r < job->stop; r++) {
    int64_t *order = (int64_t *)job->arrays[0] + r * count, *places = (int64_t *)job->scratch, filled = 0;
    uint64_t *items = (uint64_t *)job->arrays[1] + r * 2 * size, *other = items + size, last = UINT64_MAX;
    const float *x = (const float *)job->arrays[2] + r * n;
    for (int64_t start = 0, stop; start < n; start = stop) {
      stop = least(start + SHORT, n);
      if (size < n && !any_below(x + start, stop - start, last)) continue;
      for (int64_t i = start; i < stop; i++) {
        uint64_t item = (uint64_t)rank(x[i]) << 32 | (uint64_t)i;
        if (item <= last) items[filled++] = item;
        if (filled < size || size == n) continue;
        sort(items, other, places, filled);
        last = items[count - 1];
        filled = count;
      }
    }
    sort(items, other, places, filled);
    for (int64_t i = 0; i < count; i++) order[i] = (int64_t)(items[i] & UINT32_MAX);
  }
  return 0;
}

/* ends (n) float64 = the running sums of weights (n) float64, one after the other; found (2) int64, the first weight that is
 * negative or not finite, and the last that is not 0; -1 for none. All of it is one row. NumPy version: random._ends */
int running_weights(const struct job *job) {
  double *restrict ends = job->arrays[0], sum = 0.0;
  const double *restrict weights = job->arrays[2];
  int64_t *restrict found = job->arrays[1], n = job->columns, bad = 0, last = -1, first = -1;
  for (int64_t i = 0; i < n; i++) {
    bad += !(weights[i] >= 0.0 && weights[i] - weights[i] == 0.0);
    last = weights[i] != 0.0 ? i : last;
    ends[i] = sum += weights[i];
  }
  for (int64_t i = n - 1; bad && i >= 0; i--)
    if (!(weights[i] >= 0.0 && weights[i] - weights[i] == 0.0)) first = i;
  found[0] = first;
  found[1] = last;
  return 0;
}
