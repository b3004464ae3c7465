/* Ring: receiving.
 *
 * A message is taken in one step of the core, where no object can be made, and its objects are made after that.
 * If there is no memory for one of them, the message is kept as it was taken, blocks and all, and is the next
 * that this process receives from the ring: so whoever was given a MemoryError has lost nothing, and may
 * call again. It needs no memory to keep one, as a message is taken into a letter that was there before. */
#include "ring_type.h"

struct letter {
    tn_incoming message;
    letter *next;
    bool again; /* it was kept before */
};

/* An empty one; NULL with an error set. */
static letter *letter_begin(module_state *state) {
    letter *letter = state->letters;
    if (letter == NULL) letter = PyMem_Malloc(sizeof *letter);
    else state->letters = letter->next;
    if (letter == NULL) PyErr_NoMemory();
    else letter->again = false;
    return letter;
}

/* There are as many as were ever used at the same time. */
static void letter_end(module_state *state, letter *letter) {
    letter->next = state->letters;
    state->letters = letter;
}

static void release_blocks(const ring_object *self, const tn_incoming *message) {
    for (uint32_t i = 0; i < message->block_count; i++)
        tn_block_release(&self->segment->segment, message->blocks[i]);
}

uint64_t ring_kept(const ring_object *self) {
    uint64_t count = 0;
    for (const letter *letter = self->kept; letter != NULL; letter = letter->next) count++;
    return count;
}

void ring_drop_kept(ring_object *self, bool blocks) {
    while (self->kept != NULL) {
        letter *letter = self->kept;
        self->kept = letter->next;
        if (blocks) release_blocks(self, &letter->message);
        letter_end(state_of(Py_TYPE(self)), letter);
    }
}

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

