/* Attention with products of 16-bit integers; all else is float32. NumPy versions: core/attention16.py, which has the definition.
 *
 * Keys and values of a group of heads are packed as right operands (gemm16.h): keys in panels of 16 keys, pairs along the channels;
 * values in panels of 16 channels, pairs along the keys. A cache keeps them so. Queries are worked on in blocks of rows.
 */

#include "dot16.h"
#include "elementary.h"
#include "gemm16.h"

enum {
  ROWS = 64,                            /* queries of a block; in the backward pass part of the definition */
  TALLEST = ROWS + TALL,                /* rows that tiles may read */
  WIDEST = TALL * WIDE > FEW ? TALL * WIDE : FEW,
  NOTHING = -511, /* the exponent of zeros */
  SPAN = 64,      /* keys whose weights have a grid together */
  MOST_SPANS = 256
};

static const float NO_WEIGHT = -60.0f, LARGEST = 0x1p96f, MINUS_INFINITY = -__builtin_inff();
/* e^r = 1 + r + r^2 (a polynomial in r), |r| <= log(2) / 2 */
static const float POWER[4] = {0.008357246406376362f, 0.04183413088321686f, 0.16666631400585175f, 0.49999746680259705f};

/* e^x for x up to about 1, to 5e-7; 0 below -60. NumPy version: attention16.power */
static inline __attribute__((always_inline)) floats power16(floats x) {
  floats t = x * 1.4426950216293335f + ROUND, n = t - ROUND;
  floats r = (x - n * 0.693359375f) - n * -0.00021219444170128554f;
  floats y = ((POWER[0] * r + POWER[1]) * r + POWER[2]) * r + POWER[3];
  words bits = (words)(y * (r * r) + r + 1.0f) + ((words)t << 23);
  return (floats)(bits & ~(words)(x < NO_WEIGHT));
}

static inline floats load(const float *x) {
  floats row;
  __builtin_memcpy(&row, x, sizeof row);
  return row;
}
static inline void store(float *x, floats row) { __builtin_memcpy(x, &row, sizeof row); }

/* x (PANEL, PANEL) = x^T. Each round interleaves rows i and i + PANEL / 2, which moves the highest bit of the row's number to the end of
 * the place in the row; after four rounds they have changed places. */
static inline void transpose(floats x[PANEL]) {
  floats y[PANEL];
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < PANEL / 2; i++) {
      floats a = x[i], b = x[i + PANEL / 2];
      y[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      y[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < PANEL; i++) x[i] = y[i];
  }
}

static inline floats larger(floats a, floats b) {
  words is_larger = (words)(a > b);
  return (floats)(((words)a & is_larger) | ((words)b & ~is_larger));
}

/* Lane j and j + 8, then j and j + 4, and so on: x becomes of each pair what `combine` makes of it. */
#define HALVE(combine, x)                                                                                    \
  x = combine(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)); \
  x = combine(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));             \
  x = combine(x, __builtin_shufflevector(x, x, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));             \
  x = combine(x, __builtin_shufflevector(x, x, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))

static inline floats sum_of(floats a, floats b) { return a + b; }

static inline float lanes_sum(floats x) {
  HALVE(sum_of, x);
  return x[0];
}

static inline float greatest_lane(floats x) {
  HALVE(larger, x);
  return x[0];
}

/* All bits of the lanes that are kept, of which there are so many. */
static inline words kept_lanes(const uint8_t *keep, int64_t left) {
  typedef uint8_t bytes __attribute__((vector_size(PANEL)));
  bytes kept = {0};
  if (left >= PANEL)
    __builtin_memcpy(&kept, keep, sizeof kept);
  else
    for (int64_t i = 0; i < left; i++) kept[i] = keep[i];
  return 0 - __builtin_convertvector(kept, words);
}

static inline floats product_scale(floats a, float b) {
  floats x = a * b;
  words large = (words)(x > LARGEST);
  return (floats)(((words)x & ~large) | ((words)((floats){0} + LARGEST) & large));
}

/* What a kernel is asked for. */
struct shape {
  int64_t heads, time, width, groups, keys;
};

static struct shape read_shape(const int64_t *sizes) { return (struct shape){sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]}; }
static inline int64_t up_to_even(int64_t n) { return n + n % 2; }
static inline int64_t whole(int64_t n) { return parts_of(n, PANEL) * PANEL; }

/* Memory that has not been given away yet. */
struct memory {
  char *at, *end;
};

static void *take(struct memory *memory, int64_t bytes) {
  char *at = memory->at;
  memory->at += (bytes + 63) / 64 * 64;
  return at;
}

static struct memory scratch_of(const struct job *job) {
  char *start = (char *)job->scratch;
  return (struct memory){start + (-(uintptr_t)start & 63), start + MEMORY * sizeof(double)};
}

/* Keys and values of one (B, G). */
struct context {
  int16_t *k, *v;              /* panels */
  double *k_scales, *v_scales; /* of all keys, 2^(e - 15) */
  int64_t pairs_each;          /* of a panel of values */
};

