/* What the module takes from liveness.c. */
#ifndef TINES_LIVENESS_H
#define TINES_LIVENESS_H

#include "binding.h"

PyObject *kill_at_end(PyObject *module, PyObject *args);

#endif
