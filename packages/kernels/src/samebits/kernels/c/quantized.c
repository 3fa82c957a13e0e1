/* Products with quantized matrices. NumPy version: core/quantized.py, which has the definition and why it is exact.
 *
 * The blocks of a row of weights lie one after the other, each with the integers and scales of a group of 32 or 16. Of few rows of x,
 * each meets the blocks as they are: eight outputs at a time, whose sums become one vector. Of many, a block of
 * rows meets weights that were unpacked for it, in panels of 16 outputs, by the tiles of gemm16.c.
 */

#include "dot16.h"
#include "gemm16.h"

enum { Q4_0, Q4_1, Q8_0, WIDE_BLOCKS, NARROW_BLOCKS }; /* as quantized._LAYOUTS */
enum { ROWS = 48, EIGHT = 8 };                         /* rows of x at most, whole tiles; outputs of few rows */

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int8_t signed16 __attribute__((vector_size(16)));
typedef uint16_t unsigned_shorts __attribute__((vector_size(32)));
typedef double four __attribute__((vector_size(32)));
typedef float quad_floats __attribute__((vector_size(16)));

/* The 16 bytes at two places. */
static inline __attribute__((always_inline)) shorts two_of(const void *a, const void *b) {
  quad x, y;
  __builtin_memcpy(&x, a, sizeof x);
  __builtin_memcpy(&y, b, sizeof y);
  return (shorts)__builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7);
}

/* The weights; x (m, K), and the scratch that its integers are in. */
struct product {
  int64_t rows, length, outputs, groups; /* m, K, N, and how many groups a row has */
  const uint8_t *blocks;                 /* (N, groups) */
  int16_t *a;                            /* (rows, K): x on its grids */
  double *scales, *sums;                 /* (rows, groups): of a, and the scaled sums of a */
  int32_t *zeros;                        /* (rows, groups): what a sum with Q4_0's unsigned integers has too much */
};

static inline __attribute__((always_inline)) int64_t size_of(int layout) { return layout == NARROW_BLOCKS ? 16 : 32; }

static inline __attribute__((always_inline)) int64_t bytes_of(int layout) {
  return layout == Q4_0 ? 18 : layout == Q4_1 ? 20 : layout == Q8_0 ? 34 : layout == WIDE_BLOCKS ? 40 : 20;
}

/* Where the integers of a block begin. */
static inline __attribute__((always_inline)) int64_t start_of(int layout) {
  return layout == Q4_1 || layout == NARROW_BLOCKS ? 4 : layout == WIDE_BLOCKS ? 8 : 2;
}

static inline __attribute__((always_inline)) int has_offset(int layout) { return layout == Q4_1 || layout == WIDE_BLOCKS; }

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

/* Put all rows on their grids. If they are split, the even numbers of each 16 come before the odd ones. */
static inline __attribute__((always_inline)) int put_on_grids(const struct product *p, const float *x, int layout, int is_split) {
  int64_t n = size_of(layout);
  for (int64_t i = 0; i < p->rows * p->groups; i++) {
    int16_t q[32];
    int32_t sum;
    int problem = grid_of_group(q, &p->scales[i], &sum, x + i * n, n);
    if (problem) return problem;
    p->sums[i] = (double)sum * p->scales[i];
    p->zeros[i] = layout == Q4_0 ? 8 * sum : 0;
    for (int64_t j = 0; j < n; j++) p->a[i * n + j] = q[is_split ? j / 16 * 16 + j % 8 * 2 + j % 16 / 8 : j];
  }
  return 0;
}

/* s and m (groups, count), which lie together, of some outputs; beyond the last output, its own again. count is a multiple of 8. */
static inline __attribute__((always_inline)) void read_scales(const struct product *p, float *restrict s, uint16_t *restrict halves,
                                                              int64_t first, int64_t count, int layout) {
  int64_t all = p->groups * count, step = bytes_of(layout);
  for (int64_t r = 0; r < count; r++) {
    const uint8_t *row = p->blocks + least(first + r, p->outputs - 1) * p->groups * step;
    for (int64_t place = 0; place < p->groups * step; place += 64) __builtin_prefetch(row + count * p->groups * step + place);
    for (int64_t g = 0; g < p->groups; g++)
#pragma GCC unroll 2
      for (int64_t part = 0; part <= has_offset(layout); part++) {
        if (layout < WIDE_BLOCKS)
          __builtin_memcpy(&halves[part * all + g * count + r], row + g * step + 2 * part, 2);
        else
          __builtin_memcpy(&s[part * all + g * count + r], row + g * step + 4 * part, 4);
      }
  }
  for (int64_t i = 0; layout < WIDE_BLOCKS && i < all * (1 + has_offset(layout)); i += 8) widen_halves(s + i, halves + i);
}

