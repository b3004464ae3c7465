/* What the files of the type Ring share. */
#ifndef TINES_RING_TYPE_H
#define TINES_RING_TYPE_H

#include "../core/packs.h"
#include "binding.h"

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

/* Around everything that uses the queue: it stays mapped meanwhile. False with an error set: closed. */
bool ring_enter(ring_object *self);
void ring_leave(ring_object *self);

/* How many messages this process has taken whose objects could not be made. */
uint64_t ring_kept(const ring_object *self);
/* Let go of these, and of their blocks unless those are the process's that has forked this one. */
void ring_drop_kept(ring_object *self, bool blocks);

/* Positional and keyword arguments into `values` by `names`; missing ones stay as they are. */
bool ring_parse(PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                const char *const *names, Py_ssize_t most, PyObject **values);

/* Whose bytes an item is, itself or seen through a memoryview, as pickling gives it. Borrowed, or NULL. */
static inline PyObject *ring_exporter(PyObject *item) {
    return PyMemoryView_Check(item) ? PyMemoryView_GET_BUFFER(item)->obj : item;
}

/* The buffers of a message that are packed, in their order; `small` are their bytes and places. */
typedef struct packing {
    Py_buffer *views;
    tn_small *small;
    uint32_t count;
    uint64_t most; /* bytes of one pack */
} packing;

/* Choose them among the items, a tuple, for a message that has room for so many blocks. False: an error is
 * set, and what it has is to be ended all the same. */
bool packing_begin(ring_object *self, PyObject *items, uint32_t room, packing *packing);
/* Copy them to blocks, which are the message's first buffers; it has so many in all. Needs no GIL. */
tn_result packing_copy(tn_segment *segment, const packing *packing, uint32_t buffers,
                       tn_outgoing *message, uint32_t *blocks);
void packing_end(packing *packing);

PyObject *ring_send(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);
PyObject *ring_send_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames);
PyObject *ring_recv(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);
PyObject *ring_recv_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames);

#endif
