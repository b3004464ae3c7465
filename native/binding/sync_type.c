/* Lock, Flag, Waiters and Memory: the primitives of native/core/primitives.h and waiters.h.
 *
 * What is free is taken with the GIL held; whatever sleeps lets go of it, in stretches, and looks for
 * signals in between. */
#include "binding.h"

#include "../core/waiters.h"
#include "ring_type.h"

struct sync_object {
    PyObject_HEAD
    segment_object *segment;
    sync_object *previous, *next;
    tn_sync sync;
    uint32_t reference, fork_reference;
};

/* ---- lives ---- */

PyObject *sync_wrap(module_state *state, segment_object *segment, tn_sync sync,
                    uint32_t reference) {
    PyTypeObject *type = sync.kind == TN_FLAG      ? state->flag_type
                         : sync.kind == TN_WAITERS ? state->waiters_type
                         : sync.kind == TN_MEMORY  ? state->memory_type
                                                   : state->lock_type;
    sync_object *self = PyObject_New(sync_object, type);
    if (self == NULL) return NULL;
    *self = (sync_object){.ob_base = self->ob_base, .sync = sync, .reference = reference};
    self->fork_reference = TN_NO_BLOCK;
    self->segment = (segment_object *)Py_NewRef(segment);
    self->next = state->syncs;
    if (self->next != NULL) self->next->previous = self;
    state->syncs = self;
    return (PyObject *)self;
}

static void sync_dealloc(sync_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    module_state *state = state_of(type);
    if (self->reference != TN_NO_BLOCK) tn_block_release(&self->segment->segment, self->reference);
    if (self->next != NULL) self->next->previous = self->previous;
    if (self->previous != NULL) self->previous->next = self->next;
    else state->syncs = self->next;
    Py_DECREF(self->segment);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* As with rings: the child's references are made by the parent, which might let go of its own first. */
void syncs_before_fork(module_state *state) {
    for (sync_object *self = state->syncs; self != NULL; self = self->next) {
        uint32_t index;
        self->fork_reference = TN_NO_BLOCK;
        if (self->reference != TN_NO_BLOCK &&
            tn_reference_take_for_child(&self->segment->segment, self->sync.index, &index) == TN_OK)
            self->fork_reference = index;
    }
}

void syncs_after_fork_in_child(module_state *state) {
    for (sync_object *self = state->syncs; self != NULL; self = self->next) {
        bool held = tn_block_held(&self->segment->segment, self->fork_reference);
        self->reference = held ? self->fork_reference : TN_NO_BLOCK;
    }
}

static bool usable(const sync_object *self) {
    if (self->reference != TN_NO_BLOCK) return true;
    PyErr_SetString(
        state_of(Py_TYPE(self))->transport_error,
        "this process was stopped for so long while it was forked that it was given up: "
        "it does not share this lock");
    return false;
}

static PyObject *failed(const sync_object *self, tn_result result, const char *doing) {
    return raise_result(state_of(Py_TYPE(self)), result, doing);
}

static PyObject *sync_reference(sync_object *self, PyObject *unused) {
    (void)unused;
    if (!usable(self)) return NULL;
    uint32_t index;
    tn_result result = tn_reference_take(&self->segment->segment, self->sync.index, &index);
    if (result != TN_OK) return failed(self, result, "passing a lock on");
    module_state *state = state_of(Py_TYPE(self));
    return made_or_release(self->segment, index, reference_wrap(state, self->segment, index));
}

/* ---- Lock ---- */

/* Says in the log that somebody died who held this. What goes wrong there is no matter of the lock's. */
static void tell_recovered(const sync_object *self, uint32_t pid) {
    PyObject *module = PyImport_ImportModule("tines.synchronize.native");
    PyObject *told = NULL;
    if (module != NULL)
        told = PyObject_CallMethod(module, "tell_recovered", "iI", (int)self->sync.kind, pid);
    if (told == NULL) PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(told);
    Py_XDECREF(module);
}

/* 1: taken. 0: not in time. -1: with an error. */
static int acquire(sync_object *self, bool waits, int64_t deadline) {
    if (!usable(self)) return -1;
    tn_taken taken = tn_sync_try(&self->sync);
    if (taken.result == TN_TIMED_OUT && !waits) taken = tn_sync_look(&self->sync);
    else
        while (taken.result == TN_TIMED_OUT || taken.result == TN_INTERRUPTED) {
            if (taken.result == TN_INTERRUPTED && PyErr_CheckSignals() < 0) return -1;
            Py_BEGIN_ALLOW_THREADS;
            taken = tn_sync_acquire(&self->sync, deadline);
            Py_END_ALLOW_THREADS;
            if (taken.result == TN_TIMED_OUT) break;
        }
    if (taken.owner_died) tell_recovered(self, taken.pid);
    if (taken.result == TN_OK) return 1;
    if (taken.result == TN_TIMED_OUT) return 0;
    failed(self, taken.result, "acquiring a lock");
    return -1;
}

static PyObject *lock_acquire(sync_object *self, PyObject *const *args, Py_ssize_t count,
                              PyObject *kwnames) {
    static const char *const names[] = {"block", "timeout"};
    PyObject *values[2] = {Py_True, Py_None};
    bool waits = true;
    int64_t deadline = TN_FOREVER;
    if (count > 0 || kwnames != NULL) {
        if (!ring_parse(args, count, kwnames, names, 2, values)) return NULL;
        int block = PyObject_IsTrue(values[0]);
        if (block < 0) return NULL;
        if (!block) waits = false;
        else if (!parse_timeout(values[1], &deadline, &waits)) return NULL;
    }
    int got = acquire(self, waits, deadline);
    return got < 0 ? NULL : PyBool_FromLong(got);
}

static PyObject *lock_release(sync_object *self, PyObject *unused) {
    (void)unused;
    if (!usable(self)) return NULL;
    tn_result result = tn_sync_release(&self->sync);
    switch (result) {
    case TN_OK:
        Py_RETURN_NONE;
    case TN_TOO_MANY:
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return NULL;
    case TN_NOT_HOLDER:
        if (self->sync.kind == TN_RLOCK)
            PyErr_SetString(PyExc_AssertionError,
                            "attempt to release recursive lock not owned by thread");
        else
            PyErr_SetString(PyExc_ValueError, "this process holds none of the semaphore's tokens: "
                                              "with owned=True only who acquired one releases it");
        return NULL;
    default:
        return failed(self, result, "releasing a lock");
    }
}

static PyObject *lock_enter(sync_object *self, PyObject *unused) {
    (void)unused;
    return acquire(self, true, TN_FOREVER) < 0 ? NULL : Py_NewRef(Py_True);
}

static PyObject *lock_exit(sync_object *self, PyObject *const *args, Py_ssize_t count) {
    (void)args;
    (void)count;
    return lock_release(self, NULL);
}

static PyObject *lock_is_mine(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(tn_sync_is_mine(&self->sync));
}

static PyObject *lock_count(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(tn_sync_count(&self->sync));
}

static PyObject *lock_get_value(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tn_sync_value(&self->sync));
}

