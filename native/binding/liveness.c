/* Binding a child to the life of its parent: the twin of tines.process.liveness._ask_for_signal. One
 * call, as each page that a forked child is the first to touch costs it a fault. */
#include "liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

static bool ask_for_signal(int fd, bool group) {
    return fcntl(fd, F_SETSIG, SIGKILL) == 0 &&
           fcntl(fd, F_SETOWN, group ? -getpgrp() : getpid()) == 0 &&
           fcntl(fd, F_SETFL, O_RDONLY | O_ASYNC) == 0;
}

static bool at_end(int fd) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int count;
    do {
        count = poll(&wanted, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

PyObject *kill_at_end(PyObject *module, PyObject *args) {
    (void)module;
    int fd, group;
    if (!PyArg_ParseTuple(args, "ip:kill_at_end", &fd, &group)) return NULL;
    if (!ask_for_signal(fd, group)) return PyErr_SetFromErrno(PyExc_OSError);
    /* Looked at afterwards, so that an end in between is seen. */
    if (at_end(fd)) kill(group ? 0 : getpid(), SIGKILL);
    Py_RETURN_NONE;
}