/* Put row x (width) at its place in the panels. */
static int put_key(const struct context *to, const float *x, int64_t at, int64_t width) {
  int16_t row[CHUNK];
  int problem = grid16(row, &to->k_scales[at], x, width, CHUNK);
  int64_t pairs_deep = parts_of(width, 2);
  int16_t *out = to->k + (at / PANEL * pairs_deep * PANEL + at % PANEL) * 2;
  for (int64_t i = 0; i < pairs_deep; i++) __builtin_memcpy(out + i * 2 * PANEL, row + 2 * i, 4);
  return problem;
}

static int put_value(const struct context *to, const float *x, int64_t at, int64_t width) {
  int16_t row[CHUNK];
  int problem = grid16(row, &to->v_scales[at], x, width, CHUNK);
  for (int64_t i = 0; i < width; i++) to->v[((i / PANEL * to->pairs_each + at / 2) * PANEL + i % PANEL) * 2 + at % 2] = row[i];
  return problem;
}

/* panels of rows of x (n, width), so far apart, which are the columns of a right operand; those beyond n are zeros. */
static int pack_rows16(int16_t *panels, double *scales, const float *x, int64_t apart, int64_t n, int64_t width, int16_t *strip) {
  int64_t deep = parts_of(width, 2);
  for (int64_t i = 0; i < whole(n); i++) {
    int16_t *row = strip + i % PANEL * up_to_even(width);
    scales[i] = 0.0;
    if (i < n) {
      int problem = grid16(row, &scales[i], x + i * apart, width, AHEAD * apart);
      if (problem) return problem;
    } else
      for (int64_t j = 0; j < 2 * deep; j++) row[j] = 0;
    if (i % PANEL == PANEL - 1) transpose_pairs(panels + i / PANEL * deep * 2 * PANEL, PANEL, strip, deep, PANEL, deep);
  }
  return 0;
}

/* panels of x (n, width), whose rows are gridded each by itself, as a right operand (K = n, width). */
static int pack_values16(const struct context *to, const float *x, int64_t apart, int64_t n, int64_t width, int16_t *strip) {
  int64_t wide = whole(width);
  for (int64_t i = 0; i < 2 * wide; i++) strip[i] = 0;
  for (int64_t i = 0; i < up_to_even(n); i += 2) {
    for (int64_t j = i; j < i + 2; j++) {
      int16_t *row = strip + j % 2 * wide;
      if (j < n) {
        int problem = grid16(row, &to->v_scales[j], x + j * apart, width, AHEAD * apart);
        if (problem) return problem;
        if (width % 2 && width < wide) row[width] = 0;
      } else
        for (int64_t l = 0; l < width; l++) row[l] = 0;
    }
    for (int64_t p = 0; p < wide / PANEL; p++) {
      int16_t *out = to->v + (p * to->pairs_each + i / 2) * 2 * PANEL;
      words low, high;
      for (int j = 0; j < PANEL; j++) low[j] = (uint16_t)strip[p * PANEL + j];
      for (int j = 0; j < PANEL; j++) high[j] = (uint16_t)strip[wide + p * PANEL + j];
      low |= high << 16;
      __builtin_memcpy(out, &low, sizeof low);
    }
  }
  return 0;
}

/* What rows see: row t sees the keys up to `first + t`, at most all. */
static inline int64_t seen_by(int64_t first, int64_t t, int64_t keys) { return least(first + t + 1, keys); }

/* How many panels a tile of so many rows takes, of those left. */
static inline int breadth(int tall, int64_t left) {
  int most = tall == 1 ? FEW : tall == 2 ? FEW / 2 : WIDE;
  return left >= most ? most : left >= WIDE ? WIDE : 1;
}

/* out (rows, out_apart) float32 = rows of a times keys, with scales, for the keys that the rows see, whole panels. */
static __attribute__((noinline)) void scores16(float *out, int64_t out_apart, const int16_t *a, const float *row_scales,
                                               int64_t rows, const int16_t *panels, const float *scales, int64_t first,
                                               struct shape shape) {
  int64_t pairs_deep = parts_of(shape.width, 2), tall, wide;
  int32_t sum[WIDEST * PANEL];
  tiles *compute = chosen_tiles();
  for (int64_t r = 0; r < rows; r += tall) {
    tall = height(rows - r);
    int64_t last = least(r + tall, rows), end = parts_of(seen_by(first, last - 1, shape.keys), PANEL);
    for (int64_t p = 0; p < end; p += wide) {
      wide = breadth((int)tall, end - p);
      compute(sum, a + r * 2 * pairs_deep, 2 * pairs_deep, panels + p * pairs_deep * 2 * PANEL, pairs_deep, pairs_deep, (int)tall,
              (int)wide);
      for (int64_t j = r; j < last; j++)
        for (int64_t v = 0; v < wide; v++) {
          ints exact;
          __builtin_memcpy(&exact, sum + ((j - r) * wide + v) * PANEL, sizeof exact);
          store(out + j * out_apart + (p + v) * PANEL,
                __builtin_convertvector(exact, floats) * product_scale(load(scales + (p + v) * PANEL), row_scales[j]));
        }
    }
  }
}

