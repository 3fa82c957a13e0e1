/* The 14 elementary functions on float32, correctly rounded. NumPy version: core/elementary.py */

#include "quick.h"

typedef double function(double);

static const float LARGEST = 0x1.fffffep127f, LEAST_NORMAL = 0x1p-126f, ABOVE_MINUS_ONE = -0x1.fffffep-1f;

/* Whether rounding y to float32 is a tie. */
static inline int64_t tie(double y) { return (word(y) & ((1 << 29) - 1)) == 1 << 28; }

/* Put the right results of inputs that float64 rounds to the wrong side. */
static void correct(const float *x, float *out, int64_t n, const uint32_t (*ties)[2], int64_t count) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < count; j++)
      if (word32(x[i]) == ties[j][0]) out[i] = number32(ties[j][1]);
}

/* out (n) = f(x) (n), float32, one rounding; then the corrections of ties. NumPy version: elementary._corrected */
static inline __attribute__((always_inline)) void map_block(const float *x, float *out, int64_t n, function *f,
                                                            const uint32_t (*ties)[2], int64_t count) {
  int64_t tied = 0;
  for (int64_t i = 0; i < n; i++) {
    double y = f(x[i]);
    if (count) tied |= tie(y);
    out[i] = narrow(y);
  }
  if (tied) correct(x, out, n, ties, count);
}

/* The same for the rows of a job. */
static inline __attribute__((always_inline)) int map(const struct job *job, function *f, const uint32_t (*ties)[2], int64_t count) {
  float *out = job->arrays[0];
  const float *x = job->arrays[1];
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    int64_t n = least(BLOCK, job->stop - start);
    float block[BLOCK], results[BLOCK]; /* out may be x */
    for (int64_t i = 0; i < n; i++) block[i] = x[start + i];
    map_block(block, results, n, f, ties, count);
    for (int64_t i = 0; i < n; i++) out[start + i] = results[i];
  }
  return 0;
}

/* The same for a logarithm, by an estimate to ROUGH for x in [low, LARGEST], where that decides (quick.h). */
static inline __attribute__((always_inline)) int map_log(const struct job *job, function *estimate, float low, function *f,
                                                         const uint32_t (*ties)[2], int64_t count) {
  float *out = job->arrays[0];
  const float *x = job->arrays[1];
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    int64_t n = least(BLOCK, job->stop - start);
    float results[BLOCK]; /* out may be x */
    uint32_t open = 0;
    for (int64_t i = 0; i < n; i++) {
      float argument = x[start + i];
      double y = estimate(argument);
      open |= settle(&results[i], y * (1.0 - ROUGH), y * (1.0 + ROUGH)) | !(argument >= low) | !(argument <= LARGEST);
    }
    if (open) map_block(x + start, results, n, f, ties, count);
    for (int64_t i = 0; i < n; i++) out[start + i] = results[i];
  }
  return 0;
}

/* x less the nearest even integer; exact. NumPy version: trigonometry._modulo_2 */
static double modulo_2(double x) {
  double half = x * 0.5;
  return x - with_sign(half + MAGIC - MAGIC, half) * 2.0;
}

/* high + term, its rounding added to low. NumPy version: trigonometry._add */
static double add(double high, double *low, double term) {
  double total = high + term;
  double back = total - high;
  *low += (high - (total - back)) + (term - back);
  return total;
}

