/* Ring: sending, receiving, waiting. Fast paths keep the GIL, as they take nanoseconds; whatever may
 * sleep lets go of it. */
#include "binding.h"

/* ---- lives ---- */

PyObject *ring_wrap(module_state *state, segment_object *segment, tn_queue queue,
                    uint32_t reference) {
    ring_object *self = PyObject_New(ring_object, state->ring_type);
    if (self == NULL) {
        tn_block_release(&segment->segment, reference);
        return NULL;
    }
    *self = (ring_object){.ob_base = self->ob_base, .queue = queue, .reference = reference};
    self->fork_reference = TN_NO_BLOCK;
    self->segment = (segment_object *)Py_NewRef(segment);
    self->next = state->rings;
    if (self->next != NULL) self->next->previous = self;
    state->rings = self;
    return (PyObject *)self;
}

static void let_go(ring_object *self) {
    if (self->reference == TN_NO_BLOCK || self->users > 0) return;
    tn_block_release(&self->segment->segment, self->reference);
    self->reference = TN_NO_BLOCK;
    tn_janitor_call(&self->segment->segment);
}

static void ring_dealloc(ring_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    module_state *state = state_of(type);
    let_go(self);
    if (self->next != NULL) self->next->previous = self->previous;
    if (self->previous != NULL) self->previous->next = self->next;
    else state->rings = self->next;
    Py_DECREF(self->segment);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* Each ring of the parent gets one more reference, the child's. Made by the parent, as the child might be
 * too late: the parent could let go of the ring first. */
void rings_before_fork(module_state *state) {
    for (ring_object *self = state->rings; self != NULL; self = self->next) {
        self->fork_reference = TN_NO_BLOCK;
        if (self->reference == TN_NO_BLOCK) continue;
        tn_segment *segment = &self->segment->segment;
        uint32_t index;
        if (tn_reference_take_for_child(segment, self->queue.index, &index) == TN_OK) {
            self->fork_reference = index;
        }
    }
}

void rings_after_fork_in_child(module_state *state) {
    for (ring_object *self = state->rings; self != NULL; self = self->next) {
        self->users = 0; /* the threads that were inside are the parent's */
        self->reference = self->fork_reference;
        /* Stopped for long between the fork and here, a child is given up. */
        if (!tn_block_held(&self->segment->segment, self->reference)) self->reference = TN_NO_BLOCK;
    }
}

static bool enter(ring_object *self) {
    if (self->closed || self->reference == TN_NO_BLOCK) {
        PyErr_SetString(PyExc_ValueError, "the queue is closed in this process");
        return false;
    }
    self->users++;
    return true;
}

static void leave(ring_object *self) {
    self->users--;
    if (self->closed) let_go(self);
}

static PyObject *ring_close(ring_object *self, PyObject *unused) {
    (void)unused;
    self->closed = true;
    let_go(self);
    Py_RETURN_NONE;
}

/* ---- arguments ---- */

/* Positional and keyword arguments into `values` by `names`; missing ones stay as they are. */
static bool parse(PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                  const char *const *names, Py_ssize_t most, PyObject **values) {
    if (count > most) {
        PyErr_Format(PyExc_TypeError, "takes at most %zd arguments (%zd given)", most, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) values[i] = args[i];
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < named; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = 0;
        while (i < most && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) i++;
        if (i == most) {
            PyErr_Format(PyExc_TypeError, "unexpected keyword argument %R", name);
            return false;
        }
        values[i] = args[count + k];
    }
    return true;
}

static bool parse_kind_and_tag(PyObject *kind, PyObject *tag, tn_outgoing *message) {
    if (kind != NULL) {
        long value = PyLong_AsLong(kind);
        if (value == -1 && PyErr_Occurred()) return false;
        if (value < 0 || value > 255) {
            PyErr_Format(PyExc_ValueError, "kind=%ld is not in 0..255", value);
            return false;
        }
        message->kind = (uint8_t)value;
    }
    if (tag != NULL) {
        unsigned long long value = PyLong_AsUnsignedLongLong(tag);
        if (value == (unsigned long long)-1 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
            PyErr_Clear();
            PyErr_Format(PyExc_ValueError, "tag=%R is not in 0..2**64-1", tag);
            return false;
        }
        message->tag = value;
    }
    return true;
}

/* ---- sending ---- */

typedef struct {
    tn_outgoing message;
    Py_buffer data;
    uint32_t blocks[TN_MOST_BLOCKS];
} parcel;

static bool add_block(ring_object *self, parcel *parcel, PyObject *item) {
    module_state *state = state_of(Py_TYPE(self));
    tn_outgoing *message = &parcel->message;
    if (message->block_count == TN_MOST_BLOCKS) {
        raise_result(state, TN_TOO_MANY, "sending a message with so many buffers");
        return false;
    }
    uint32_t index;
    tn_segment *segment = &self->segment->segment;
    Py_buffer buffer;
    if (PyObject_GetBuffer(item, &buffer, PyBUF_SIMPLE) < 0) return false;
    tn_result result;
    if (buffer.obj != NULL && Py_TYPE(buffer.obj) == state->reference_type) {
        /* A queue: what goes is a reference of its own, the sender keeps its own. */
        const reference_object *reference = (reference_object *)buffer.obj;
        uint32_t target;
        memcpy(&target, reference->handle + 16, sizeof target);
        result = tn_reference_take(segment, target, &index);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_block_take(segment, (uint64_t)buffer.len, &index);
        if (result == TN_OK) {
            memcpy(tn_block_data(segment, tn_block_at(segment, index)), buffer.buf,
                   (size_t)buffer.len);
        }
        Py_END_ALLOW_THREADS;
        message->bytes += (uint64_t)buffer.len;
    }
    PyBuffer_Release(&buffer);
    if (result != TN_OK) {
        raise_result(state, result, "sending a large buffer");
        return false;
    }
    parcel->blocks[message->block_count++] = index;
    return true;
}

/* Give back what a parcel that was not sent holds. */
static void unpack(ring_object *self, parcel *parcel, bool sent) {
    for (uint32_t i = 0; !sent && i < parcel->message.block_count; i++) {
        tn_block_release(&self->segment->segment, parcel->blocks[i]);
    }
    if (parcel->data.obj != NULL) PyBuffer_Release(&parcel->data);
}

static bool add_buffers(ring_object *self, parcel *parcel, PyObject *buffers) {
    PyObject *items = PySequence_Fast(buffers, "buffers has to be a sequence of buffers");
    if (items == NULL) return false;
    bool fine = true;
    for (Py_ssize_t i = 0; fine && i < PySequence_Fast_GET_SIZE(items); i++) {
        fine = add_block(self, parcel, PySequence_Fast_GET_ITEM(items, i));
    }
    Py_DECREF(items);
    return fine;
}

static bool pack(ring_object *self, parcel *parcel, PyObject *data, PyObject *buffers) {
    tn_outgoing *message = &parcel->message;
    message->blocks = parcel->blocks;
    if (PyBytes_CheckExact(data)) {
        message->payload = (const uint8_t *)PyBytes_AS_STRING(data);
        message->length = (uint64_t)PyBytes_GET_SIZE(data);
    } else {
        if (PyObject_GetBuffer(data, &parcel->data, PyBUF_SIMPLE) < 0) return false;
        message->payload = parcel->data.buf;
        message->length = (uint64_t)parcel->data.len;
    }
    if (message->length > TN_INLINE) {
        message->payload_in_block = true;
        message->length = 0;
        if (!add_block(self, parcel, data)) return false;
    } else {
        message->bytes = message->length;
    }
    return buffers == NULL || buffers == state_of(Py_TYPE(self))->no_buffers ||
           add_buffers(self, parcel, buffers);
}

/* TN_TIMED_OUT: it stayed full. Negative: a signal handler raised. */
static int deliver(ring_object *self, parcel *parcel, PyObject *timeout, uint64_t *ticket) {
    int64_t deadline = TN_FOREVER;
    bool waits = true, contended;
    if (timeout != NULL && timeout != Py_None && !parse_timeout(timeout, &deadline, &waits))
        return -1;
    tn_result result = tn_ring_send_now(&self->queue, &parcel->message, ticket, &contended);
    if (result == TN_TIMED_OUT && !waits && !contended) return TN_TIMED_OUT;
    while (result == TN_TIMED_OUT || result == TN_INTERRUPTED) {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_send(&self->queue, &parcel->message, deadline, ticket);
        Py_END_ALLOW_THREADS;
        if (result == TN_TIMED_OUT) break;
        if (result == TN_INTERRUPTED && PyErr_CheckSignals() < 0) return -1;
    }
    return (int)result;
}

static PyObject *ring_send(ring_object *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *kwnames) {
    static const char *const names[] = {"data", "buffers", "kind", "tag", "timeout"};
    PyObject *values[5] = {NULL};
    if (!parse(args, count, kwnames, names, 5, values)) return NULL;
    if (values[0] == NULL) return PyErr_Format(PyExc_TypeError, "send() needs data");
    parcel parcel;
    parcel.message = (tn_outgoing){0};
    parcel.data.obj = NULL;
    uint64_t ticket = 0;
    int result = -1;
    if (!enter(self)) return NULL;
    if (parse_kind_and_tag(values[2], values[3], &parcel.message) &&
        pack(self, &parcel, values[0], values[1])) {
        result = deliver(self, &parcel, values[4], &ticket);
    }
    unpack(self, &parcel, result == TN_OK);
    leave(self);
    if (result < 0) return NULL;
    if (result == TN_OK) return PyLong_FromUnsignedLongLong(ticket);
    if (result == TN_TIMED_OUT) return PyLong_FromLong(-1);
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "sending");
}

