/* The thin layer between Python and the core: arguments, the GIL, errors, object lives; no logic.
 *
 *   Segment   the program's shared memory; makes and opens the rest
 *   Ring      a channel's native half (transport/ring.py wraps it)
 *   Block     a received buffer: writable, this process's own, given back with the last view of it
 *   Part      one of several such buffers that came in one block
 *   Reference a ring or a primitive on its way in a message
 *   Lock, Flag, Waiters   what programs synchronise with (synchronize/native.py wraps them)
 *   Memory    bytes that all processes read and write (sharedctypes.py)
 *   Encoder   the fast path of pickling
 *   Dispatch  which reducer a type has, for it; ways.c has the plain ones
 *
 * Whatever sleeps does so without the GIL, in stretches, and looks for signals in between.
 */
#ifndef TINES_BINDING_H
#define TINES_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "../core/primitives.h"
#include "../core/ring.h"

typedef struct segment_object segment_object;
typedef struct ring_object ring_object;
typedef struct block_object block_object;
typedef struct sync_object sync_object;
typedef struct letter letter; /* a message that is received; see ring_receiving.c */

typedef struct {
    PyTypeObject *segment_type, *ring_type, *block_type, *part_type, *reference_type, *ticking_type,
        *encoder_type, *dispatch_type, *lock_type, *flag_type, *waiters_type, *memory_type;
    PyObject *shut_down_error; /* tines.errors.QueueShutDown */
    PyObject *transport_error; /* tines.errors.TransportError */
    PyObject *no_buffers;      /* () */
    segment_object *segments;  /* all that live, for fork */
    ring_object *rings;
    block_object *blocks;
    sync_object *syncs;
    letter *letters; /* that nobody uses at the moment */
} module_state;

struct segment_object {
    PyObject_HEAD
    segment_object *previous, *next;
    tn_segment segment;
};

struct block_object {
    PyObject_HEAD
    segment_object *segment;
    block_object *previous, *next;
    PyObject *weak_references;
    block_object *next_yielded; /* of those that a message under way has taken */
    uint32_t index;
    uint32_t reference, fork_reference; /* to a SHARED block, or TN_NO_BLOCK */
    uint8_t *data;
    uint64_t length;
    bool owned;  /* the descriptor is this process's to release */
    bool shared; /* for many readers, read-only here: nothing of it is this process's own */
    bool mapped; /* `data` is a mapping of its own */
    bool given;  /* a message has taken it over: the place is no longer this process's */
    char stays;  /* with this process: a child that is forked has no part in it */
    char yields; /* the next message that has it whole does so, instead of a copy */
};

typedef struct {
    PyObject_HEAD
    block_object *whole;
    PyObject *weak_references;
    uint8_t *data;
    uint64_t length;
} part_object;

struct ring_object {
    PyObject_HEAD
    segment_object *segment;
    ring_object *previous, *next;
    tn_queue queue;
    uint32_t reference, fork_reference;
    letter *kept; /* taken, but there was no memory for its objects: the next to be received */
    int users;    /* threads inside a call that may have let go of the GIL */
    bool closed;  /* the reference goes with the last user */
};

typedef struct {
    PyObject_HEAD
    segment_object *segment;
    uint32_t index; /* TN_NO_BLOCK: sent, or opened */
    uint8_t handle[32];
} reference_object;

module_state *state_of(PyTypeObject *type);

/* Raise what a result says; always returns NULL. */
PyObject *raise_result(module_state *state, tn_result result, const char *doing);
/* Seconds or None to a deadline; *waits is false for 0 and less. False with an error set. */
bool parse_timeout(PyObject *timeout, int64_t *deadline, bool *waits);

/* What makes an object of a block or a reference (`_wrap`, `_receive`) takes that over only if the object is
 * made; otherwise it is the caller's as before. */
PyObject *block_wrap(module_state *state, segment_object *segment, uint32_t index);
/* A private view of the SHARED block that a reference to data stands for. */
PyObject *block_receive(module_state *state, segment_object *segment, uint32_t reference);
PyObject *reference_wrap(module_state *state, segment_object *segment, uint32_t index);
PyObject *ring_wrap(module_state *state, segment_object *segment, tn_queue queue,
                    uint32_t reference);
PyObject *sync_wrap(module_state *state, segment_object *segment, tn_sync sync, uint32_t reference);
/* What such an object had taken over is the caller's again; the object is to be let go of. */
void block_disown(block_object *self);
void reference_disown(reference_object *self);
/* For a caller who has no more use for it if no object was made. */
static inline PyObject *made_or_release(segment_object *segment, uint32_t index, PyObject *made) {
    if (made == NULL) tn_block_release(&segment->segment, index);
    return made;
}

PyObject *block_take(module_state *state, segment_object *segment, uint64_t length);
PyObject *block_copy(module_state *state, segment_object *segment, Py_buffer *from);
PyObject *block_open_private(module_state *state, segment_object *segment, uint64_t handle);
PyObject *part_of(module_state *state, block_object *whole, uint64_t at, uint64_t length);

void segments_before_fork(module_state *state);
void segments_after_fork_in_parent(module_state *state);
void segments_after_fork_in_child(module_state *state);
void rings_before_fork(module_state *state);
void rings_after_fork_in_child(module_state *state);
tn_result blocks_isolate(module_state *state);
tn_result blocks_before_fork(module_state *state);
void blocks_after_fork_in_child(module_state *state);
void syncs_before_fork(module_state *state);
void syncs_after_fork_in_child(module_state *state);

extern PyType_Spec segment_spec, ring_spec, block_spec, part_spec, reference_spec, ticking_spec;
extern PyType_Spec encoder_spec, dispatch_spec, lock_spec, flag_spec, waiters_spec, memory_spec;
PyObject *segment_create(module_state *state, uint64_t size);
PyObject *segment_attach(module_state *state, int fd);
PyObject *ticking_new(module_state *state, PyObject *ring, PyObject *iterable, tn_lease *lease);

#endif