/* The queries of a block times 1 / sqrt(width): rows (rows, width) float32. */
static void scale_rows(float *rows, const float *q, int64_t apart, int64_t count, int64_t width) {
  float scale = (float)(1.0 / __builtin_sqrt((double)width));
  for (int64_t r = 0; r < count; r++)
    for (int64_t i = 0; i < width; i++) rows[r * width + i] = q[r * apart + i] * scale;
}

/* Rows as left operands: a (count, even width), scales float32. */
static int grid_rows16(int16_t *a, float *scales, const float *rows, int64_t apart, int64_t count, int64_t width) {
  for (int64_t r = 0; r < count; r++) {
    double scale;
    int problem = grid16(a + r * up_to_even(width), &scale, rows + r * apart, width, AHEAD * apart);
    if (problem) return problem;
    scales[r] = (float)scale;
  }
  return 0;
}

/* The values that weights are multiplied with, in each span of keys. */
struct sizes16 {
  float *relative;  /* (keys) 2^(e - the largest of the span) */
  int16_t *peaks;   /* (keys) the largest e of the span so far */
  int16_t *largest; /* (spans) */
};

static inline int64_t exponent_of(double scale) { return scale == 0.0 ? NOTHING : (word(scale) >> 52) - 1023 + BITS; }

/* 2 where exponents are so far apart that the steps would underflow. */
static int size_values(const struct sizes16 *to, const double *scales, int64_t keys) {
  for (int64_t start = 0; start < keys; start += SPAN) {
    int64_t stop = least(start + SPAN, keys), top = NOTHING, bottom = -NOTHING;
    for (int64_t j = start; j < stop; j++) {
      int64_t e = exponent_of(scales[j]);
      top = e > top ? e : top;
      if (e != NOTHING && e < bottom) bottom = e;
      to->peaks[j] = (int16_t)top;
    }
    if (bottom < top - 100) return 2;
    to->largest[start / SPAN] = (int16_t)top;
    for (int64_t j = start; j < stop; j++) {
      int64_t e = exponent_of(scales[j]);
      to->relative[j] = e == NOTHING ? 0.0f : number32((uint32_t)(e - top + 127) << 23);
    }
    for (int64_t j = stop; j < whole(stop); j++) to->relative[j] = 0.0f;
  }
  return 0;
}

/* What a row's weights are divided by, and what they are relative to. */
struct totals16 {
  float total[ROWS], top[ROWS];
  float tops[MOST_SPANS], totals[MOST_SPANS]; /* of one row, for each span */
};

/* x (padded) int16 = the weights of row i of scores on their grids; units (spans) are what one is worth and factors (spans) the weights of
 * the spans. Zeros from `seen` on. The scores are overwritten. */
static __attribute__((noinline)) void weigh16(struct totals16 *to, int64_t i, int16_t *restrict x, double *restrict units,
                                              float *restrict factors, float *restrict s, int64_t seen, int64_t padded,
                                              const struct sizes16 *sizes, const uint8_t *keep) {
  float *tops = to->tops, *totals = to->totals, top = MINUS_INFINITY, total = 0.0f;
  int64_t spans = parts_of(seen, SPAN);
  for (int64_t j = seen; j < whole(seen); j++) s[j] = MINUS_INFINITY;
  for (int64_t c = 0; c < spans; c++) {
    int64_t start = c * SPAN, stop = least(start + SPAN, seen);
    floats most = load(s + start), sum = {0};
    for (int64_t j = start + PANEL; j < stop; j += PANEL) most = larger(load(s + j), most);
    tops[c] = greatest_lane(most);
    for (int64_t j = start; j < stop; j += PANEL) {
      floats w = power16(load(s + j) - tops[c]);
      sum += w;
      store(s + j, w);
    }
    totals[c] = lanes_sum(sum);
    top = tops[c] > top ? tops[c] : top;
    int64_t peak = sizes->peaks[stop - 1];
    int64_t b = (int64_t)(word32(totals[c] * (1.0f + 0x1p-9f)) >> 23) - 126; /* the sum is below 2^b */
    float unit = peak == NOTHING ? 0.0f : number32((uint32_t)(sizes->largest[c] - peak + BITS - b + 127) << 23);
    for (int64_t j = start; j < stop; j += PANEL) {
      words bits = (words)(load(s + j) * load(sizes->relative + j) * unit + ROUND) & 0xffff;
      if (keep) bits &= kept_lanes(keep + j, seen - j);
      typedef uint16_t halves __attribute__((vector_size(2 * PANEL)));
      halves low = __builtin_convertvector(bits, halves);
      __builtin_memcpy(x + j, &low, sizeof low);
    }
    units[c] = number((peak + b - 2 * BITS + 1023) << 52);
  }
  for (int64_t c = spans; c < whole(spans); c++) tops[c] = top;
  for (int64_t c = 0; spans > 1 && c < spans; c += PANEL) store(tops + c, power16(load(tops + c) - top));
  if (spans == 1) tops[0] = 1.0f;
  for (int64_t c = 0; c < spans; c++) total += totals[c] * (factors[c] = tops[c]);
  to->total[i] = total;
  to->top[i] = top;
  for (int64_t j = whole(seen); j < padded; j++) x[j] = 0;
  for (int64_t c = spans; c * SPAN < padded; c++) factors[c] = units[c] = 0.0;
}

