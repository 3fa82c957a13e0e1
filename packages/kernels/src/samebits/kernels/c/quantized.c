/* Products with quantized matrices. NumPy version: core/quantized.py, which has the definition and why it is exact.
 *
 * The blocks of a row of weights lie one after the other, each with the integers and scales of a group of 32 or 16. A panel of 16 outputs
 * is read first: its scales, and its integers as they are, four bytes at a time, so that a vector has a word of each output. Then they
 * meet up to eight rows of x together, whose sums stay in registers. A word becomes pairs of int16 where it is used:
 *
 *     b0 b1 b2 b3    bytes         ->    b0 b2, b1 b3
 *                    half bytes    ->    the lower halves of b0 b2, b1 b3, and the upper ones, which are 16 later in the group
 *
 * The numbers of x are put into that order, as pairs, of which those of eight rows lie side by side.
 */

#include "dot16.h"
#include "gemm16.h"

enum { Q4_0, Q4_1, Q8_0, WIDE_BLOCKS, NARROW_BLOCKS }; /* as quantized._LAYOUTS */
enum {
  ROWS = 96,                /* rows of x whose integers are in the scratch at most */
  EIGHT = 8,                /* rows of x, and outputs, that are worked on together */
  TOGETHER = PANEL / PARTS, /* outputs of which a vector of dot16.h has the sums */
  GROUP = 32                /* weights of a group at most */
};

typedef int32_t eight_ints __attribute__((vector_size(32)));
typedef uint16_t eight_halves __attribute__((vector_size(16)));
typedef uint32_t eight_words __attribute__((vector_size(32)));
/* Of the outputs of a vector: */
typedef uint16_t some_pairs __attribute__((vector_size(4 * TOGETHER)));
typedef int16_t some_signed __attribute__((vector_size(4 * TOGETHER)));
typedef int32_t some_ints __attribute__((vector_size(4 * TOGETHER)));
typedef float some_floats __attribute__((vector_size(4 * TOGETHER)));
typedef double some_doubles __attribute__((vector_size(8 * TOGETHER)));

/* What is multiplied, and the scratch. Rows of x are in tiles of EIGHT, the last of which is filled with zeros. */
struct product {
  int64_t length, outputs, groups; /* K, N, and the groups of a row */
  const uint8_t *blocks;           /* (N, groups) */
  int64_t rows;                    /* of x, that are on their grids */
  float *out;                      /* (rows, N) */
  int64_t fused;                   /* whether to use the fused instruction of dot16.h */
  int16_t *a;                      /* (tiles, groups, pairs, EIGHT, 2): x on its grids */
  double *scales, *sums;           /* (tiles, groups, EIGHT): of a, and the scaled sums of a */
  int32_t *zeros;                  /* (tiles, groups, EIGHT): what the sums with Q4_0's unsigned integers have too much */
  int32_t *words;                  /* (groups, words, PANEL): the integers of a panel */
  uint32_t *halves;                /* (groups, PANEL): its scales, and offsets above them, if they are float16 */
  float *s;                        /* (2, groups, PANEL): its scales and offsets */
  float *found;                    /* (EIGHT, PANEL): results */
};

static inline __attribute__((always_inline)) int64_t size_of(int layout) { return layout == NARROW_BLOCKS ? 16 : GROUP; }

static inline __attribute__((always_inline)) int64_t bytes_of(int layout) {
  return layout == Q4_0 ? 18 : layout == Q4_1 ? 20 : layout == Q8_0 ? 34 : layout == WIDE_BLOCKS ? 40 : 20;
}

/* Where the integers of a block begin. */
static inline __attribute__((always_inline)) int64_t start_of(int layout) {
  return layout == Q4_1 || layout == NARROW_BLOCKS ? 4 : layout == WIDE_BLOCKS ? 8 : 2;
}

static inline __attribute__((always_inline)) int has_offset(int layout) { return layout == Q4_1 || layout == WIDE_BLOCKS; }
static inline __attribute__((always_inline)) int has_half_bytes(int layout) { return layout == Q4_0 || layout == Q4_1; }

/* The words that the integers of a block are. */
static inline __attribute__((always_inline)) int64_t words_of(int layout) {
  return size_of(layout) / (has_half_bytes(layout) ? 8 : 4);
}

