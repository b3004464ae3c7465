/* The module `tines._native`: functions, fork hooks, initialisation. */
#include "binding.h"
#include "forking.h"
#include "large.h"
#include "liveness.h"
#include "ways.h"

#ifdef TINES_DEBUG
#define BUILD "debug"
#else
#define BUILD "release"
#endif

static struct PyModuleDef module_def;

module_state *state_of(PyTypeObject *type) {
    return PyType_GetModuleState(type);
}

static void raise_with_errno(const module_state *state, int number, const char *words) {
    PyObject *error = PyObject_CallFunction(state->transport_error, "is", number, words);
    if (error != NULL) PyErr_SetObject(state->transport_error, error);
    Py_XDECREF(error);
}

PyObject *raise_result(module_state *state, tn_result result, const char *doing) {
    switch (result) {
    case TN_SHUT:
        PyErr_SetString(state->shut_down_error, "the queue was shut down");
        break;
    case TN_NO_MEMORY:
        PyErr_Format(PyExc_MemoryError,
                     "%s: not enough memory is left for it, in this machine, its container or the "
                     "segment; receive what is queued, or bound the queue with max_bytes",
                     doing);
        break;
    case TN_CORRUPT:
        PyErr_Format(state->transport_error, "%s: shared memory holds a value that cannot be right",
                     doing);
        break;
    case TN_TOO_MANY:
        PyErr_Format(PyExc_ValueError, "%s: a count is beyond its limit", doing);
        break;
    case TN_NO_RECOVERY:
        raise_with_errno(state, ENOSYS,
                         "the system does not say when the holder of a lock was killed: the call "
                         "set_robust_list is refused by a sandbox, or by an emulator");
        break;
    case TN_OTHER_SPACE:
        raise_with_errno(state, EXDEV,
                         "this process is in another pid namespace (a container, or unshare) than "
                         "those that share this memory, so they cannot see each other's deaths; "
                         "set TINES_NATIVE=off for the whole program");
        break;
    case TN_OTHER_LAYOUT:
        raise_with_errno(state, EPROTO,
                         "the shared memory was made by another version of tines; use the same "
                         "version in all processes of a program");
        break;
    default:
        PyErr_SetFromErrno(state->transport_error);
    }
    return NULL;
}

bool parse_timeout(PyObject *timeout, int64_t *deadline, bool *waits) {
    *waits = true;
    *deadline = TN_FOREVER;
    if (timeout == Py_None) return true;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "timeout=%R is not a number of seconds or None", timeout);
        return false;
    }
    if (seconds != seconds) {
        PyErr_SetString(PyExc_ValueError, "timeout is not a number: give seconds or None");
        return false;
    }
    *waits = seconds > 0;
    if (seconds < 1e9)
        *deadline = tn_now() + (int64_t)((seconds > 0 ? seconds : 0) * (double)TN_SECOND);
    return true;
}

static PyObject *create_segment(PyObject *module, PyObject *arg) {
    unsigned long long size = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred()) return NULL;
    return segment_create(PyModule_GetState(module), size ? size : TN_DEFAULT_SIZE);
}

static PyObject *attach_segment(PyObject *module, PyObject *arg) {
    int fd = (int)PyLong_AsLong(arg);
    if (PyErr_Occurred()) return NULL;
    return segment_attach(PyModule_GetState(module), fd);
}

#ifdef TINES_DEBUG
static PyObject *crash_at(PyObject *module, PyObject *args) {
    (void)module;
    const char *name;
    unsigned int countdown;
    if (!PyArg_ParseTuple(args, "sI", &name, &countdown)) return NULL;
    for (int i = 0; i < TN_STEP_COUNT; i++) {
        if (strcmp(name, tn_step_names[i]) == 0) {
            tn_step_arm((tn_step)i, countdown);
            Py_RETURN_NONE;
        }
    }
    return PyErr_Format(PyExc_ValueError, "no step is called %s", name);
}
#endif