/* Rows of integers, one for each key, and what they are multiplied with: panels of channels. */
struct mix16 {
  const int16_t *x; /* (rows, x_apart) */
  int64_t x_apart;
  const float *scales; /* (rows, chunks) */
  int64_t chunks;
  const int16_t *panels;
  int64_t pairs_each;
  const float *column_scales; /* (chunks, panels, PANEL), or null: all are 1 */
  float factor;               /* of the result */
};

/* out (rows, out_apart) float32 = the product, whose sums are cut into chunks. */
static inline __attribute__((always_inline)) void mix(float *out, int64_t out_apart, const struct mix16 *at, int64_t chunk,
                                                      int64_t rows, int64_t first, struct shape shape) {
  int32_t sum[WIDEST * PANEL];
  floats total[WIDEST];
  int64_t panels = parts_of(shape.width, PANEL), tall, wide;
  tiles *compute = chosen_tiles();
  for (int64_t r = 0; r < rows; r += tall) {
    tall = height(rows - r);
    int64_t last = least(r + tall, rows), keys = seen_by(first, last - 1, shape.keys);
    for (int64_t p = 0; p < panels; p += wide) {
      wide = breadth((int)tall, panels - p);
      for (int64_t c = 0; c * chunk < keys; c++) {
        compute(sum, at->x + r * at->x_apart + c * chunk, at->x_apart,
                at->panels + (p * at->pairs_each + c * chunk / 2) * 2 * PANEL, at->pairs_each,
                parts_of(least(chunk, keys - c * chunk), 2), (int)tall, (int)wide);
        for (int64_t i = 0; i < (last - r) * wide; i++) {
          ints exact;
          __builtin_memcpy(&exact, sum + i * PANEL, sizeof exact);
          float scale = at->scales[(r + i / wide) * at->chunks + c];
          floats term = __builtin_convertvector(exact, floats);
          term *= at->column_scales ? product_scale(load(at->column_scales + (c * panels + p + i % wide) * PANEL), scale)
                                    : (floats){0} + scale;
          total[i] = c ? total[i] + term : term;
        }
      }
      for (int64_t i = 0; i < (last - r) * wide; i++) {
        float *to = out + (r + i / wide) * out_apart + (p + i % wide) * PANEL;
        floats result = total[i] * at->factor + 0.0f;
        if ((p + i % wide + 1) * PANEL <= shape.width)
          store(to, result);
        else
          for (int64_t j = 0; j < shape.width % PANEL; j++) to[j] = result[j];
      }
    }
  }
}

static __attribute__((noinline)) void mix_spans(float *out, int64_t out_apart, const struct mix16 *at, int64_t rows, int64_t first,
                                                struct shape shape) {
  mix(out, out_apart, at, SPAN, rows, first, shape);
}

static __attribute__((noinline)) void mix_chunks(float *out, int64_t out_apart, const struct mix16 *at, int64_t rows, int64_t first,
                                                 struct shape shape) {
  mix(out, out_apart, at, CHUNK, rows, first, shape);
}

/* All heads of one (B, G): its sequence is `b`, its first head `head`. */
static __attribute__((noinline)) int forward16(float *out, double *logs, const float *q, const struct context *seen, int64_t first,
                                               const uint8_t *keep, float rest, struct memory memory, struct shape shape) {
  int64_t width = shape.width, padded = whole(shape.keys), spans = parts_of(shape.keys, SPAN), apart = shape.heads * width;
  struct sizes16 sizes = {take(&memory, padded * 4), take(&memory, padded * 2), take(&memory, spans * 2)};
  float *rows = take(&memory, ROWS * width * 4), *row_scales = take(&memory, ROWS * 4), *k_scales = take(&memory, padded * 4),
        *x_scales = take(&memory, ROWS * spans * 4), *s = take(&memory, ROWS * padded * 4);
  int16_t *a = take(&memory, TALLEST * up_to_even(width) * 2), *x = take(&memory, TALLEST * padded * 2);
  double *units = take(&memory, ROWS * spans * 8);
  struct totals16 *totals = take(&memory, sizeof *totals);
  if (memory.at > memory.end || spans > MOST_SPANS || width > CHUNK) return 2;
  int problem = size_values(&sizes, seen->v_scales, shape.keys);
  if (problem) return problem;
  for (int64_t j = 0; j < padded; j++) k_scales[j] = j < shape.keys ? (float)seen->k_scales[j] : 0.0f;
  for (int64_t r = 0; r < shape.heads / shape.groups; r++)
    for (int64_t t = 0; t < shape.time; t += ROWS) {
      int64_t count = least(ROWS, shape.time - t), most = whole(seen_by(first + t, count - 1, shape.keys));
      scale_rows(rows, q + t * apart + r * width, apart, count, width);
      problem = grid_rows16(a, row_scales, rows, width, count, width);
      if (problem) return problem;
      scores16(s, padded, a, row_scales, count, seen->k, k_scales, first + t, shape);
      for (int64_t i = 0; i < count; i++)
        weigh16(totals, i, x + i * padded, units + i * spans, x_scales + i * spans, s + i * padded,
                seen_by(first + t, i, shape.keys), most, &sizes, keep ? keep + (r * shape.time + t + i) * shape.keys : 0);
      for (int64_t i = 0; i < count; i++) {
        float inverse = 1.0f / (totals->total[i] * rest);
        for (int64_t c = 0; c * SPAN < most; c++)
          x_scales[i * spans + c] = (float)((double)(x_scales[i * spans + c] * inverse) * units[i * spans + c]);
      }
      for (int64_t i = 0; logs && i < count; i++)
        logs[r * shape.time + t + i] = (double)totals->top[i] + log_((double)totals->total[i]);
      struct mix16 values = {x, padded, x_scales, spans, seen->v, seen->pairs_each, 0, 1.0f};
      mix_spans(out + t * apart + r * width, apart, &values, count, first + t, shape);
    }
  return 0;
}

