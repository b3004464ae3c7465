/* Ticking: an iterator that records in a lease how far it has come, at a store an item, so that after
 * a death it is known which item was running. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *ring, *iterator;
    tn_lease *lease;
    uint64_t begun;
} ticking_object;

PyObject *ticking_new(module_state *state, PyObject *ring, PyObject *iterable, tn_lease *lease) {
    PyObject *iterator = PyObject_GetIter(iterable);
    if (iterator == NULL) return NULL;
    ticking_object *self = PyObject_GC_New(ticking_object, state->ticking_type);
    if (self == NULL) {
        Py_DECREF(iterator);
        return NULL;
    }
    self->ring = Py_NewRef(ring);
    self->iterator = iterator;
    self->lease = lease;
    self->begun = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *ticking_next(ticking_object *self) {
    PyObject *item = Py_TYPE(self->iterator)->tp_iternext(self->iterator);
    if (item == NULL || ((ring_object *)self->ring)->reference == TN_NO_BLOCK) return item;
    atomic_store_explicit(&self->lease->progress, ++self->begun, memory_order_release);
    return item;
}

static int ticking_traverse(ticking_object *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->iterator);
    Py_VISIT(self->ring);
    return 0;
}

static int ticking_clear(ticking_object *self) {
    Py_CLEAR(self->iterator);
    return 0;
}

static void ticking_dealloc(ticking_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->iterator);
    Py_XDECREF(self->ring);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot ticking_slots[] = {
    {Py_tp_dealloc, ticking_dealloc}, {Py_tp_traverse, ticking_traverse},
    {Py_tp_clear, ticking_clear},     {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, ticking_next},   {0, NULL},
};

PyType_Spec ticking_spec = {
    .name = "tines._native.Ticking",
    .basicsize = sizeof(ticking_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ticking_slots,
};
