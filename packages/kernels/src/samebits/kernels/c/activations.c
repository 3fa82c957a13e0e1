/* Activations of nn, dropout and rotary positions: one loop over elements, float64 inside, one rounding. NumPy versions: nn/activation.py
 *
 * Arrays are float32 of n elements, a row is an element: first the results, then g, the gradient of the result, where the
 * kernel is a derivative, then the arguments. Results and arguments do not overlap.
 */

#include "elementary.h"

static const double TWO_ROOTS = 1.5957691216057308; /* 2 sqrt(2 / pi) */
static const double CUBIC = 0.044715;
static const double DENSITY = 0.3989422804014327; /* 1 / sqrt(2 pi) */

/* sigmoid(x) = 1 / (1 + e^-x), and its denominator. NumPy version: activation._one_plus_exp */
static inline double one_plus_exp(double x) { return exp_short(-x) + 1.0; }

/* s (1 + q (1 - s)): the derivative of x sigmoid(v), with s = sigmoid(v) and q = x v'. NumPy version: activation._weigh */
static inline double weigh(double q, double s) { return ((1.0 - s) * q + 1.0) * s; }

/* out = x sigmoid(x). NumPy version: activation._silu_formula */
int silu(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow((double)x[i] / one_plus_exp(x[i]));
  return 0;
}

/* out = g s (1 + x (1 - s)), s = sigmoid(x). NumPy version: activation._silu_gradient */
int silu_gradient(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow(weigh(x[i], 1.0 / one_plus_exp(x[i])) * (double)g[i]);
  return 0;
}

/* out = gate sigmoid(gate) up. NumPy version: activation._swiglu_formula */
int swiglu(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict gate = job->arrays[1], *restrict up = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) out[i] = narrow((double)gate[i] / one_plus_exp(gate[i]) * (double)up[i]);
  return 0;
}

/* to_gate = g up s (1 + gate (1 - s)), to_up = g gate s, s = sigmoid(gate). NumPy version: activation._swiglu_gradient */
int swiglu_gradient(const struct job *job) {
  float *restrict to_gate = job->arrays[0], *restrict to_up = job->arrays[1];
  const float *restrict g = job->arrays[2], *restrict gate = job->arrays[3], *restrict up = job->arrays[4];
  for (int64_t i = job->start; i < job->stop; i++) {
    double s = 1.0 / one_plus_exp(gate[i]);
    to_gate[i] = narrow(weigh(gate[i], s) * (double)up[i] * (double)g[i]);
    to_up[i] = narrow((double)gate[i] * s * (double)g[i]);
  }
  return 0;
}

/* -2 sqrt(2 / pi) (x + 0.044715 x^3), from x and its square. NumPy version: activation._minus_v */
static inline double minus_v(double x, double square) { return (square * (-TWO_ROOTS * CUBIC) - TWO_ROOTS) * x; }

/* out = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. NumPy version: activation._gelu_tanh_formula */
int gelu_tanh(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i];
    out[i] = narrow(y / (exp_short(minus_v(y, y * y)) + 1.0));
  }
  return 0;
}

/* out = g s (1 + x v' (1 - s)), s = sigmoid(v). NumPy version: activation._gelu_tanh_gradient */
int gelu_tanh_gradient(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], square = y * y;
    double s = 1.0 / (exp_short(minus_v(y, square)) + 1.0);
    out[i] = narrow(weigh((square * (3 * TWO_ROOTS * CUBIC) + TWO_ROOTS) * y, s) * (double)g[i]);
  }
  return 0;
}

/* phi(a), and R(a) of Phi(-a) = phi(a) R(a), for a = |x|, at most 37. NumPy version: activation._tail */
static inline double tail(double x, double *a, double *ratio) {
  double y = absolute(x);
  y = y > 37.0 ? 37.0 : y;
  double over = y * MILLS_OVER[0];
  for (int i = 1; i < 7; i++) over = (over + MILLS_OVER[i]) * y;
  double under = y * MILLS_UNDER[0];
  for (int i = 1; i < 8; i++) under = (under + MILLS_UNDER[i]) * y;
  *a = y;
  *ratio = (over + MILLS_OVER[7]) / (under + MILLS_UNDER[8]);
  return exp_short(y * y * -0.5) * DENSITY;
}

/* out = x Phi(x) = (x + |x|) / 2 - |x| Phi(-|x|). NumPy version: activation._gelu_formula */
int gelu(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict x = job->arrays[1];
  for (int64_t i = job->start; i < job->stop; i++) {
    double y = x[i], a, ratio;
    double density = tail(y, &a, &ratio);
    out[i] = narrow((absolute(y) + y) * 0.5 - ratio * a * density);
  }
  return 0;
}

/* out = g (Phi(x) + x phi(x)). NumPy version: activation._gelu_gradient */
int gelu_gradient(const struct job *job) {
  float *restrict out = job->arrays[0];
  const float *restrict g = job->arrays[1], *restrict x = job->arrays[2];
  for (int64_t i = job->start; i < job->stop; i++) {
    double a, ratio;
    double density = tail(x[i], &a, &ratio);
    double sign = with_sign(1.0, x[i]);
    out[i] = narrow(((sign > 0.0 ? 1.0 : 0.0) - density * (ratio - a) * sign) * (double)g[i]);
  }
  return 0;
}

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