/* out (B, T, H, D) and logs (B, H, T), the log-sum-exp of every row's scores, of q (B, T, H, D), k and v (B, S, G, D) float32, finite;
 * query t of sequence b sees the keys up to offset (B) int64 [b] + t; sizes: H, T, D, G, S int64. keep: (B, H, T, S) bool, the weights
 * that are not dropped, or null; the others are divided by rest (1) float32. A row of the job is one of (B, G). */
static inline int attention(const struct job *job, const int64_t *offset, const int64_t *sizes, const uint8_t *keep, float rest) {
  struct shape shape = read_shape(sizes);
  int64_t each = shape.heads / shape.groups, apart = shape.groups * shape.width, panels = parts_of(shape.width, PANEL);
  for (int64_t row = job->start; row < job->stop; row++) {
    int64_t b = row / shape.groups, head = row % shape.groups * each, first = offset[b];
    struct memory memory = scratch_of(job);
    int16_t *strip = take(&memory, 2 * PANEL * (CHUNK + 2));
    int64_t deep = parts_of(shape.width, 2), padded = whole(shape.keys);
    struct context seen = {take(&memory, padded * deep * 4), take(&memory, panels * padded * PANEL * 2), take(&memory, padded * 8),
                           take(&memory, padded * 8), padded / 2};
    if (memory.at > memory.end || shape.width > CHUNK) return 2;
    int64_t from = (b * shape.keys * shape.groups + row % shape.groups) * shape.width;
    int problem = pack_rows16(seen.k, seen.k_scales, (const float *)job->arrays[3] + from, apart, shape.keys, shape.width, strip);
    if (!problem) problem = pack_values16(&seen, (const float *)job->arrays[4] + from, apart, shape.keys, shape.width, strip);
    int64_t place = (b * shape.time * shape.heads + head) * shape.width, rows = (b * shape.heads + head) * shape.time;
    if (!problem)
      problem = forward16((float *)job->arrays[0] + place, (double *)job->arrays[1] + rows, (const float *)job->arrays[2] + place,
                          &seen, first, keep ? keep + rows * shape.keys : 0, rest, memory, shape);
    if (problem) return problem;
  }
  return 0;
}

int attention16(const struct job *job) { return attention(job, job->arrays[5], job->arrays[6], 0, 1.0f); }

int attention16_dropout(const struct job *job) {
  return attention(job, job->arrays[5], job->arrays[8], job->arrays[6], *(const float *)job->arrays[7]);
}

/* The context of the cache of one (B, G). */
static struct context cached(void *const *arrays, int64_t row, int64_t capacity, int64_t width) {
  int64_t places = whole(capacity);
  return (struct context){(int16_t *)arrays[0] + row * places * up_to_even(width),
                          (int16_t *)arrays[1] + row * places * whole(width), (double *)arrays[2] + row * places,
                          (double *)arrays[3] + row * places, places / 2};
}

/* out (B, T, H, D) as of attention16, of q (B, T, H, D) and the first keys of a cache: its keys and values, packed, and their scales;
 * offset (B); sizes: H, T, D, G, keys, capacity, int64. */
int attention16_cached(const struct job *job) {
  const int64_t *offset = job->arrays[6], *sizes = job->arrays[7];
  struct shape shape = read_shape(sizes);
  for (int64_t row = job->start; row < job->stop; row++) {
    struct context seen = cached(job->arrays + 2, row, sizes[5], shape.width);
    int64_t b = row / shape.groups, head = row % shape.groups * (shape.heads / shape.groups);
    int64_t place = (b * shape.time * shape.heads + head) * shape.width;
    int problem = forward16((float *)job->arrays[0] + place, 0, (const float *)job->arrays[1] + place, &seen, offset[b], 0, 1.0f,
                            scratch_of(job), shape);
    if (problem) return problem;
  }
  return 0;
}