static PyObject *lock_is_zero(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(tn_sync_value(&self->sync) == 0);
}

static PyObject *lock_kind(sync_object *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(self->sync.kind);
}

static PyObject *lock_maxvalue(sync_object *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->sync.limit);
}

static PyObject *lock_recovered(sync_object *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(tn_sync_recovered(&self->sync));
}

static PyObject *lock_deaths(sync_object *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(atomic_load(&self->sync.head->deaths));
}

/* ---- Flag ---- */

static PyObject *flag_set(sync_object *self, PyObject *unused) {
    (void)unused;
    if (!usable(self)) return NULL;
    tn_flag_set(&self->sync);
    Py_RETURN_NONE;
}

static PyObject *flag_clear(sync_object *self, PyObject *unused) {
    (void)unused;
    if (!usable(self)) return NULL;
    tn_flag_clear(&self->sync);
    Py_RETURN_NONE;
}

static PyObject *flag_is_set(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(tn_flag_is_set(&self->sync));
}

static PyObject *flag_wait(sync_object *self, PyObject *const *args, Py_ssize_t count,
                           PyObject *kwnames) {
    static const char *const names[] = {"timeout"};
    PyObject *timeout = Py_None;
    int64_t deadline;
    bool waits;
    if (!ring_parse(args, count, kwnames, names, 1, &timeout)) return NULL;
    if (!parse_timeout(timeout, &deadline, &waits) || !usable(self)) return NULL;
    uint64_t seen = tn_flag_look(&self->sync);
    tn_result result = tn_flag_is_set(&self->sync) ? TN_OK : TN_INTERRUPTED;
    if (result != TN_OK && !waits) result = TN_TIMED_OUT;
    while (result == TN_INTERRUPTED) {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_flag_wait(&self->sync, seen, deadline);
        Py_END_ALLOW_THREADS;
        if (result == TN_INTERRUPTED && PyErr_CheckSignals() < 0) return NULL;
    }
    return PyBool_FromLong(result == TN_OK);
}

/* ---- Waiters ---- */

