/* Random numbers from the words of PCG64, which are made here as well. NumPy versions: core/random.py
 *
 * PCG64 (O'Neill, 2014, HMC-CS-2014-0905) is a linear congruential generator of 128 bits, state = MULTIPLIER state + increment, and
 * a word is its state with the halves combined (XSL-RR). The state after k steps is linear in the first one too, so any thread
 * begins anywhere, and LANES words are made at once, each from the state LANES before.
 *
 * Every kernel is given position (4) uint64, the upper and lower halves of the state and of the increment, where its NumPy version
 * is given the words.
 */

#include "elementary.h"

typedef unsigned __int128 wide;

enum { LANES = 4 };

#define MULTIPLIER ((wide)UINT64_C(0x2360ed051fc65da4) << 64 | UINT64_C(0x4385df649fccf645))

/* state = factor state + step, for some steps at once. */
struct jump {
  wide factor, step;
};

struct stream {
  wide states[LANES];
  struct jump ahead;
};

static inline wide moved(struct jump jump, wide state) { return jump.factor * state + jump.step; }

/* So many steps at once: Brown, 1994, "Random number generation with arbitrary strides". */
static struct jump steps(wide increment, uint64_t count) {
  struct jump all = {1, 0}, some = {MULTIPLIER, increment};
  for (; count; count >>= 1) {
    if (count & 1) all = (struct jump){all.factor * some.factor, moved(some, all.step)};
    some = (struct jump){some.factor * some.factor, moved(some, some.step)};
  }
  return all;
}

/* The stream, some words after its position. */
static struct stream stream_at(const uint64_t *position, int64_t skipped) {
  wide increment = (wide)position[2] << 64 | position[3], state = (wide)position[0] << 64 | position[1];
  struct stream stream = {{0}, steps(increment, LANES)};
  state = moved(steps(increment, (uint64_t)skipped), state);
  for (int j = 0; j < LANES; j++) stream.states[j] = state = moved((struct jump){MULTIPLIER, increment}, state);
  return stream;
}

static inline uint64_t word_of(wide state) {
  uint64_t upper = (uint64_t)(state >> 64), mixed = upper ^ (uint64_t)state;
  uint32_t turn = (uint32_t)(upper >> 58);
  return mixed >> turn | mixed << (-turn & 63);
}

/* words = the next BLOCK words. */
static void draw(struct stream *stream, uint64_t *restrict words) {
  for (int64_t i = 0; i < BLOCK; i += LANES)
    for (int j = 0; j < LANES; j++) {
      words[i + j] = word_of(stream->states[j]);
      stream->states[j] = moved(stream->ahead, stream->states[j]);
    }
}

/* out (n) float32 = low + (high - low) u, at most below; numbers: high - low, low, below, float64. A row is an element.
 * NumPy version: random._uniform */
int random_uniform(const struct job *job) {
  const double *numbers = job->arrays[2];
  float below = (float)numbers[2];
  struct stream stream = stream_at(job->arrays[1], job->start);
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    float *restrict out = (float *)job->arrays[0] + start;
    int64_t n = least(BLOCK, job->stop - start);
    uint64_t words[BLOCK];
    draw(&stream, words);
    for (int64_t i = 0; i < n; i++) {
      float y = (float)((double)(int64_t)(words[i] >> 40) * 0x1p-24 * numbers[0] + numbers[1]);
      out[i] = y < below ? y : below;
    }
  }
  return 0;
}