/* The integers of a block: q[0] is the first 16, q[1] the others, where there are any. Those of Q4_0 are 8 too large. */
static inline __attribute__((always_inline)) void read_integers(shorts q[2], const uint8_t *block, int layout) {
  block += start_of(layout);
  if (layout == Q4_0 || layout == Q4_1) {
    bytes16 packed;
    __builtin_memcpy(&packed, block, sizeof packed);
    shorts both = __builtin_convertvector(packed, shorts);
    q[0] = both & 15;
    q[1] = both >> 4;
    return;
  }
  for (int half = 0; half < size_of(layout) / 16; half++) {
    signed16 part;
    __builtin_memcpy(&part, block + 16 * half, sizeof part);
    q[half] = __builtin_convertvector(part, shorts);
  }
}

/* The products of one block each of two rows and x, which is split: four sums of each row. */
static inline __attribute__((always_inline)) eight_ints multiply_two(const uint8_t *block, const uint8_t *other, const shorts x[4],
                                                                     int layout) {
  shorts packed = two_of(block + start_of(layout), other + start_of(layout));
  if (layout == Q4_0 || layout == Q4_1) { /* 4 integers in each 16 bits: 2 neighbors, and those 16 later */
    eight_ints sum = multiply_pairs(packed & 15, x[0]) + multiply_pairs((shorts)((unsigned_shorts)packed >> 8) & 15, x[1]);
    sum += multiply_pairs((shorts)((unsigned_shorts)packed >> 4) & 15, x[2]);
    return sum + multiply_pairs((shorts)((unsigned_shorts)packed >> 12), x[3]);
  }
  eight_ints sum = multiply_pairs(packed << 8 >> 8, x[0]) + multiply_pairs(packed >> 8, x[1]);
  if (size_of(layout) == 16) return sum;
  packed = two_of(block + start_of(layout) + 16, other + start_of(layout) + 16);
  return sum + multiply_pairs(packed << 8 >> 8, x[2]) + multiply_pairs(packed >> 8, x[3]);
}

