/* Products of float32 matrices on grids of 15 bits, summed as integers.
 *
 * K is cut into chunks of 256. In each, a row of a and a column of b are integers times a scale (gemm16.h), whose products have exact
 * sums in int32. The results of the chunks are added in their order, in float64, and rounded once.
 *
 * b is packed first, in panels of 16 columns: panels (P, (K + 1) / 2, 16, 2) int16, [p][k / 2][j][k % 2] being column 16 p + j at k,
 * and scales (chunks, 16 P) float64. The layout is that of all CPU levels. a is packed by the kernel that multiplies, a block of rows
 * at a time. A tile of TALL rows and WIDE panels has its sums in registers (dot16.h).
 */

#include "dot16.h"
#include "gemm16.h"

enum {
  GROUP = 48, /* rows packed together, at most: whole tiles of every level, and whole panels, that fit the first-level cache */
  PAIRS = CHUNK / 2,
  STRIP = CHUNK * PANEL / 4,                /* elements of scratch for a chunk of 16 vectors in int16 */
  COPY = (int)sizeof(struct columns) / 8    /* and for a copy of columns */
};

static double *whole_lines(double *scratch) { return scratch + (-(uintptr_t)scratch / 8 & 7); }

/* What `grid16` gives for zeros, of which there are as many as a chunk has. */
static int no_row(int16_t *q, double *scale) {
  for (int64_t i = 0; i < CHUNK; i++) q[i] = 0;
  *scale = scale_of(-511);
  return 0;
}

/* panels, scales = b (n, K) float32, of which a row is a column of the product; sizes: K, n, int64. A row of the job is a panel. */
int pack16(const struct job *job) {
  const int64_t *sizes = job->arrays[3];
  int64_t length = sizes[0], n = sizes[1], pairs_each = parts_of(length, 2), panels = parts_of(n, PANEL);
  int16_t *strip = (int16_t *)job->scratch;
  for (int64_t p = job->start; p < job->stop; p++)
    for (int64_t c = 0; c * CHUNK < length; c++) {
      int64_t deep = least(CHUNK, length - c * CHUNK);
      double *scales = (double *)job->arrays[1] + (c * panels + p) * PANEL;
      for (int64_t j = 0; j < PANEL; j++) {
        const float *x = (const float *)job->arrays[2] + (p * PANEL + j) * length + c * CHUNK;
        int problem = p * PANEL + j < n ? grid16(strip + j * CHUNK, &scales[j], x, deep) : no_row(strip + j * CHUNK, &scales[j]);
        if (problem) return problem;
      }
      int16_t *out = (int16_t *)job->arrays[0] + (p * pairs_each + c * PAIRS) * 2 * PANEL;
      transpose_pairs(out, PANEL, strip, PAIRS, PANEL, parts_of(deep, 2));
    }
  return 0;
}

/* The same from b (K, n) float32. */
int pack16_columns(const struct job *job) {
  const int64_t *sizes = job->arrays[3];
  int64_t length = sizes[0], n = sizes[1], pairs_each = parts_of(length, 2), panels = parts_of(n, PANEL);
  struct columns *copy = (struct columns *)whole_lines(job->scratch);
  for (int64_t c = 0; c * CHUNK < length; c++)
    for (int64_t first = job->start; first < job->stop; first += COPIED) {
      int64_t deep = least(CHUNK, length - c * CHUNK), last = least(first + COPIED, job->stop);
      copy_columns(copy, (const float *)job->arrays[2] + c * CHUNK * n + first * PANEL, deep, n,
                   least((last - first) * PANEL, n - first * PANEL));
      for (int64_t p = first; p < last; p++) {
        int16_t *out = (int16_t *)job->arrays[0] + (p * pairs_each + c * PAIRS) * 2 * PANEL;
        int problem = grid16_panel(out, (double *)job->arrays[1] + (c * panels + p) * PANEL, copy, p - first, deep);
        if (problem) return problem;
      }
    }
  return 0;
}