/* It was not received after all: what it had of the message is the message's again. */
static void disown(const module_state *state, PyObject *item) {
    if (item == NULL) return;
    if (Py_TYPE(item) == state->part_type) item = (PyObject *)((part_object *)item)->whole;
    if (Py_TYPE(item) == state->block_type) block_disown((block_object *)item);
    if (Py_TYPE(item) == state->reference_type) reference_disown((reference_object *)item);
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
                    tn_pack_open(&pack, whole->data, whole->length) && pack.head.parts > 0;
        if (!fine) raise_result(state_of(Py_TYPE(box->self)), TN_CORRUPT, "receiving many buffers");
        if (fine && i == 0) {
            fine = begin_packed(box, &pack.head);
            packs = pack.head.packs;
        }
        fine = fine && place_parts(box, &pack, whole);
        if (!fine) disown(state_of(Py_TYPE(box->self)), (PyObject *)whole);
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

/* The message's blocks as objects; from `first` on. NULL: it has all of them still. */
static PyObject *wrap_blocks(ring_object *self, const tn_incoming *message, uint32_t first) {
    if (first >= message->block_count) return Py_NewRef(state_of(Py_TYPE(self))->no_buffers);
    inbox box = {.self = self, .message = message, .next = first};
    if (!message->packed) box.buffers = PyTuple_New(message->block_count - first);
    bool fine = message->packed ? unpack_parts(&box) : box.buffers != NULL;
    if (fine && place_others(&box)) {
        /* More blocks than buffers: nobody is to have them. */
        while (box.next < message->block_count)
            tn_block_release(&self->segment->segment, message->blocks[box.next++]);
        return box.buffers;
    }
    Py_ssize_t count = box.buffers == NULL ? 0 : PyTuple_GET_SIZE(box.buffers);
    for (Py_ssize_t i = 0; i < count; i++)
        disown(state_of(Py_TYPE(self)), PyTuple_GET_ITEM(box.buffers, i));
    Py_CLEAR(box.buffers);
    return NULL;
}

/* NULL: the message has all that it had. */
static PyObject *as_tuple(ring_object *self, const tn_incoming *message) {
    module_state *state = state_of(Py_TYPE(self));
    bool in_block = message->payload_in_block && message->block_count > 0;
    PyObject *tuple = PyTuple_New(4);
    PyObject *tag = tuple == NULL ? NULL : PyLong_FromUnsignedLongLong(message->tag);
    PyObject *data = NULL, *buffers = NULL;
    if (tag != NULL && in_block) data = block_wrap(state, self->segment, message->blocks[0]);
    else if (tag != NULL)
        data = PyBytes_FromStringAndSize((const char *)message->payload, message->length);
    if (data != NULL) buffers = wrap_blocks(self, message, in_block);
    if (buffers == NULL) {
        disown(state, data);
        Py_XDECREF(data);
        Py_XDECREF(tag);
        Py_XDECREF(tuple);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, PyLong_FromLong(message->kind)); /* one of those that are kept */
    PyTuple_SET_ITEM(tuple, 1, tag);
    PyTuple_SET_ITEM(tuple, 2, data);
    PyTuple_SET_ITEM(tuple, 3, buffers);
    return tuple;
}

/* Behind what was taken before it, by another thread for example. */
static void keep(ring_object *self, letter *kept) {
    letter **at = &self->kept;
    while (*at != NULL && !kept->again) at = &(*at)->next;
    kept->again = true;
    kept->next = *at;
    *at = kept;
}

/* Make the objects of a message that was taken, and be done with the letter; or keep it for the next call.
 * What cannot be right is let go of. */
static PyObject *open_letter(ring_object *self, letter *letter) {
    PyObject *tuple = as_tuple(self, &letter->message);
    if (tuple == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        keep(self, letter);
        return NULL;
    }
    if (tuple == NULL) release_blocks(self, &letter->message);
    letter_end(state_of(Py_TYPE(self)), letter);
    return tuple;
}

/* The message that was kept longest, if any. An immediate shutdown is the end of those as well. */
static letter *next_kept(ring_object *self) {
    if (self->kept != NULL && atomic_load(&self->queue.ring->dropped)) ring_drop_kept(self, true);
    letter *letter = self->kept;
    if (letter != NULL) self->kept = letter->next;
    return letter;
}

/* As `deliver`: TN_TIMED_OUT when none came, negative with an error set. */
static int fetch(ring_object *self, tn_incoming *message, PyObject *timeout, int lease) {
    int64_t deadline = TN_FOREVER;
    bool waits = true, contended;
    if (timeout != Py_None && !parse_timeout(timeout, &deadline, &waits)) return -1;
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

/* The next message; as `fetch`, or, without a timeout, as far as that needs no waiting. */
static int take_letter(ring_object *self, letter **letter, PyObject *timeout, int lease) {
    *letter = next_kept(self);
    if (*letter != NULL) return TN_OK;
    module_state *state = state_of(Py_TYPE(self));
    *letter = letter_begin(state);
    if (*letter == NULL) return -1;
    tn_incoming *message = &(*letter)->message;
    bool contended;
    int result = timeout != NULL ? fetch(self, message, timeout, lease)
                                 : (int)tn_ring_recv_now(&self->queue, message, lease, &contended);
    if (result != TN_OK) letter_end(state, *letter);
    return result;
}

PyObject *ring_recv(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames) {
    static const char *const names[] = {"timeout", "lease"};
    PyObject *values[2] = {Py_None, NULL};
    if (!ring_parse(args, count, kwnames, names, 2, values)) return NULL;
    long lease = values[1] == NULL ? TN_NO_LEASE : PyLong_AsLong(values[1]);
    if (lease == -1 && PyErr_Occurred()) return NULL;
    if (!ring_enter(self)) return NULL;
    letter *letter;
    int result = take_letter(self, &letter, values[0], (int)lease);
    PyObject *tuple = result == TN_OK ? open_letter(self, letter) : NULL;
    ring_leave(self);
    if (result < 0 || result == TN_OK) return tuple;
    if (result == TN_TIMED_OUT) Py_RETURN_NONE;
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}

/* Append the next message, for which there is room before it is taken. As `fetch`. */
static int append_next(ring_object *self, PyObject *list, PyObject *timeout) {
    Py_ssize_t place = PyList_GET_SIZE(list);
    if (PyList_Append(list, Py_None) < 0) return -1;
    letter *letter;
    int result = take_letter(self, &letter, timeout, TN_NO_LEASE);
    PyObject *tuple = result == TN_OK ? open_letter(self, letter) : NULL;
    if (tuple != NULL) return PyList_SetItem(list, place, tuple);
    Py_SET_SIZE(list, place); /* nobody else has seen it */
    Py_DECREF(Py_None);
    return result == TN_OK ? -1 : result;
}

/* Up to `limit`, waiting for the first only. What ends it after that, the next call will be told. */
static int receive_some(ring_object *self, PyObject *list, Py_ssize_t limit, PyObject *timeout) {
    int result = append_next(self, list, timeout);
    if (result != TN_OK) return result;
    while (result == TN_OK && PyList_GET_SIZE(list) < limit) result = append_next(self, list, NULL);
    if (result < 0 && !PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_WriteUnraisable((PyObject *)self);
    else if (result < 0) PyErr_Clear();
    return TN_OK;
}

PyObject *ring_recv_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames) {
    static const char *const names[] = {"limit", "timeout"};
    PyObject *values[2] = {NULL, Py_None};
    if (!ring_parse(args, count, kwnames, names, 2, values)) return NULL;
    Py_ssize_t limit = values[0] == NULL ? 1 : PyLong_AsSsize_t(values[0]);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    if (limit < 1) return PyErr_Format(PyExc_ValueError, "limit=%zd has to be at least 1", limit);
    PyObject *list = PyList_New(0);
    if (list == NULL || !ring_enter(self)) {
        Py_XDECREF(list);
        return NULL;
    }
    int result = receive_some(self, list, limit, values[1]);
    ring_leave(self);
    if (result == TN_OK || result == TN_TIMED_OUT) return list;
    Py_DECREF(list);
    return result < 0 ? NULL
                      : raise_result(state_of(Py_TYPE(self)), (tn_result)result, "receiving");
}
