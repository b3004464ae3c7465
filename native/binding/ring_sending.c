/* Ring: sending one message, or several. */
#include "ring_type.h"

#include "../core/views.h"

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

typedef struct {
    tn_outgoing message;
    Py_buffer data;
    block_object *yielded; /* the parcel's by now, and their Block's again if it is not sent */
    uint32_t blocks[TN_MOST_BLOCKS];
} parcel;

/* The reference that an item is, or NULL. */
static const reference_object *reference_in(const module_state *state, PyObject *item) {
    item = ring_exporter(item);
    bool is = item != NULL && Py_TYPE(item) == state->reference_type;
    return is ? (const reference_object *)item : NULL;
}

/* The block that an item is all of, if its holder gives it away and it can go as it is; or NULL. What was
 * written to a view that is apart since a fork is not in the block. */
static block_object *yielded_in(const ring_object *self, PyObject *item, const Py_buffer *buffer) {
    item = ring_exporter(item);
    if (item == NULL || Py_TYPE(item) != state_of(Py_TYPE(self))->block_type) return NULL;
    block_object *block = (block_object *)item;
    const tn_segment *segment = &self->segment->segment;
    bool whole = buffer->buf == block->data && (uint64_t)buffer->len == block->length;
    if (!block->yields || !block->owned || block->segment != self->segment || !whole) return NULL;
    uint64_t place = (uint64_t)(block->data - segment->views);
    return tn_view_is_shared(segment, place, block->length) ? block : NULL;
}

/* The block that an item is all of, if it is for many readers; or NULL. */
static block_object *shared_in(const ring_object *self, PyObject *item, const Py_buffer *buffer) {
    item = ring_exporter(item);
    if (item == NULL || Py_TYPE(item) != state_of(Py_TYPE(self))->block_type) return NULL;
    block_object *block = (block_object *)item;
    bool whole = buffer->buf == block->data && (uint64_t)buffer->len == block->length;
    return block->shared && block->segment == self->segment && whole ? block : NULL;
}

static uint32_t take_over(parcel *parcel, block_object *block) {
    Py_INCREF(block);
    block->owned = false;
    block->given = true;
    block->next_yielded = parcel->yielded;
    parcel->yielded = block;
    return block->index;
}

static void give_back(parcel *parcel, block_object *block) {
    for (uint32_t i = 0; i < parcel->message.block_count; i++) {
        if (parcel->blocks[i] == block->index) parcel->blocks[i] = TN_NO_BLOCK;
    }
    block->owned = true;
    block->given = false;
}

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
    const reference_object *reference = reference_in(state, item);
    block_object *yielded, *shared;
    if (reference != NULL) {
        /* A queue: what goes is a reference of its own, the sender keeps its own. */
        uint32_t target;
        memcpy(&target, reference->handle + 16, sizeof target);
        result = tn_reference_take(segment, target, &index);
    } else if ((shared = shared_in(self, item, &buffer)) != NULL) {
        result = tn_reference_take_to_data(segment, shared->index, &index);
    } else if ((yielded = yielded_in(self, item, &buffer)) != NULL) {
        index = take_over(parcel, yielded);
        result = TN_OK;
        message->bytes += (uint64_t)buffer.len;
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
    while (parcel->yielded != NULL) {
        block_object *block = parcel->yielded;
        parcel->yielded = block->next_yielded;
        if (!sent) give_back(parcel, block);
        Py_DECREF(block);
    }
    for (uint32_t i = 0; !sent && i < parcel->message.block_count; i++) {
        tn_block_release(&self->segment->segment, parcel->blocks[i]);
    }
    if (parcel->data.obj != NULL) PyBuffer_Release(&parcel->data);
}

/* Several buffers: first those that are packed, then, in their order, the others. `items` is a tuple. */
static bool add_several(ring_object *self, parcel *parcel, PyObject *items) {
    tn_outgoing *message = &parcel->message;
    tn_segment *segment = &self->segment->segment;
    uint32_t count = (uint32_t)PyTuple_GET_SIZE(items), next = 0;
    packing packing;
    bool fine = packing_begin(self, items, TN_MOST_BLOCKS - message->block_count, &packing);
    if (fine && packing.count > 0) {
        tn_result result;
        Py_BEGIN_ALLOW_THREADS;
        result = packing_copy(segment, &packing, count, message, parcel->blocks);
        Py_END_ALLOW_THREADS;
        fine = result == TN_OK;
        if (!fine) raise_result(state_of(Py_TYPE(self)), result, "sending many buffers");
    }
    for (uint32_t i = 0; fine && i < count; i++) {
        if (next < packing.count && packing.small[next].place == i) next++;
        else fine = add_block(self, parcel, PyTuple_GET_ITEM(items, i));
    }
    packing_end(&packing);
    return fine;
}