/* A block of packed rows, and what it is multiplied by. */
struct block {
  int64_t rows, capacity, length, n; /* capacity: rows there is memory for */
  int64_t width;                     /* panels worked on together */
  int16_t *a;                        /* (chunks, capacity, CHUNK) */
  double *scales;                    /* (chunks, capacity) */
  double *before;                    /* (rows, width * PANEL): the sums of earlier chunks */
  const int16_t *panels;
  const double *panel_scales;
  const float *bias; /* (n) or null */
  float *out;        /* (rows, n) */
};

static inline __attribute__((always_inline)) void tile(int32_t *restrict out, const int16_t *restrict a, int64_t a_apart,
                                                       const int16_t *restrict b, int64_t apart, int64_t count, int tall, int wide,
                                                       int fused) {
  sums sum[TALL][FEW * PARTS];
#pragma GCC unroll 16
  for (int r = 0; r < tall; r++)
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++) sum[r][v] = no_sums();
  for (int64_t k = 0; k < count; k++) {
    pairs column[FEW * PARTS];
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++)
      column[v] = load_pairs(b + (v / PARTS * apart + k) * 2 * PANEL + v % PARTS * (2 * PANEL / PARTS));
#pragma GCC unroll 16
    for (int r = 0; r < tall; r++) {
      int32_t pair;
      __builtin_memcpy(&pair, a + r * a_apart + 2 * k, sizeof pair);
      pairs row = spread(pair);
#pragma GCC unroll 16
      for (int v = 0; v < wide * PARTS; v++) sum[r][v] = dot(sum[r][v], row, column[v], fused);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < tall; r++)
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++) store_sums(out + (r * wide * PARTS + v) * (PANEL / PARTS), sum[r][v]);
}

/* `tile` for each height and width that there is: wide is 1, WIDE, or that of `width`. */
static inline __attribute__((always_inline)) void any_tile(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b,
                                                           int64_t apart, int64_t count, int tall, int wide, int fused) {
  if (wide == WIDE) {
    if (tall == TALL) return tile(out, a, a_apart, b, apart, count, TALL, WIDE, fused);
    if (tall == 4 && TALL > 4) return tile(out, a, a_apart, b, apart, count, TALL > 4 ? 4 : 1, WIDE, fused);
    if (tall == 2) return tile(out, a, a_apart, b, apart, count, 2, WIDE, fused);
    return tile(out, a, a_apart, b, apart, count, 1, WIDE, fused);
  }
  if (wide == FEW) return tile(out, a, a_apart, b, apart, count, 1, FEW, fused);
  if (wide == FEW / 2) return tile(out, a, a_apart, b, apart, count, 2, FEW / 2, fused);
  if (WIDE == 1) return;
  if (tall == TALL) return tile(out, a, a_apart, b, apart, count, TALL, 1, fused);
  if (tall == 4 && TALL > 4) return tile(out, a, a_apart, b, apart, count, TALL > 4 ? 4 : 1, 1, fused);
  if (tall == 2) return tile(out, a, a_apart, b, apart, count, 2, 1, fused);
  return tile(out, a, a_apart, b, apart, count, 1, 1, fused);
}

static void separate_tiles(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b, int64_t apart, int64_t count,
                           int tall, int wide) {
  any_tile(out, a, a_apart, b, apart, count, tall, wide, 0);
}

static void fused_tiles(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b, int64_t apart, int64_t count, int tall,
                        int wide) {
  any_tile(out, a, a_apart, b, apart, count, tall, wide, 1);
}

/* Whether products and their sum are one instruction: -1 not asked yet, as asking takes a microsecond and more in virtual machines. */
static int is_fused = -1;

/* Return whether this library fuses, from now on only if it is allowed. For tests. */
int64_t fuse16(int64_t allowed) {
  int found = allowed && has_fused();
  __atomic_store_n(&is_fused, found, __ATOMIC_RELAXED);
  return found;
}

tiles *chosen_tiles(void) {
  int found = __atomic_load_n(&is_fused, __ATOMIC_RELAXED);
  return (found < 0 ? fuse16(1) : found) ? fused_tiles : separate_tiles;
}

/* out = x, then + bias where there is one, for as many columns as there are. */
static inline __attribute__((always_inline)) void write_out(float *restrict out, const floats *result, const float *bias,
                                                            int64_t columns) {
  floats x = *result, more;
  if (columns >= PANEL) {
    if (bias) {
      __builtin_memcpy(&more, bias, sizeof more);
      x += more;
    }
    __builtin_memcpy(out, &x, sizeof x);
  } else
    for (int64_t j = 0; j < columns; j++) out[j] = bias ? x[j] + bias[j] : x[j];
}