/* a (n), its scale and its sum, of x (n) float32; returns what a kernel returns. NumPy version: quantized._as_integers */
static inline __attribute__((always_inline)) int grid_of_group(int16_t *restrict a, double *scale, int32_t *sum,
                                                               const float *restrict x, int64_t n) {
  uint32_t top = 0;
  int32_t total = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t size = word32(x[i]) & 0x7fffffff;
    top = size > top ? size : top;
  }
  if (top >= 0x7f800000) return 1;
  int32_t e = (int32_t)((top + 0x100) >> 23) - 126;
  e = e < -100 ? -100 : e;
  float factor = number32((uint32_t)(BITS - e + 127) << 23);
  for (int64_t i = 0; i < n; i++) {
    int16_t q = (int16_t)word32(x[i] * factor + ROUND);
    a[i] = q;
    total += q;
  }
  *scale = scale_of(e);
  *sum = total;
  return 0;
}

/* Put the rows of x, with groups of n, on their grids. */
static inline __attribute__((always_inline)) int put_on_grids(const struct product *p, const float *x, int64_t n) {
  for (int64_t row = 0; row < p->rows; row += EIGHT)
    for (int64_t g = 0; g < p->groups; g++) {
      int16_t strip[EIGHT * GROUP];
      int64_t place = row * p->groups + g * EIGHT;
      for (int64_t r = 0; r < EIGHT; r++) {
        int16_t q[GROUP] = {0};
        double scale = 0.0;
        int32_t sum = 0;
        if (row + r < p->rows) {
          int problem = grid_of_group(q, &scale, &sum, x + (row + r) * p->length + g * n, n);
          if (problem) return problem;
        }
        for (int64_t j = 0; j < n; j++) strip[r * n + j] = q[j / 4 * 4 + j % 2 * 2 + j % 4 / 2];
        p->scales[place + r] = scale;
        p->sums[place + r] = (double)sum * scale;
        p->zeros[place + r] = 8 * sum;
      }
      transpose_pairs(p->a + place * n, EIGHT, strip, n / 2, EIGHT, n / 2);
    }
  return 0;
}

/* The 16 bytes at two places. */
static inline __attribute__((always_inline)) eight_ints two_of(const uint8_t *a, const uint8_t *b) {
  quad x, y;
  __builtin_memcpy(&x, a, sizeof x);
  __builtin_memcpy(&y, b, sizeof y);
  return __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7);
}

/* x[i] has 4 words of row i, and of row i + 4; then x[i] has word i of all rows. */
static inline __attribute__((always_inline)) void transpose_words(eight_ints x[4]) {
  eight_ints ab = __builtin_shufflevector(x[0], x[1], 0, 8, 1, 9, 4, 12, 5, 13);
  eight_ints cd = __builtin_shufflevector(x[2], x[3], 0, 8, 1, 9, 4, 12, 5, 13);
  eight_ints ef = __builtin_shufflevector(x[0], x[1], 2, 10, 3, 11, 6, 14, 7, 15);
  eight_ints gh = __builtin_shufflevector(x[2], x[3], 2, 10, 3, 11, 6, 14, 7, 15);
  x[0] = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13);
  x[1] = __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  x[2] = __builtin_shufflevector(ef, gh, 0, 1, 8, 9, 4, 5, 12, 13);
  x[3] = __builtin_shufflevector(ef, gh, 2, 3, 10, 11, 6, 7, 14, 15);
}

/* Read the scales and integers of EIGHT outputs from `first` on, the first or last of a panel; beyond the last output, its own again.
 * The next panel is fetched. */
static inline __attribute__((always_inline)) void read_eight(const struct product *p, int64_t first, int layout) {
  int64_t all = p->groups * PANEL, step = bytes_of(layout), words = words_of(layout), within = first % PANEL;
  const uint8_t *rows[EIGHT];
#pragma GCC unroll 8
  for (int r = 0; r < EIGHT; r++) rows[r] = p->blocks + least(first + r, p->outputs - 1) * p->groups * step;
  uint32_t *halves = p->halves + within;
  float *s = p->s + within;
  int32_t *to = p->words + within;
  for (int64_t place = 0; place < p->groups * step; place += step, halves += PANEL, s += PANEL, to += words * PANEL) {
    for (int64_t line = 0; line < EIGHT * step; line += 64) __builtin_prefetch(rows[0] + all * step + EIGHT * place + line, 0, 2);
#pragma GCC unroll 8
    for (int r = 0; r < EIGHT; r++) {
      const uint8_t *block = rows[r] + place;
      __builtin_memcpy(layout < WIDE_BLOCKS ? (void *)(halves + r) : (void *)(s + r), block, 4);
      if (layout == WIDE_BLOCKS) __builtin_memcpy(s + all + r, block + 4, 4);
    }
#pragma GCC unroll 2
    for (int64_t w = 0; w < words; w += 4) {
      int64_t start = place + start_of(layout) + 4 * w;
      eight_ints four[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) four[i] = two_of(rows[i] + start, rows[i + 4] + start);
      transpose_words(four);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) __builtin_memcpy(to + (w + i) * PANEL, &four[i], sizeof four[i]);
    }
  }
}

