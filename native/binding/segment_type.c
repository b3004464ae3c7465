/* Segment: the program's shared memory. */
#include "binding.h"
#include "forking.h"

#include "../core/janitor.h"
#include "../core/slots.h"
#include "../core/sweep.h"
#include "../core/waiters.h"
#include "../platform/memory_file.h"

static segment_object *allocate(module_state *state) {
    forks_watch_audit(state);
    segment_object *self = PyObject_New(segment_object, state->segment_type);
    if (self == NULL) return NULL;
    self->segment = (tn_segment){.fd = -1, .child_mark = -1};
    self->previous = NULL;
    self->next = state->segments;
    if (self->next != NULL) self->next->previous = self;
    state->segments = self;
    return self;
}

PyObject *segment_create(module_state *state, uint64_t size) {
    segment_object *self = allocate(state);
    if (self == NULL) return NULL;
    tn_result result = tn_segment_create(&self->segment, size);
    if (result == TN_OK) return (PyObject *)self;
    self->segment.fd = -1;
    raise_result(state, result, "creating shared memory");
    Py_DECREF(self);
    return NULL;
}

PyObject *segment_attach(module_state *state, int fd) {
    segment_object *self = allocate(state);
    if (self == NULL) return NULL;
    tn_result result = tn_segment_attach(&self->segment, fd);
    if (result == TN_OK) return (PyObject *)self;
    self->segment.fd = -1;
    raise_result(state, result, "attaching shared memory");
    Py_DECREF(self);
    return NULL;
}

static void segment_dealloc(segment_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->next != NULL) self->next->previous = self->previous;
    if (self->previous != NULL) self->previous->next = self->next;
    else state_of(type)->segments = self->next;
    tn_janitor_stop(); /* it may be looking at this very segment */
    tn_segment_unmap(&self->segment);
    if (self->segment.fd >= 0) tn_memory_file_close(self->segment.fd);
    PyObject_Free(self);
    Py_DECREF(type);
}

void segments_before_fork(module_state *state) {
    for (segment_object *self = state->segments; self != NULL; self = self->next) {
        if (self->segment.base != NULL) tn_segment_expect_child(&self->segment);
    }
}

void segments_after_fork_in_parent(module_state *state) {
    for (segment_object *self = state->segments; self != NULL; self = self->next) {
        if (self->segment.base != NULL) tn_segment_forked(&self->segment);
    }
}

/* The child is a process of its own in each segment, also in one of which it has no ring yet. */
void segments_after_fork_in_child(module_state *state) {
    for (segment_object *self = state->segments; self != NULL; self = self->next) {
        if (self->segment.base != NULL) tn_segment_register(&self->segment);
    }
}

static PyObject *segment_ring(segment_object *self, PyObject *args) {
    unsigned long long max_items, max_bytes;
    unsigned int leases;
    if (!PyArg_ParseTuple(args, "KKI", &max_items, &max_bytes, &leases)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    tn_queue queue;
    uint32_t reference;
    tn_result result =
        tn_ring_create(&self->segment, max_items, max_bytes, leases, &queue, &reference);
    if (result != TN_OK) return raise_result(state, result, "making a queue");
    return made_or_release(self, reference, ring_wrap(state, self, queue, reference));
}

/* A ring from the bytes of a handle: for handles that came by another way than a ring's message. */
static PyObject *segment_open(segment_object *self, PyObject *args) {
    unsigned int index;
    unsigned long long birth;
    if (!PyArg_ParseTuple(args, "IK", &index, &birth)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    uint32_t reference;
    tn_queue queue;
    tn_result result = tn_reference_take(&self->segment, index, &reference);
    if (result == TN_OK) {
        result = tn_ring_open(&self->segment, index, &queue);
        if (result == TN_OK && queue.ring->birth != birth) result = TN_CORRUPT;
        if (result != TN_OK) tn_block_release(&self->segment, reference);
    }
    if (result == TN_OK)
        return made_or_release(self, reference, ring_wrap(state, self, queue, reference));
    PyErr_SetString(state->transport_error,
                    "the queue is gone: every process that held it has let go of it or ended");
    return NULL;
}

static PyObject *segment_primitive(segment_object *self, PyObject *args) {
    int kind;
    unsigned long long value, limit;
    if (!PyArg_ParseTuple(args, "iKK", &kind, &value, &limit)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    tn_sync sync;
    uint32_t reference;
    if (kind == TN_WAITERS) limit = TN_MOST_WAITERS;
    tn_result result =
        tn_sync_create(&self->segment, (tn_kind)kind, value, limit, &sync, &reference);
    if (result != TN_OK) return raise_result(state, result, "making a lock");
    return made_or_release(self, reference, sync_wrap(state, self, sync, reference));
}

static PyObject *segment_open_primitive(segment_object *self, PyObject *args) {
    unsigned int index;
    unsigned long long birth;
    if (!PyArg_ParseTuple(args, "IK", &index, &birth)) return NULL;
    module_state *state = state_of(Py_TYPE(self));
    uint32_t reference;
    tn_sync sync;
    tn_result result = tn_shared_open(&self->segment, index, (uint32_t)birth, &reference);
    if (result == TN_OK) {
        result = tn_sync_open(&self->segment, index, &sync);
        if (result != TN_OK) tn_block_release(&self->segment, reference);
    }
    if (result == TN_OK)
        return made_or_release(self, reference, sync_wrap(state, self, sync, reference));
    PyErr_SetString(state->transport_error,
                    "the lock is gone: every process that had it has let go of it or ended");
    return NULL;
}

static PyObject *segment_block(segment_object *self, PyObject *arg) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(arg, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    PyObject *block = block_copy(state_of(Py_TYPE(self)), self, &buffer);
    PyBuffer_Release(&buffer);
    return block;
}

static PyObject *segment_take(segment_object *self, PyObject *arg) {
    unsigned long long length = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred()) return NULL;
    return block_take(state_of(Py_TYPE(self)), self, length);
}

static PyObject *segment_private(segment_object *self, PyObject *arg) {
    unsigned long long handle = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred()) return NULL;
    return block_open_private(state_of(Py_TYPE(self)), self, handle);
}

static PyObject *segment_sweep(segment_object *self, PyObject *arg) {
    unsigned long pid = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred()) return NULL;
    int died;
    Py_BEGIN_ALLOW_THREADS;
    died = tn_segment_sweep(&self->segment, (uint32_t)pid);
    Py_END_ALLOW_THREADS;
    return PyLong_FromLong(died);
}

