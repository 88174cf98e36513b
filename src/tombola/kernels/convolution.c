/* Convolutions of images (batch, height, width, inputs) with kernels (height, width, inputs, outputs), and their gradients:
   handlers of XLA's foreign function interface.

   One image at a time, with a margin of zeros around it; a block of WIDE channels of some neighbouring pixels is held in
   registers while all taps of the window and all channels are summed into it. Weights are put in the order in which they
   are met.

   Threads share images, or entries of the gradient of a kernel, never a sum: the same bits come out of any number of them. */

#include "native.h"

#define WIDE 16
#define VECTORS (WIDE / LANES)
#define LINE 16 /* floats of a cache line */
#if LANES == 16
#define MOST 12 /* pixels of a block: of 32 registers */
#else
#define MOST 6 /* pairs of 16 */
#endif
/* Unrolled, sums stay in registers. */
#define EACH(P) _Pragma("GCC unroll 12") for (int p = 0; p < P; p++)
#define EACH_VECTOR _Pragma("GCC unroll 2") for (int v = 0; v < VECTORS; v++)

/* `function` with its first argument a constant, so that it is compiled for each. */
#define CASE(size, function, ...) case size: function(size, __VA_ARGS__); break;
#if MOST == 12
#define MORE(...) CASE(7, __VA_ARGS__) CASE(8, __VA_ARGS__) CASE(9, __VA_ARGS__) CASE(10, __VA_ARGS__) CASE(11, __VA_ARGS__) CASE(12, __VA_ARGS__)
#else
#define MORE(...)
#endif
#define OF_SIZE(size, ...) \
  switch (size) { \
    CASE(1, __VA_ARGS__) CASE(2, __VA_ARGS__) CASE(3, __VA_ARGS__) CASE(4, __VA_ARGS__) CASE(5, __VA_ARGS__) CASE(6, __VA_ARGS__) \
    MORE(__VA_ARGS__) \
  }

/* Height and width; of a pair of numbers, one for each. */
typedef struct { int64_t high, wide; } Pair;

/* Steps in floats between images, rows and pixels in memory. */
typedef struct { int64_t image, row, pixel; } Steps;

static float *zeros(int64_t count) {
  float *made = floats(count);
  if (made) memset(made, 0, (size_t)count * sizeof(float));
  return made;
}

static int64_t blocks(int64_t channels) { return (channels + WIDE - 1) / WIDE; }

/* The next of equal parts, of MOST at most, in which `left` are gone through. */
static int part_of(int64_t left) {
  int64_t parts = (left + MOST - 1) / MOST;
  return (int)((left + parts - 1) / parts);
}

/* An image (size, channels) to its place in a larger one (padded, step) of zeros, `low` pixels from its beginning. */
static void place(const float *image, Pair size, int64_t channels, float *to, Pair low, Pair padded, int64_t step) {
  int64_t rows = smaller(size.high, padded.high - low.high), columns = larger(0, smaller(size.wide, padded.wide - low.wide));
  for (int64_t row = 0; row < rows; row++) {
    const float *from = image + row * size.wide * channels;
    float *into = to + ((row + low.high) * padded.wide + low.wide) * step;
    if (step == channels)
      memcpy(into, from, (size_t)(columns * channels) * sizeof(float));
    else
      for (int64_t column = 0; column < columns; column++)
        memcpy(into + column * step, from + column * channels, (size_t)channels * sizeof(float));
  }
}

/* A part of what is worked on next, asked for in time to be there. */
static void expect(const float *next, int64_t size, int64_t part, int64_t parts) {
  for (int64_t i = size * part / parts; i < size * (part + 1) / parts; i += LINE) __builtin_prefetch(next + i, 0, 2);
}

/* out[p] = sum over taps and channels: P neighbouring pixels, WIDE channels of which the first `valid` are kept. */
static inline __attribute__((always_inline)) void some_pixels(const int P, const float *in, int64_t step, int64_t channels,
                                                               const int64_t *taps, int64_t count, const float *weights, float *out,
                                                               int64_t out_step, int64_t valid) {
  Lanes sums[MOST][VECTORS];
  EACH(P) EACH_VECTOR sums[p][v] = (Lanes){0};
  for (int64_t tap = 0; tap < count; tap++) {
    const float *at = in + taps[tap];
    for (int64_t channel = 0; channel < channels; channel++) {
      Lanes these[VECTORS];
      EACH_VECTOR these[v] = ((const Lanes *)weights)[v];
      weights += WIDE;
      EACH(P) EACH_VECTOR sums[p][v] += at[p * step + channel] * these[v];
    }
  }
  if (valid >= WIDE)
    EACH(P) EACH_VECTOR ((Loose *)(out + p * out_step))[v] = sums[p][v];
  else
    EACH(P) memcpy(out + p * out_step, sums[p], (size_t)valid * sizeof(float));
}

