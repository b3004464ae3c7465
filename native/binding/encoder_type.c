/* Encoder: the fast path of tines.wire.pickling.encode, whose Python twin stands beside it there.
 *
 * It keeps one C pickler, whose file and buffer callback it is itself, and clears its memo between
 * objects. Everything unusual (an error, a __reduce__ that encodes in turn, another thread in the
 * middle of it) goes to the Python twin.
 *
 * A pickler that may be in any state (it failed, or its memo could not be cleared) is let go of, and the
 * next object is given a new one. So whatever fails here, for want of memory too, fails for one object.
 */
#include "large.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *new_pickler;       /* (encoder) -> pickler */
    PyObject *encode;            /* the twin: (obj) -> (kind, data, buffers) */
    PyObject *failed;            /* (obj, exception) -> the same, or raises */
    PyObject *dump, *clear_memo; /* of the pickler; both NULL: the next object needs a new one */
    PyObject *written;   /* bytes, or a list of them where the pickler wrote several times */
    PyObject *kept;      /* list of out-of-band buffers, or NULL */
    PyObject *pickled;   /* the kind of message that is a pickle: 0 */
    PyObject *raw_kinds; /* {bytes: kind, bytearray: kind}: these skip pickling if they are large */
    Py_ssize_t out_of_band, small, largest_kept;
    int references;
    Py_ssize_t left;    /* bytes of small buffers that the pickle still takes */
    Py_ssize_t largest; /* bytes of the largest message that this pickler has made */
    bool busy;
    char deferring; /* everything goes to the twin */
} encoder_object;

static void let_go(encoder_object *self) {
    Py_CLEAR(self->dump);
    Py_CLEAR(self->clear_memo);
}

/* Have a pickler; what there is stays until the new one is whole. */
static int renew(encoder_object *self) {
    PyObject *pickler = PyObject_CallOneArg(self->new_pickler, (PyObject *)self);
    if (pickler == NULL) return -1;
    PyObject *dump = PyObject_GetAttrString(pickler, "dump");
    PyObject *clear_memo = dump == NULL ? NULL : PyObject_GetAttrString(pickler, "clear_memo");
    Py_DECREF(pickler);
    if (clear_memo == NULL) {
        Py_XDECREF(dump);
        return -1;
    }
    Py_XSETREF(self->dump, dump);
    Py_XSETREF(self->clear_memo, clear_memo);
    self->largest = 0;
    return 0;
}

static PyObject *encoder_write(encoder_object *self, PyObject *chunk) {
    if (self->written == NULL) {
        self->written = PyBytes_CheckExact(chunk) ? Py_NewRef(chunk) : bytes_of(NULL, chunk);
        if (self->written == NULL) return NULL;
        Py_RETURN_NONE;
    }
    if (!PyList_Check(self->written)) {
        PyObject *list = PyList_New(1);
        if (list == NULL) return NULL;
        PyList_SET_ITEM(list, 0, self->written);
        self->written = list;
    }
    /* The pickler may pass a view of an object that lives no longer than this call. */
    PyObject *bytes = PyBytes_CheckExact(chunk) ? Py_NewRef(chunk) : bytes_of(NULL, chunk);
    if (bytes == NULL) return NULL;
    int failed = PyList_Append(self->written, bytes);
    Py_DECREF(bytes);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

/* Beside a message there is room for any number of buffers that go into packs, and for so many that
 * have to have a block each. */
enum { MOST_REFERENCES = TN_MOST_BLOCKS - 24 };

/* Whether a buffer leaves the pickle. A few small ones are better off in it. */
static bool goes_beside(encoder_object *self, const Py_buffer *raw) {
    if (raw->len >= self->out_of_band) return true;
    if (raw->obj != NULL && PyObject_HasAttrString(raw->obj, "travels_beside"))
        return self->references++ < MOST_REFERENCES;
    if (raw->len < self->small) return false;
    if (self->left <= 0) return true;
    self->left -= raw->len;
    return false;
}

/* The buffer callback: true keeps a buffer in the pickle. */
static PyObject *encoder_keep(encoder_object *self, PyObject *buffer) {
    PyObject *view = PyObject_CallMethod(buffer, "raw", NULL);
    if (view == NULL) return NULL;
    bool beside = goes_beside(self, PyMemoryView_GET_BUFFER(view));
    if (beside && self->kept == NULL) self->kept = PyList_New(0);
    int failed = beside && (self->kept == NULL || PyList_Append(self->kept, view) < 0);
    Py_DECREF(view);
    return failed ? NULL : PyBool_FromLong(!beside);
}

/* Take what was written out of the encoder; it is ready for the next object then. */
static PyObject *collect(encoder_object *self) {
    PyObject *written = self->written;
    self->written = NULL;
    if (written == NULL || PyBytes_CheckExact(written)) return written;
    PyObject *joined = bytes_joined(written);
    Py_DECREF(written);
    return joined;
}

static PyObject *recover(encoder_object *self, PyObject *obj) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *result = NULL;
    Py_CLEAR(self->written);
    Py_CLEAR(self->kept);
    let_go(self);
    self->busy = false;
    if (PyErr_GivenExceptionMatches(type, PyExc_Exception)) {
        if (traceback != NULL) PyException_SetTraceback(value, traceback);
        result = PyObject_CallFunctionObjArgs(self->failed, obj, value, NULL);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    } else {
        PyErr_Restore(type, value, traceback);
    }
    return result;
}

