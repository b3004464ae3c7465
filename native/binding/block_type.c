/* Block and Reference: what a message carries beside its bytes. */
#include "binding.h"

#include "../core/janitor.h"
#include "../core/slots.h"
#include "../core/views.h"

static block_object *allocate(module_state *state, segment_object *segment, uint32_t index) {
    block_object *self = PyObject_New(block_object, state->block_type);
    if (self == NULL) return NULL;
    *self = (block_object){.ob_base = self->ob_base, .index = index};
    self->reference = self->fork_reference = TN_NO_BLOCK;
    self->segment = (segment_object *)Py_NewRef(segment);
    self->next = state->blocks;
    if (self->next != NULL) self->next->previous = self;
    state->blocks = self;
    const tn_block *block = tn_block_at(&segment->segment, index);
    self->length = block == NULL ? 0 : tn_block_length(&segment->segment, block);
    return self;
}

PyObject *block_wrap(module_state *state, segment_object *segment, uint32_t index) {
    block_object *self = allocate(state, segment, index);
    if (self == NULL) return NULL;
    self->data = tn_view_open(&segment->segment, tn_block_at(&segment->segment, index));
    if (self->data == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->owned = true;
    return (PyObject *)self;
}

void block_disown(block_object *self) {
    self->owned = false;
    self->reference = TN_NO_BLOCK;
}

/* A Block of this process's own, to be filled and sent. */
PyObject *block_take(module_state *state, segment_object *segment, uint64_t length) {
    uint32_t index;
    tn_result result;
    Py_BEGIN_ALLOW_THREADS;
    result = tn_block_take(&segment->segment, length, &index);
    Py_END_ALLOW_THREADS;
    if (result != TN_OK) return raise_result(state, result, "taking shared memory");
    PyObject *made = made_or_release(segment, index, block_wrap(state, segment, index));
    block_object *self = (block_object *)made;
    /* The pages are there, but not in the mapping that Python sees: one call, instead of a fault for each
     * page that is written. */
    if (self != NULL) tn_view_expect(self->data, self->length);
    return made;
}

/* The SHARED block, to be read, with a reference to it. */
static PyObject *show_shared(module_state *state, segment_object *segment, uint32_t index,
                             uint32_t reference) {
    block_object *self = allocate(state, segment, index);
    if (self == NULL) return NULL;
    uint8_t *data = tn_view_at(&segment->segment, tn_block_at(&segment->segment, index));
    if (data == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->shared = true;
    self->data = data;
    self->reference = reference;
    return (PyObject *)self;
}

PyObject *block_copy(module_state *state, segment_object *segment, Py_buffer *from) {
    uint32_t index, reference;
    tn_result result;
    Py_BEGIN_ALLOW_THREADS;
    result = tn_block_take(&segment->segment, (uint64_t)from->len, &index);
    if (result == TN_OK) {
        const tn_block *block = tn_block_at(&segment->segment, index);
        memcpy(tn_block_data(&segment->segment, block), from->buf, (size_t)from->len);
        result = tn_block_share(&segment->segment, index, &reference);
        if (result != TN_OK) tn_block_release(&segment->segment, index);
    }
    Py_END_ALLOW_THREADS;
    if (result != TN_OK) return raise_result(state, result, "copying a buffer to shared memory");
    return made_or_release(segment, reference, show_shared(state, segment, index, reference));
}

/* With a reference to the SHARED block: a mapping of its own, copy on write. */
static PyObject *map_private(module_state *state, segment_object *segment, uint32_t index,
                             uint32_t reference) {
    block_object *self = allocate(state, segment, index);
    if (self == NULL) return NULL;
    self->data = tn_view_map(&segment->segment, tn_block_at(&segment->segment, index));
    if (self->data == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->mapped = true;
    self->reference = reference;
    return (PyObject *)self;
}

PyObject *block_receive(module_state *state, segment_object *segment, uint32_t reference) {
    uint32_t index = atomic_load(&tn_block_at(&segment->segment, reference)->target);
    if (tn_referred_data(&segment->segment, reference) == NULL)
        return raise_result(state, TN_CORRUPT, "receiving a shared buffer");
    return map_private(state, segment, index, reference);
}

PyObject *block_open_private(module_state *state, segment_object *segment, uint64_t handle) {
    uint32_t index = (uint32_t)handle, reference;
    if (tn_shared_open(&segment->segment, index, (uint32_t)(handle >> 32), &reference) != TN_OK) {
        PyErr_SetString(state->transport_error,
                        "what was shared is gone: its maker closed it or ended");
        return NULL;
    }
    return made_or_release(segment, reference, map_private(state, segment, index, reference));
}

/* Of a view that is not a mapping of its own. */
static uint64_t place_of(const block_object *self) {
    return (uint64_t)(self->data - self->segment->segment.views);
}

static void block_dealloc(block_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    module_state *state = state_of(type);
    if (self->weak_references != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    tn_segment *segment = &self->segment->segment;
    if (self->mapped) tn_view_unmap(self->data, self->length);
    else if (self->data != NULL && !self->given)
        tn_view_close(segment, place_of(self), self->length);
    if (self->owned) tn_block_release(segment, self->index);
    if (self->reference != TN_NO_BLOCK) tn_block_release(segment, self->reference);
    if (self->owned || self->reference != TN_NO_BLOCK) tn_janitor_call(segment);
    if (self->next != NULL) self->next->previous = self->previous;
    if (self->previous != NULL) self->previous->next = self->next;
    else state->blocks = self->next;
    Py_DECREF(self->segment);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int block_getbuffer(block_object *self, Py_buffer *view, int flags) {
    if (self->stays && self->reference == TN_NO_BLOCK) {
        PyErr_SetString(PyExc_BufferError,
                        "this block stayed with the process that forked this one");
        return -1;
    }
    return PyBuffer_FillInfo(view, (PyObject *)self, self->data, (Py_ssize_t)self->length,
                             self->shared, flags);
}

static Py_ssize_t block_length(block_object *self) {
    return (Py_ssize_t)self->length;
}

static PyObject *block_index(block_object *self, void *unused) {
    (void)unused;
    const tn_block *block = tn_block_at(&self->segment->segment, self->index);
    uint64_t birth = self->reference == TN_NO_BLOCK ? 0 : atomic_load(&block->ring);
    return PyLong_FromUnsignedLongLong(birth << 32 | self->index);
}

/* Only what is shared has it: a message then has a reference to it, and that stays out of pickles. */
static PyObject *block_travels(block_object *self, void *unused) {
    (void)unused;
    if (self->shared) Py_RETURN_TRUE;
    return PyErr_Format(PyExc_AttributeError, "this block is copied, or handed over");
}

static PyObject *block_holds(block_object *self, PyObject *other) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(other, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    bool same = (uint64_t)buffer.len == self->length;
    Py_BEGIN_ALLOW_THREADS;
    same = same && memcmp(self->data, buffer.buf, (size_t)buffer.len) == 0;
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&buffer);
    return PyBool_FromLong(same);
}

/* ---- fork ---- */

/* Handed over whole, and so the child's as much as the parent's if they fork now. */
static bool is_exposed(const block_object *self, const segment_object *segment) {
    return self->segment == segment && self->owned && self->length > 0;
}

/* Part the exposed views, in one go: neighbours cost one operation. */
static bool part_views(module_state *state, segment_object *segment, uint32_t count) {
    tn_stretch *stretches = malloc(count * sizeof *stretches);
    uint32_t some = 0;
    if (stretches == NULL) return false;
    for (block_object *self = state->blocks; self != NULL && some < count; self = self->next) {
        if (!is_exposed(self, segment)) continue;
        if (tn_view_is_apart(&segment->segment, place_of(self), self->length)) continue;
        stretches[some++] = (tn_stretch){place_of(self), self->length};
    }
    bool parted = tn_views_part(&segment->segment, stretches, some);
    int error = errno;
    free(stretches);
    errno = error;
    return parted;
}

static tn_result isolate_in(module_state *state, segment_object *segment) {
    uint32_t count = 0;
    for (block_object *self = state->blocks; self != NULL; self = self->next)
        count += is_exposed(self, segment);
    if (count == 0) return TN_OK;
    if (!part_views(state, segment, count)) return TN_SYSTEM_ERROR;
    for (block_object *self = state->blocks; self != NULL; self = self->next) {
        if (!is_exposed(self, segment)) continue;
        tn_result result = tn_block_share(&segment->segment, self->index, &self->reference);
        if (result != TN_OK) {
            self->reference = TN_NO_BLOCK;
            return result;
        }
        self->owned = false;
    }
    return TN_OK;
}

tn_result blocks_isolate(module_state *state) {
    tn_result result = TN_OK;
    for (segment_object *at = state->segments; at != NULL && result == TN_OK; at = at->next)
        result = isolate_in(state, at);
    return result;
}

/* Not TN_OK: a child that is forked now must not live, as it would share what this process received. */
tn_result blocks_before_fork(module_state *state) {
    tn_result result = blocks_isolate(state);
    for (block_object *self = state->blocks; self != NULL; self = self->next) {
        self->fork_reference = TN_NO_BLOCK;
        if (result == TN_OK && self->reference != TN_NO_BLOCK && !self->stays)
            result = tn_reference_take_for_child(&self->segment->segment, self->index,
                                                 &self->fork_reference);
    }
    return result;
}

/* What was received is SHARED by now, and the child has references of its own. */
void blocks_after_fork_in_child(module_state *state) {
    for (block_object *self = state->blocks; self != NULL; self = self->next) {
        self->owned = false;
        bool held = tn_block_held(&self->segment->segment, self->fork_reference);
        self->reference = held ? self->fork_reference : TN_NO_BLOCK;
    }
}

static PyGetSetDef block_properties[] = {
    {"index", (getter)block_index, NULL, "Its handle, for Segment.private.", NULL},
    {"travels_beside", (getter)block_travels, NULL,
     "There, and true, where messages have references to it, and no copy.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef block_methods[] = {
    {"holds", (PyCFunction)block_holds, METH_O, "holds(buffer): whether it has just these bytes"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef block_members[] = {
    {"stays", T_BOOL, offsetof(block_object, stays), 0,
     "Whether it, if it is shared, stays with this process: a forked child does not keep it."},
    {"yields", T_BOOL, offsetof(block_object, yields), 0,
     "Whether a message takes it over: who says so has seen that nobody else will use its bytes."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(block_object, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, block_dealloc},
    {Py_tp_members, block_members},
    {Py_tp_getset, block_properties},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {Py_tp_methods, block_methods},
    {0, NULL},
};

PyType_Spec block_spec = {
    .name = "tines._native.Block",
    .basicsize = sizeof(block_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = block_slots,
};

/* ---- Reference ---- */

PyObject *reference_wrap(module_state *state, segment_object *segment, uint32_t index) {
    uint32_t target = atomic_load(&tn_block_at(&segment->segment, index)->target);
    tn_queue queue;
    tn_sync sync;
    uint64_t birth;
    if (tn_ring_open(&segment->segment, target, &queue) == TN_OK) birth = queue.ring->birth;
    else if (tn_sync_open(&segment->segment, target, &sync) == TN_OK)
        birth = atomic_load(&tn_block_at(&segment->segment, target)->ring);
    else return raise_result(state, TN_CORRUPT, "receiving a queue or lock");
    reference_object *self = PyObject_New(reference_object, state->reference_type);
    if (self == NULL) return NULL;
    self->segment = (segment_object *)Py_NewRef(segment);
    self->index = index;
    memset(self->handle, 0, sizeof self->handle);
    memcpy(self->handle, segment->segment.header->id, 16);
    memcpy(self->handle + 16, &target, sizeof target);
    memcpy(self->handle + 24, &birth, sizeof birth);
    return (PyObject *)self;
}

void reference_disown(reference_object *self) {
    self->index = TN_NO_BLOCK;
}

static void reference_dealloc(reference_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->index != TN_NO_BLOCK) tn_block_release(&self->segment->segment, self->index);
    Py_DECREF(self->segment);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* The first takes over what came with the message; a message that is decoded again opens by the handle. */
static PyObject *reference_open(reference_object *self, PyObject *unused) {
    (void)unused;
    module_state *state = state_of(Py_TYPE(self));
    tn_segment *segment = &self->segment->segment;
    tn_queue queue;
    tn_sync sync;
    uint32_t target, index = self->index;
    uint64_t birth;
    memcpy(&target, self->handle + 16, sizeof target);
    memcpy(&birth, self->handle + 24, sizeof birth);
    tn_result result = index != TN_NO_BLOCK ? TN_OK : tn_reference_take(segment, target, &index);
    if (result != TN_OK) return raise_result(state, result, "opening a queue or lock again");
    bool is_ring = tn_ring_open(segment, target, &queue) == TN_OK && queue.ring->birth == birth;
    bool is_sync = !is_ring && tn_sync_open(segment, target, &sync) == TN_OK &&
                   atomic_load(&tn_block_at(segment, target)->ring) == birth;
    if (!is_ring && !is_sync) {
        if (self->index == TN_NO_BLOCK) tn_block_release(segment, index);
        return raise_result(state, TN_CORRUPT, "opening a queue or lock");
    }
    PyObject *made = is_ring ? ring_wrap(state, self->segment, queue, index)
                             : sync_wrap(state, self->segment, sync, index);
    if (made != NULL) self->index = TN_NO_BLOCK;
    else if (self->index == TN_NO_BLOCK) tn_block_release(segment, index);
    return made;
}

static int reference_getbuffer(reference_object *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->handle, sizeof self->handle, 1, flags);
}

static PyObject *reference_travels(PyObject *self, void *unused) {
    (void)self;
    (void)unused;
    Py_RETURN_TRUE;
}

static PyGetSetDef reference_properties[] = {
    {"travels_beside", reference_travels, NULL, "Kept out of pickles: the ring passes it on.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef reference_methods[] = {
    {"open", (PyCFunction)reference_open, METH_NOARGS, "open() -> Ring, Lock, Flag or Waiters"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reference_slots[] = {
    {Py_tp_dealloc, reference_dealloc},
    {Py_tp_methods, reference_methods},
    {Py_tp_getset, reference_properties},
    {Py_bf_getbuffer, reference_getbuffer},
    {0, NULL},
};

PyType_Spec reference_spec = {
    .name = "tines._native.Reference",
    .basicsize = sizeof(reference_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = reference_slots,
};