/* Put k and v (B, T, G, D) float32, finite, at the places before to after (B) int64 of each sequence of a cache; sizes: G, T, D,
 * capacity, int64. A row of the job is one of (B, G). */
int attention16_append(const struct job *job) {
  const int64_t *before = job->arrays[6], *after = job->arrays[7], *sizes = job->arrays[8];
  int64_t groups = sizes[0], time = sizes[1], width = sizes[2];
  if (width > CHUNK) return 2;
  for (int64_t row = job->start; row < job->stop; row++) {
    struct context to = cached(job->arrays, row, sizes[3], width);
    int64_t b = row / groups, count = after[b] - before[b];
    for (int64_t t = 0; t < time; t++) {
      int64_t from = ((b * time + t) * groups + row % groups) * width;
      const float *k = (const float *)job->arrays[4] + from, *v = (const float *)job->arrays[5] + from;
      int problem = t < count ? put_key(&to, k, before[b] + t, width) : 0;
      if (!problem && t < count) problem = put_value(&to, v, before[b] + t, width);
      if (problem) return problem;
      for (int64_t i = 0; i < width; i++) /* padding must be finite too */
        if (!is_finite(k[i]) || !is_finite(v[i])) return 1;
    }
  }
  return 0;
}

/* The gradient, of one (B, G). */
struct gradient {
  const float *g, *q, *k, *v;
  const double *logs; /* at the group's first head, key, row */
  float *to_q, *to_k, *to_v;
  const uint8_t *keep; /* or null */
  float rest;
  int64_t first;
};

/* p and dp (padded) of a row become what values and scores are multiplied with: the weight, and p (dp - sum(p dp)). Zeros from `seen`
 * on, up to `most`. */
static __attribute__((noinline)) void pull16(float *restrict p, float *restrict dp, double log, int64_t seen, int64_t most,
                                             const uint8_t *keep, float stay) {
  float dot = 0.0f, near = (float)log, rest = (float)exp_short((double)near - log);
  for (int64_t j = seen; j < whole(seen); j++) p[j] = MINUS_INFINITY;
  for (int64_t start = 0; start < seen; start += CHUNK) {
    int64_t stop = least(start + CHUNK, seen);
    floats sum = {0};
    for (int64_t j = start; j < stop; j += PANEL) {
      floats w = power16(load(p + j) - near) * rest, d = load(dp + j);
      if (keep) {
        d = (floats)((words)(d * stay) & kept_lanes(keep + j, seen - j));
        store(dp + j, d);
      }
      store(p + j, w);
      sum += w * d;
    }
    float part = lanes_sum(sum);
    dot = start ? dot + part : part;
  }
  for (int64_t j = 0; j < seen; j += PANEL) {
    floats w = load(p + j);
    store(dp + j, w * (load(dp + j) - dot));
    if (keep) store(p + j, (floats)((words)(w * stay) & kept_lanes(keep + j, seen - j)));
  }
  for (int64_t j = whole(seen); j < most; j++) p[j] = dp[j] = 0.0f;
}

/* total (width, padded) float32 += left (width, ROWS) int16 times the columns of x (rows, padded), put on grids: at most ROWS rows,
 * which do not see the keys of a panel before some of them. */
static __attribute__((noinline)) int add_columns16(float *total, const int16_t *left, const float *left_scales, int64_t width,
                                                   const float *x, int64_t rows, int64_t padded, int64_t most, int64_t first,
                                                   struct columns *copy, int16_t *panel) {
  int32_t sum[WIDEST * PANEL];
  double scales[PANEL];
  tiles *compute = chosen_tiles();
  for (int64_t j = 0; j < most; j += PANEL) {
    int64_t skip = j - first < 0 ? 0 : (j - first) / 2 * 2, tall, part = j / PANEL % COPIED;
    if (skip >= rows) break;
    if (part == 0) copy_columns(copy, x + j, rows, padded, least(COPIED * PANEL, most - j));
    int problem = grid16_panel(panel, scales, copy, part, rows, PANEL);
    if (problem) return problem;
    floats column;
    for (int i = 0; i < PANEL; i++) column[i] = (float)scales[i];
    for (int64_t d = 0; d < width; d += tall) {
      tall = height(width - d);
      compute(sum, left + d * ROWS + skip, ROWS, panel + skip * PANEL, 0, parts_of(rows - skip, 2), (int)tall, 1);
      for (int64_t i = d; i < least(d + tall, width); i++) {
        ints exact;
        __builtin_memcpy(&exact, sum + (i - d) * PANEL, sizeof exact);
        float *to = total + i * padded + j;
        store(to, load(to) + __builtin_convertvector(exact, floats) * product_scale(column, left_scales[i]));
      }
    }
  }
  return 0;
}