static PyObject *triple(PyObject *kind, PyObject *data, PyObject *buffers) {
    PyObject *tuple = data != NULL && buffers != NULL ? PyTuple_New(3) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(data);
        Py_XDECREF(buffers);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, Py_NewRef(kind));
    PyTuple_SET_ITEM(tuple, 1, data);
    PyTuple_SET_ITEM(tuple, 2, buffers);
    return tuple;
}

enum { LARGE = 4096, MUCH_SMALLER = 16 };

/* Whether the memo takes too long to clear for messages of this size: better a new pickler. The memo
 * keeps the room that the largest message took, a list of a thousand objects for example, and to
 * clear that takes ten times as long as to pickle something small. */
static bool has_grown(encoder_object *self, Py_ssize_t size) {
    if (size > self->largest_kept) return true;
    if (size > self->largest) self->largest = size;
    return self->largest > LARGE && size < self->largest / MUCH_SMALLER;
}

/* The message is made by now, so this may fail. */
static void clear(encoder_object *self) {
    PyObject *cleared = PyObject_CallNoArgs(self->clear_memo);
    if (cleared == NULL) {
        PyErr_Clear();
        let_go(self);
    }
    Py_XDECREF(cleared);
}

static PyObject *encoder_call(encoder_object *self, PyObject *const *args, size_t nargsf,
                              PyObject *names) {
    if (PyVectorcall_NARGS(nargsf) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "encode() takes exactly one argument");
        return NULL;
    }
    PyObject *obj = args[0];
    module_state *state = state_of(Py_TYPE(self));
    bool raw = (PyBytes_CheckExact(obj) && PyBytes_GET_SIZE(obj) >= self->out_of_band) ||
               (PyByteArray_CheckExact(obj) && PyByteArray_GET_SIZE(obj) >= self->out_of_band);
    PyObject *kind =
        raw ? PyDict_GetItemWithError(self->raw_kinds, (PyObject *)Py_TYPE(obj)) : NULL;
    if (kind != NULL) return triple(kind, Py_NewRef(obj), Py_NewRef(state->no_buffers));
    if (self->busy || self->deferring) return PyObject_CallOneArg(self->encode, obj);
    self->busy = true;
    if (self->dump == NULL && renew(self) < 0) {
        self->busy = false;
        return NULL;
    }
    self->left = self->out_of_band;
    self->references = 0;
    PyObject *done = PyObject_CallOneArg(self->dump, obj);
    if (done == NULL) return recover(self, obj);
    Py_DECREF(done);
    PyObject *data = collect(self);
    PyObject *buffers = self->kept != NULL ? self->kept : Py_NewRef(state->no_buffers);
    self->kept = NULL;
    if (data == NULL || has_grown(self, PyBytes_GET_SIZE(data))) let_go(self);
    else clear(self);
    self->busy = false;
    return triple(self->pickled, data, buffers);
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"new_pickler", "encode", "failed",       "raw_kinds",
                            "out_of_band", "small",  "largest_kept", NULL};
    PyObject *new_pickler, *encode, *failed, *raw_kinds;
    Py_ssize_t out_of_band, small, largest_kept;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO!nnn", names, &new_pickler, &encode,
                                     &failed, &PyDict_Type, &raw_kinds, &out_of_band, &small,
                                     &largest_kept)) {
        return NULL;
    }
    encoder_object *self = (encoder_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->vectorcall = (vectorcallfunc)encoder_call;
    self->new_pickler = Py_NewRef(new_pickler);
    self->encode = Py_NewRef(encode);
    self->failed = Py_NewRef(failed);
    self->pickled = PyLong_FromLong(0);
    self->raw_kinds = Py_NewRef(raw_kinds);
    self->out_of_band = out_of_band;
    self->small = small;
    self->largest_kept = largest_kept;
    if (self->pickled != NULL && renew(self) == 0) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static int encoder_traverse(encoder_object *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->new_pickler);
    Py_VISIT(self->encode);
    Py_VISIT(self->failed);
    Py_VISIT(self->dump);
    Py_VISIT(self->clear_memo);
    Py_VISIT(self->written);
    Py_VISIT(self->kept);
    return 0;
}

static int encoder_clear(encoder_object *self) {
    Py_CLEAR(self->new_pickler);
    Py_CLEAR(self->encode);
    Py_CLEAR(self->failed);
    Py_CLEAR(self->dump);
    Py_CLEAR(self->clear_memo);
    Py_CLEAR(self->written);
    Py_CLEAR(self->kept);
    return 0;
}

static void encoder_dealloc(encoder_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    encoder_clear(self);
    Py_XDECREF(self->pickled);
    Py_XDECREF(self->raw_kinds);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMethodDef encoder_methods[] = {
    {"write", (PyCFunction)encoder_write, METH_O, "What the pickler writes to."},
    {"keep", (PyCFunction)encoder_keep, METH_O, "The pickler's buffer callback."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef encoder_members[] = {
    {"deferring", T_BOOL, offsetof(encoder_object, deferring), 0,
     "Whether everything goes to the twin."},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(encoder_object, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot encoder_slots[] = {
    {Py_tp_new, encoder_new},         {Py_tp_call, PyVectorcall_Call},
    {Py_tp_dealloc, encoder_dealloc}, {Py_tp_traverse, encoder_traverse},
    {Py_tp_clear, encoder_clear},     {Py_tp_methods, encoder_methods},
    {Py_tp_members, encoder_members}, {0, NULL},
};

PyType_Spec encoder_spec = {
    .name = "tines._native.Encoder",
    .basicsize = sizeof(encoder_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = encoder_slots,
};
