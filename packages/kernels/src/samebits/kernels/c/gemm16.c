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
  COPY = (int)sizeof(struct columns) / 8,   /* and for a copy of columns */
  SLACK = 32                                /* numbers behind each chunk, as packing writes over its end */
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
        int problem =
            p * PANEL + j < n ? grid16(strip + j * CHUNK, &scales[j], x, deep, CHUNK) : no_row(strip + j * CHUNK, &scales[j]);
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
        int problem = grid16_panel(out, (double *)job->arrays[1] + (c * panels + p) * PANEL, copy, p - first, deep, PANEL);
        if (problem) return problem;
      }
    }
  return 0;
}

/* A block of packed rows, and what it is multiplied by. */
struct block {
  int64_t rows, capacity, length, n; /* capacity: rows there is memory for */
  int64_t width;                     /* panels worked on together */
  int is_tall;                       /* whether there are rows for tiles of TALL */
  int is_usual;                      /* whether there is one chunk, and all scales of rows are usual */
  int16_t *a; /* (chunks, capacity, CHUNK), or (chunks, capacity / TALL, PAIRS, TALL, 2) if is_tall; see place_of */
  double *scales; /* (chunks, capacity) */
  double *before; /* (rows, width * PANEL): the sums of earlier chunks */
  const int16_t *panels;
  const double *panel_scales;
  const float *bias; /* (n) or null */
  float *out; /* (rows, n) */
};

/* Where a row of a chunk is in `a`; if is_tall, the first of a tile. */
static inline int16_t *place_of(const struct block *block, int64_t c, int64_t row) {
  return block->a + (c * block->capacity + row) * CHUNK + c * SLACK;
}

/* Add the products of pairs k of `tall` rows and `wide` panels; see `tile`. */
static inline __attribute__((always_inline)) void add_pairs(sums sum[TALL][FEW * PARTS], const int16_t *restrict a, int64_t a_apart,
                                                            int64_t a_step, const int16_t *restrict b, int64_t apart, int64_t k,
                                                            int tall, int wide, int fused) {
  pairs column[FEW * PARTS];
#pragma GCC unroll 16
  for (int v = 0; v < wide * PARTS; v++)
    column[v] = load_pairs(b + (v / PARTS * apart + k) * 2 * PANEL + v % PARTS * (2 * PANEL / PARTS));
#pragma GCC unroll 16
  for (int r = 0; r < tall; r++) {
    int32_t pair;
    __builtin_memcpy(&pair, a + r * a_apart + k * a_step, sizeof pair);
    pairs row = spread(pair);
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++) sum[r][v] = dot(sum[r][v], row, column[v], fused);
  }
}

/* The pairs of a row are a_step numbers apart, and its rows a_apart; both is known where they lie side by side. */
static inline __attribute__((always_inline)) void tile(int32_t *restrict out, const int16_t *restrict a, int64_t a_apart,
                                                       int64_t a_step, const int16_t *restrict b, int64_t apart, int64_t count,
                                                       int tall, int wide, int fused) {
  sums sum[TALL][FEW * PARTS];
#pragma GCC unroll 16
  for (int r = 0; r < tall; r++)
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++) sum[r][v] = no_sums();
  int64_t k = 0;
  for (; a_step > 2 && k + 2 <= count; k += 2) {
    add_pairs(sum, a, a_apart, a_step, b, apart, k, tall, wide, fused);
    add_pairs(sum, a, a_apart, a_step, b, apart, k + 1, tall, wide, fused);
  }
  for (; k < count; k++) add_pairs(sum, a, a_apart, a_step, b, apart, k, tall, wide, fused);
#pragma GCC unroll 16
  for (int r = 0; r < tall; r++)
#pragma GCC unroll 16
    for (int v = 0; v < wide * PARTS; v++) store_sums(out + (r * wide * PARTS + v) * (PANEL / PARTS), sum[r][v]);
}