/* out (n, 2) float32 = mean + std times two normal numbers; numbers: std, mean, float64. NumPy version: random._normal */
int random_normal(const struct job *job) {
  const double *numbers = job->arrays[2];
  struct stream stream = stream_at(job->arrays[1], 2 * job->start);
  for (int64_t start = job->start; start < job->stop; start += BLOCK / 2) {
    float *restrict out = (float *)job->arrays[0] + 2 * start;
    int64_t n = least(BLOCK / 2, job->stop - start);
    uint64_t words[BLOCK];
    draw(&stream, words);
    for (int64_t i = 0; i < n; i++) {
      double radius = (double)(int64_t)(words[2 * i] >> 11) * 0x1p-53 + 0x1p-53;
      double angle = (double)(int64_t)(words[2 * i + 1] >> 11) * 0x1p-53 * 0x1.921fb54442d18p+2;
      radius = __builtin_sqrt(log_(radius) * -2.0);
      out[2 * i] = narrow(sine(angle, 0.5) * radius * numbers[0] + numbers[1]);
      out[2 * i + 1] = narrow(sine(angle, 0.0) * radius * numbers[0] + numbers[1]);
    }
  }
  return 0;
}

/* out (n) int64 = the upper 64 bits of a word times range, plus low; numbers: range, low, uint64. A row is an element.
 * NumPy version: random._integers */
int random_integers(const struct job *job) {
  const uint64_t *numbers = job->arrays[2];
  struct stream stream = stream_at(job->arrays[1], job->start);
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    uint64_t *restrict out = (uint64_t *)job->arrays[0] + start;
    int64_t n = least(BLOCK, job->stop - start);
    uint64_t words[BLOCK];
    draw(&stream, words);
    for (int64_t i = 0; i < n; i++) out[i] = (uint64_t)((wide)words[i] * numbers[0] >> 64) + numbers[1];
  }
  return 0;
}

/* out (n) bool = whether the upper 53 bits of a word are below limit () uint64. A row is an element.
 * NumPy version: random._bernoulli */
int random_bernoulli(const struct job *job) {
  uint64_t limit = *(const uint64_t *)job->arrays[2];
  struct stream stream = stream_at(job->arrays[1], job->start);
  for (int64_t start = job->start; start < job->stop; start += BLOCK) {
    uint8_t *restrict out = (uint8_t *)job->arrays[0] + start;
    int64_t n = least(BLOCK, job->stop - start);
    uint64_t words[BLOCK];
    draw(&stream, words);
    for (int64_t i = 0; i < n; i++) out[i] = words[i] >> 11 < limit;
  }
  return 0;
}

/* out (n) int64 = the order of n words by their size, equal ones as they come; memory (n + 2^bits) uint64 to work in; position;
 * bits () int64. All of it is one row. A word goes among those with the same upper bits, which are few, and there to its place.
 * NumPy version: random._order */
int random_order(const struct job *job) {
  int64_t *restrict out = job->arrays[0], n = job->columns, bits = *(const int64_t *)job->arrays[3];
  uint64_t *restrict sorted = job->arrays[1], *restrict places = sorted + n, words[BLOCK], before = 0;
  for (int64_t i = 0; i < INT64_C(1) << bits; i++) places[i] = 0;
  struct stream stream = stream_at(job->arrays[2], 0), again = stream;
  for (int64_t start = 0; start < n; start += BLOCK) {
    draw(&stream, words);
    for (int64_t i = 0; i < least(BLOCK, n - start); i++) places[words[i] >> (64 - bits)]++;
  }
  for (int64_t i = 0; i < INT64_C(1) << bits; i++) {
    uint64_t count = places[i];
    places[i] = before;
    before += count;
  }
  for (int64_t start = 0; start < n; start += BLOCK) {
    draw(&again, words);
    for (int64_t i = 0; i < least(BLOCK, n - start); i++) {
      uint64_t place = places[words[i] >> (64 - bits)]++;
      sorted[place] = words[i];
      out[place] = start + i;
    }
  }
  for (int64_t i = 1; i < n; i++) {
    uint64_t word = sorted[i];
    int64_t number = out[i], place = i;
    for (; place > 0 && sorted[place - 1] > word; place--) {
      sorted[place] = sorted[place - 1];
      out[place] = out[place - 1];
    }
    sorted[place] = word;
    out[place] = number;
  }
  return 0;
}