/* left (width, ROWS) int16, the columns of x (rows, so far apart) as rows. */
static __attribute__((noinline)) int grid_left16(int16_t *left, float *left_scales, const float *x, int64_t apart, int64_t rows,
                                                 int64_t width, struct columns *copy, int16_t *panel) {
  double scales[PANEL];
  for (int64_t d = 0; d < width; d += PANEL) {
    int64_t part = d / PANEL % COPIED;
    if (part == 0) copy_columns(copy, x + d, rows, apart, least(COPIED * PANEL, width - d));
    int problem = grid16_panel(panel, scales, copy, part, rows, PANEL);
    if (problem) return problem;
    int64_t columns = least(PANEL, width - d);
    for (int64_t i = 0; i < columns; i++) left_scales[d + i] = (float)scales[i];
    for (int64_t r = 0; r < ROWS; r += 2 * PANEL) {
      floats pairs[PANEL]; /* not numbers: only moved */
      for (int i = 0; i < PANEL; i++) __builtin_memcpy(&pairs[i], panel + (r + 2 * i) * PANEL, sizeof pairs[i]);
      transpose(pairs);
      for (int64_t i = 0; i < columns; i++) __builtin_memcpy(left + (d + i) * ROWS + r, &pairs[i], sizeof pairs[i]);
    }
  }
  return 0;
}

/* columns (panels, keys / 2, PANEL, 2) int16 of x (keys, width), whose rows are so far apart, in chunks; scales (chunks, panels, PANEL). */
static __attribute__((noinline)) int pack_columns16(int16_t *columns, float *column_scales, const float *x, int64_t apart,
                                                    struct shape shape, struct columns *copy) {
  int64_t panels = parts_of(shape.width, PANEL), pairs_each = whole(shape.keys) / 2;
  double scales[PANEL];
  for (int64_t start = 0; start < shape.keys; start += CHUNK)
    for (int64_t p = 0; p < panels; p++) {
      int64_t deep = least(CHUNK, shape.keys - start), left = shape.width - p * PANEL;
      if (p % COPIED == 0) copy_columns(copy, x + start * apart + p * PANEL, deep, apart, least(COPIED * PANEL, left));
      int problem = grid16_panel(columns + (p * pairs_each + start / 2) * 2 * PANEL, scales, copy, p % COPIED, deep, PANEL);
      if (problem) return problem;
      for (int64_t i = 0; i < PANEL; i++) column_scales[(start / CHUNK * panels + p) * PANEL + i] = (float)scales[i];
    }
  return 0;
}

/* out (n, width), whose rows are so far apart, = x (width, padded)^T + 0. */
static void store_columns(float *restrict out, int64_t apart, const float *restrict x, int64_t padded, int64_t n, int64_t width) {
  floats part[PANEL];
  for (int64_t d = 0; d < width; d += PANEL)
    for (int64_t j = 0; j < n; j += PANEL) {
      for (int64_t i = 0; i < PANEL; i++) part[i] = d + i < width ? load(x + (d + i) * padded + j) : (floats){0};
      transpose(part);
      for (int64_t i = 0; i < least(PANEL, n - j); i++) {
        float *to = out + (j + i) * apart + d;
        floats row = part[i] + 0.0f;
        if (width - d >= PANEL)
          store(to, row);
        else
          for (int64_t c = 0; c < width - d; c++) to[c] = row[c];
      }
    }
}