/* `tile` for each height and width that there is: wide is 1, WIDE, or that of `width`. */
static inline __attribute__((always_inline)) void any_tile(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b,
                                                           int64_t apart, int64_t count, int tall, int wide, int fused) {
  if (wide == WIDE) {
    if (tall == TALL) return tile(out, a, a_apart, 2, b, apart, count, TALL, WIDE, fused);
    if (tall == 4 && TALL > 4) return tile(out, a, a_apart, 2, b, apart, count, TALL > 4 ? 4 : 1, WIDE, fused);
    if (tall == 2) return tile(out, a, a_apart, 2, b, apart, count, 2, WIDE, fused);
    return tile(out, a, a_apart, 2, b, apart, count, 1, WIDE, fused);
  }
  if (wide == FEW) return tile(out, a, a_apart, 2, b, apart, count, 1, FEW, fused);
  if (wide == FEW / 2) return tile(out, a, a_apart, 2, b, apart, count, 2, FEW / 2, fused);
  if (WIDE == 1) return;
  if (tall == TALL) return tile(out, a, a_apart, 2, b, apart, count, TALL, 1, fused);
  if (tall == 4 && TALL > 4) return tile(out, a, a_apart, 2, b, apart, count, TALL > 4 ? 4 : 1, 1, fused);
  if (tall == 2) return tile(out, a, a_apart, 2, b, apart, count, 2, 1, fused);
  return tile(out, a, a_apart, 2, b, apart, count, 1, 1, fused);
}

static void separate_tiles(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b, int64_t apart, int64_t count,
                           int tall, int wide) {
  any_tile(out, a, a_apart, b, apart, count, tall, wide, 0);
}

static void fused_tiles(int32_t *out, const int16_t *a, int64_t a_apart, const int16_t *b, int64_t apart, int64_t count, int tall,
                        int wide) {
  any_tile(out, a, a_apart, b, apart, count, tall, wide, 1);
}

/* sums (TALL, wide * PANEL) int32, wide being WIDE or 1, of TALL rows whose pairs lie side by side: (count, TALL, 2). */
typedef void tall_tiles(int32_t *out, const int16_t *a, const int16_t *b, int64_t apart, int64_t count, int wide);

static void separate_tall_tiles(int32_t *out, const int16_t *a, const int16_t *b, int64_t apart, int64_t count, int wide) {
  if (wide == WIDE) return tile(out, a, 2, 2 * TALL, b, apart, count, TALL, WIDE, 0);
  tile(out, a, 2, 2 * TALL, b, apart, count, TALL, 1, 0);
}

static void fused_tall_tiles(int32_t *out, const int16_t *a, const int16_t *b, int64_t apart, int64_t count, int wide) {
  if (wide == WIDE) return tile(out, a, 2, 2 * TALL, b, apart, count, TALL, WIDE, 1);
  tile(out, a, 2, 2 * TALL, b, apart, count, TALL, 1, 1);
}

/* Whether products and their sum are one instruction: -1 not asked yet, as asking takes a microsecond and more in virtual machines. */
static int is_fused = -1;

/* Return whether this library fuses, from now on only if it is allowed. For tests. */
int64_t fuse16(int64_t allowed) {
  int found = allowed && has_fused();
  __atomic_store_n(&is_fused, found, __ATOMIC_RELAXED);
  return found;
}

int64_t fuses(void) {
  int found = __atomic_load_n(&is_fused, __ATOMIC_RELAXED);
  return found < 0 ? fuse16(1) : found;
}

tiles *chosen_tiles(void) { return fuses() ? fused_tiles : separate_tiles; }

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

/* Whether all of these scales are far from the least and the largest float32. */
static int are_usual(const double *scales, int64_t n) {
  int found = 1;
  for (int64_t i = 0; i < n; i++) found &= scales[i] >= 0x1p-60 && scales[i] <= 0x1p60;
  return found;
}

