/* Elementary functions of a float32 number, in float64, to about 2^-52 relative: the caller rounds once.
 *
 * The operations and their order are those of core/exponential.py, core/logarithm.py and core/trigonometry.py, which
 * have the formulas. Arguments are clipped where float32 results no longer change.
 */
#ifndef SAMEBITS_ELEMENTARY_H
#define SAMEBITS_ELEMENTARY_H

#include "constants.h"
#include "kernels.h"

static const double MAGIC = 0x1.8p52; /* adding it to |x| < 2^51 rounds to an integer, in the low bits of the sum */
static const double INFINITE = __builtin_inf();
static const double NOT_A_NUMBER = __builtin_nan("");

static inline double absolute(double x) { return __builtin_fabs(x); }
static inline double with_sign(double x, double sign) { return __builtin_copysign(x, sign); }

/* k, in the low bits of its word, and r of x = k log 2 + r. NumPy version: exponential._reduce */
static inline double reduce(double x, double *r) {
  double k = x * INV_LN2 + MAGIC;
  double whole = k - MAGIC;
  *r = (x - whole * LN2[0]) - whole * LN2[1];
  return k;
}

/* c = r coth(r/2). NumPy version: exponential._even */
static inline double even(double r) {
  double z = r * r;
  double c = z * COTH[0];
  for (int i = 1; i < 5; i++) c = (c + COTH[i]) * z;
  return c + COTH[5];
}

/* 2^k y, k being in the low bits of its word. NumPy version: exponential._scale */
static inline double scale(double y, double k) { return number(plus(word(y), (int64_t)((uint64_t)word(k) << 52))); }

/* 2^k. NumPy version: exponential._power */
static inline double power(double k) { return number((int64_t)((uint64_t)plus(word(k), 1023) << 52)); }

/* e^r. NumPy version: exponential._small */
static inline double small(double r) {
  double c = even(r) - r;
  return (r + r) / c + 1.0;
}

/* e^x, also subnormal and infinite in float32. NumPy version: exponential.exp */
static inline double exp_(double x) {
  double r, k = reduce(clip(x, -110.0, 100.0), &r);
  return x != x ? x : scale(small(r), k);
}

/* 2^x. NumPy version: exponential.exp2 */
static inline double exp2_(double x) {
  double within = clip(x, -160.0, 140.0);
  double k = within + MAGIC;
  double r = (within - (k - MAGIC)) * LN2_WHOLE;
  return x != x ? x : scale(small(r), k);
}

/* 2^k (c + r) - (c - r), 2^k + 1 and 1 - 2^k. NumPy version: exponential._difference */
static inline double difference(double k, double c, double r, double *more, double *less) {
  double p = power(k);
  *less = 1.0 - p;
  *more = p + 1.0;
  return *more * r - *less * c;
}

/* e^x - 1 for any x up to 150. NumPy version: exponential.expm1 */
static inline double expm1_(double x) {
  double r, more, less, k = reduce(clip(x, -150.0, 150.0), &r);
  double c = even(r);
  double over = difference(k, c, r, &more, &less);
  return x != x ? x : over / (c - r);
}

/* NumPy version: exponential.tanh */
static inline double tanh_(double x) {
  double within = clip(x, -20.0, 20.0);
  double r, more, less, k = reduce(within + within, &r);
  double c = even(r);
  double over = difference(k, c, r, &more, &less);
  return x != x ? x : over / (more * c - less * r);
}

/* 1 / (1 + e^-x); near 0 a line. NumPy version: elementary._sigmoid_near_zero */
static inline double sigmoid_(double x) {
  double r, k = reduce(-clip(x, -150.0, 150.0), &r);
  double c = even(r);
  double over = c - r;
  double y = over / (scale(c + r, k) + over);
  y = absolute(x) < 0x1p-14 ? x * (0x1p-2 - 0x1p-28) + 0.5 : y;
  return x != x ? x : y;
}

/* The error function. NumPy version: exponential.erf */
static inline double erf_(double x) {
  double t = clip(-absolute(x), -6.0, 0.0);
  double over = t * ERF_OVER[0];
  for (int i = 1; i < 9; i++) over = (over + ERF_OVER[i]) * t;
  over += ERF_OVER[9];
  double under = t * ERF_UNDER[0];
  for (int i = 1; i < 8; i++) under = (under + ERF_UNDER[i]) * t;
  under += ERF_UNDER[8];
  double y = expm1_(over / under * t);
  return x != x ? x : with_sign(y, x);
}