static inline __attribute__((always_inline)) void read_panel(const struct product *p, int64_t first, int layout) {
  int64_t all = p->groups * PANEL;
  read_eight(p, first, layout);
  read_eight(p, first + EIGHT, layout);
  for (int64_t i = 0; layout < WIDE_BLOCKS && i < all; i += 8) {
    eight_words both;
    eight_halves part;
    __builtin_memcpy(&both, p->halves + i, sizeof both);
    part = __builtin_convertvector(both, eight_halves);
    widen_halves(p->s + i, (const uint16_t *)&part);
    part = __builtin_convertvector(both >> 16, eight_halves);
    if (has_offset(layout)) widen_halves(p->s + all + i, (const uint16_t *)&part);
  }
}

/* Add the products of a pair of each output and of so many rows. */
static inline __attribute__((always_inline)) void add_pairs(sums sum[EIGHT], const int16_t *a, some_pairs weights, int tall,
                                                            int fused) {
#pragma GCC unroll 8
  for (int r = 0; r < tall; r++) {
    sum[r] = dot_spread(sum[r], a + 2 * r, (pairs)weights, fused);
  }
}

/* sum (tall) = the products of a group: a (pairs, EIGHT, 2) and words (words, PANEL). */
static inline __attribute__((always_inline)) void multiply_group(sums sum[EIGHT], const int16_t *a, const int32_t *words, int tall,
                                                                 int layout, int fused) {
#pragma GCC unroll 8
  for (int r = 0; r < tall; r++) sum[r] = no_sums();
#pragma GCC unroll 8
  for (int64_t w = 0; w < words_of(layout); w++) {
    some_pairs word;
    __builtin_memcpy(&word, words + w * PANEL, sizeof word);
    const int16_t *lower = a + 4 * EIGHT * w, *upper = lower + 4 * EIGHT * words_of(layout);
    if (has_half_bytes(layout)) {
      add_pairs(sum, lower, word & 15, tall, fused);
      add_pairs(sum, lower + 2 * EIGHT, word >> 8 & 15, tall, fused);
      add_pairs(sum, upper, word >> 4 & 15, tall, fused);
      add_pairs(sum, upper + 2 * EIGHT, word >> 12, tall, fused);
    } else {
      add_pairs(sum, lower, (some_pairs)((some_signed)(word << 8) >> 8), tall, fused);
      add_pairs(sum, lower + 2 * EIGHT, (some_pairs)((some_signed)word >> 8), tall, fused);
    }
  }
}

/* found (tall, PANEL): the products of the panel that was read and so many rows from `row` on, the first of a tile. */
static inline __attribute__((always_inline)) void multiply_tile(const struct product *p, int64_t row, int tall, int layout,
                                                                int fused) {
  for (int64_t part = 0; part < PANEL; part += TOGETHER) {
    some_doubles total[EIGHT];
#pragma GCC unroll 8
    for (int r = 0; r < tall; r++) total[r] = (some_doubles){0};
    for (int64_t g = 0; g < p->groups; g++) {
      sums sum[EIGHT];
      int64_t place = row * p->groups + g * EIGHT;
      some_floats of_output;
      multiply_group(sum, p->a + place * size_of(layout), p->words + g * words_of(layout) * PANEL + part, tall, layout, fused);
      __builtin_memcpy(&of_output, p->s + g * PANEL + part, sizeof of_output);
      some_doubles scale = __builtin_convertvector(of_output, some_doubles), offset = {0};
      if (has_offset(layout)) {
        __builtin_memcpy(&of_output, p->s + (p->groups + g) * PANEL + part, sizeof of_output);
        offset = __builtin_convertvector(of_output, some_doubles);
      }
#pragma GCC unroll 8
      for (int r = 0; r < tall; r++) {
        some_ints exact;
        store_sums((int32_t *)&exact, sum[r]);
        if (layout == Q4_0) exact -= p->zeros[place + r];
        some_doubles term = __builtin_convertvector(exact, some_doubles) * (scale * p->scales[place + r]);
        if (has_offset(layout)) term = term + offset * p->sums[place + r];
        total[r] = total[r] + term;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < tall; r++) {
      some_floats found = __builtin_convertvector(total[r], some_floats) + 0.0f;
      __builtin_memcpy(p->found + r * PANEL + part, &found, sizeof found);
    }
  }
}

/* The products of the panel with the outputs from `first` on, and all rows. */
static inline __attribute__((always_inline)) void multiply_panel(const struct product *p, int64_t first, int layout, int fused) {
  int64_t count = least(PANEL, p->outputs - first);
  read_panel(p, first, layout);
  for (int64_t row = 0; row < p->rows; row += EIGHT) {
    int64_t rows = least(EIGHT, p->rows - row);
    if (rows > 4)
      multiply_tile(p, row, EIGHT, layout, fused);
    else if (rows > 2)
      multiply_tile(p, row, 4, layout, fused);
    else if (rows > 1)
      multiply_tile(p, row, 2, layout, fused);
    else
      multiply_tile(p, row, 1, layout, fused);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < count; j++) p->out[(row + r) * p->outputs + first + j] = p->found[r * PANEL + j];
  }
}