/* The same as `settle` of the only chunk, in float32: where scales are usual, rounding before scaling gives the same bits. */
static inline __attribute__((always_inline)) void settle_only(const struct block *block, const int32_t *restrict sum, int64_t row,
                                                              int64_t rows, int64_t p, int64_t wide) {
  for (int64_t v = 0; v < wide; v++) {
    int64_t column = (p + v) * PANEL;
    doubles scale;
    __builtin_memcpy(&scale, block->panel_scales + column, sizeof scale);
    floats scales = __builtin_convertvector(scale, floats);
    for (int64_t r = 0; r < rows; r++) {
      ints exact;
      __builtin_memcpy(&exact, sum + (r * wide + v) * PANEL, sizeof exact);
      floats result = __builtin_convertvector(exact, floats) * (scales * (float)block->scales[row + r]) + 0.0f;
      float *out = block->out + (row + r) * block->n + column;
      __builtin_prefetch(out + PANEL, 1); /* where the next panel is written */
      write_out(out, &result, block->bias ? block->bias + column : 0, block->n - column);
    }
  }
}

static void settle_some(const struct block *block, const int32_t *sum, int64_t row, int64_t rows, int64_t p, int64_t wide,
                        int64_t c, int is_usual) {
  int is_last = (c + 1) * CHUNK >= block->length;
  if (is_usual) return settle_only(block, sum, row, rows, p, wide);
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
  tall_tiles *compute_tall = fuses() ? fused_tall_tiles : separate_tall_tiles;
  for (int64_t p = first; p < last; p += wide) {
    wide = last - p >= block->width ? block->width : last - p >= WIDE ? WIDE : 1;
    int is_usual = block->is_usual && are_usual(block->panel_scales + p * PANEL, wide * PANEL);
    for (int64_t c = 0; c * CHUNK < block->length; c++) {
      const int16_t *b = block->panels + (p * pairs_each + c * PAIRS) * 2 * PANEL;
      int64_t count = least(PAIRS, pairs_each - c * PAIRS), tall;
      for (int64_t row = 0; row < block->rows; row += tall) {
        const int16_t *a = place_of(block, c, row);
        tall = block->is_tall ? TALL : height(block->rows - row);
        if (block->is_tall)
          compute_tall(sum, a, b, pairs_each, count, (int)wide);
        else
          compute(sum, a, CHUNK, b, pairs_each, count, (int)tall, (int)wide);
        settle_some(block, sum, row, least(tall, block->rows - row), p, wide, c, is_usual);
      }
    }
  }
}

/* out (count, TALL, 2) = x (TALL, count)^T of pairs, whose rows are CHUNK numbers apart. Up to 3 rows more are read, and up to 3 pairs
 * more are written, here over those that come later: so the last four rows are first. */
static void put_side_by_side(int16_t *restrict out, const int16_t *restrict x, int64_t count) {
  for (int64_t k = 0; k < count; k += 4)
    for (int64_t r = (TALL - 1) / 4 * 4; r >= 0; r -= 4)
      transpose_four(out + 2 * (k * TALL + r), TALL, x + r * CHUNK + 2 * k, PAIRS);
}

/* Put the rows of the block on grids; a is (rows, K). */
static int pack_rows(const struct block *block, const float *a, int16_t *strip) {
  for (int64_t first = 0; first < block->rows; first += TALL) {
    for (int64_t r = 0; r < least(TALL, block->rows - first); r++)
      for (int64_t c = 0; c * CHUNK < block->length; c++) {
        int16_t *q = block->is_tall ? strip + (c * TALL + r) * CHUNK : place_of(block, c, first + r);
        int64_t start = (first + r) * block->length + c * CHUNK, deep = least(CHUNK, block->length - c * CHUNK);
        int problem = grid16(q, &block->scales[c * block->capacity + first + r], a + start, deep, CHUNK);
        if (problem) return problem;
      }
    for (int64_t c = 0; block->is_tall && c * CHUNK < block->length; c++)
      put_side_by_side(place_of(block, c, first), strip + c * TALL * CHUNK, least(PAIRS, parts_of(block->length - c * CHUNK, 2)));
  }
  return 0;
}