/* sin(x) with shift 0, cos(x) with shift 1/2, for |x| beyond 2^20. NumPy version: trigonometry._reduce */
static double sine_far(double x, double shift) {
  if (!(absolute(x) < INFINITE)) return NOT_A_NUMBER;
  int64_t exponent = ((word(x) >> 52) & 2047) - 1075;
  const double *pieces = TURNS[exponent - FIRST];
  double mantissa = number(word(x) - ((exponent - FIRST) << 52)) * 0x1p32; /* an integer below 2^53 */
  double upper = (mantissa + 0x1.8p79) - 0x1.8p79;
  double lower = mantissa - upper;

  double turns = modulo_2(lower * pieces[0]) + modulo_2(upper * pieces[1]);
  turns = modulo_2(turns) + lower * pieces[1];
  turns = modulo_2(turns) + modulo_2(upper * pieces[2]);
  turns = modulo_2(turns);
  double n = turns + shift + MAGIC;
  double high = turns - (n - MAGIC - shift), low = 0.0;
  for (int i = 2; i < PIECES; i++) {
    high = add(high, &low, lower * pieces[i]);
    if (i + 1 < PIECES) high = add(high, &low, upper * pieces[i + 1]);
  }
  double brief = (double)(float)high;
  double r = (high - brief + low) * PI_WHOLE + brief * PI_SHORT[1] + brief * PI_SHORT[0];
  return half_turn(n, r);
}

/* out (columns) = sin(x) or cos(x) (columns), float32, one rounding. NumPy version: trigonometry._sine */
static inline __attribute__((always_inline)) int map_sine(const struct job *job, double shift, const uint32_t (*ties)[2],
                                                          int64_t count) {
  float *out = job->arrays[0];
  const float *x = job->arrays[1];
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    int64_t n = least(BLOCK, job->stop - start), far = 0, tied = 0;
    float block[BLOCK], results[BLOCK]; /* out may be x */
    for (int64_t i = 0; i < n; i++) {
      block[i] = x[start + i];
      far |= !(block[i] <= 0x1p20f) | !(block[i] >= -0x1p20f);
    }
    for (int64_t i = 0; i < n; i++) {
      double y = sine(block[i], shift);
      tied |= tie(y);
      results[i] = narrow(y);
    }
    for (int64_t i = 0; far && i < n; i++)
      if (!(absolute(block[i]) <= 0x1p20)) {
        double y = sine_far(block[i], shift);
        tied |= tie(y);
        results[i] = narrow(y);
      }
    if (tied) correct(block, results, n, ties, count);
    for (int64_t i = 0; i < n; i++) out[start + i] = results[i];
  }
  return 0;
}

/* Correctly rounded in float32 itself. */
int sqrt_float32(const struct job *job) {
  float *out = job->arrays[0];
  const float *x = job->arrays[1];
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    int64_t n = least(BLOCK, job->stop - start);
    float results[BLOCK]; /* out may be x */
    for (int64_t i = 0; i < n; i++) {
      uint32_t bits = word32(__builtin_sqrtf(x[start + i]));
      results[i] = number32((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits);
    }
    for (int64_t i = 0; i < n; i++) out[start + i] = results[i];
  }
  return 0;
}

/* Each: out (n), x (n), float32; a row is an element. NumPy versions: the functions of core/elementary.py with these names. */
int exp_float32(const struct job *job) { return map(job, exp_, 0, 0); }
int expm1_float32(const struct job *job) { return map(job, expm1_, 0, 0); }
int exp2_float32(const struct job *job) { return map(job, exp2_, EXP2_TIES, 2); }
int log_float32(const struct job *job) { return map_log(job, log_quick, LEAST_NORMAL, log_, LOG_TIES, 5); }
int log1p_float32(const struct job *job) { return map_log(job, log1p_quick, ABOVE_MINUS_ONE, log1p_, LOG1P_TIES, 9); }
int log2_float32(const struct job *job) { return map_log(job, log2_quick, LEAST_NORMAL, log2_, 0, 0); }
int log10_float32(const struct job *job) { return map_log(job, log10_quick, LEAST_NORMAL, log10_, LOG10_TIES, 1); }
int tanh_float32(const struct job *job) { return map(job, tanh_, 0, 0); }
int sigmoid_float32(const struct job *job) { return map(job, sigmoid_, SIGMOID_TIES, 1); }
int erf_float32(const struct job *job) { return map(job, erf_, 0, 0); }
int rsqrt_float32(const struct job *job) { return map(job, rsqrt_, 0, 0); }
int sin_float32(const struct job *job) { return map_sine(job, 0.0, SIN_TIES, 2); }
int cos_float32(const struct job *job) { return map_sine(job, 0.5, COS_TIES, 6); }