/* The sums of rows 0 to 3 and, in the upper halves, 4 to 7. */
static inline __attribute__((always_inline)) eight_ints sums_of(const eight_ints v[4]) {
  eight_ints two[2];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
    two[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13) +
             __builtin_shufflevector(v[2 * i], v[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  return __builtin_shufflevector(two[0], two[1], 0, 1, 8, 9, 4, 5, 12, 13) +
         __builtin_shufflevector(two[0], two[1], 2, 3, 10, 11, 6, 7, 14, 15);
}

/* out (count), of row i of x and the outputs from `first` on, at most eight, with their scales s and m (groups, EIGHT). */
static inline __attribute__((always_inline)) void multiply_eight(const struct product *p, float *out, int64_t i, int64_t first,
                                                                 const float *restrict s, const float *restrict m, int layout) {
  const uint8_t *rows[EIGHT];
  const int16_t *a = p->a + i * p->length;
  four total[2] = {{0}, {0}};
  for (int r = 0; r < EIGHT; r++) rows[r] = p->blocks + least(first + r, p->outputs - 1) * p->groups * bytes_of(layout);
  for (int64_t g = 0; g < p->groups; g++) {
    int64_t place = g * bytes_of(layout);
    shorts x[4];
    eight_ints v[4];
#pragma GCC unroll 4
    for (int part = 0; part < size_of(layout) / 8; part++) {
      const uint8_t *from = (const uint8_t *)(a + g * size_of(layout) + 8 * part);
      x[part] = two_of(from, from);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) v[r] = multiply_two(rows[r] + place, rows[r + 4] + place, x, layout);
    eight_ints sum = sums_of(v);
    if (layout == Q4_0) sum -= p->zeros[i * p->groups + g];
    double scale = p->scales[i * p->groups + g], whole = p->sums[i * p->groups + g];
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      quad part;
      quad_floats of_output;
      __builtin_memcpy(&part, (int32_t *)&sum + 4 * half, sizeof part);
      __builtin_memcpy(&of_output, s + g * EIGHT + 4 * half, sizeof of_output);
      four term = __builtin_convertvector(part, four) * (__builtin_convertvector(of_output, four) * scale);
      if (has_offset(layout)) {
        __builtin_memcpy(&of_output, m + g * EIGHT + 4 * half, sizeof of_output);
        term = term + __builtin_convertvector(of_output, four) * whole;
      }
      total[half] = total[half] + term;
    }
  }
  quad_floats found[2];
  for (int half = 0; half < 2; half++) found[half] = __builtin_convertvector(total[half], quad_floats) + 0.0f;
  if (p->outputs - first >= EIGHT)
    __builtin_memcpy(out + first, found, sizeof found);
  else
    for (int64_t r = 0; r < p->outputs - first; r++) out[first + r] = found[r / 4][r % 4];
}

/* Outputs start to stop of all rows. */
static inline __attribute__((always_inline)) int multiply_few(struct product *p, const struct job *job, int layout) {
  p->groups = p->length / size_of(layout);
  float *s = (float *)job->scratch, *m = s + EIGHT * p->groups;
  uint16_t *halves = (uint16_t *)(m + EIGHT * p->groups);
  p->scales = job->scratch + 2 * EIGHT * p->groups;
  p->sums = p->scales + p->rows * p->groups;
  p->zeros = (int32_t *)(p->sums + p->rows * p->groups);
  p->a = (int16_t *)(p->zeros + p->rows * p->groups);
  if (p->groups * (2 * EIGHT + 3 * p->rows) + p->rows * p->length / 4 > MEMORY - 1) return 2;
  int problem = put_on_grids(p, job->arrays[1], layout, 1);
  if (problem) return problem;
  for (int64_t first = job->start; first < job->stop; first += EIGHT) {
    read_scales(p, s, halves, first, EIGHT, layout);
    for (int64_t i = 0; i < p->rows; i++) multiply_eight(p, (float *)job->arrays[0] + i * p->outputs, i, first, s, m, layout);
  }
  return 0;
}

/* out (K / 2, PANEL, 2) int16: the integers of 16 outputs. */
static inline __attribute__((always_inline)) void unpack(const struct product *p, int16_t *out, int64_t first, int layout) {
  int16_t strip[PANEL * 32];
  int64_t n = size_of(layout);
  for (int64_t g = 0; g < p->groups; g++) {
    for (int64_t r = 0; r < PANEL; r++) {
      shorts q[2];
      read_integers(q, p->blocks + (least(first + r, p->outputs - 1) * p->groups + g) * bytes_of(layout), layout);
      for (int64_t part = 0; part < n / 16; part++) {
        if (layout == Q4_0) q[part] -= 8;
        __builtin_memcpy(strip + r * n + 16 * part, &q[part], sizeof q[part]);
      }
    }
    transpose_pairs(out + g * n * PANEL, PANEL, strip, n / 2, PANEL, n / 2);
  }
}

/* Add a group's terms of a tile: total (tall, PANEL) += sum (tall, PANEL) times the scales, and the offsets. */
static inline __attribute__((always_inline)) void add_terms_of(const struct product *p, doubles *restrict total,
                                                               const int32_t *restrict sum, int64_t row, int64_t rows, int64_t wide,
                                                               int64_t g, const float *restrict s, int layout) {
  for (int64_t v = 0; v < wide; v++) {
    floats of_output;
    __builtin_memcpy(&of_output, s + (2 * v * p->groups + g) * PANEL, sizeof of_output);
    doubles scale = __builtin_convertvector(of_output, doubles), offset = {0};
    if (has_offset(layout)) {
      __builtin_memcpy(&of_output, s + ((2 * v + 1) * p->groups + g) * PANEL, sizeof of_output);
      offset = __builtin_convertvector(of_output, doubles);
    }
    for (int64_t r = 0; r < rows; r++) {
      ints exact;
      __builtin_memcpy(&exact, sum + (r * wide + v) * PANEL, sizeof exact);
      doubles term = __builtin_convertvector(exact, doubles) * (scale * p->scales[(row + r) * p->groups + g]);
      if (has_offset(layout)) term = term + offset * p->sums[(row + r) * p->groups + g];
      total[r * wide + v] = total[r * wide + v] + term;
    }
  }
}

/* Rows start to stop of all outputs. */
static inline __attribute__((always_inline)) int multiply_many(struct product *p, const struct job *job, int layout) {
  int64_t n = size_of(layout), groups = p->groups = p->length / n, panels = parts_of(p->outputs, PANEL);
  tiles *compute = chosen_tiles();
  doubles *total = (doubles *)(job->scratch + (-(uintptr_t)job->scratch / 8 & 15));
  float *s = (float *)(total + TALL * WIDE); /* (wide, 2, groups, PANEL) */
  int16_t *b = (int16_t *)(s + 2 * WIDE * PANEL * groups);
  int32_t *sum = (int32_t *)(b + WIDE * PANEL * p->length);
  uint16_t *halves = (uint16_t *)(sum + TALL * WIDE * PANEL);
  int64_t used = 16 + TALL * WIDE * PANEL / 2 * 3 + WIDE * PANEL * (groups + p->length / 4) + PANEL * groups;
  int64_t capacity = least(ROWS, (MEMORY - used) / (3 * groups + p->length / 4)) / TALL * TALL;
  if (MEMORY < used || !capacity) return 2;
  p->scales = job->scratch + used;
  p->sums = p->scales + capacity * groups;
  p->zeros = (int32_t *)(p->sums + capacity * groups);
  p->a = (int16_t *)(p->sums + 2 * capacity * groups);
  for (int64_t start = job->start; start < job->stop; start += capacity) {
    p->rows = least(capacity, job->stop - start);
    int problem = put_on_grids(p, (const float *)job->arrays[1] + start * p->length, layout, 0);
    if (problem) return problem;
    for (int64_t panel = 0, wide; panel < panels; panel += wide) {
      wide = least(WIDE, panels - panel);
      for (int64_t v = 0; v < wide; v++) {
        read_scales(p, s + 2 * v * PANEL * groups, halves, (panel + v) * PANEL, PANEL, layout);
        unpack(p, b + v * PANEL * p->length, (panel + v) * PANEL, layout);
      }
      for (int64_t row = 0, tall; row < p->rows; row += tall) {
        tall = height(p->rows - row);
        int64_t rows = least(tall, p->rows - row);
        for (int64_t i = 0; i < rows * wide; i++) total[i] = (doubles){0};
        for (int64_t g = 0; g < groups; g++) {
          compute(sum, p->a + row * p->length + g * n, p->length, b + g * n * PANEL, p->length / 2, n / 2, (int)tall, (int)wide);
          add_terms_of(p, total, sum, row, rows, wide, g, s, layout);
        }
        for (int64_t r = 0; r < rows; r++)
          for (int64_t v = 0; v < wide; v++) {
            floats result = __builtin_convertvector(total[r * wide + v], floats) + 0.0f;
            int64_t column = (panel + v) * PANEL;
            float *out = (float *)job->arrays[0] + (start + row + r) * p->outputs + column;
            if (p->outputs - column >= PANEL)
              __builtin_memcpy(out, &result, sizeof result);
            else
              for (int64_t j = 0; j < p->outputs - column; j++) out[j] = result[j];
          }
      }
    }
  }
  return 0;
}

/* `multiply_few` or `multiply_many`, for the layout that the sizes name. */
static inline __attribute__((always_inline)) int any_layout(const struct job *job, int is_few) {
  const int64_t *sizes = job->arrays[3];
  struct product p = {.rows = sizes[0], .length = sizes[1], .outputs = sizes[2], .blocks = job->arrays[2]};
  switch (sizes[3]) {
    case Q4_0:
      return is_few ? multiply_few(&p, job, Q4_0) : multiply_many(&p, job, Q4_0);
    case Q4_1:
      return is_few ? multiply_few(&p, job, Q4_1) : multiply_many(&p, job, Q4_1);
    case Q8_0:
      return is_few ? multiply_few(&p, job, Q8_0) : multiply_many(&p, job, Q8_0);
    case WIDE_BLOCKS:
      return is_few ? multiply_few(&p, job, WIDE_BLOCKS) : multiply_many(&p, job, WIDE_BLOCKS);
    default:
      return is_few ? multiply_few(&p, job, NARROW_BLOCKS) : multiply_many(&p, job, NARROW_BLOCKS);
  }
}

/* out (m, N) = x (m, K) float32 times blocks (N, bytes); sizes: m, K, N and the number of the layout, int64. A row of the job is a row
 * of x, best whole ROWS. NumPy version: quantized._multiply */
int multiply_quantized(const struct job *job) { return any_layout(job, 0); }

/* The same, but a row of the job is an output, whole EIGHTs but for the last: for few rows of x, which every call puts on their grids. */
int multiply_quantized_few(const struct job *job) { return any_layout(job, 1); }