static __attribute__((noinline)) int backward16(const struct gradient *at, struct memory memory, struct shape shape) {
  int64_t width = shape.width, padded = whole(shape.keys), chunks = parts_of(shape.keys, CHUNK), panels = parts_of(width, PANEL);
  int64_t apart = shape.heads * width, key_apart = shape.groups * width, deep = parts_of(width, 2);
  int16_t *strip = take(&memory, 2 * PANEL * (CHUNK + 2)), *k = take(&memory, padded * deep * 4),
          *v = take(&memory, padded * deep * 4), *columns = take(&memory, panels * padded * PANEL * 2);
  struct columns *copy = take(&memory, sizeof *copy);
  int16_t *panel = take(&memory, ROWS * PANEL * 2);
  double *scales = take(&memory, (padded > panels * PANEL ? padded : panels * PANEL) * 8);
  float *k_scales = take(&memory, padded * 4), *v_scales = take(&memory, padded * 4),
        *column_scales = take(&memory, chunks * panels * PANEL * 4);
  float *rows = take(&memory, ROWS * width * 4), *q_scales = take(&memory, ROWS * 4), *g_scales = take(&memory, ROWS * 4),
        *x_scales = take(&memory, ROWS * chunks * 4), *left_scales = take(&memory, 2 * width * 4);
  int16_t *q = take(&memory, TALLEST * up_to_even(width) * 2), *g = take(&memory, TALLEST * up_to_even(width) * 2),
          *left = take(&memory, 2 * (width + TALL) * ROWS * 2);
  float *p = take(&memory, ROWS * padded * 4), *dp = take(&memory, ROWS * padded * 4);
  int16_t *x = take(&memory, TALLEST * padded * 2);
  float *to_k = take(&memory, width * padded * 4), *to_v = take(&memory, width * padded * 4);
  if (memory.at > memory.end || chunks > MOST_SPANS / (CHUNK / SPAN) || width > CHUNK) return 2;

  int problem = pack_rows16(k, scales, at->k, key_apart, shape.keys, width, strip);
  for (int64_t j = 0; j < padded; j++) k_scales[j] = (float)scales[j];
  if (!problem) problem = pack_rows16(v, scales, at->v, key_apart, shape.keys, width, strip);
  for (int64_t j = 0; j < padded; j++) v_scales[j] = (float)scales[j];
  if (!problem) problem = pack_columns16(columns, column_scales, at->k, key_apart, shape, copy);
  if (problem) return problem;
  for (int64_t i = 0; i < width * padded; i++) to_k[i] = to_v[i] = 0.0f;

  float scale = (float)(1.0 / __builtin_sqrt((double)width)), stay = 1.0f / at->rest;
  for (int64_t r = 0; r < shape.heads / shape.groups; r++)
    for (int64_t t = 0; t < shape.time; t += ROWS) {
      int64_t count = least(ROWS, shape.time - t), first = at->first + t, most = whole(seen_by(first, count - 1, shape.keys));
      const float *g_rows = at->g + t * apart + r * width;
      scale_rows(rows, at->q + t * apart + r * width, apart, count, width);
      problem = grid_rows16(q, q_scales, rows, width, count, width);
      if (!problem) problem = grid_rows16(g, g_scales, g_rows, apart, count, width);
      int16_t *left_g = left, *left_q = left + (width + TALL) * ROWS;
      if (!problem) problem = grid_left16(left_g, left_scales, g_rows, apart, count, width, copy, panel);
      if (!problem) problem = grid_left16(left_q, left_scales + width, rows, width, count, width, copy, panel);
      if (problem) return problem;
      scores16(p, padded, q, q_scales, count, k, k_scales, first, shape);
      scores16(dp, padded, g, g_scales, count, v, v_scales, first, shape);
      for (int64_t i = 0; i < count; i++) {
        int64_t place = r * shape.time + t + i;
        pull16(p + i * padded, dp + i * padded, at->logs[place], seen_by(first, i, shape.keys), most,
               at->keep ? at->keep + place * shape.keys : 0, stay);
        for (int64_t c = 0; c * CHUNK < most; c++) {
          double found;
          problem = grid16(x + i * padded + c * CHUNK, &found, dp + i * padded + c * CHUNK, least(CHUNK, most - c * CHUNK), CHUNK);
          if (problem) return problem;
          x_scales[i * chunks + c] = (float)found;
        }
      }
      problem = add_columns16(to_v, left_g, left_scales, width, p, count, padded, most, first, copy, panel);
      if (!problem) problem = add_columns16(to_k, left_q, left_scales + width, width, dp, count, padded, most, first, copy, panel);
      if (problem) return problem;

      struct mix16 keys = {x, padded, x_scales, chunks, columns, padded / 2, column_scales, scale};
      mix_chunks(at->to_q + t * apart + r * width, apart, &keys, count, first, shape);
    }
  store_columns(at->to_k, key_apart, to_k, padded, shape.keys, width);
  store_columns(at->to_v, key_apart, to_v, padded, shape.keys, width);
  return 0;
}

/* The gradients of q (B, T, H, D), k and v (B, S, G, D), of g (B, T, H, D) float32, finite, logs (B, H, T) of attention16, offset (B)
 * and sizes as there; keep and rest too. A row of the job is one of (B, G). */
static inline int attention_gradient(const struct job *job, const int64_t *offset, const int64_t *sizes, const uint8_t *keep,
                                     float rest) {
  struct shape shape = read_shape(sizes);
  int64_t each = shape.heads / shape.groups;
  for (int64_t row = job->start; row < job->stop; row++) {
    int64_t b = row / shape.groups, head = row % shape.groups * each, rows = (b * shape.heads + head) * shape.time;
    int64_t place = (b * shape.time * shape.heads + head) * shape.width;
    int64_t from = (b * shape.keys * shape.groups + row % shape.groups) * shape.width;
    struct gradient at = {(const float *)job->arrays[3] + place,
                          (const float *)job->arrays[4] + place,
                          (const float *)job->arrays[5] + from,
                          (const float *)job->arrays[6] + from,
                          (const double *)job->arrays[7] + rows,
                          (float *)job->arrays[0] + place,
                          (float *)job->arrays[1] + from,
                          (float *)job->arrays[2] + from,
                          keep ? keep + rows * shape.keys : 0,
                          rest,
                          offset[b]};
    int problem = backward16(&at, scratch_of(job), shape);
    if (problem) return problem;
  }
  return 0;
}

int attention16_gradient(const struct job *job) { return attention_gradient(job, job->arrays[8], job->arrays[9], 0, 1.0f); }

int attention16_gradient_dropout(const struct job *job) {
  return attention_gradient(job, job->arrays[8], job->arrays[11], job->arrays[9], *(const float *)job->arrays[10]);
}
