/* The call of a kernel on NumPy's arrays: reading here where their data are saves most of the time that Python would take. */

#include "kernels.h"

struct call {
  int64_t start, stop, columns;
  double *scratch;
  int (*kernel)(const struct job *);
  int64_t offset, count; /* where in an array object the address of its data is; how many arrays there are */
  char *arrays[];        /* array objects, or, with a negative offset, data */
};

int call_kernel(const struct call *call) {
  struct job job = {call->start, call->stop, call->columns, call->scratch, {0}};
  for (int64_t i = 0; i < call->count; i++)
    job.arrays[i] = call->offset < 0 ? call->arrays[i] : *(void **)(call->arrays[i] + call->offset);
  return call->kernel(&job);
}