/* Add a tile's sums, of chunk c, to those before; round those of the last chunk. The first row and panel; how many of each. */
static inline __attribute__((always_inline)) void settle(const struct block *block, const int32_t *restrict sum, int64_t row,
                                                         int64_t rows, int64_t p, int64_t wide, int64_t c, int is_first,
                                                         int is_last) {
  const double *restrict row_scales = block->scales + c * block->capacity + row;
  const double *restrict scales = block->panel_scales + (c * parts_of(block->n, PANEL) + p) * PANEL;
  double *restrict before = block->before + row * block->width * PANEL;
  for (int64_t v = 0; v < wide; v++) {
    int64_t column = (p + v) * PANEL;
    doubles scale;
    __builtin_memcpy(&scale, scales + v * PANEL, sizeof scale);
    for (int64_t r = 0; r < rows; r++) {
      double *kept = before + (r * block->width + v) * PANEL;
      ints exact;
      __builtin_memcpy(&exact, sum + (r * wide + v) * PANEL, sizeof exact);
      doubles x = __builtin_convertvector(exact, doubles) * (scale * row_scales[r]), y;
      if (!is_first) {
        __builtin_memcpy(&y, kept, sizeof y);
        x = y + x;
      }
      if (is_last) {
        floats result = __builtin_convertvector(x, floats) + 0.0f;
        __builtin_prefetch(block->out + (row + r) * block->n + column + PANEL, 1); /* where the next panel is written */
        write_out(block->out + (row + r) * block->n + column, &result, block->bias ? block->bias + column : 0, block->n - column);
      } else
        __builtin_memcpy(kept, &x, sizeof x);
    }
  }
}

static void settle_some(const struct block *block, const int32_t *sum, int64_t row, int64_t rows, int64_t p, int64_t wide,
                        int64_t c) {
  int is_last = (c + 1) * CHUNK >= block->length;
  if (c)
    is_last ? settle(block, sum, row, rows, p, wide, c, 0, 1) : settle(block, sum, row, rows, p, wide, c, 0, 0);
  else
    is_last ? settle(block, sum, row, rows, p, wide, c, 1, 1) : settle(block, sum, row, rows, p, wide, c, 1, 0);
}

/* The product of the block's rows and some panels. */
static void multiply_block(const struct block *block, int64_t first, int64_t last) {
  int32_t sum[(TALL * WIDE > FEW ? TALL * WIDE : FEW) * PANEL];
  int64_t pairs_each = parts_of(block->length, 2), wide;
  tiles *compute = chosen_tiles();
  for (int64_t p = first; p < last; p += wide) {
    wide = last - p >= block->width ? block->width : last - p >= WIDE ? WIDE : 1;
    for (int64_t c = 0; c * CHUNK < block->length; c++) {
      const int16_t *b = block->panels + (p * pairs_each + c * PAIRS) * 2 * PANEL;
      int64_t count = least(PAIRS, pairs_each - c * PAIRS), tall;
      for (int64_t row = 0; row < block->rows; row += tall) {
        tall = height(block->rows - row);
        compute(sum, block->a + (c * block->capacity + row) * CHUNK, CHUNK, b, pairs_each, count, (int)tall, (int)wide);
        settle_some(block, sum, row, least(tall, block->rows - row), p, wide, c);
      }
    }
  }
}

/* Put the rows of the block on grids; a is (rows, K). */
static int pack_rows(const struct block *block, const float *a) {
  for (int64_t r = 0; r < block->rows; r++)
    for (int64_t c = 0; c * CHUNK < block->length; c++) {
      int64_t place = c * block->capacity + r, deep = least(CHUNK, block->length - c * CHUNK);
      int problem = grid16(block->a + place * CHUNK, &block->scales[place], a + r * block->length + c * CHUNK, deep);
      if (problem) return problem;
    }
  return 0;
}

