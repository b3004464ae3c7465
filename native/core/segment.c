/* See segment.h: creating, attaching, and where the parts lie. */
#include "segment.h"

#include <errno.h>
#include <stdlib.h>

#include "../platform/memory_file.h"
#include "../platform/pages.h"
#include "../platform/process.h"
#include "blocks.h"
#include "slots.h"
#include "views.h"

static uint64_t granule_up(uint64_t n) {
    return (n + TN_GRANULE - 1) & ~(TN_GRANULE - 1);
}

/* The same in every process, as it depends on the size alone. Blocks begin at a granule, and so at a page
 * on systems whose pages are 16 or 64 KiB as well. */
static void lay_out(tn_segment *segment) {
    uint64_t most = segment->size >> TN_SMALLEST_CLASS;
    segment->blocks_limit = most < (1u << 22) ? (uint32_t)most : 1u << 22;
    segment->slots_at = granule_up(sizeof(tn_header));
    segment->blocks_at = granule_up(segment->slots_at + TN_SLOTS * sizeof(tn_slot));
    segment->data_at = granule_up(segment->blocks_at + segment->blocks_limit * sizeof(tn_block));
}

static tn_result map(tn_segment *segment) {
    lay_out(segment);
    segment->base = tn_map(segment->fd, segment->size);
    segment->views = segment->base == NULL ? NULL : tn_map(segment->fd, segment->size);
    segment->header = (tn_header *)segment->base;
    segment->apart = calloc(segment->size / TN_GRANULE / 64 + 1, sizeof *segment->apart);
    if (segment->views != NULL && segment->apart != NULL) {
        tn_views_spare(segment, true);
        return TN_OK;
    }
    int error = errno;
    tn_segment_unmap(segment);
    return error == ENOMEM ? TN_NO_MEMORY : TN_SYSTEM_ERROR;
}

void tn_segment_unmap(tn_segment *segment) {
    if (segment->base != NULL) tn_unmap(segment->base, segment->size);
    if (segment->views != NULL) tn_unmap(segment->views, segment->size);
    tn_segment_forked(segment);
    tn_views_spare(segment, false);
    free(segment->apart);
    segment->apart = NULL;
    segment->base = segment->views = NULL;
}

static tn_result initialise(tn_segment *segment) {
    tn_header *header = segment->header;
    header->size = segment->size;
    if (!tn_random(header->id, sizeof header->id)) return TN_SYSTEM_ERROR;
    header->pid_space = tn_process_space();
    header->data_used = segment->data_at;
    for (int i = 0; i < TN_CLASSES; i++) header->hot[i] = header->cold[i] = TN_NO_BLOCK;
    tn_result result = tn_lock_init(&header->registry);
    if (result == TN_OK) result = tn_lock_init(&header->arena);
    if (result == TN_OK) header->magic = TN_MAGIC;
    return result;
}

/* Whether what the segment needs can be had here; that memory is short at the moment is nothing against it. */
static tn_result try_out(tn_segment *segment) {
    uint32_t index;
    tn_result result = tn_block_take(segment, 1, &index);
    if (result == TN_OK) tn_block_release(segment, index);
    return result == TN_NO_MEMORY ? TN_OK : result;
}

tn_result tn_segment_create(tn_segment *segment, uint64_t size) {
    if (!tn_mutex_can_outlive()) return TN_NO_RECOVERY;
    *segment = (tn_segment){.child_slot = TN_NO_SLOT, .child_mark = -1};
    segment->fd = tn_memory_file_create();
    if (segment->fd < 0) return TN_SYSTEM_ERROR;
    tn_result result = TN_NO_MEMORY;
    for (segment->size = size; segment->size >= TN_LEAST_SIZE; segment->size /= 2) {
        if (!tn_memory_file_resize(segment->fd, segment->size)) continue;
        result = map(segment);
        if (result != TN_NO_MEMORY) break;
    }
    if (result == TN_OK) tn_memory_file_seal(segment->fd);
    if (result == TN_OK) result = initialise(segment);
    if (result == TN_OK) result = tn_segment_register(segment);
    if (result == TN_OK) result = try_out(segment);
    if (result != TN_OK) {
        int error = errno;
        tn_segment_unmap(segment);
        tn_memory_file_close(segment->fd);
        errno = error;
    }
    return result;
}

static tn_result may_attach(const tn_segment *segment) {
    const tn_header *header = segment->header;
    if ((header->magic & TN_MAGIC_NAME) != (TN_MAGIC & TN_MAGIC_NAME)) return TN_CORRUPT;
    if (header->magic != TN_MAGIC) return TN_OTHER_LAYOUT;
    if (header->size != segment->size) return TN_CORRUPT;
    uint64_t here = tn_process_space(), there = header->pid_space;
    return here == there || here == 0 || there == 0 ? TN_OK : TN_OTHER_SPACE;
}

tn_result tn_segment_attach(tn_segment *segment, int fd) {
    uint64_t size;
    if (!tn_memory_file_size(fd, &size)) return TN_SYSTEM_ERROR;
    *segment = (tn_segment){.fd = fd, .size = size, .child_slot = TN_NO_SLOT, .child_mark = -1};
    if (segment->size < TN_LEAST_SIZE) return TN_CORRUPT;
    tn_result result = map(segment);
    if (result != TN_OK) return result;
    result = may_attach(segment);
    if (result == TN_OK) result = tn_segment_register(segment);
    if (result != TN_OK) tn_segment_unmap(segment);
    return result;
}