/* ---- receiving ---- */

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

static PyObject *ring_recv(ring_object *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *kwnames) {
    static const char *const names[] = {"timeout", "lease"};
    PyObject *values[2] = {NULL};
    if (!parse(args, count, kwnames, names, 2, values)) return NULL;
    long lease = values[1] == NULL ? TN_NO_LEASE : PyLong_AsLong(values[1]);
    if (lease == -1 && PyErr_Occurred()) return NULL;
    if (!enter(self)) return NULL;
    tn_incoming message;
    int result = fetch(self, &message, values[0], (int)lease);
    PyObject *tuple = result == TN_OK ? as_tuple(self, &message) : NULL;
    leave(self);
    if (result < 0 || result == TN_OK) return tuple;
    if (result == TN_TIMED_OUT) Py_RETURN_NONE;
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}

static PyObject *ring_recv_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                                PyObject *kwnames) {
    static const char *const names[] = {"limit", "timeout"};
    PyObject *values[2] = {NULL};
    if (!parse(args, count, kwnames, names, 2, values)) return NULL;
    Py_ssize_t limit = values[0] == NULL ? 1 : PyLong_AsSsize_t(values[0]);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    if (limit < 1) return PyErr_Format(PyExc_ValueError, "limit=%zd has to be at least 1", limit);
    PyObject *list = PyList_New(0);
    if (list == NULL || !enter(self)) {
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
    leave(self);
    if (!failed && (!first || result == TN_TIMED_OUT)) return list;
    Py_DECREF(list);
    return failed ? NULL : raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}

/* ---- the rest ---- */

static PyObject *ring_wait(ring_object *self, PyObject *args) {
    int wanted;
    PyObject *timeout = Py_None;
    int64_t deadline;
    bool waits;
    if (!PyArg_ParseTuple(args, "p|O", &wanted, &timeout) ||
        !parse_timeout(timeout, &deadline, &waits)) {
        return NULL;
    }
    if (!enter(self)) return NULL;
    tn_result result;
    do {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_wait(&self->queue, wanted, deadline);
        Py_END_ALLOW_THREADS;
    } while (result == TN_INTERRUPTED && PyErr_CheckSignals() == 0);
    leave(self);
    return result == TN_INTERRUPTED ? NULL : PyBool_FromLong(result == TN_OK);
}

static PyObject *ring_join(ring_object *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = Py_None;
    int64_t deadline;
    bool waits;
    if (!parse(args, count, kwnames, names, 1, &timeout)) return NULL;
    if (!parse_timeout(timeout, &deadline, &waits) || !enter(self)) return NULL;
    tn_result result;
    do {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_join(&self->queue, deadline);
        Py_END_ALLOW_THREADS;
    } while (result == TN_INTERRUPTED && PyErr_CheckSignals() == 0);
    leave(self);
    return result == TN_INTERRUPTED ? NULL : PyBool_FromLong(result == TN_OK);
}

static PyObject *ring_task_done(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!enter(self)) return NULL;
    tn_result result = tn_ring_task_done(&self->queue);
    leave(self);
    if (result == TN_OK) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

static PyObject *ring_revoke(ring_object *self, PyObject *arg) {
    unsigned long long ticket = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred() || !enter(self)) return NULL;
    bool revoked;
    tn_result result;
    Py_BEGIN_ALLOW_THREADS;
    result = tn_ring_revoke(&self->queue, ticket, &revoked);
    Py_END_ALLOW_THREADS;
    leave(self);
    if (result != TN_OK) return raise_result(state_of(Py_TYPE(self)), result, "revoking");
    return PyBool_FromLong(revoked);
}

