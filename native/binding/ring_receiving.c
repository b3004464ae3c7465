/* Ring: receiving. */
#include "ring_type.h"

/* A message's buffers while its blocks become objects: `next` is the first block that is not yet one. */
typedef struct {
    ring_object *self;
    const tn_incoming *message;
    uint32_t next;
    PyObject *buffers; /* a tuple, with holes at first */
} inbox;

static PyObject *wrap_next(inbox *box) {
    segment_object *segment = box->self->segment;
    uint32_t index = box->message->blocks[box->next++];
    module_state *state = state_of(Py_TYPE(box->self));
    const tn_block *block = tn_block_at(&segment->segment, index);
    if (block->order != 0) return block_wrap(state, segment, index);
    if (tn_referred_data(&segment->segment, index) != NULL)
        return block_receive(state, segment, index);
    return reference_wrap(state, segment, index);
}

/* `pack` as it was opened; `whole` is its block. */
static bool place_parts(inbox *box, tn_unpacking *pack, block_object *whole) {
    module_state *state = state_of(Py_TYPE(box->self));
    for (uint32_t i = 0; i < pack->head.parts; i++) {
        tn_part part;
        uint64_t at;
        if (!tn_pack_next(pack, &part, &at) || part.place >= PyTuple_GET_SIZE(box->buffers) ||
            PyTuple_GET_ITEM(box->buffers, part.place) != NULL) {
            raise_result(state, TN_CORRUPT, "receiving many buffers");
            return false;
        }
        PyObject *item = part_of(state, whole, at, part.length);
        if (item == NULL) return false;
        PyTuple_SET_ITEM(box->buffers, part.place, item);
    }
    return true;
}

/* Make the tuple for all buffers, as the first pack says how many they are. */
static bool begin_packed(inbox *box, const tn_pack *title) {
    const tn_incoming *message = box->message;
    uint32_t blocks = message->block_count - (box->next - 1);
    uint64_t most = 0; /* each of the parts takes room in a pack */
    for (uint32_t i = box->next - 1; i < message->block_count; i++) {
        tn_segment *segment = &box->self->segment->segment;
        most +=
            tn_block_length(segment, tn_block_at(segment, message->blocks[i])) / sizeof(tn_part) +
            1;
    }
    if (title->packs == 0 || title->packs > blocks || title->buffers > most) {
        raise_result(state_of(Py_TYPE(box->self)), TN_CORRUPT, "receiving many buffers");
        return false;
    }
    box->buffers = PyTuple_New(title->buffers);
    return box->buffers != NULL;
}

static bool unpack_parts(inbox *box) {
    for (uint32_t i = 0, packs = 1; i < packs; i++) {
        block_object *whole = (block_object *)wrap_next(box);
        if (whole == NULL) return false;
        tn_unpacking pack;
        bool fine = Py_TYPE(whole) == state_of(Py_TYPE(box->self))->block_type &&
                    tn_pack_open(&pack, whole->data, whole->length);
        if (!fine) raise_result(state_of(Py_TYPE(box->self)), TN_CORRUPT, "receiving many buffers");
        if (fine && i == 0) {
            fine = begin_packed(box, &pack.head);
            packs = pack.head.packs;
        }
        fine = fine && place_parts(box, &pack, whole);
        Py_DECREF(whole);
        if (!fine) return false;
    }
    return true;
}

/* What is a block of its own: its place is the next hole. */
static bool place_others(inbox *box) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(box->buffers); i++) {
        if (PyTuple_GET_ITEM(box->buffers, i) != NULL) continue;
        if (box->next >= box->message->block_count) {
            raise_result(state_of(Py_TYPE(box->self)), TN_CORRUPT, "receiving many buffers");
            return false;
        }
        PyObject *item = wrap_next(box);
        if (item == NULL) return false;
        PyTuple_SET_ITEM(box->buffers, i, item);
    }
    return true;
}

/* The message's blocks as objects; from `first` on. Takes all of them over, also on failure. */
static PyObject *wrap_blocks(ring_object *self, const tn_incoming *message, uint32_t first) {
    if (first >= message->block_count) return Py_NewRef(state_of(Py_TYPE(self))->no_buffers);
    inbox box = {.self = self, .message = message, .next = first};
    if (!message->packed) box.buffers = PyTuple_New(message->block_count - first);
    bool fine = message->packed ? unpack_parts(&box) : box.buffers != NULL;
    fine = fine && place_others(&box);
    while (box.next < message->block_count)
        tn_block_release(&self->segment->segment, message->blocks[box.next++]);
    if (!fine) Py_CLEAR(box.buffers);
    return box.buffers;
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