static bool add_buffers(ring_object *self, parcel *parcel, PyObject *buffers) {
    if (!PySequence_Check(buffers)) {
        PyErr_SetString(PyExc_TypeError, "buffers has to be a sequence of buffers");
        return false;
    }
    /* Of one's own: another thread may change the list meanwhile. */
    PyObject *items = PySequence_Tuple(buffers);
    if (items == NULL) return false;
    bool fine = true;
    if (PyTuple_GET_SIZE(items) > UINT32_MAX) {
        raise_result(state_of(Py_TYPE(self)), TN_TOO_MANY,
                     "sending a message with so many buffers");
        fine = false;
    } else if (PyTuple_GET_SIZE(items) == 1) {
        fine = add_block(self, parcel, PyTuple_GET_ITEM(items, 0));
    } else {
        fine = add_several(self, parcel, items);
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
static int deliver(ring_object *self, parcel *parcel, bool waits, int64_t deadline,
                   uint64_t *ticket) {
    bool contended;
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

/* Send one message of which data and buffers are given; as `deliver`, negative also for bad ones. */
static int send_one(ring_object *self, parcel *parcel, PyObject *data, PyObject *buffers,
                    bool waits, int64_t deadline, uint64_t *ticket) {
    int result = -1;
    parcel->data.obj = NULL;
    parcel->yielded = NULL;
    if (pack(self, parcel, data, buffers)) result = deliver(self, parcel, waits, deadline, ticket);
    unpack(self, parcel, result == TN_OK);
    return result;
}

/* See watching.c: only a ring that somebody follows by a descriptor has anything to wait for. */
static void let_notice(ring_object *self) {
    if (!tn_ring_is_watched(&self->queue)) return;
    Py_BEGIN_ALLOW_THREADS;
    tn_ring_let_notice(&self->queue);
    Py_END_ALLOW_THREADS;
}

/* The message is sent by now, so this does not fail: what nobody can revoke, as if it were too late for that, has
 * 0 for a ticket. */
static PyObject *ticket_number(uint64_t ticket) {
    PyObject *number = PyLong_FromUnsignedLongLong(ticket);
    if (number != NULL) return number;
    PyErr_Clear();
    return PyLong_FromLong(0); /* there always is one */
}

PyObject *ring_send(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames) {
    static const char *const names[] = {"data", "buffers", "kind", "tag", "timeout"};
    PyObject *values[5] = {NULL};
    if (!ring_parse(args, count, kwnames, names, 5, values)) return NULL;
    if (values[0] == NULL) return PyErr_Format(PyExc_TypeError, "send() needs data");
    parcel parcel;
    parcel.message = (tn_outgoing){0};
    uint64_t ticket = 0;
    int64_t deadline = TN_FOREVER;
    bool waits = true;
    if (values[4] != NULL && !parse_timeout(values[4], &deadline, &waits)) return NULL;
    if (!parse_kind_and_tag(values[2], values[3], &parcel.message) || !ring_enter(self))
        return NULL;
    int result = send_one(self, &parcel, values[0], values[1], waits, deadline, &ticket);
    if (result == TN_OK) let_notice(self);
    ring_leave(self);
    if (result < 0) return NULL;
    if (result == TN_OK) return ticket_number(ticket);
    if (result == TN_TIMED_OUT) return PyLong_FromLong(-1);
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "sending");
}

/* ---- several ---- */

enum { MOST_AT_ONCE = 32 }; /* under one hold of the lock: some two microseconds */

typedef struct {
    PyObject *messages; /* a list or tuple */
    PyObject *tickets;  /* a list, or NULL */
    Py_ssize_t next, count;
    bool waits;
    int64_t deadline;
} outbox;

/* (kind, tag, data, buffers): borrowed. */
static PyObject *const *fields_of(PyObject *message) {
    if (PyTuple_CheckExact(message) && PyTuple_GET_SIZE(message) == 4)
        return &PyTuple_GET_ITEM(message, 0);
    PyErr_SetString(PyExc_TypeError, "a message has to be a tuple (kind, tag, data, buffers)");
    return NULL;
}

/* Refuse bad ones before the first is sent. */
static bool check_all(const outbox *box) {
    tn_outgoing unused;
    for (Py_ssize_t i = 0; i < box->count; i++) {
        PyObject *const *fields = fields_of(PySequence_Fast_GET_ITEM(box->messages, i));
        if (fields == NULL || !parse_kind_and_tag(fields[0], fields[1], &unused)) return false;
    }
    return true;
}

/* Have room for the tickets of what is about to be sent. */
static bool make_room(const outbox *box, Py_ssize_t more) {
    if (box->tickets == NULL) return true;
    Py_ssize_t size = PyList_GET_SIZE(box->tickets), end = size;
    while (end < size + more && PyList_Append(box->tickets, Py_None) == 0) end++;
    for (Py_ssize_t i = size; i < end; i++) Py_DECREF(Py_None);
    Py_SET_SIZE(box->tickets, size); /* the room stays */
    return end == size + more;
}

/* There is room, unless another thread has had its hands on the list. */
static void note_ticket(outbox *box, uint64_t ticket) {
    box->next++;
    if (box->tickets == NULL) return;
    PyObject *number = ticket_number(ticket);
    if (PyList_Append(box->tickets, number) < 0) PyErr_Clear();
    Py_DECREF(number);
}

static bool is_small(const module_state *state, PyObject *const *fields) {
    return PyBytes_CheckExact(fields[2]) && PyBytes_GET_SIZE(fields[2]) <= (Py_ssize_t)TN_INLINE &&
           (fields[3] == state->no_buffers ||
            (PyTuple_CheckExact(fields[3]) && PyTuple_GET_SIZE(fields[3]) == 0));
}

/* Send the small messages that come next, as far as that needs no waiting. */
static bool send_small(ring_object *self, outbox *box) {
    const module_state *state = state_of(Py_TYPE(self));
    tn_outgoing batch[MOST_AT_ONCE];
    uint64_t tickets[MOST_AT_ONCE];
    uint32_t size = 0;
    while (size < MOST_AT_ONCE && box->next + size < box->count) {
        PyObject *const *fields =
            fields_of(PySequence_Fast_GET_ITEM(box->messages, box->next + size));
        if (fields == NULL) return false;
        if (!is_small(state, fields)) break;
        tn_outgoing *message = &batch[size];
        *message = (tn_outgoing){
            .payload = (const uint8_t *)PyBytes_AS_STRING(fields[2]),
            .length = (uint64_t)PyBytes_GET_SIZE(fields[2]),
            .bytes = (uint64_t)PyBytes_GET_SIZE(fields[2]),
        };
        if (!parse_kind_and_tag(fields[0], fields[1], message)) return false;
        size++;
    }
    if (size < 2) return true;
    if (!make_room(box, size)) return false;
    uint32_t sent = tn_ring_send_some(&self->queue, batch, size, tickets);
    for (uint32_t i = 0; i < sent; i++) note_ticket(box, tickets[i]);
    return true;
}

/* Send the next message, whatever it takes. As `send_one`. */
static int send_next(ring_object *self, outbox *box) {
    PyObject *message = Py_NewRef(PySequence_Fast_GET_ITEM(box->messages, box->next));
    PyObject *const *fields = fields_of(message);
    parcel parcel;
    parcel.message = (tn_outgoing){0};
    uint64_t ticket;
    int result = -1;
    if (fields != NULL && parse_kind_and_tag(fields[0], fields[1], &parcel.message) &&
        make_room(box, 1))
        result = send_one(self, &parcel, fields[2], fields[3], box->waits, box->deadline, &ticket);
    if (result == TN_OK) note_ticket(box, ticket);
    Py_DECREF(message);
    return result;
}

static int send_all(ring_object *self, outbox *box) {
    if (!check_all(box)) return -1;
    /* The list may be changed by another thread while this one waits. */
    while (box->next < box->count && box->next < PySequence_Fast_GET_SIZE(box->messages)) {
        Py_ssize_t before = box->next;
        if (!send_small(self, box)) return -1;
        if (box->next > before) continue;
        int result = send_next(self, box);
        if (result != TN_OK) return result;
    }
    return TN_OK;
}

PyObject *ring_send_many(ring_object *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *kwnames) {
    static const char *const names[] = {"messages", "timeout", "tickets"};
    PyObject *values[3] = {NULL, Py_None, Py_None};
    if (!ring_parse(args, count, kwnames, names, 3, values)) return NULL;
    if (values[0] == NULL) return PyErr_Format(PyExc_TypeError, "send_many() needs messages");
    if (values[2] != Py_None && !PyList_CheckExact(values[2]))
        return PyErr_Format(PyExc_TypeError, "tickets=%R is not a list", values[2]);
    outbox box = {.tickets = values[2] == Py_None ? NULL : values[2]};
    if (!parse_timeout(values[1], &box.deadline, &box.waits)) return NULL;
    box.messages = PySequence_Fast(values[0], "messages has to be a sequence");
    if (box.messages == NULL) return NULL;
    box.count = PySequence_Fast_GET_SIZE(box.messages);
    int result = -1;
    PyObject *all = PyLong_FromSsize_t(box.count);
    if (all != NULL && ring_enter(self)) {
        result = send_all(self, &box);
        if (box.next > 0) let_notice(self);
        ring_leave(self);
    }
    Py_DECREF(box.messages);
    if (result == TN_OK && box.next == box.count) return all;
    Py_XDECREF(all);
    if (result < 0) return NULL;
    if (result == TN_OK || result == TN_TIMED_OUT) return PyLong_FromSsize_t(box.next);
    return raise_result(state_of(Py_TYPE(self)), (tn_result)result, "sending");
}
