/* What every file of handlers of XLA's foreign function interface begins with (tombola.core.native). */

#ifndef TOMBOLA_NATIVE_H
#define TOMBOLA_NATIVE_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

/* Vectors as wide as the processor's; LANES floats each. */
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* From the beginning of a cache line on, of any value; NULL where there is no memory. */
static inline float *floats(int64_t count) { return aligned_alloc(64, ((size_t)count * sizeof(float) + 127) / 64 * 64); }

static inline const XLA_FFI_Buffer *given(XLA_FFI_CallFrame *frame, int place) { return frame->args.args[place]; }

static inline const XLA_FFI_Buffer *wanted(XLA_FFI_CallFrame *frame, int place) { return frame->rets.rets[place]; }

/* Integers that were fixed when the program was compiled: the only attribute. */
static inline const int64_t *numbers(XLA_FFI_CallFrame *frame) { return ((const XLA_FFI_Array *)frame->attrs.attrs[0])->data; }

static inline XLA_FFI_Error *answer(XLA_FFI_CallFrame *frame, int failed) {
  if (!failed) return NULL;
  XLA_FFI_Error_Create_Args error = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, NULL, "no memory for a handler in C",
                                     XLA_FFI_Error_Code_RESOURCE_EXHAUSTED};
  return frame->api->XLA_FFI_Error_Create(&error);
}

/* When a handler is registered, XLA asks it which interface it was written for. */
static inline int asked_for_version(XLA_FFI_CallFrame *frame) {
  XLA_FFI_Extension_Base *extension = frame->extension_start;
  if (!extension || extension->type != XLA_FFI_Extension_Metadata) return 0;
  XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  return 1;
}

#define MOST_THREADS 64

/* What one of several threads does of a job. */
typedef struct {
  void (*work)(const void *job, int64_t mine, int64_t threads);
  const void *job;
  int64_t mine, threads;
} Share;

static inline void *begin_share(void *given) {
  const Share *share = given;
  share->work(share->job, share->mine, share->threads);
  return NULL;
}

/* work(job, mine, threads) for each of the shares; one for which there is no thread is done by this one. */
static inline void in_threads(int64_t threads, void (*work)(const void *, int64_t, int64_t), const void *job) {
  Share shares[MOST_THREADS];
  pthread_t others[MOST_THREADS];
  int64_t begun = 1;
  for (; begun < threads; begun++) {
    shares[begun] = (Share){work, job, begun, threads};
    if (pthread_create(&others[begun], NULL, begin_share, &shares[begun])) break;
  }
  work(job, 0, threads);
  for (int64_t other = begun; other < threads; other++) work(job, other, threads);
  for (int64_t other = 1; other < begun; other++) pthread_join(others[other], NULL);
}

#endif