/* out (size, outputs) = sum over taps and channels of in at (row, column, tap), weights (block, `room` taps, channel, WIDE). */
static void correlate(const float *in, Steps from, int64_t channels, const int64_t *taps, int64_t count, int64_t room, const float *weights,
                      float *out, Steps to, Pair size, int64_t outputs, const float *next, int64_t next_size) {
  for (int64_t block = 0; block < blocks(outputs); block++)
    for (int64_t row = 0; row < size.high; row++) {
      expect(next, next_size, block * size.high + row, blocks(outputs) * size.high);
      for (int64_t column = 0, pixels; column < size.wide; column += pixels) {
        pixels = part_of(size.wide - column);
        OF_SIZE(pixels, some_pixels, in + row * from.row + column * from.pixel, from.pixel, channels, taps, count,
                weights + block * room * channels * WIDE, out + row * to.row + column * to.pixel + block * WIDE, to.pixel,
                outputs - block * WIDE);
      }
    }
}

/* sums (channel, WIDE) += products of P channels of `in` with WIDE of `out`, over the pixels of some images of `size`. */
static inline __attribute__((always_inline)) void some_channels(const int P, const float *in, Steps from, const float *out, Steps of,
                                                                int64_t images, Pair size, float *gradient) {
  Lanes sums[MOST][VECTORS];
  EACH(P) EACH_VECTOR sums[p][v] = (Lanes){0};
  for (int64_t image = 0; image < images; image++)
    for (int64_t row = 0; row < size.high; row++) {
      const float *x = in + image * from.image + row * from.row, *g = out + image * of.image + row * of.row;
      for (int64_t column = 0; column < size.wide; column++, x += from.pixel, g += of.pixel) {
        Lanes these[VECTORS];
        EACH_VECTOR these[v] = ((const Loose *)g)[v];
        EACH(P) EACH_VECTOR sums[p][v] += x[p] * these[v];
      }
    }
  EACH(P) EACH_VECTOR ((Lanes *)(gradient + p * WIDE))[v] += sums[p][v];
}

/* ---- a whole batch ------------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t batch, inputs, outputs;
  Pair images, kernel, out, stride, low; /* low: zeros before the images */
  int64_t threads;
} Shape;

static int64_t pixels(Pair size) { return size.high * size.wide; }

/* Images with just the margin that windows reach. */
static Pair reached(Shape s) {
  return (Pair){(s.out.high - 1) * s.stride.high + s.kernel.high, (s.out.wide - 1) * s.stride.wide + s.kernel.wide};
}

/* Images that are padded and correlated, each by itself: `room` is what a thread has to pad one in. */
typedef struct {
  const float *images;
  Pair size;
  int64_t channels, batch;
  float *in;
  int64_t room;
  Pair low, padded;
  Steps from, to;
  const int64_t *taps;
  int64_t met, count;
  const float *weights;
  float *out;
  Pair out_size;
  int64_t outputs;
} Correlation;

/* The share of a thread: images in a row. */
static void some_images(const void *given, int64_t mine, int64_t threads) {
  const Correlation *c = given;
  int64_t size = pixels(c->size) * c->channels, end = c->batch * (mine + 1) / threads;
  float *in = c->in + mine * c->room;
  for (int64_t image = c->batch * mine / threads; image < end; image++) {
    place(c->images + image * size, c->size, c->channels, in, c->low, c->padded, c->channels);
    correlate(in, c->from, c->channels, c->taps, c->met, c->count, c->weights, c->out + image * c->to.image, c->to, c->out_size, c->outputs,
              c->images + (image + 1) * size, image + 1 < end ? size : 0);
  }
}

/* y = x * w */
static int forward(Shape s, const float *images, const float *kernel, float *out) {
  int64_t count = pixels(s.kernel), all = blocks(s.outputs) * count * s.inputs * WIDE;
  Pair padded = reached(s);
  int64_t room = pixels(padded) * s.inputs;
  Steps from = {0, s.stride.high * padded.wide * s.inputs, s.stride.wide * s.inputs};
  Steps to = {pixels(s.out) * s.outputs, s.out.wide * s.outputs, s.outputs};
  float *in = zeros(s.threads * room), *weights = zeros(all);
  int64_t *taps = malloc((size_t)count * sizeof(int64_t));
  int failed = !in || !weights || !taps;
  if (!failed) {
    for (int64_t row = 0; row < count * s.inputs; row++)
      for (int64_t block = 0; block < blocks(s.outputs); block++)
        memcpy(weights + (block * count * s.inputs + row) * WIDE, kernel + row * s.outputs + block * WIDE,
               (size_t)smaller(WIDE, s.outputs - block * WIDE) * sizeof(float));
    for (int64_t tap = 0; tap < count; tap++) taps[tap] = (tap / s.kernel.wide * padded.wide + tap % s.kernel.wide) * s.inputs;
    in_threads(s.threads, some_images, &(Correlation){images, s.images, s.inputs, s.batch, in, room, s.low, padded, from, to, taps, count, count,
                                                      weights, out, s.out, s.outputs});
  }
  free(in);
  free(weights);
  free(taps);
  return failed;
}

