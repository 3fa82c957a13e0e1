/* Activations of nn, dropout and rotary positions: one loop over elements, float64 inside, one rounding. NumPy versions: nn/activation.py
 *
 * Arrays are float32 of n elements, a row is an element: first the results, then g, the gradient of the result, where the
 * kernel is a derivative, then the arguments. Results and arguments do not overlap.
 * Each has two versions: the formula, and a quick one with one division (quick.h).
 */

#include "quick.h"

static const double TWO_ROOTS = 1.5957691216057308; /* 2 sqrt(2 / pi) */
static const double CUBIC = 0.044715;
static const double DENSITY = 0.3989422804014327; /* 1 / sqrt(2 pi) */

/* sigmoid(x) = 1 / (1 + e^-x), and its denominator. NumPy version: activation._one_plus_exp */
static inline double one_plus_exp(double x) { return exp_short(-x) + 1.0; }

/* s (1 + q (1 - s)): the derivative of x sigmoid(v), with s = sigmoid(v) and q = x v'. NumPy version: activation._weigh */
static inline double weigh(double q, double s) { return ((1.0 - s) * q + 1.0) * s; }

/* 1 / (1 + e^-x) as a quotient. */
static inline double sigmoid_quotient(double x, double *under) {
  double over, more = power_quotient(clip(x, -700.0, 700.0) * -INV_LN2, &over);
  *under = more + over;
  return over;
}

/* (1 + q (1 - s)) a, and how much it may differ from the formula's. */
static inline uint32_t settle_weighed(float *out, double q, double s, double a) {
  double y = ((1.0 - s) * q + 1.0) * a, error = (absolute(q) * MARGIN + MARGIN) * a;
  return settle(out, y - error, y + error);
}

static int silu_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow((double)x[i] / one_plus_exp(x[i]));
  return 0;
}

static uint32_t silu_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double under, over = sigmoid_quotient(x[i], &under);
    open |= settle_near(&out[i], (double)x[i] * over / under);
  }
  return open;
}

/* out = x sigmoid(x). NumPy version: activation._silu_formula */
int silu(const struct job *job) { return by_blocks(job, silu_quick, silu_formula); }

static int silu_gradient_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow(weigh(x[i], 1.0 / one_plus_exp(x[i])) * (double)g[i]);
  return 0;
}

static uint32_t silu_gradient_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double under, over = sigmoid_quotient(x[i], &under), s = over / under;
    open |= settle_weighed(&out[i], x[i], s, s * (double)g[i]);
  }
  return open;
}

/* out = g s (1 + x (1 - s)), s = sigmoid(x). NumPy version: activation._silu_gradient */
int silu_gradient(const struct job *job) { return by_blocks(job, silu_gradient_quick, silu_gradient_formula); }

static int swiglu_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict gate = job->arrays[1], *restrict up = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow((double)gate[i] / one_plus_exp(gate[i]) * (double)up[i]);
  return 0;
}

static uint32_t swiglu_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict gate = job->arrays[1], *restrict up = job->arrays[2];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double under, over = sigmoid_quotient(gate[i], &under);
    open |= settle_near(&out[i], (double)gate[i] * over / under * (double)up[i]);
  }
  return open;
}

/* out = gate sigmoid(gate) up. NumPy version: activation._swiglu_formula */
int swiglu(const struct job *job) { return by_blocks(job, swiglu_quick, swiglu_formula); }

static int swiglu_gradient_formula(const struct job *job) {
  float *restrict to_gate = job->arrays[0], *restrict to_up = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict gate = job->arrays[3], *restrict up = job->arrays[4];
  for (int64_t i = job->start; i < job->stop; i++) {
    double s = 1.0 / one_plus_exp(gate[i]);
    to_gate[i] = narrow(weigh(gate[i], s) * (double)up[i] * (double)g[i]);
    to_up[i] = narrow((double)gate[i] * s * (double)g[i]);
  }
  return 0;
}

static uint32_t swiglu_gradient_quick(const struct job *job) {
  float *restrict to_gate = job->arrays[0], *restrict to_up = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict gate = job->arrays[3], *restrict up = job->arrays[4];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double under, over = sigmoid_quotient(gate[i], &under), s = over / under, a = s * (double)g[i];
    open |= settle_weighed(&to_gate[i], gate[i], s, a * (double)up[i]);
    open |= settle_near(&to_up[i], (double)gate[i] * a);
  }
  return open;
}

/* to_gate = g up s (1 + gate (1 - s)), to_up = g gate s, s = sigmoid(gate). NumPy version: activation._swiglu_gradient */
int swiglu_gradient(const struct job *job) { return by_blocks(job, swiglu_gradient_quick, swiglu_gradient_formula); }

/* -2 sqrt(2 / pi) (x + 0.044715 x^3), from x and its square. NumPy version: activation._minus_v */
static inline double minus_v(double x, double square) { return (square * (-TWO_ROOTS * CUBIC) - TWO_ROOTS) * x; }

/* x v' of v = 2 sqrt(2 / pi) (x + 0.044715 x^3). */
static inline double slope(double x, double square) { return (square * (3 * TWO_ROOTS * CUBIC) + TWO_ROOTS) * x; }

static int gelu_tanh_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i];
    out[i] = narrow(y / (exp_short(minus_v(y, y * y)) + 1.0));
  }
  return 0;
}

static uint32_t gelu_tanh_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], over, more = exp_quotient(minus_v(y, y * y), &over);
    open |= settle_near(&out[i], y * over / (more + over));
  }
  return open;
}

/* out = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. NumPy version: activation._gelu_tanh_formula */
int gelu_tanh(const struct job *job) { return by_blocks(job, gelu_tanh_quick, gelu_tanh_formula); }