/* The same of a (K, rows), whose rows are so far apart. */
static int pack_columns(const struct block *block, const float *a, int64_t apart, struct columns *copy, int16_t *strip) {
  for (int64_t c = 0; c * CHUNK < block->length; c++)
    for (int64_t r = 0; r < block->rows; r += COPIED * PANEL) {
      int64_t deep = least(CHUNK, block->length - c * CHUNK), last = least(r + COPIED * PANEL, block->rows);
      copy_columns(copy, a + c * CHUNK * apart + r, deep, apart, last - r);
      for (int64_t first = r; first < last; first += PANEL) {
        int64_t place = c * block->capacity + first, count = least(PANEL, last - first);
        double scales[PANEL];
        int problem = grid16_panel(strip, scales, copy, (first - r) / PANEL, deep);
        if (problem) return problem;
        for (int64_t j = 0; j < count; j++) block->scales[place + j] = scales[j];
        transpose_pairs(block->a + place * CHUNK, PAIRS, strip, PANEL, parts_of(deep, 8) * 4, count);
      }
    }
  return 0;
}

/* The most rows of that length that scratch has memory for, in whole groups or tiles if it can be. */
static int64_t capacity_of(int64_t length) {
  int64_t each = parts_of(length, CHUNK) * (CHUNK / 4 + 1) + WIDE * PANEL,
          most = least((SCRATCH - COPY - STRIP - FEW * PANEL - 8) / each, GROUP);
  int64_t whole = most >= GROUP ? GROUP : most >= TALL ? TALL : most >= 4 && TALL > 4 ? 4 : most >= 2 ? 2 : 1;
  return most / whole * whole;
}

/* Rows start to stop of the product, panels first to last. */
static inline __attribute__((always_inline)) int multiply(const struct job *job, const int64_t *sizes, const float *bias,
                                                          int by_columns, int is_few) {
  int64_t m = sizes[0], length = sizes[1], n = sizes[2], panels = parts_of(n, PANEL), chunks = parts_of(length, CHUNK);
  int64_t first = is_few ? 0 : job->start, last = is_few ? m : job->stop, capacity = capacity_of(length);
  if (!capacity) return 2;
  for (int64_t j = 0; bias && j < n; j++)
    if (!is_finite(bias[j])) return 1;
  struct columns *copy = (struct columns *)whole_lines(job->scratch);
  int16_t *strip = (int16_t *)(copy + 1), *a = strip + CHUNK * PANEL;
  double *scales = (double *)(a + chunks * capacity * CHUNK), *before = scales + chunks * capacity;
  struct block block = {0,    capacity, length, n, 0, a, scales, before, job->arrays[bias ? 3 : 2], job->arrays[bias ? 4 : 3],
                        bias, 0};
  for (int64_t row = first; row < last; row += block.rows) {
    block.rows = least(capacity, last - row);
    block.width = block.rows == 1 ? FEW : block.rows == 2 ? FEW / 2 : WIDE;
    block.out = (float *)job->arrays[0] + row * n;
    const float *x = job->arrays[1];
    int problem = by_columns ? pack_columns(&block, x + row, m, copy, strip) : pack_rows(&block, x + row * length);
    if (problem) return problem;
    multiply_block(&block, is_few ? job->start : 0, is_few ? job->stop : panels);
  }
  return 0;
}

/* out (m, n) float32 = a (m, K) float32 times b, packed as panels and scales; sizes: m, K, n, int64. A row of the job is one of out;
 * blocks of rows are best whole GROUPs. */
int multiply16(const struct job *job) { return multiply(job, job->arrays[4], 0, 0, 0); }

/* The same, then + bias (n) float32, which must be finite. */
int multiply16_add(const struct job *job) { return multiply(job, job->arrays[5], job->arrays[2], 0, 0); }

/* The same as multiply16, of a (K, m). */
int multiply16_columns(const struct job *job) { return multiply(job, job->arrays[4], 0, 1, 0); }

/* The same as multiply16 and multiply16_add, but a row of the job is a panel: for few rows of a, which every call packs. */
int multiply16_few(const struct job *job) { return multiply(job, job->arrays[4], 0, 0, 1); }
int multiply16_few_add(const struct job *job) { return multiply(job, job->arrays[5], job->arrays[2], 0, 1); }