#define ROOM 6144 /* floats of a band of rows: it stays in the nearest cache */
#define FEWEST 64 /* pixels that are summed before the sums are put away: of several images, if they are small */

/* Products of images and gradients, `several` images and `rows` at a time; `in` and `widened` have room for each thread. */
typedef struct {
  Shape s;
  const float *images, *out;
  float *in, *widened, *sums;
  Pair padded;
  int64_t several, rows, width;
  Steps from, of;
} Products;

/* The share of a thread: of all (tap, channels, block) every so many. */
static void some_entries(const void *given, int64_t mine, int64_t threads) {
  const Products *p = given;
  const Shape s = p->s;
  const Steps from = p->from, of = p->of;
  int64_t count = pixels(s.kernel), seen = pixels(s.images) * s.inputs, sent = pixels(s.out) * s.outputs;
  float *in = p->in + mine * p->several * from.image, *widened = p->widened ? p->widened + mine * p->several * of.image : NULL;
  for (int64_t image = 0, some; image < s.batch; image += some) {
    some = smaller(p->several, s.batch - image);
    for (int64_t i = 0; i < some; i++) {
      place(p->images + (image + i) * seen, s.images, s.inputs, in + i * from.image, s.low, p->padded, s.inputs);
      if (widened) place(p->out + (image + i) * sent, s.out, s.outputs, widened + i * of.image, (Pair){0}, s.out, of.pixel);
    }
    const float *gradients = widened ? widened : p->out + image * of.image;
    for (int64_t row = 0; row < s.out.high; row += p->rows) {
      Pair band = {smaller(p->rows, s.out.high - row), s.out.wide};
      if (image + some < s.batch) { /* the first of the next ones, if they are several */
        int64_t part = row / p->rows, parts = (s.out.high + p->rows - 1) / p->rows;
        expect(p->images + (image + some) * seen, seen, part, parts);
        expect(p->out + (image + some) * sent, sent, part, parts);
      }
      int64_t entry = 0;
      for (int64_t tap = 0; tap < count; tap++) {
        const float *x = in + row * from.row + (tap / s.kernel.wide * p->padded.wide + tap % s.kernel.wide) * s.inputs;
        for (int64_t channel = 0, channels; channel < s.inputs; channel += channels) {
          channels = part_of(s.inputs - channel);
          for (int64_t block = 0; block < p->width; block++)
            if (entry++ % threads == mine)
              OF_SIZE(channels, some_channels, x + channel, from, gradients + row * of.row + block * WIDE, of, some, band,
                      p->sums + ((block * count + tap) * s.inputs + channel) * WIDE);
        }
      }
    }
  }
}

/* The gradient of the kernel: x' g */
static int gradient_of_kernel(Shape s, const float *images, const float *out, float *gradient) {
  int64_t count = pixels(s.kernel), width = blocks(s.outputs), step = width * WIDE, all = width * count * s.inputs * WIDE;
  Pair padded = reached(s);
  int64_t several = larger(1, FEWEST / pixels(s.out)), rows = s.out.high;
  if (several == 1) rows = larger(1, ROOM / (padded.wide * s.stride.high * s.inputs + s.out.wide * step));
  Steps from = {pixels(padded) * s.inputs, s.stride.high * padded.wide * s.inputs, s.stride.wide * s.inputs};
  Steps of = {pixels(s.out) * step, s.out.wide * step, step};
  float *in = zeros(s.threads * several * from.image), *sums = zeros(all);
  float *widened = step == s.outputs ? NULL : zeros(s.threads * several * of.image);
  int failed = !in || (step != s.outputs && !widened) || !sums;
  if (!failed) {
    in_threads(s.threads, some_entries, &(Products){s, images, out, in, widened, sums, padded, several, rows, width, from, of});
    for (int64_t row = 0; row < count * s.inputs; row++)
      for (int64_t block = 0; block < width; block++)
        memcpy(gradient + row * s.outputs + block * WIDE, sums + (block * count * s.inputs + row) * WIDE,
               (size_t)smaller(WIDE, s.outputs - block * WIDE) * sizeof(float));
  }
  free(in);
  free(widened);
  free(sums);
  return failed;
}

