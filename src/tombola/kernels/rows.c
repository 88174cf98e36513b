/* Rows of a table: a handler of XLA's foreign function interface. XLA's CPU back end gathers them element by element. */

#include "native.h"

static const size_t SIZES[] = {[XLA_FFI_DataType_F32] = 4, [XLA_FFI_DataType_U8] = 1, [XLA_FFI_DataType_S32] = 4};

/* (table, indices) -> rows */
XLA_FFI_Error *rows(XLA_FFI_CallFrame *frame) {
  if (asked_for_version(frame)) return NULL;
  const XLA_FFI_Buffer *table = given(frame, 0), *indices = given(frame, 1), *out = wanted(frame, 0);
  const int32_t *index = indices->data;
  size_t size = SIZES[table->dtype];
  for (int64_t axis = 1; axis < table->rank; axis++) size *= (size_t)table->dims[axis];
  for (int64_t row = 0; row < indices->dims[0]; row++) {
    int64_t from = larger(0, smaller(index[row], table->dims[0] - 1));
    memcpy((char *)out->data + (size_t)row * size, (const char *)table->data + (size_t)from * size, size);
  }
  return NULL;
}
