/* How the objects of a class are taken apart for a pickle, where the class leaves that to Python. */
#ifndef TINES_WAYS_H
#define TINES_WAYS_H

#include "binding.h"

enum { WAYS = 64 };

typedef struct {
    PyTypeObject *type; /* to compare with only: it may be gone */
    unsigned int tag;   /* 0: the class has none */
    PyObject *reducer;  /* or None; NULL where nothing is known */
} way;

/* A borrowed reference to the reducer of a class, or to None. `find` is asked what is not known. */
PyObject *ways_find(way *ways, PyObject *find, PyTypeObject *type);
PyObject *reducer_of_kind(PyObject *module, PyObject *args);

#endif