static tn_lease *lease_at(ring_object *self, PyObject *arg) {
    long index = PyLong_AsLong(arg);
    if (index == -1 && PyErr_Occurred()) return NULL;
    tn_lease *lease = tn_ring_lease(&self->queue, (int)index);
    if (lease == NULL) {
        PyErr_Format(PyExc_ValueError, "lease=%ld: the channel has %u lease slots", index,
                     self->queue.ring->leases);
    }
    return lease;
}

static PyObject *ring_lease(ring_object *self, PyObject *arg) {
    if (!enter(self)) return NULL;
    PyObject *answer = NULL;
    uint64_t tag, progress;
    int64_t since;
    if (lease_at(self, arg) != NULL) {
        answer = tn_lease_read(&self->queue, (int)PyLong_AsLong(arg), &tag, &progress, &since)
                     ? Py_BuildValue("(KKd)", (unsigned long long)tag, (unsigned long long)progress,
                                     (double)since / (double)TN_SECOND)
                     : Py_NewRef(Py_None);
    }
    leave(self);
    return answer;
}

static PyObject *ring_release(ring_object *self, PyObject *arg) {
    if (!enter(self)) return NULL;
    tn_lease *lease = lease_at(self, arg);
    if (lease != NULL) atomic_store_explicit(&lease->busy, 0, memory_order_release);
    leave(self);
    return lease == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *ring_ticking(ring_object *self, PyObject *args) {
    PyObject *iterable, *index;
    if (!PyArg_ParseTuple(args, "OO", &iterable, &index) || !enter(self)) return NULL;
    tn_lease *lease = lease_at(self, index);
    leave(self);
    return lease == NULL ? NULL
                         : ticking_new(state_of(Py_TYPE(self)), (PyObject *)self, iterable, lease);
}

static PyObject *ring_qsize(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!enter(self)) return NULL;
    uint64_t depth = tn_ring_depth(&self->queue, NULL);
    leave(self);
    return PyLong_FromUnsignedLongLong(depth);
}