static int64_t floored(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* The pixel of the output that an image's pixel reaches through a tap, or none. */
static int reaches(int64_t pixel, int64_t low, int64_t tap, int64_t stride, int64_t *output) {
  *output = floored(pixel + low - tap, stride);
  return *output * stride == pixel + low - tap;
}

/* The gradient of the images. Those of a phase, rows and columns that are equal modulo the strides, are reached by the same taps. */
static int gradient_of_images(Shape s, const float *out, const float *kernel, float *gradient) {
  int64_t count = pixels(s.kernel), all = blocks(s.inputs) * count * s.outputs * WIDE;
  Pair before = {larger(0, -floored(s.low.high + 1 - s.kernel.high, s.stride.high)),
                 larger(0, -floored(s.low.wide + 1 - s.kernel.wide, s.stride.wide))};
  Pair padded = {before.high + larger(s.out.high, (s.images.high - 1 + s.low.high) / s.stride.high + 1),
                 before.wide + larger(s.out.wide, (s.images.wide - 1 + s.low.wide) / s.stride.wide + 1)};
  int64_t room = pixels(padded) * s.outputs;
  Steps from = {0, padded.wide * s.outputs, s.outputs};
  Steps to = {pixels(s.images) * s.inputs, s.stride.high * s.images.wide * s.inputs, s.stride.wide * s.inputs};
  float *in = zeros(s.threads * room), *weights = zeros(all);
  int64_t *taps = malloc((size_t)count * sizeof(int64_t));
  int failed = !in || !weights || !taps;
  for (int64_t phase = 0; !failed && phase < pixels(s.stride); phase++) {
    Pair first = {phase / s.stride.wide, phase % s.stride.wide}, output;
    Pair size = {(s.images.high - first.high + s.stride.high - 1) / s.stride.high,
                 (s.images.wide - first.wide + s.stride.wide - 1) / s.stride.wide};
    int64_t met = 0;
    for (int64_t tap = 0; tap < count; tap++)
      if (reaches(first.high, s.low.high, tap / s.kernel.wide, s.stride.high, &output.high) &&
          reaches(first.wide, s.low.wide, tap % s.kernel.wide, s.stride.wide, &output.wide)) {
        taps[met] = ((output.high + before.high) * padded.wide + output.wide + before.wide) * s.outputs;
        for (int64_t to = 0; to < s.inputs; to++) /* all taps have room, those that are met come first */
          for (int64_t from = 0; from < s.outputs; from++)
            weights[((to / WIDE * count + met) * s.outputs + from) * WIDE + to % WIDE] = kernel[(tap * s.inputs + to) * s.outputs + from];
        met++;
      }
    float *there = gradient + (first.high * s.images.wide + first.wide) * s.inputs;
    in_threads(s.threads, some_images, &(Correlation){out, s.out, s.outputs, s.batch, in, room, before, padded, from, to, taps, met, count, weights,
                                                      there, size, s.inputs});
  }
  free(in);
  free(weights);
  free(taps);
  return failed;
}

/* ---- what XLA calls ------------------------------------------------------------------------------------------------ */

/* The numbers: height and width of the strides, and of the zeros before the images; threads. */
static Shape shape(XLA_FFI_CallFrame *frame, const XLA_FFI_Buffer *images, const XLA_FFI_Buffer *kernel, const XLA_FFI_Buffer *out) {
  const int64_t *window = numbers(frame), *x = images->dims, *w = kernel->dims, *y = out->dims;
  return (Shape){x[0], w[2], w[3], {x[1], x[2]}, {w[0], w[1]}, {y[1], y[2]}, {window[0], window[1]}, {window[2], window[3]},
                 smaller(larger(1, window[4]), smaller(MOST_THREADS, x[0]))};
}

/* (images, kernel) -> outputs */
XLA_FFI_Error *convolution(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *images = given(frame, 0), *kernel = given(frame, 1), *out = wanted(frame, 0);
  return answer(frame, forward(shape(frame, images, kernel, out), images->data, kernel->data, out->data));
}

/* (images, gradient of the outputs) -> gradient of the kernel */
XLA_FFI_Error *convolution_gradient_of_kernel(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *images = given(frame, 0), *out = given(frame, 1), *gradient = wanted(frame, 0);
  return answer(frame, gradient_of_kernel(shape(frame, images, gradient, out), images->data, out->data, gradient->data));
}

/* (gradient of the outputs, kernel) -> gradient of the images */
XLA_FFI_Error *convolution_gradient_of_images(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *out = given(frame, 0), *kernel = given(frame, 1), *gradient = wanted(frame, 0);
  return answer(frame, gradient_of_images(shape(frame, gradient, kernel, out), out->data, kernel->data, gradient->data));
}
