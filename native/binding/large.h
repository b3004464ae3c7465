#ifndef TINES_LARGE_H
#define TINES_LARGE_H

#include "binding.h"

/* Functions of the module: what a buffer has, as an object of its own. */
PyObject *bytes_of(PyObject *module, PyObject *buffer);
PyObject *bytearray_of(PyObject *module, PyObject *buffer);

/* The `bytes` objects of a list that nobody else has, in one. */
PyObject *bytes_joined(PyObject *list);

#endif
