/* Ring: which buffers of a message go into packs (../core/packs.h), and how they get there.
 *
 * A small buffer that is kept by its receiver keeps its pack, so a pack has a quarter of a megabyte of them, or one in
 * a hundred and some of a message so large that it would have too many blocks else. What would fill a quarter of a
 * pack has a block of its own, as has what goes without a copy. One small buffer alone is no pack. */
#include "ring_type.h"

static const uint64_t PACK = UINT64_C(256) << 10;
enum { SMALL_PART = 4 }; /* what is below this part of a pack is packed */
/* Of a message's bytes, one in so many for each block that there is room for: packs are three quarters full, but for
 * the last, and what has a block of its own is a quarter of a pack: 4/3 + 1 and 4 blocks for each. */
enum { BLOCKS_FOR_EACH = 7 };

/* UINT64_MAX: it is no buffer, as will be said when it is sent. */
static uint64_t length_of(PyObject *item) {
    if (PyMemoryView_Check(item)) return (uint64_t)PyMemoryView_GET_BUFFER(item)->len;
    Py_buffer view;
    if (PyObject_GetBuffer(item, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return UINT64_MAX;
    }
    uint64_t length = (uint64_t)view.len;
    PyBuffer_Release(&view);
    return length;
}

static bool has_own_way(const module_state *state, PyObject *item) {
    item = ring_exporter(item);
    if (item == NULL) return false;
    if (Py_TYPE(item) == state->reference_type) return true;
    if (Py_TYPE(item) != state->block_type) return false;
    const block_object *block = (block_object *)item;
    return block->yields || block->shared;
}

/* The most bytes of one pack; 0: there are no two buffers to be packed. */
static uint64_t pack_size(const module_state *state, PyObject *items, uint32_t room) {
    uint64_t total = 0;
    uint32_t others = 0, small = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (has_own_way(state, item)) {
            others++;
            continue;
        }
        uint64_t length = length_of(item);
        if (length > UINT64_MAX / 2 - total) return 0;
        total += length;
        small++;
    }
    uint32_t shares = others + BLOCKS_FOR_EACH < room ? (room - others) / BLOCKS_FOR_EACH : 1;
    uint64_t share = total / shares;
    return small < 2 ? 0 : share > PACK ? share : PACK;
}

/* Have the buffers that are to be packed, so that they stay as they are. Negative: an error is set. */
static Py_ssize_t select_small(const module_state *state, PyObject *items, uint64_t most,
                               packing *packing) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (has_own_way(state, item) || length_of(item) >= most / SMALL_PART) continue;
        Py_buffer *view = &packing->views[packing->count];
        if (PyObject_GetBuffer(item, view, PyBUF_SIMPLE) < 0) return -1;
        packing->small[packing->count++] = (tn_small){view->buf, (uint64_t)view->len, (uint32_t)i};
    }
    return packing->count;
}

bool packing_begin(ring_object *self, PyObject *items, uint32_t room, packing *packing) {
    const module_state *state = state_of(Py_TYPE(self));
    *packing = (struct packing){.most = pack_size(state, items, room)};
    if (packing->most == 0) return true;
    size_t count = (size_t)PyTuple_GET_SIZE(items);
    packing->views = PyMem_Calloc(count, sizeof *packing->views);
    packing->small = PyMem_Calloc(count, sizeof *packing->small);
    if (packing->views == NULL || packing->small == NULL) {
        PyErr_NoMemory();
        return false;
    }
    if (select_small(state, items, packing->most, packing) < 0) return false;
    if (packing->count == 1)
        packing_end(packing); /* alone, it is better off in a block of its own */
    return true;
}

void packing_end(packing *packing) {
    for (uint32_t i = 0; i < packing->count; i++) PyBuffer_Release(&packing->views[i]);
    PyMem_Free(packing->views);
    PyMem_Free(packing->small);
    *packing = (struct packing){0};
}

tn_result packing_copy(tn_segment *segment, const packing *packing, uint32_t buffers,
                       tn_outgoing *message, uint32_t *blocks) {
    uint32_t first = message->block_count;
    for (uint32_t done = 0; done < packing->count;) {
        uint64_t size;
        uint32_t index, left = packing->count - done;
        uint32_t parts = tn_pack_plan(packing->small + done, left, packing->most, &size);
        if (message->block_count == TN_MOST_BLOCKS) return TN_TOO_MANY;
        tn_result result = tn_block_take(segment, size, &index);
        if (result != TN_OK) return result;
        blocks[message->block_count++] = index;
        uint8_t *block = tn_block_data(segment, tn_block_at(segment, index));
        if (block == NULL) return TN_CORRUPT;
        tn_pack_write(block, packing->small + done, parts);
        for (uint32_t end = done + parts; done < end; done++)
            message->bytes += packing->small[done].length;
    }
    uint8_t *title = tn_block_data(segment, tn_block_at(segment, blocks[first]));
    tn_pack_entitle(title, message->block_count - first, buffers);
    message->packed = true;
    return TN_OK;
}