static PyMethodDef functions[] = {
    {"create_segment", create_segment, METH_O,
     "create_segment(size) -> Segment; 0 for the usual size"},
    {"attach_segment", attach_segment, METH_O,
     "attach_segment(fd) -> Segment; takes the descriptor over"},
    {"before_fork", before_fork, METH_NOARGS, "For os.register_at_fork."},
    {"after_fork_in_parent", after_fork_in_parent, METH_NOARGS, "For os.register_at_fork."},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS, "For os.register_at_fork."},
    {"isolate", isolate, METH_NOARGS,
     "isolate(): keep what was received apart from the children that are forked next, or raise"},
    {"set_parent_death_signal", set_parent_death_signal, METH_O,
     "set_parent_death_signal(signum): sent to this process when the thread that started it ends"},
    {"end_with_parent", end_with_parent, METH_VARARGS,
     "end_with_parent(fd, group): SIGTERM, then SIGKILL, to this process or its group, at the "
     "pipe's end"},
    {"reducer_of_kind", reducer_of_kind, METH_VARARGS,
     "reducer_of_kind(kind, (copyreg.__newobj__, *names)) -> what object.__reduce_ex__ does, "
     "quicker"},
    {"bytes_of", bytes_of, METH_O, "bytes_of(buffer) -> bytes; the same as bytes(buffer), quicker"},
    {"bytearray_of", bytearray_of, METH_O, "bytearray_of(buffer) -> bytearray; the same"},
#ifdef TINES_DEBUG
    {"crash_at", crash_at, METH_VARARGS, "crash_at(step, countdown): SIGKILL at that step"},
#endif
    {NULL, NULL, 0, NULL},
};

static bool import_errors(module_state *state) {
    PyObject *errors = PyImport_ImportModule("tines.errors");
    if (errors == NULL) return false;
    state->shut_down_error = PyObject_GetAttrString(errors, "QueueShutDown");
    state->transport_error = PyObject_GetAttrString(errors, "TransportError");
    Py_DECREF(errors);
    return state->shut_down_error != NULL && state->transport_error != NULL;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static int add_constants(PyObject *module) {
    PyObject *steps = PyTuple_New(TN_STEP_COUNT);
    if (steps == NULL) return -1;
    for (int i = 0; i < TN_STEP_COUNT; i++) {
        PyObject *name = PyUnicode_FromString(tn_step_names[i]);
        if (name == NULL) {
            Py_DECREF(steps);
            return -1;
        }
        PyTuple_SET_ITEM(steps, i, name);
    }
    int failed = PyModule_AddObjectRef(module, "steps", steps);
    Py_DECREF(steps);
    if (failed) return -1;
    return PyModule_AddStringConstant(module, "build", BUILD);
}

static int execute(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    state->no_buffers = PyTuple_New(0);
    if (state->no_buffers == NULL || !import_errors(state)) return -1;
    state->segment_type = add_type(module, &segment_spec);
    state->ring_type = add_type(module, &ring_spec);
    state->block_type = add_type(module, &block_spec);
    state->part_type = add_type(module, &part_spec);
    state->reference_type = add_type(module, &reference_spec);
    state->ticking_type = add_type(module, &ticking_spec);
    state->encoder_type = add_type(module, &encoder_spec);
    state->dispatch_type = add_type(module, &dispatch_spec);
    state->lock_type = add_type(module, &lock_spec);
    state->flag_type = add_type(module, &flag_spec);
    state->waiters_type = add_type(module, &waiters_spec);
    state->memory_type = add_type(module, &memory_spec);
    if (!state->segment_type || !state->ring_type || !state->block_type || !state->part_type ||
        !state->reference_type || !state->ticking_type || !state->encoder_type ||
        !state->dispatch_type || !state->lock_type || !state->flag_type || !state->waiters_type ||
        !state->memory_type) {
        return -1;
    }
    return add_constants(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tines._native",
    .m_doc =
        "The native core: shared memory, robust locks, rings. Used by tines.transport.ring only.",
    .m_size = sizeof(module_state),
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&module_def);
}