static PyObject *segment_trim(segment_object *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tn_arena_trim(&self->segment, 0, TN_FOREVER));
}

/* Counts of blocks by state, and bytes: what the leak tests and statistics look at. */
static PyObject *segment_census(segment_object *self, PyObject *unused) {
    (void)unused;
    unsigned long long count[TN_RING + 1] = {0}, held = 0, references = 0;
    uint32_t used = tn_blocks_used(&self->segment);
    for (uint32_t i = 0; i < used; i++) {
        const tn_block *block = tn_block_at(&self->segment, i);
        tn_state state = tn_state_of(block);
        if (state == TN_SHARED) state = TN_HELD; /* by those who have references */
        if (state > TN_RING) continue;
        if (block->order == 0 && state != TN_FREE) {
            references++;
            continue;
        }
        count[state]++;
        if (state != TN_FREE) held += block->touched;
    }
    return Py_BuildValue("{sKsKsKsKsKsKsKsK}", "free", count[TN_FREE], "held", count[TN_HELD],
                         "sent", count[TN_SENT], "chunks", count[TN_CHUNK], "rings", count[TN_RING],
                         "references", references, "bytes_used", held, "bytes_cached",
                         (unsigned long long)atomic_load(&self->segment.header->cached));
}

static PyObject *segment_fd(segment_object *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(self->segment.fd);
}

static PyObject *segment_size(segment_object *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->segment.size);
}

static PyObject *segment_id(segment_object *self, void *unused) {
    (void)unused;
    const uint8_t *id = self->segment.header->id;
    return PyBytes_FromStringAndSize((const char *)id, sizeof self->segment.header->id);
}

static PyMethodDef segment_methods[] = {
    {"ring", (PyCFunction)segment_ring, METH_VARARGS, "ring(max_items, max_bytes, leases) -> Ring"},
    {"open", (PyCFunction)segment_open, METH_VARARGS, "open(index, birth) -> Ring"},
    {"primitive", (PyCFunction)segment_primitive, METH_VARARGS,
     "primitive(kind, value, limit) -> Lock, Flag, Waiters or Memory"},
    {"open_primitive", (PyCFunction)segment_open_primitive, METH_VARARGS,
     "open_primitive(index, birth) -> Lock, Flag, Waiters or Memory"},
    {"block", (PyCFunction)segment_block, METH_O, "block(buffer) -> Block: a copy of it"},
    {"take", (PyCFunction)segment_take, METH_O, "take(length) -> Block, to be filled and sent"},
    {"private", (PyCFunction)segment_private, METH_O,
     "private(index) -> Block: a copy-on-write view"},
    {"sweep", (PyCFunction)segment_sweep, METH_O, "sweep(pid) -> dead processes found; 0 for all"},
    {"trim", (PyCFunction)segment_trim, METH_NOARGS, "trim() -> bytes still cached"},
    {"census", (PyCFunction)segment_census, METH_NOARGS, "census() -> dict of counts"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef segment_properties[] = {
    {"fd", (getter)segment_fd, NULL, "The memory file's descriptor.", NULL},
    {"size", (getter)segment_size, NULL, "Bytes of address space.", NULL},
    {"id", (getter)segment_id, NULL, "16 random bytes.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot segment_slots[] = {
    {Py_tp_dealloc, segment_dealloc},
    {Py_tp_methods, segment_methods},
    {Py_tp_getset, segment_properties},
    {0, NULL},
};

PyType_Spec segment_spec = {
    .name = "tines._native.Segment",
    .basicsize = sizeof(segment_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = segment_slots,
};
