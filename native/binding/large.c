/* Large: `bytes` and `bytearray` objects of megabytes, in large pages where the system has them.
 *
 * Such an object has to be CPython's own memory: the bytes lie right behind its head, and the allocator frees both.
 * So what arrives in a block is copied once more, and what that costs is fresh pages, at several times what the copy
 * does: there are a hundred times fewer if they are large. The copy does not hold the GIL. */
#include "large.h"

#include "../platform/pages.h"

#include <string.h>

/* Up to this, glibc comes to keep what was freed for the next, with pages that were used before: larger memory is
 * always mapped anew. */
static const Py_ssize_t LARGE = (Py_ssize_t)32 << 20;

static void copy(char *to, const char *from, Py_ssize_t size) {
    if (size < LARGE) {
        memcpy(to, from, (size_t)size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS;
    memcpy(to, from, (size_t)size);
    Py_END_ALLOW_THREADS;
}

static PyObject *new_bytes(Py_ssize_t size) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes != NULL && size >= LARGE)
        tn_pages_prefer_large((uint8_t *)PyBytes_AS_STRING(bytes), (uint64_t)size);
    return bytes;
}

static PyObject *new_bytearray(Py_ssize_t size) {
    PyObject *array = PyByteArray_FromStringAndSize(NULL, size);
    if (array != NULL && size >= LARGE)
        tn_pages_prefer_large((uint8_t *)PyByteArray_AS_STRING(array), (uint64_t)size);
    return array;
}

PyObject *bytes_of(PyObject *module, PyObject *buffer) {
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) return NULL;
    PyObject *bytes = new_bytes(view.len);
    if (bytes != NULL) copy(PyBytes_AS_STRING(bytes), view.buf, view.len);
    PyBuffer_Release(&view);
    return bytes;
}

PyObject *bytearray_of(PyObject *module, PyObject *buffer) {
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) return NULL;
    PyObject *array = new_bytearray(view.len);
    if (array != NULL) copy(PyByteArray_AS_STRING(array), view.buf, view.len);
    PyBuffer_Release(&view);
    return array;
}

PyObject *bytes_joined(PyObject *list) {
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        Py_ssize_t more = PyBytes_GET_SIZE(PyList_GET_ITEM(list, i));
        if (more > PY_SSIZE_T_MAX - size) return PyErr_NoMemory();
        size += more;
    }
    PyObject *bytes = new_bytes(size);
    if (bytes == NULL) return NULL;
    char *at = PyBytes_AS_STRING(bytes);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *part = PyList_GET_ITEM(list, i);
        copy(at, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part));
        at += PyBytes_GET_SIZE(part);
    }
    return bytes;
}
