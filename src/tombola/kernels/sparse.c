/* Products of a dense batch with a sparse matrix, and their gradients: handlers of XLA's foreign function interface.

   The matrix W (inputs, outputs) is stored in bands of rows, one or more, and by columns within a band: column j of band b holds values[p]
   at row rows[p] for starts[i] <= p < starts[i + 1], i = b * outputs + j; what lies behind the last start is padding. A
   tile of examples is transposed, so that one weight meets TILE examples side by side; a band of a tile stays in a core's
   nearest cache. The work is that of the stored weights. */

#include "native.h"

#define TILE 64
#define VECTORS (TILE / LANES)
#define EACH_VECTOR _Pragma("GCC unroll 8") for (int v = 0; v < VECTORS; v++) /* unrolled, they stay in registers */

static Lanes *tiles(int64_t features) { return (Lanes *)floats(features * TILE); }

typedef float Eight __attribute__((vector_size(32)));
#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int Places __attribute__((vector_size(32)));
#define PICK(a, b, ...) __builtin_shuffle(a, b, (Places){__VA_ARGS__})
#endif

/* An 8 x 8 block from one place to another, turned over its diagonal; steps are between its rows. */
static void turn(const float *from, int64_t from_step, float *to, int64_t to_step) {
  Eight row[8], pair[8], four[8];
  for (int i = 0; i < 8; i++) memcpy(&row[i], from + i * from_step, sizeof(Eight));
  for (int i = 0; i < 8; i += 2) {
    pair[i] = PICK(row[i], row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = PICK(row[i], row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      four[i + 2 * j] = PICK(pair[i + j], pair[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      four[i + 2 * j + 1] = PICK(pair[i + j], pair[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    row[i] = PICK(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    row[i + 4] = PICK(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < 8; i++) memcpy(to + i * to_step, &row[i], sizeof(Eight));
}

/* (rows, columns) -> (columns, rows); steps are between rows. */
static void transpose(const float *from, int64_t from_step, int64_t rows, int64_t columns, float *to, int64_t to_step) {
  int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (int64_t column = 0; column < whole_columns; column += 8)
    for (int64_t row = 0; row < whole_rows; row += 8) turn(from + row * from_step + column, from_step, to + column * to_step + row, to_step);
  for (int64_t row = 0; row < rows; row++)
    for (int64_t column = row < whole_rows ? whole_columns : 0; column < columns; column++)
      to[column * to_step + row] = from[row * from_step + column];
}

/* (count, features) -> (features, TILE), zeros where there are fewer than TILE examples. */
static void transpose_in(const float *dense, int64_t count, int64_t features, float *tile) {
  for (int64_t feature = 0; feature < (count < TILE ? features : 0); feature++)
    memset(tile + feature * TILE + count, 0, (size_t)(TILE - count) * sizeof(float));
  transpose(dense, features, count, features, tile, TILE);
}

static void transpose_out(const float *tile, int64_t count, int64_t features, float *dense) {
  transpose(tile, TILE, features, count, dense, features);
}

/* The sums of 8 rows of 8, side by side. */
static Eight sums(const Eight *row) {
  Eight two[4], four[2];
  for (int i = 0; i < 4; i++)
    two[i] = PICK(row[2 * i], row[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13) + PICK(row[2 * i], row[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  for (int i = 0; i < 2; i++)
    four[i] = PICK(two[2 * i], two[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) + PICK(two[2 * i], two[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
  return PICK(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11) + PICK(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

/* The products of a row with a column, added up to 8. */
static inline Eight products(const Lanes *row, const Lanes *column) {
  Lanes total = row[0] * column[0];
  EACH_VECTOR if (v > 0) total += row[v] * column[v];
  Eight part[LANES / 8];
  memcpy(part, &total, sizeof(total));
  return LANES == 16 ? part[0] + part[LANES / 8 - 1] : part[0];
}

/* y = x W */
static int product(const float *x, const float *values, const int32_t *rows, const int32_t *starts, float *y, int64_t batch,
                   int64_t inputs, int64_t outputs, int64_t columns) {
  Lanes *in = tiles(inputs), *out = tiles(outputs);
  if (in && out)
    for (int64_t first = 0; first < batch; first += TILE) {
      int64_t count = smaller(TILE, batch - first);
      transpose_in(x + first * inputs, count, inputs, (float *)in);
      memset(out, 0, (size_t)outputs * TILE * sizeof(float));
      for (int64_t i = 0; i < columns; i++) {
        if (starts[i] == starts[i + 1]) continue;
        Lanes total[VECTORS], *column = out + i % outputs * VECTORS;
        EACH_VECTOR total[v] = column[v];
        for (int32_t p = starts[i]; p < starts[i + 1]; p++) {
          const Lanes *row = in + (int64_t)rows[p] * VECTORS;
          EACH_VECTOR total[v] += values[p] * row[v];
        }
        EACH_VECTOR column[v] = total[v];
      }
      transpose_out((float *)out, count, outputs, y + first * outputs);
    }
  int failed = !in || !out;
  free(in);
  free(out);
  return failed;
}

/* The gradient of the stored values, x' g at their places; 0 in the padding. */
static int gradient_of_values(const float *x, const float *g, const int32_t *rows, const int32_t *starts, float *gradient, int64_t batch,
                              int64_t inputs, int64_t outputs, int64_t columns, int64_t stored) {
  Lanes *in = tiles(inputs), *out = tiles(outputs);
  memset(gradient, 0, (size_t)stored * sizeof(float));
  if (in && out)
    for (int64_t first = 0; first < batch; first += TILE) {
      int64_t count = smaller(TILE, batch - first);
      transpose_in(x + first * inputs, count, inputs, (float *)in);
      transpose_in(g + first * outputs, count, outputs, (float *)out);
      for (int64_t i = 0; i < columns; i++) {
        if (starts[i] == starts[i + 1]) continue;
        Lanes column[VECTORS];
        EACH_VECTOR column[v] = out[i % outputs * VECTORS + v];
        for (int32_t p = starts[i], last = starts[i + 1] - 1; p <= last; p += 8) {
          Eight some[8], total; /* at the end of a column, its last weight several times */
          for (int j = 0; j < 8; j++) some[j] = products(in + (int64_t)rows[smaller(p + j, last)] * VECTORS, column);
          total = sums(some);
          for (int j = 0; j < smaller(8, last + 1 - p); j++) gradient[p + j] += total[j];
        }
      }
    }
  int failed = !in || !out;
  free(in);
  free(out);
  return failed;
}

/* The gradient of the inputs, g W'. */
static int gradient_of_inputs(const float *g, const float *values, const int32_t *rows, const int32_t *starts, float *gradient,
                              int64_t batch, int64_t inputs, int64_t outputs, int64_t columns) {
  Lanes *in = tiles(inputs), *out = tiles(outputs);
  if (in && out)
    for (int64_t first = 0; first < batch; first += TILE) {
      int64_t count = smaller(TILE, batch - first);
      transpose_in(g + first * outputs, count, outputs, (float *)out);
      memset(in, 0, (size_t)inputs * TILE * sizeof(float));
      for (int64_t i = 0; i < columns; i++) {
        if (starts[i] == starts[i + 1]) continue;
        Lanes column[VECTORS];
        EACH_VECTOR column[v] = out[i % outputs * VECTORS + v];
        for (int32_t p = starts[i]; p < starts[i + 1]; p++) {
          Lanes *row = in + (int64_t)rows[p] * VECTORS;
          EACH_VECTOR row[v] += values[p] * column[v];
        }
      }
      transpose_out((float *)in, count, inputs, gradient + first * inputs);
    }
  int failed = !in || !out;
  free(in);
  free(out);
  return failed;
}

/* ---- what XLA calls ------------------------------------------------------------------------------------------------ */

/* Columns of all bands. */
static int64_t columns(const XLA_FFI_Buffer *starts) { return starts->dims[0] - 1; }

/* (x, values, rows, starts) -> y */
XLA_FFI_Error *sparse_product(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *x = given(frame, 0), *y = wanted(frame, 0);
  return answer(frame, product(x->data, given(frame, 1)->data, given(frame, 2)->data, given(frame, 3)->data, y->data, x->dims[0],
                               x->dims[1], y->dims[1], columns(given(frame, 3))));
}

/* (x, g, rows, starts) -> gradient of the values */
XLA_FFI_Error *sparse_gradient_of_values(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *x = given(frame, 0), *g = given(frame, 1), *gradient = wanted(frame, 0);
  return answer(frame, gradient_of_values(x->data, g->data, given(frame, 2)->data, given(frame, 3)->data, gradient->data, x->dims[0],
                                          x->dims[1], g->dims[1], columns(given(frame, 3)), gradient->dims[0]));
}

/* (g, values, rows, starts) -> gradient of x */
XLA_FFI_Error *sparse_gradient_of_inputs(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *g = given(frame, 0), *gradient = wanted(frame, 0);
  return answer(frame, gradient_of_inputs(g->data, given(frame, 1)->data, given(frame, 2)->data, given(frame, 3)->data, gradient->data,
                                          g->dims[0], gradient->dims[1], g->dims[1], columns(given(frame, 3))));
}
