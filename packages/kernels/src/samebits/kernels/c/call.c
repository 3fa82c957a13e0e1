/* The call of a kernel on NumPy's arrays: reading here what they are and where their data are saves most of the time that Python
 * would take. */

#include "kernels.h"

/* What an array object keeps, from the address of its data on: PyArrayObject_fields of every NumPy since 1.7. */
struct array {
  void *data;
  int axes;
  void *shape, *strides, *base, *dtype;
  int flags; /* bit 0: C-contiguous */
};

struct call {
  int64_t start, stop, columns;
  double *scratch;
  int (*kernel)(const struct job *);
  void *const *dtypes;   /* the dtype objects that the arrays must have, as objects that are C-contiguous; null: not checked */
  int64_t offset, count; /* where in an array object `struct array` begins; how many arrays there are */
  char *arrays[];        /* array objects, or, with a negative offset, data */
};

/* Call a kernel; 3 if the arrays are not what it takes. */
int call_kernel(const struct call *call) {
  struct job job = {call->start, call->stop, call->columns, call->scratch, {0}};
  for (int64_t i = 0; i < call->count; i++) {
    const struct array *array = (const void *)(call->arrays[i] + call->offset);
    if (call->dtypes && (array->dtype != call->dtypes[i] || !(array->flags & 1))) return 3;
    job.arrays[i] = call->offset < 0 ? call->arrays[i] : array->data;
  }
  return call->kernel(&job);
}
