/* Ways: how the objects of a class are taken apart for a pickle, where the class leaves that to Python.
 *
 * `object.__reduce_ex__` asks each object anew what only its class decides: has it a `__reduce__`, a
 * `__getstate__`, `__getnewargs__`, slots? For an instance of a dataclass that takes as long as all the
 * rest of pickling it. Here it is asked once for a class, in Python (tines.wire.reducers.ways), and what
 * stands here gives for each object the answer that `object.__reduce_ex__` gives, in a few lookups.
 *
 * A class may change at any time. What was found is good for one version of it: its tag, which CPython
 * takes away when the class or one of its bases is changed, and gives to no other. So the table keeps no
 * class alive, and what it knows of one that is gone is never met again.
 */
#include "ways.h"

#include <datetime.h>

static unsigned int tag_of(PyTypeObject *type) {
#if PY_VERSION_HEX < 0x030C0000
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
    return (unsigned int)type->tp_version_tag;
}

PyObject *ways_find(way *ways, PyObject *find, PyTypeObject *type) {
    if (type->tp_getattro != PyObject_GenericGetAttr) return Py_None; /* its objects are asked */
    uintptr_t address = (uintptr_t)type;
    way *at = &ways[(address >> 4 ^ address >> 10) % WAYS];
    if (at->reducer == NULL || at->type != type || at->tag != tag_of(type)) {
        PyObject *reducer = PyObject_CallOneArg(find, (PyObject *)type);
        if (reducer == NULL) return NULL;
        /* A class that has lost its tag is given one by a look, if it has not had too many. */
        (void)PyObject_HasAttrString((PyObject *)type, "__reduce_ex__");
        at->type = type;
        at->tag = tag_of(type);
        if (at->tag == 0) Py_SETREF(reducer, Py_NewRef(Py_None));
        Py_XSETREF(at->reducer, reducer);
    }
    return at->reducer;
}

/* Each reducer below is bound to a tuple: what makes the object again (`copyreg.__newobj__`), then names. */

/* For what has a `__dict__`; with one of the names in it, that object has a say of its own. */
static PyObject *reduce_with_dict(PyObject *known, PyObject *obj) {
    PyObject *state = PyObject_GenericGetDict(obj, NULL);
    if (state == NULL) return NULL;
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(known); i++) {
        int there = PyDict_Contains(state, PyTuple_GET_ITEM(known, i));
        if (there == 0) continue;
        Py_DECREF(state);
        return there < 0 ? NULL : PyObject_CallMethod(obj, "__reduce_ex__", "i", 5);
    }
    if (PyDict_GET_SIZE(state) == 0) Py_SETREF(state, Py_NewRef(Py_None));
    PyObject *arguments = PyTuple_Pack(1, (PyObject *)Py_TYPE(obj));
    PyObject *answer = NULL;
    if (arguments != NULL) answer = PyTuple_Pack(3, PyTuple_GET_ITEM(known, 0), arguments, state);
    Py_XDECREF(arguments);
    Py_DECREF(state);
    return answer;
}

/* The values of slots, without those that have none. */
static PyObject *slots_of(PyObject *known, PyObject *obj) {
    PyObject *values = PyDict_New();
    for (Py_ssize_t i = 1; values != NULL && i < PyTuple_GET_SIZE(known); i++) {
        PyObject *name = PyTuple_GET_ITEM(known, i);
        PyObject *value = PyObject_GetAttr(obj, name);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            continue;
        }
        if (value == NULL || PyDict_SetItem(values, name, value) < 0) Py_CLEAR(values);
        Py_XDECREF(value);
    }
    return values;
}

/* For what has slots and no `__dict__`. */
static PyObject *reduce_with_slots(PyObject *known, PyObject *obj) {
    PyObject *values = slots_of(known, obj);
    if (values == NULL) return NULL;
    PyObject *state =
        PyDict_GET_SIZE(values) > 0 ? PyTuple_Pack(2, Py_None, values) : Py_NewRef(Py_None);
    PyObject *arguments = PyTuple_Pack(1, (PyObject *)Py_TYPE(obj));
    PyObject *answer = NULL;
    if (state != NULL && arguments != NULL)
        answer = PyTuple_Pack(3, PyTuple_GET_ITEM(known, 0), arguments, state);
    Py_XDECREF(arguments);
    Py_XDECREF(state);
    Py_DECREF(values);
    return answer;
}