static PyObject *ring_full(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!enter(self)) return NULL;
    bool full = tn_ring_full(&self->queue);
    leave(self);
    return PyBool_FromLong(full);
}

static PyObject *ring_shutdown(ring_object *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *kwnames) {
    static const char *const names[] = {"immediate"};
    PyObject *immediate = Py_False;
    if (!parse(args, count, kwnames, names, 1, &immediate)) return NULL;
    int now = PyObject_IsTrue(immediate);
    if (now < 0 || !enter(self)) return NULL;
    tn_ring_shutdown(&self->queue, now);
    leave(self);
    Py_RETURN_NONE;
}

static PyObject *ring_statistics(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!enter(self)) return NULL;
    uint64_t bytes, depth = tn_ring_depth(&self->queue, &bytes);
    tn_ring *ring = self->queue.ring;
    unsigned long long put = atomic_load(&ring->put_count), got = atomic_load(&ring->get_count);
    PyObject *tuple =
        Py_BuildValue("(KKKKII)", (unsigned long long)depth, (unsigned long long)bytes, put, got,
                      (unsigned int)atomic_load(&ring->items.waiting),
                      (unsigned int)atomic_load(&ring->space.waiting));
    leave(self);
    return tuple;
}

static PyObject *ring_reference(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!enter(self)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    uint32_t index;
    tn_result result = tn_reference_take(&self->segment->segment, self->queue.index, &index);
    PyObject *reference = result == TN_OK ? reference_wrap(state, self->segment, index)
                                          : raise_result(state, result, "passing a queue on");
    leave(self);
    return reference;
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef ring_methods[] = {
    {"send", FAST(ring_send), "As Channel.send."},
    {"recv", FAST(ring_recv), "As Channel.recv."},
    {"recv_many", FAST(ring_recv_many), "As Channel.recv_many."},
    {"revoke", (PyCFunction)ring_revoke, METH_O, "As Channel.revoke."},
    {"lease", (PyCFunction)ring_lease, METH_O, "lease(index) -> (tag, progress, since) or None"},
    {"release", (PyCFunction)ring_release, METH_O, "As Channel.release."},
    {"ticking", (PyCFunction)ring_ticking, METH_VARARGS, "As Channel.ticking."},
    {"qsize", (PyCFunction)ring_qsize, METH_NOARGS, "As Channel.qsize."},
    {"full", (PyCFunction)ring_full, METH_NOARGS, "As Channel.full."},
    {"task_done", (PyCFunction)ring_task_done, METH_NOARGS, "As Channel.task_done."},
    {"join", FAST(ring_join), "As Channel.join."},
    {"shutdown", FAST(ring_shutdown), "As Channel.shutdown."},
    {"statistics", (PyCFunction)ring_statistics, METH_NOARGS, "The fields of ChannelStatistics."},
    {"reference", (PyCFunction)ring_reference, METH_NOARGS, "reference() -> Reference"},
    {"wait", (PyCFunction)ring_wait, METH_VARARGS,
     "wait(wanted, timeout=None) -> bool: until there is something to take, or (False) nothing"},
    {"close", (PyCFunction)ring_close, METH_NOARGS, "As Channel.close."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef ring_members[] = {
    {"closed", T_BOOL, offsetof(ring_object, closed), READONLY, "Closed in this process."},
    {"segment", T_OBJECT, offsetof(ring_object, segment), READONLY, "Where it lies."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ring_slots[] = {
    {Py_tp_dealloc, ring_dealloc},
    {Py_tp_methods, ring_methods},
    {Py_tp_members, ring_members},
    {0, NULL},
};

PyType_Spec ring_spec = {
    .name = "tines._native.Ring",
    .basicsize = sizeof(ring_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ring_slots,
};