static PyObject *waiters_enter(sync_object *self, PyObject *unused) {
    (void)unused;
    uint32_t place;
    if (!usable(self)) return NULL;
    tn_result result = tn_waiters_enter(&self->sync, &place);
    if (result != TN_OK) return failed(self, result, "waiting, as one of so many");
    PyObject *number = PyLong_FromUnsignedLong(place);
    if (number == NULL) tn_waiters_leave(&self->sync, place, false);
    return number;
}

static bool parse_place(const sync_object *self, PyObject *arg, uint32_t *place) {
    unsigned long value = PyLong_AsUnsignedLong(arg);
    if (value == (unsigned long)-1 && PyErr_Occurred()) return false;
    if (value >= self->sync.limit) {
        PyErr_Format(PyExc_ValueError, "place=%lu: there are %llu", value, self->sync.limit);
        return false;
    }
    *place = (uint32_t)value;
    return true;
}

static PyObject *waiters_leave(sync_object *self, PyObject *arg) {
    uint32_t place;
    if (!usable(self) || !parse_place(self, arg, &place)) return NULL;
    tn_waiters_leave(&self->sync, place, false);
    Py_RETURN_NONE;
}

/* Let go of the lock, sleep, take it again. False: a signal handler raised, or memory is corrupt; the lock
 * is held again unless it was the second to raise. */
static bool sleep_without(sync_object *self, sync_object *lock, uint32_t place,
                          const uint32_t *lost, int64_t deadline, tn_verdict *verdict) {
    uint32_t depth = tn_sync_count(&lock->sync);
    for (uint32_t i = 0; i < depth; i++) tn_sync_release(&lock->sync);
    tn_result result;
    do {
        Py_BEGIN_ALLOW_THREADS;
        result = tn_waiters_wait(&self->sync, place, lost, deadline, verdict);
        Py_END_ALLOW_THREADS;
    } while (result == TN_INTERRUPTED && PyErr_CheckSignals() == 0);
    if (result == TN_TIMED_OUT) *verdict = TN_ABSENT;
    if (result == TN_CORRUPT) failed(self, result, "waiting");
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    bool held = depth == 0 || acquire(lock, true, TN_FOREVER) > 0;
    for (uint32_t i = 1; held && i < depth; i++) tn_sync_try(&lock->sync);
    bool fine = held && type == NULL;
    if (held) PyErr_Restore(type, value, trace);
    else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
    }
    return fine;
}

/* All in one call, so that no signal handler of the program's runs while a place is taken but not answered
 * for. */
static PyObject *waiters_wait(sync_object *self, PyObject *args) {
    PyObject *lock, *timeout = Py_None, *at = Py_None;
    int64_t deadline;
    bool waits;
    uint32_t place;
    PyTypeObject *lock_type = state_of(Py_TYPE(self))->lock_type;
    if (!PyArg_ParseTuple(args, "O!|OO", lock_type, &lock, &timeout, &at) ||
        !parse_timeout(timeout, &deadline, &waits) || !usable(self) ||
        !usable((sync_object *)lock)) {
        return NULL;
    }
    bool watches = at != Py_None;
    uint32_t lost = atomic_load(&tn_waiters_of(&self->sync)->lost);
    if (watches && !parse_place(self, at, &place)) return NULL;
    if (!watches) {
        tn_result result = tn_waiters_enter(&self->sync, &place);
        if (result != TN_OK) return failed(self, result, "waiting, as one of so many");
    }
    tn_verdict verdict;
    bool fine =
        sleep_without(self, (sync_object *)lock, place, watches ? &lost : NULL, deadline, &verdict);
    if (!watches) tn_waiters_leave(&self->sync, place, !fine);
    return fine ? PyLong_FromLong(verdict) : NULL;
}

static PyObject *waiters_notify(sync_object *self, PyObject *args) {
    Py_ssize_t count;
    int dismiss = 0;
    if (!PyArg_ParseTuple(args, "n|p", &count, &dismiss) || !usable(self)) return NULL;
    tn_verdict verdict = dismiss ? TN_DISMISSED : TN_NOTIFIED;
    uint64_t given = count > 0 ? tn_waiters_notify(&self->sync, (uint64_t)count, verdict) : 0;
    return PyLong_FromUnsignedLongLong(given);
}

static PyObject *waiters_count(sync_object *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tn_waiters_count(&self->sync));
}

