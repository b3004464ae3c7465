/* Ring: its life, waiting, leases, counting; sending is in ring_sending.c, receiving in ring_receiving.c.
 * Fast paths keep the GIL, as they take nanoseconds; whatever may sleep lets go of it. */
#include "ring_type.h"

#include "../core/janitor.h"

/* ---- lives ---- */

PyObject *ring_wrap(module_state *state, segment_object *segment, tn_queue queue,
                    uint32_t reference) {
    ring_object *self = PyObject_New(ring_object, state->ring_type);
    if (self == NULL) return NULL;
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
    ring_drop_kept(self, true);
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
        ring_drop_kept(self, false);
        self->reference = self->fork_reference;
        /* Stopped for long between the fork and here, a child is given up. */
        if (!tn_block_held(&self->segment->segment, self->reference)) self->reference = TN_NO_BLOCK;
    }
}

bool ring_enter(ring_object *self) {
    if (self->closed || self->reference == TN_NO_BLOCK) {
        PyErr_SetString(PyExc_ValueError, "the queue is closed in this process");
        return false;
    }
    self->users++;
    return true;
}

void ring_leave(ring_object *self) {
    self->users--;
    if (self->closed) let_go(self);
}

static PyObject *ring_close(ring_object *self, PyObject *unused) {
    (void)unused;
    self->closed = true;
    let_go(self);
    Py_RETURN_NONE;
}