/* For a named tuple without a `__dict__`. */
static PyObject *reduce_named_tuple(PyObject *known, PyObject *obj) {
    Py_ssize_t size = PyTuple_GET_SIZE(obj);
    PyObject *arguments = PyTuple_New(size + 1);
    if (arguments == NULL) return NULL;
    PyTuple_SET_ITEM(arguments, 0, Py_NewRef((PyObject *)Py_TYPE(obj)));
    for (Py_ssize_t i = 0; i < size; i++)
        PyTuple_SET_ITEM(arguments, i + 1, Py_NewRef(PyTuple_GET_ITEM(obj, i)));
    PyObject *answer = PyTuple_Pack(2, PyTuple_GET_ITEM(known, 0), arguments);
    Py_DECREF(arguments);
    return answer;
}

/* For a dataclass with slots that is frozen, whose `__getstate__` is that of all of these. */
static PyObject *reduce_with_fields(PyObject *known, PyObject *obj) {
    Py_ssize_t size = PyTuple_GET_SIZE(known);
    PyObject *state = PyList_New(size - 1);
    PyObject *arguments = PyTuple_Pack(1, (PyObject *)Py_TYPE(obj));
    PyObject *answer = NULL;
    if (state == NULL || arguments == NULL) goto done;
    for (Py_ssize_t i = 1; i < size; i++) {
        PyObject *value = PyObject_GetAttr(obj, PyTuple_GET_ITEM(known, i));
        if (value == NULL) goto done;
        PyList_SET_ITEM(state, i - 1, value);
    }
    answer = PyTuple_Pack(3, PyTuple_GET_ITEM(known, 0), arguments, state);
done:
    Py_XDECREF(arguments);
    Py_XDECREF(state);
    return answer;
}

/* For a `datetime`, whose `__reduce_ex__` parses its argument and builds its answer by a format. */
static PyObject *reduce_datetime(PyObject *known, PyObject *obj) {
    (void)known;
    (void)PyDateTimeAPI; /* the header has it, and only its types are needed here */
    PyDateTime_DateTime *moment = (PyDateTime_DateTime *)obj;
    PyObject *data = PyBytes_FromStringAndSize((char *)moment->data, _PyDateTime_DATETIME_DATASIZE);
    if (data == NULL) return NULL;
    if (moment->fold) PyBytes_AS_STRING(data)[2] |= (char)0x80;
    PyObject *arguments =
        moment->hastzinfo ? PyTuple_Pack(2, data, moment->tzinfo) : PyTuple_Pack(1, data);
    PyObject *answer =
        arguments == NULL ? NULL : PyTuple_Pack(2, (PyObject *)Py_TYPE(obj), arguments);
    Py_XDECREF(arguments);
    Py_DECREF(data);
    return answer;
}

static PyMethodDef kinds[] = {
    {"dict", reduce_with_dict, METH_O, NULL},          {"slots", reduce_with_slots, METH_O, NULL},
    {"datetime", reduce_datetime, METH_O, NULL},       {"fields", reduce_with_fields, METH_O, NULL},
    {"named tuple", reduce_named_tuple, METH_O, NULL}, {NULL, NULL, 0, NULL},
};

PyObject *reducer_of_kind(PyObject *module, PyObject *args) {
    (void)module;
    const char *kind;
    PyObject *known;
    if (!PyArg_ParseTuple(args, "sO!", &kind, &PyTuple_Type, &known)) return NULL;
    for (PyMethodDef *each = kinds; PyTuple_GET_SIZE(known) > 0 && each->ml_name != NULL; each++)
        if (strcmp(each->ml_name, kind) == 0) return PyCFunction_NewEx(each, known, NULL);
    return PyErr_Format(PyExc_ValueError, "there is no reducer %s for %R", kind, known);
}
