/* What the files of the type Ring share. */
#ifndef TINES_RING_TYPE_H
#define TINES_RING_TYPE_H

#include "binding.h"

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

/* Around everything that uses the queue: it stays mapped meanwhile. False with an error set: closed. */
bool ring_enter(ring_object *self);
void ring_leave(ring_object *self);

/* Positional and keyword arguments into `values` by `names`; missing ones stay as they are. */
bool ring_parse(PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                const char *const *names, Py_ssize_t most, PyObject **values);

PyObject *ring_send(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);
PyObject *ring_send_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames);
PyObject *ring_recv(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);
PyObject *ring_recv_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames);

#endif