/* The same for each layout, and for each of the instructions of dot16.h. */
static __attribute__((noinline)) void multiply_q4_0(const struct product *p, int64_t first) {
  p->fused ? multiply_panel(p, first, Q4_0, 1) : multiply_panel(p, first, Q4_0, 0);
}
static __attribute__((noinline)) void multiply_q4_1(const struct product *p, int64_t first) {
  p->fused ? multiply_panel(p, first, Q4_1, 1) : multiply_panel(p, first, Q4_1, 0);
}
static __attribute__((noinline)) void multiply_q8_0(const struct product *p, int64_t first) {
  p->fused ? multiply_panel(p, first, Q8_0, 1) : multiply_panel(p, first, Q8_0, 0);
}
static __attribute__((noinline)) void multiply_wide(const struct product *p, int64_t first) {
  p->fused ? multiply_panel(p, first, WIDE_BLOCKS, 1) : multiply_panel(p, first, WIDE_BLOCKS, 0);
}
static __attribute__((noinline)) void multiply_narrow(const struct product *p, int64_t first) {
  p->fused ? multiply_panel(p, first, NARROW_BLOCKS, 1) : multiply_panel(p, first, NARROW_BLOCKS, 0);
}

static void multiply_any(const struct product *p, int64_t first, int64_t layout) {
  switch (layout) {
    case Q4_0:
      return multiply_q4_0(p, first);
    case Q4_1:
      return multiply_q4_1(p, first);
    case Q8_0:
      return multiply_q8_0(p, first);
    case WIDE_BLOCKS:
      return multiply_wide(p, first);
    default:
      return multiply_narrow(p, first);
  }
}

/* Outputs start to stop of so many rows of x; returns what a kernel returns. */
static int multiply(struct product *p, const float *x, int64_t rows, int64_t start, int64_t stop, double *scratch, int layout) {
  int64_t groups = p->groups = p->length / size_of(layout);
  double *whole = scratch + (-(uintptr_t)scratch / 8 & 7);
  p->words = (int32_t *)whole;
  p->halves = (uint32_t *)(p->words + groups * words_of(layout) * PANEL);
  p->s = (float *)(p->halves + groups * PANEL);
  p->found = p->s + 2 * groups * PANEL;
  p->scales = whole + (groups * (words_of(layout) + 3) + EIGHT) * PANEL / 2;
  int64_t left = MEMORY - (p->scales - scratch), each = groups * 5 / 2 + p->length / 4 + 1; /* elements, and those of a row */
  int64_t capacity = least(ROWS, left / each / EIGHT * EIGHT);
  if (capacity < EIGHT) return 2;
  p->sums = p->scales + capacity * groups;
  p->zeros = (int32_t *)(p->sums + capacity * groups);
  p->a = (int16_t *)(p->zeros + capacity * groups);
  for (; rows > 0; rows -= capacity, x += capacity * p->length, p->out += capacity * p->outputs) {
    p->rows = least(capacity, rows);
    int problem = size_of(layout) == 16 ? put_on_grids(p, x, 16) : put_on_grids(p, x, 32);
    if (problem) return problem;
    for (int64_t first = start; first < stop; first += PANEL) multiply_any(p, first, layout);
  }
  return 0;
}

/* out (m, N) = x (m, K) float32 times blocks (N, bytes); sizes: m, K, N, the number of the layout, and whether rows are few, int64. If they
 * are, a row of the job is an output, best whole panels, and every call puts all rows on their grids; else it is a row of x, best
 * whole tiles. NumPy version: quantized._multiply */
int multiply_quantized(const struct job *job) {
  const int64_t *sizes = job->arrays[3], length = sizes[1], outputs = sizes[2], is_few = sizes[4];
  int64_t row = is_few ? 0 : job->start, rows = is_few ? sizes[0] : job->stop - row;
  struct product p = {.length = length, .outputs = outputs, .blocks = job->arrays[2], .fused = fuses()};
  p.out = (float *)job->arrays[0] + row * outputs;
  const float *x = (const float *)job->arrays[1] + row * length;
  return multiply(&p, x, rows, is_few ? job->start : 0, is_few ? job->stop : outputs, job->scratch, (int)sizes[3]);
}