bool ring_parse(PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
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

/* ---- the rest ---- */

static PyObject *ring_wait(ring_object *self, PyObject *args) {
    int wanted;
    PyObject *timeout = Py_None;
    unsigned long long seen = UINT64_MAX;
    int64_t deadline;
    bool waits;
    if (!PyArg_ParseTuple(args, "p|OK", &wanted, &timeout, &seen) ||
        !parse_timeout(timeout, &deadline, &waits)) {
        return NULL;
    }
    if (!ring_enter(self)) return NULL;
    tn_result result = wanted && ring_kept(self) > 0 ? TN_OK : TN_INTERRUPTED;
    while (result == TN_INTERRUPTED) {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_wait(&self->queue, wanted, seen, deadline);
        Py_END_ALLOW_THREADS;
        if (result == TN_INTERRUPTED && PyErr_CheckSignals() < 0) break;
    }
    ring_leave(self);
    return result == TN_INTERRUPTED ? NULL : PyBool_FromLong(result == TN_OK);
}

static PyObject *ring_is_shut(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    bool shut = tn_ring_is_closed(self->queue.ring);
    ring_leave(self);
    return PyBool_FromLong(shut);
}

static PyObject *ring_watch(ring_object *self, PyObject *begins) {
    int truth = PyObject_IsTrue(begins);
    if (truth < 0 || !ring_enter(self)) return NULL;
    bool done = tn_ring_watch(&self->queue, truth);
    ring_leave(self);
    return PyBool_FromLong(done);
}

static PyObject *ring_show(ring_object *self, PyObject *there) {
    int truth = PyObject_IsTrue(there);
    if (truth < 0 || !ring_enter(self)) return NULL;
    tn_ring_show(&self->queue, truth);
    ring_leave(self);
    Py_RETURN_NONE;
}

static PyObject *ring_join(ring_object *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = Py_None;
    int64_t deadline;
    bool waits;
    if (!ring_parse(args, count, kwnames, names, 1, &timeout)) return NULL;
    if (!parse_timeout(timeout, &deadline, &waits) || !ring_enter(self)) return NULL;
    tn_result result;
    do {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_ring_join(&self->queue, deadline);
        Py_END_ALLOW_THREADS;
    } while (result == TN_INTERRUPTED && PyErr_CheckSignals() == 0);
    ring_leave(self);
    return result == TN_INTERRUPTED ? NULL : PyBool_FromLong(result == TN_OK);
}

static PyObject *ring_task_done(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    tn_result result = tn_ring_task_done(&self->queue);
    ring_leave(self);
    if (result == TN_OK) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

static PyObject *ring_revoke(ring_object *self, PyObject *arg) {
    unsigned long long ticket = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred() || !ring_enter(self)) return NULL;
    bool revoked;
    tn_result result;
    Py_BEGIN_ALLOW_THREADS;
    result = tn_ring_revoke(&self->queue, ticket, &revoked);
    Py_END_ALLOW_THREADS;
    ring_leave(self);
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
    if (!ring_enter(self)) return NULL;
    PyObject *answer = NULL;
    uint64_t tag, progress;
    int64_t since;
    if (lease_at(self, arg) != NULL) {
        answer = tn_lease_read(&self->queue, (int)PyLong_AsLong(arg), &tag, &progress, &since)
                     ? Py_BuildValue("(KKd)", (unsigned long long)tag, (unsigned long long)progress,
                                     (double)since / (double)TN_SECOND)
                     : Py_NewRef(Py_None);
    }
    ring_leave(self);
    return answer;
}

static PyObject *ring_release(ring_object *self, PyObject *arg) {
    if (!ring_enter(self)) return NULL;
    tn_lease *lease = lease_at(self, arg);
    if (lease != NULL) tn_lease_release(lease);
    ring_leave(self);
    return lease == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *ring_held(ring_object *self, PyObject *arg) {
    if (!ring_enter(self)) return NULL;
    tn_lease *lease = lease_at(self, arg);
    double seconds = lease == NULL ? 0.0 : (double)tn_lease_held(lease) / (double)TN_SECOND;
    ring_leave(self);
    return lease == NULL ? NULL : PyFloat_FromDouble(seconds);
}

static PyObject *ring_ticking(ring_object *self, PyObject *args) {
    PyObject *iterable, *index;
    if (!PyArg_ParseTuple(args, "OO", &iterable, &index) || !ring_enter(self)) return NULL;
    tn_lease *lease = lease_at(self, index);
    ring_leave(self);
    return lease == NULL ? NULL
                         : ticking_new(state_of(Py_TYPE(self)), (PyObject *)self, iterable, lease);
}

static PyObject *ring_qsize(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    uint64_t depth = tn_ring_depth(&self->queue, NULL) + ring_kept(self);
    ring_leave(self);
    return PyLong_FromUnsignedLongLong(depth);
}

static PyObject *ring_full(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    bool full = tn_ring_full(&self->queue);
    ring_leave(self);
    return PyBool_FromLong(full);
}

static PyObject *ring_shutdown(ring_object *self, PyObject *const *args, Py_ssize_t count,
                               PyObject *kwnames) {
    static const char *const names[] = {"immediate"};
    PyObject *immediate = Py_False;
    if (!ring_parse(args, count, kwnames, names, 1, &immediate)) return NULL;
    int now = PyObject_IsTrue(immediate);
    if (now < 0 || !ring_enter(self)) return NULL;
    tn_ring_shutdown(&self->queue, now);
    ring_leave(self);
    Py_RETURN_NONE;
}

static PyObject *ring_statistics(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    uint64_t bytes, depth = tn_ring_depth(&self->queue, &bytes);
    tn_ring *ring = self->queue.ring;
    unsigned long long put = tn_ring_put_count(ring), got = atomic_load(&ring->get_count);
    PyObject *tuple =
        Py_BuildValue("(KKKKII)", (unsigned long long)depth, (unsigned long long)bytes, put, got,
                      (unsigned int)atomic_load(&ring->items.waiting),
                      (unsigned int)atomic_load(&ring->space.waiting));
    ring_leave(self);
    return tuple;
}

static PyObject *ring_reference(ring_object *self, PyObject *unused) {
    (void)unused;
    if (!ring_enter(self)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    uint32_t index;
    tn_result result = tn_reference_take(&self->segment->segment, self->queue.index, &index);
    ring_leave(self);
    if (result != TN_OK) return raise_result(state, result, "passing a queue on");
    return made_or_release(self->segment, index, reference_wrap(state, self->segment, index));
}

static PyMethodDef ring_methods[] = {
    {"send", FAST(ring_send), "As Channel.send."},
    {"send_many", FAST(ring_send_many), "As Channel.send_many."},
    {"recv", FAST(ring_recv), "As Channel.recv."},
    {"recv_many", FAST(ring_recv_many), "As Channel.recv_many."},
    {"revoke", (PyCFunction)ring_revoke, METH_O, "As Channel.revoke."},
    {"lease", (PyCFunction)ring_lease, METH_O, "lease(index) -> (tag, progress, since) or None"},
    {"held", (PyCFunction)ring_held, METH_O, "As Channel.held."},
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
     "wait(wanted, timeout=None, seen=2**64-1) -> bool: until there is something to take, or "
     "(False)\n"
     "nothing, or nothing of the first `seen` messages that were ever sent"},
    {"watch", (PyCFunction)ring_watch, METH_O,
     "watch(begins): this process has a descriptor that follows the ring, or has it no more"},
    {"show", (PyCFunction)ring_show, METH_O, "show(there): what that descriptor says"},
    {"is_shut", (PyCFunction)ring_is_shut, METH_NOARGS, "Whether nothing more will be sent."},
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
