/* See forking.c: functions of the module, and what calls them. */
#ifndef TINES_FORKING_H
#define TINES_FORKING_H

#include "binding.h"

PyObject *before_fork(PyObject *module, PyObject *unused);
PyObject *after_fork_in_parent(PyObject *module, PyObject *unused);
PyObject *after_fork_in_child(PyObject *module, PyObject *unused);
PyObject *isolate(PyObject *module, PyObject *unused);
/* Have os.fork() refused where it has to be, if that may come to pass in this process. */
void forks_watch_audit(module_state *state);

#endif