/* A number of the caller's own: both under the lock that belongs to it. */
static PyObject *waiters_number(sync_object *self, PyObject *args) {
    unsigned int which;
    PyObject *value = Py_None;
    if (!PyArg_ParseTuple(args, "I|O", &which, &value) || !usable(self)) return NULL;
    if (which > 1) return PyErr_Format(PyExc_ValueError, "number %u: there are 0 and 1", which);
    _Atomic uint32_t *number = &tn_waiters_of(&self->sync)->number[which];
    if (value != Py_None) {
        unsigned long wanted = PyLong_AsUnsignedLong(value);
        if (wanted == (unsigned long)-1 && PyErr_Occurred()) return NULL;
        atomic_store(number, (uint32_t)wanted);
    }
    return PyLong_FromUnsignedLong(atomic_load(number));
}

/* ---- types ---- */

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS
#define PASSED_ON                                                                                  \
    {"reference", (PyCFunction)sync_reference, METH_NOARGS, "reference() -> Reference"}

static PyMemberDef members[] = {
    {"segment", T_OBJECT, offsetof(sync_object, segment), READONLY, "Where it lies."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef lock_methods[] = {
    {"acquire", FAST(lock_acquire), "acquire(block=True, timeout=None) -> bool"},
    {"release", (PyCFunction)lock_release, METH_NOARGS, "release()"},
    {"__enter__", (PyCFunction)lock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {"_is_mine", (PyCFunction)lock_is_mine, METH_NOARGS, "Held by this thread."},
    {"_count", (PyCFunction)lock_count, METH_NOARGS, "How often this process holds it."},
    {"_get_value", (PyCFunction)lock_get_value, METH_NOARGS, "Tokens that are left."},
    {"_is_zero", (PyCFunction)lock_is_zero, METH_NOARGS, "Whether none is left."},
    PASSED_ON,
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lock_properties[] = {
    {"kind", (getter)lock_kind, NULL, "1 Lock, 2 RLock, 3 owned semaphore, 4 semaphore.", NULL},
    {"maxvalue", (getter)lock_maxvalue, NULL, "Tokens at the most.", NULL},
    {"recovered", (getter)lock_recovered, NULL, "This process has it from a dead holder.", NULL},
    {"deaths", (getter)lock_deaths, NULL, "How often it was taken over from the dead.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef flag_methods[] = {
    {"set", (PyCFunction)flag_set, METH_NOARGS, "set()"},
    {"clear", (PyCFunction)flag_clear, METH_NOARGS, "clear()"},
    {"is_set", (PyCFunction)flag_is_set, METH_NOARGS, "is_set() -> bool"},
    {"wait", FAST(flag_wait), "wait(timeout=None) -> bool"},
    PASSED_ON,
    {NULL, NULL, 0, NULL},
};

static PyMethodDef waiters_methods[] = {
    {"enter", (PyCFunction)waiters_enter, METH_NOARGS, "enter() -> place; with the lock held"},
    {"leave", (PyCFunction)waiters_leave, METH_O, "leave(place)"},
    {"wait", (PyCFunction)waiters_wait, METH_VARARGS,
     "wait(lock, timeout=None, place=None) -> verdict. Lets go of the lock meanwhile. At a place\n"
     "that was entered before, it ends with WAITING when another waiter has died."},
    {"notify", (PyCFunction)waiters_notify, METH_VARARGS,
     "notify(count, dismiss=False) -> how many; with the lock held"},
    {"count", (PyCFunction)waiters_count, METH_NOARGS, "count() -> how many wait"},
    {"number", (PyCFunction)waiters_number, METH_VARARGS,
     "number(which, value=None) -> int: one of two for the caller's use; sets it first"},
    PASSED_ON,
    {NULL, NULL, 0, NULL},
};

/* ---- Memory ---- */

static int memory_getbuffer(sync_object *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, tn_sync_memory(&self->sync),
                             (Py_ssize_t)self->sync.limit, 0, flags);
}

static PyMethodDef memory_methods[] = {
    PASSED_ON,
    {NULL, NULL, 0, NULL},
};

#define SPEC(prefix, title, ...)                                                                   \
    static PyType_Slot prefix##_slots[] = {                                                        \
        {Py_tp_dealloc, sync_dealloc},                                                             \
        {Py_tp_methods, prefix##_methods},                                                         \
        {Py_tp_members, members},                                                                  \
        __VA_ARGS__{0, NULL},                                                                      \
    };                                                                                             \
    PyType_Spec prefix##_spec = {                                                                  \
        .name = "tines._native." title,                                                            \
        .basicsize = sizeof(sync_object),                                                          \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,                           \
        .slots = prefix##_slots,                                                                   \
    }

SPEC(lock, "Lock", {Py_tp_getset, lock_properties}, );
SPEC(flag, "Flag", );
SPEC(waiters, "Waiters", );
SPEC(memory, "Memory", {Py_bf_getbuffer, memory_getbuffer}, );
