/* What the module takes from liveness.c. */
#ifndef TINES_LIVENESS_H
#define TINES_LIVENESS_H

#include "binding.h"

PyObject *end_with_parent(PyObject *module, PyObject *args);
PyObject *set_parent_death_signal(PyObject *module, PyObject *arg);

#endif