static int gelu_tanh_gradient_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], square = y * y;
    double s = 1.0 / (exp_short(minus_v(y, square)) + 1.0);
    out[i] = narrow(weigh(slope(y, square), s) * (double)g[i]);
  }
  return 0;
}

static uint32_t gelu_tanh_gradient_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], square = y * y, over, more = exp_quotient(minus_v(y, square), &over), s = over / (more + over);
    open |= settle_weighed(&out[i], slope(y, square), s, s * (double)g[i]);
  }
  return open;
}

/* out = g s (1 + x v' (1 - s)), s = sigmoid(v). NumPy version: activation._gelu_tanh_gradient */
int gelu_tanh_gradient(const struct job *job) { return by_blocks(job, gelu_tanh_gradient_quick, gelu_tanh_gradient_formula); }

/* R(a) of Phi(-a) = phi(a) R(a), as a quotient, for a = |x|, at most 37. NumPy version: activation._tail */
static inline double mills_quotient(double x, double *a, double *under) {
  double y = absolute(x);
  *a = y = y > 37.0 ? 37.0 : y;
  double over = y * MILLS_OVER[0];
  for (int i = 1; i < 7; i++) over = (over + MILLS_OVER[i]) * y;
  double below = y * MILLS_UNDER[0];
  for (int i = 1; i < 8; i++) below = (below + MILLS_UNDER[i]) * y;
  *under = below + MILLS_UNDER[8];
  return over + MILLS_OVER[7];
}

/* c[0] y^7 + ... + c[7], from y, y^2 and y^4: half of the operations wait for each other that do in Horner's scheme. */
static inline double polynomial(const double *c, double y, double y2, double y4) {
  return ((c[0] * y + c[1]) * y2 + (c[2] * y + c[3])) * y4 + ((c[4] * y + c[5]) * y2 + (c[6] * y + c[7]));
}

/* Phi(-a) as a quotient, but for a factor: over / under R(a), phi phi(a). */
static inline double tail_quotient(double x, double *a, double *over, double *under) {
  double y = absolute(x), below;
  *a = y = y > 37.0 ? 37.0 : y;
  double y2 = y * y, y4 = y2 * y2, phi = exp_quotient(y2 * -0.5, &below) * DENSITY;
  *over = polynomial(MILLS_OVER, y, y2, y4);
  *under = polynomial(MILLS_UNDER, y, y2, y4) * y + MILLS_UNDER[8];
  return phi / (*under * below);
}

/* phi(a). */
static inline double density(double a) { return exp_short(a * a * -0.5) * DENSITY; }

static int gelu_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], a, under, over = mills_quotient(y, &a, &under);
    out[i] = narrow((absolute(y) + y) * 0.5 - over / under * a * density(a));
  }
  return 0;
}

static uint32_t gelu_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], a, over, under, part = tail_quotient(y, &a, &over, &under);
    open |= settle_near(&out[i], (absolute(y) + y) * 0.5 - over * a * part);
  }
  return open;
}

/* out = x Phi(x) = (x + |x|) / 2 - |x| Phi(-|x|). NumPy version: activation._gelu_formula */
int gelu(const struct job *job) { return by_blocks(job, gelu_quick, gelu_formula); }

static int gelu_gradient_formula(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    double a, under, over = mills_quotient(x[i], &a, &under);
    double sign = with_sign(1.0, x[i]);
    out[i] = narrow(((sign > 0.0 ? 1.0 : 0.0) - density(a) * (over / under - a) * sign) * (double)g[i]);
  }
  return 0;
}

static uint32_t gelu_gradient_quick(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  uint32_t open = 0;
  for (int64_t i = job->start; i < job->stop; i++) {
    double a, over, under, part = tail_quotient(x[i], &a, &over, &under), most = word32(x[i]) >> 31 ? 0.0 : 1.0, far = under * a;
    double y = (most - with_sign(part, x[i]) * (over - far)) * (double)g[i],
           error = (part * (over + far) + most) * MARGIN * (double)g[i];
    open |= settle(&out[i], y - error, y + error);
  }
  return open;
}

/* out = g (Phi(x) + x phi(x)). NumPy version: activation._gelu_gradient */
int gelu_gradient(const struct job *job) { return by_blocks(job, gelu_gradient_quick, gelu_gradient_formula); }

/* out = x kept scale, x, kept bool, scale () float64. NumPy version: regularization._dropout_formula */
int dropout(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  const uint8_t *restrict kept = job->arrays[2];
  double scale = *(const double *)job->arrays[3];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow((double)x[i] * (double)kept[i] * scale);
  return 0;
}

/* out (rows, columns) = (a cos - b sin, b cos + a sin) for the halves a and b of each row of x (rows, columns); cosines, sines
 * (positions, columns / 2) float64; sizes int64: the rows of a sequence, its positions, how many rows follow each other with one
 * position, how many first positions there are, and these. NumPy version: positions._rotate */
int rotate(const struct job *job) {
  const int64_t *sizes = job->arrays[4];
  int64_t n = job->columns, half = n / 2;
  for (int64_t r = job->start; r < job->stop; r++) {
    int64_t first = sizes[4 + (sizes[3] > 1 ? r / sizes[0] : 0)], position = first + r / sizes[2] % sizes[1];
    float *restrict out = (float *)job->arrays[0] + r * n;
    const float *restrict x = (const float *)job->arrays[1] + r * n;
    const double *restrict cosine = (const double *)job->arrays[2] + position * half;
    const double *restrict sine = (const double *)job->arrays[3] + position * half;
    for (int64_t i = 0; i < half; i++) {
      double a = x[i], b = x[half + i];
      out[i] = narrow(a * cosine[i] - b * sine[i]);
      out[half + i] = narrow(b * cosine[i] + a * sine[i]);
    }
  }
  return 0;
}