/* The same of a (K, rows), whose rows are so far apart. */
static int pack_columns(const struct block *block, const float *a, int64_t apart, struct columns *copy, int16_t *strip) {
  for (int64_t c = 0; c * CHUNK < block->length; c++) {
    int64_t place = c * block->capacity, deep = least(CHUNK, block->length - c * CHUNK), count = parts_of(deep, 2);
    double scales[GROUP];
    copy_columns(copy, a + c * CHUNK * apart, deep, apart, block->rows);
    for (int64_t r = 0; r < block->rows; r += PANEL) {
      int problem = grid16_panel(strip + 2 * r, scales + r, copy, r / PANEL, deep, GROUP);
      if (problem) return problem;
    }
    for (int64_t r = 0; r < block->rows; r++) block->scales[place + r] = scales[r];
    for (int64_t r = 0; block->is_tall && r < block->rows; r += TALL)
      for (int64_t k = 0; k < count; k++)
        __builtin_memcpy(place_of(block, c, r) + k * 2 * TALL, strip + 2 * (k * GROUP + r), 4 * TALL);
    for (int64_t r = 0; !block->is_tall && r < block->rows; r++)
      for (int64_t k = 0; k < count; k++) __builtin_memcpy(place_of(block, c, r) + 2 * k, strip + 2 * (k * GROUP + r), 4);
  }
  return 0;
}

/* Elements of scratch for rows in int16 before they are side by side, or for columns. */
static int64_t strip_of(int64_t length) {
  int64_t chunks = parts_of(length, CHUNK);
  return (TALL * chunks > GROUP ? TALL * chunks : GROUP) * CHUNK / 4;
}

/* The most rows of that length that scratch has memory for, in whole groups or tiles if it can be. */
static int64_t capacity_of(int64_t length) {
  int64_t chunks = parts_of(length, CHUNK), each = chunks * (CHUNK / 4 + 1) + WIDE * PANEL;
  int64_t most = (SCRATCH - COPY - strip_of(length) - FEW * PANEL - 8 - chunks * (SLACK / 4)) / each;
  if (most >= TALL) return most >= GROUP ? GROUP : most / TALL * TALL;
  most = (SCRATCH - COPY - GROUP * CHUNK / 4 - FEW * PANEL - 8 - chunks * (SLACK / 4)) / each;
  return most >= 4 && TALL > 4 ? 4 : most >= 2 ? 2 : most >= 1;
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
  int16_t *strip = (int16_t *)(copy + 1), *a = strip + 4 * (capacity >= TALL ? strip_of(length) : GROUP * CHUNK / 4);
  double *scales = (double *)(a + chunks * (capacity * CHUNK + SLACK)), *before = scales + chunks * capacity;
  struct block block = {.capacity = capacity, .length = length, .n = n, .a = a, .scales = scales, .before = before, .bias = bias};
  block.panels = job->arrays[bias ? 3 : 2];
  block.panel_scales = job->arrays[bias ? 4 : 3];
  for (int64_t row = first; row < last; row += block.rows) {
    block.rows = least(capacity, last - row);
    block.is_tall = block.rows > 4 && capacity >= TALL;
    block.width = block.rows == 1 ? FEW : block.rows == 2 ? FEW / 2 : WIDE;
    block.out = (float *)job->arrays[0] + row * n;
    const float *x = job->arrays[1];
    int problem = by_columns ? pack_columns(&block, x + row, m, copy, strip) : pack_rows(&block, x + row * length, strip);
    if (problem) return problem;
    block.is_usual = chunks == 1 && are_usual(scales, block.rows);
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
