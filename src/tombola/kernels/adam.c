/* A step of Adam on every leaf, in one pass over gradients, weights and moments: a handler of XLA's foreign function
   interface. XLA's CPU back end goes over them three times, once for each of what comes out. */

#include <math.h>

#include "native.h"

typedef struct {
  float rate, first, second; /* learning rate; 1 / (1 - b1^t), 1 / (1 - b2^t) */
  float b1, rest1, b2, rest2, epsilon; /* of the moments, and 1 - b1, 1 - b2 */
  float before, after; /* weight decay, as a term of the gradient or of the update */
} Constants;

/* Where the mask is 0, a weight is held; without one, none is. */
static void step(const Constants *constants, int64_t size, const float *restrict gradient, const uint8_t *restrict mask, float *restrict weights,
                 float *restrict first, float *restrict second) {
  const Constants c = *constants;
  for (int64_t i = 0; i < size; i++) {
    float w = weights[i], g = gradient[i] + c.before * w;
    float m = first[i] = c.b1 * first[i] + c.rest1 * g;
    float v = second[i] = c.b2 * second[i] + c.rest2 * (g * g);
    float moved = w - c.rate * (m * c.first / (sqrtf(v * c.second) + c.epsilon) + c.after * w);
    weights[i] = !mask || mask[i] ? moved : w;
  }
}

static int64_t size_of(const XLA_FFI_Buffer *buffer) {
  int64_t size = 1;
  for (int64_t axis = 0; axis < buffer->rank; axis++) size *= buffer->dims[axis];
  return size;
}

/* (constants, then of each leaf: gradient, mask or nothing, weights, moments) -> of each leaf: weights, moments, in their places */
XLA_FFI_Error *adam(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  for (int leaf = 0; leaf < frame->rets.size / 3; leaf++) {
    const XLA_FFI_Buffer *gradient = given(frame, 1 + 5 * leaf), *mask = given(frame, 2 + 5 * leaf);
    step(given(frame, 0)->data, size_of(gradient), gradient->data, size_of(mask) ? mask->data : NULL, wanted(frame, 3 * leaf)->data,
         wanted(frame, 3 * leaf + 1)->data, wanted(frame, 3 * leaf + 2)->data);
  }
  return NULL;
}
