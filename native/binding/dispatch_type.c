/* Dispatch: the dispatch table of tines' picklers, which asks the live registries about each type.
 *
 * A pickler asks once for each object that it has no way of its own for, so a thousand instances of a
 * class are a thousand questions, nearly all answered by "no". What a table in Python, or a ChainMap,
 * takes for each is as long as all the rest of pickling such an object.
 *
 * The order: what a program has registered itself (`first`, then `second`), then what tines adds for
 * libraries that are imported (`added`). Where the one that is registered is a library's own and
 * tines has something in its place (`instead`), that goes. Whether a library has come is looked up
 * only when the number of imported modules has changed; `look` does it and says what to remember.
 * Where nobody has said anything, there may be a quicker way to what Python does by itself (`ways.c`).
 */
#include "ways.h"

typedef struct {
    PyObject_HEAD
    PyObject *first, *second; /* {type: reducer}, the program's to change at any time */
    PyObject *added;          /* the same, of tines */
    PyObject *instead;        /* {a library's reducer: ours} */
    PyObject *modules;        /* sys.modules */
    PyObject *look;           /* () -> how many modules there were; -1 to look again next time */
    PyObject *find;           /* (type) -> how Python takes its objects apart, or None */
    Py_ssize_t looked;
    way ways[WAYS];
} dispatch_object;

static bool look_again(dispatch_object *self) {
    PyObject *number = PyObject_CallNoArgs(self->look);
    if (number == NULL) return false;
    self->looked = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return self->looked != -1 || !PyErr_Occurred();
}

static PyObject *dispatch_subscript(dispatch_object *self, PyObject *cls) {
    if (PyDict_GET_SIZE(self->modules) != self->looked && !look_again(self)) return NULL;
    PyObject *found = PyDict_GetItemWithError(self->first, cls);
    if (found == NULL && !PyErr_Occurred()) found = PyDict_GetItemWithError(self->second, cls);
    if (found != NULL) {
        PyObject *ours = NULL;
        if (PyDict_GET_SIZE(self->instead) > 0) ours = PyDict_GetItem(self->instead, found);
        return Py_NewRef(ours != NULL ? ours : found);
    }
    if (PyErr_Occurred()) return NULL;
    found = PyDict_GetItemWithError(self->added, cls);
    if (found == NULL && !PyErr_Occurred() && PyType_Check(cls)) {
        found = ways_find(self->ways, self->find, (PyTypeObject *)cls);
        if (found == Py_None) found = NULL;
    }
    if (found != NULL) return Py_NewRef(found);
    if (!PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, cls);
    return NULL;
}

static PyObject *dispatch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"first", "second", "added", "instead", "modules", "look", "find", NULL};
    PyObject *first, *second, *added, *instead, *modules, *look, *find;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!O!O!OO", names, &PyDict_Type, &first,
                                     &PyDict_Type, &second, &PyDict_Type, &added, &PyDict_Type,
                                     &instead, &PyDict_Type, &modules, &look, &find)) {
        return NULL;
    }
    dispatch_object *self = (dispatch_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->first = Py_NewRef(first);
    self->second = Py_NewRef(second);
    self->added = Py_NewRef(added);
    self->instead = Py_NewRef(instead);
    self->modules = Py_NewRef(modules);
    self->look = Py_NewRef(look);
    self->find = Py_NewRef(find);
    self->looked = -1;
    return (PyObject *)self;
}

static int dispatch_traverse(dispatch_object *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->first);
    Py_VISIT(self->second);
    Py_VISIT(self->added);
    Py_VISIT(self->instead);
    Py_VISIT(self->modules);
    Py_VISIT(self->look);
    Py_VISIT(self->find);
    for (int i = 0; i < WAYS; i++) Py_VISIT(self->ways[i].reducer);
    return 0;
}

static void dispatch_dealloc(dispatch_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->first);
    Py_XDECREF(self->second);
    Py_XDECREF(self->added);
    Py_XDECREF(self->instead);
    Py_XDECREF(self->modules);
    Py_XDECREF(self->look);
    Py_XDECREF(self->find);
    for (int i = 0; i < WAYS; i++) Py_XDECREF(self->ways[i].reducer);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyType_Slot dispatch_slots[] = {
    {Py_tp_new, dispatch_new},
    {Py_tp_dealloc, dispatch_dealloc},
    {Py_tp_traverse, dispatch_traverse},
    {Py_mp_subscript, dispatch_subscript},
    {0, NULL},
};

PyType_Spec dispatch_spec = {
    .name = "tines._native.Dispatch",
    .basicsize = sizeof(dispatch_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = dispatch_slots,
};
