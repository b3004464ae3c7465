/* Ring: receiving. */
#include "ring_type.h"

/* The message's blocks as objects; from `first` on. Takes all of them over, also on failure. */
static PyObject *wrap_blocks(ring_object *self, const tn_incoming *message, uint32_t first) {
    module_state *state = state_of(Py_TYPE(self));
    if (first >= message->block_count) return Py_NewRef(state->no_buffers);
    PyObject *buffers = PyTuple_New(message->block_count - first);
    for (uint32_t i = first; i < message->block_count; i++) {
        tn_segment *segment = &self->segment->segment;
        if (buffers == NULL) {
            tn_block_release(segment, message->blocks[i]);
            continue;
        }
        bool reference = tn_block_at(segment, message->blocks[i])->order == 0;
        PyObject *item = reference ? reference_wrap(state, self->segment, message->blocks[i])
                                   : block_wrap(state, self->segment, message->blocks[i]);
        if (item == NULL) Py_CLEAR(buffers);
        else PyTuple_SET_ITEM(buffers, i - first, item);
    }
    return buffers;
}

static PyObject *as_tuple(ring_object *self, const tn_incoming *message) {
    PyObject *data;
    uint32_t first = 0;
    if (message->payload_in_block && message->block_count > 0) {
        data = block_wrap(state_of(Py_TYPE(self)), self->segment, message->blocks[0]);
        first = 1;
    } else {
        data = PyBytes_FromStringAndSize((const char *)message->payload, message->length);
    }
    PyObject *buffers = wrap_blocks(self, message, first);
    PyObject *tag = PyLong_FromUnsignedLongLong(message->tag);
    PyObject *kind = PyLong_FromLong(message->kind);
    PyObject *tuple = data && buffers && tag && kind ? PyTuple_New(4) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(data);
        Py_XDECREF(buffers);
        Py_XDECREF(tag);
        Py_XDECREF(kind);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, kind);
    PyTuple_SET_ITEM(tuple, 1, tag);
    PyTuple_SET_ITEM(tuple, 2, data);
    PyTuple_SET_ITEM(tuple, 3, buffers);
    return tuple;
}

/* As `deliver`: TN_TIMED_OUT when none came, negative with an error set. */
static int fetch(ring_object *self, tn_incoming *message, PyObject *timeout, int lease) {
    int64_t deadline = TN_FOREVER;
    bool waits = true, contended;
    if (timeout != NULL && timeout != Py_None && !parse_timeout(timeout, &deadline, &waits))
        return -1;
    tn_result result = tn_ring_recv_now(&self->queue, message, lease, &contended);
    if (result == TN_TIMED_OUT && !waits && !contended) return TN_TIMED_OUT;
    while (result == TN_TIMED_OUT || result == TN_INTERRUPTED) {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_recv(&self->queue, message, lease, deadline);
        Py_END_ALLOW_THREADS;
        if (result == TN_TIMED_OUT) break;
        if (result == TN_INTERRUPTED && PyErr_CheckSignals() < 0) return -1;
    }
    return (int)result;
}

PyObject *ring_recv(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames) {
    static const char *const names[] = {"timeout", "lease"};
    PyObject *values[2] = {NULL};
    if (!ring_parse(args, count, kwnames, names, 2, values)) return NULL;
    long lease = values[1] == NULL ? TN_NO_LEASE : PyLong_AsLong(values[1]);
    if (lease == -1 && PyErr_Occurred()) return NULL;
    if (!ring_enter(self)) return NULL;
    tn_incoming message;
    int result = fetch(self, &message, values[0], (int)lease);
    PyObject *tuple = result == TN_OK ? as_tuple(self, &message) : NULL;
    ring_leave(self);
    if (result < 0 || result == TN_OK) return tuple;
    if (result == TN_TIMED_OUT) Py_RETURN_NONE;
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}

PyObject *ring_recv_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames) {
    static const char *const names[] = {"limit", "timeout"};
    PyObject *values[2] = {NULL};
    if (!ring_parse(args, count, kwnames, names, 2, values)) return NULL;
    Py_ssize_t limit = values[0] == NULL ? 1 : PyLong_AsSsize_t(values[0]);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    if (limit < 1) return PyErr_Format(PyExc_ValueError, "limit=%zd has to be at least 1", limit);
    PyObject *list = PyList_New(0);
    if (list == NULL || !ring_enter(self)) {
        Py_XDECREF(list);
        return NULL;
    }
    tn_incoming message;
    int result = fetch(self, &message, values[1], TN_NO_LEASE);
    bool failed = result < 0, first = true;
    while (result == TN_OK) {
        PyObject *tuple = as_tuple(self, &message);
        failed = tuple == NULL || PyList_Append(list, tuple) < 0;
        Py_XDECREF(tuple);
        first = false;
        if (failed || PyList_GET_SIZE(list) >= limit) break;
        bool contended;
        result = (int)tn_ring_recv_now(&self->queue, &message, TN_NO_LEASE, &contended);
    }
    ring_leave(self);
    if (!failed && (!first || result == TN_TIMED_OUT)) return list;
    Py_DECREF(list);
    return failed ? NULL : raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}
