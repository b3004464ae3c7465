/* Part: one buffer of a pack that was received. */
#include "binding.h"

/* `at` and `length` lie within the block. */
PyObject *part_of(module_state *state, block_object *whole, uint64_t at, uint64_t length) {
    part_object *self = PyObject_New(part_object, state->part_type);
    if (self == NULL) return NULL;
    self->whole = (block_object *)Py_NewRef(whole);
    self->weak_references = NULL;
    self->data = whole->data + at;
    self->length = length;
    return (PyObject *)self;
}

static void part_dealloc(part_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->weak_references != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    Py_DECREF(self->whole);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int part_getbuffer(part_object *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->data, (Py_ssize_t)self->length, 0,
                             flags);
}

static Py_ssize_t part_length(part_object *self) {
    return (Py_ssize_t)self->length;
}

static PyMemberDef part_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(part_object, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot part_slots[] = {
    {Py_tp_dealloc, part_dealloc},
    {Py_tp_members, part_members},
    {Py_bf_getbuffer, part_getbuffer},
    {Py_sq_length, part_length},
    {0, NULL},
};

PyType_Spec part_spec = {
    .name = "tines._native.Part",
    .basicsize = sizeof(part_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = part_slots,
};