/* k and log(m) of a positive, finite and normal x = 2^k m. NumPy version: logarithm._split */
static inline double split(double x, double *y) {
  int64_t bits = minus(word(x), word(ROOT_HALF));
  /* 1024 more keeps the shifted number positive: AVX2 has no arithmetic shift of 64 bits */
  double k = number((int64_t)((uint64_t)plus(bits, INT64_C(1024) << 52) >> 52) + word(MAGIC)) - (MAGIC + 1024.0);
  double f = number((bits & ((INT64_C(1) << 52) - 1)) + word(ROOT_HALF)) - 1.0;
  double s = f / (f + 2.0);
  double z = s * s;
  double rest = z * ATANH[0];
  for (int i = 1; i < 6; i++) rest = (rest + ATANH[i]) * z;
  rest = (rest + ATANH[6]) * z;
  *y = f - (f - rest) * s;
  return k;
}

/* y, or the logarithm of an x that is not positive and finite. NumPy version: logarithm._finish */
static inline double finish(double x, double y) {
  y = x == 0.0 ? -INFINITE : y;
  y = x == INFINITE ? INFINITE : y;
  return x >= 0.0 ? y : NOT_A_NUMBER;
}

/* The natural logarithm. NumPy version: logarithm.log */
static inline double log_(double x) {
  double y, k = split(x, &y);
  y += k * LN2[1];
  return finish(x, k * LN2[0] + y);
}

/* The logarithm to base 2. NumPy version: logarithm.log2 */
static inline double log2_(double x) {
  double y, k = split(x, &y);
  return finish(x, k + y * INV_LN2);
}

/* The logarithm to base 10. NumPy version: logarithm.log10 */
static inline double log10_(double x) {
  double y, k = split(x, &y);
  y = y * INV_LN10 + k * LOG10_2[1];
  return finish(x, k * LOG10_2[0] + y);
}

/* log(1 + x). NumPy version: logarithm.log1p */
static inline double log1p_(double x) {
  double u = x + 1.0;
  double lost = (x - (u - 1.0)) / u;
  lost = absolute(lost) < INFINITE ? lost : 0.0;
  return with_sign(log_(u) + lost, x);
}

/* (-1)^n sin(r), n being in the low bits of its word. NumPy version: the end of trigonometry._sine */
static inline double half_turn(double n, double r) {
  r = number(word(r) ^ (int64_t)((uint64_t)word(n) << 63));
  double z = r * r;
  double y = z * SINE[0];
  for (int i = 1; i < 7; i++) y = (y + SINE[i]) * z;
  y = (y + SINE[7]) * z * r + r;
  return with_sign(y, r);
}

/* sin(x) with shift 0, cos(x) with shift 1/2, for |x| up to 2^20. NumPy version: trigonometry._sine */
static inline double sine(double x, double shift) {
  double n = x * INV_PI + shift + MAGIC;
  double whole = n - MAGIC - shift;
  double r = x - whole * PI[0] - whole * PI[1] - whole * PI[2];
  return half_turn(n, r);
}

static inline double rsqrt_(double x) { return 1.0 / __builtin_sqrt(x); }

/* 2^k y in two steps, where 2^k itself need not be a float64; one step, where it is. NumPy version: exponential._scale_far */
static inline double scale_far(double y, double k) {
  int64_t whole = minus(word(k), word(MAGIC));
  int64_t half = (int64_t)((uint64_t)plus(whole, 2048) >> 1) - 1024;
  double first = number((int64_t)((uint64_t)plus(half, 1023) << 52));
  double second = number((int64_t)((uint64_t)plus(minus(whole, half), 1023) << 52));
  return y * first * second;
}

/* e^x of a float64. NumPy version: exponential.exp */
static inline double exp_wide(double x) {
  double r, k = reduce(clip(x, -750.0, 750.0), &r);
  return x != x ? x : scale_far(small(r), k);
}

/* e^x to 7e-10 relative, for what is rounded to float32. NumPy version: exponential.exp_short */
static inline double exp_short(double x) {
  double t = clip(x, -750.0, 750.0) * INV_LN2;
  double k = t + MAGIC;
  t -= k - MAGIC;
  double z = t * t;
  double c = (z * COTH_SHORT[0] + COTH_SHORT[1]) * z + COTH_SHORT[2];
  return x != x ? x : scale_far((c + t) / (c - t), k);
}

/* 2^t as a quotient, from the numbers that exp_short divides, for t in [-1010, 1010]. */
static inline double power_quotient(double t, double *under) {
  double k = t + MAGIC;
  t -= k - MAGIC;
  double z = t * t;
  double c = (z * COTH_SHORT[0] + COTH_SHORT[1]) * z + COTH_SHORT[2];
  *under = c - t;
  return scale(c + t, k);
}

/* exp_short, to the bit, for x in [-700, 700]: where 2^k is a normal number, its factors round nothing. */
static inline double exp_near(double x) {
  double under, over = power_quotient(x * INV_LN2, &under);
  return over / under;
}

#endif
