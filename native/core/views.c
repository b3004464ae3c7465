/* See blocks.h: what a program sees of its blocks, and how that stays its own across fork. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "blocks.h"

static size_t whole_pages(uint64_t length) {
    return (size_t)((length + 4095) & ~UINT64_C(4095));
}

static size_t pages_of(const tn_segment *segment, const tn_block *block) {
    return whole_pages(tn_block_length(segment, block));
}

uint8_t *tn_view_at(const tn_segment *segment, const tn_block *block) {
    return tn_block_data(segment, block) == NULL ? NULL : segment->views + block->offset;
}

bool tn_view_isolate(uint8_t *view, uint64_t length) {
    size_t size = whole_pages(length);
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) return false;
    memcpy(copy, view, size);
    if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, view) == MAP_FAILED) {
        munmap(copy, size);
        return false;
    }
    return true;
}

bool tn_view_detach(tn_segment *segment, tn_block *block, uint64_t length) {
    uint8_t *view = tn_view_at(segment, block);
    size_t size = whole_pages(length);
    if (view == NULL || !tn_view_isolate(view, length)) return false;
    if (fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)block->offset,
                  (off_t)size) == 0) {
        block->touched = 0;
    }
    return true;
}

/* `length` is what the view was made with: in a child the block may be another message's by now. */
void tn_view_attach(tn_segment *segment, const tn_block *block, uint64_t length) {
    uint8_t *view = tn_view_at(segment, block);
    if (view == NULL) return;
    mmap(view, whole_pages(length), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
         segment->fd, (off_t)block->offset);
}

uint8_t *tn_view_map(const tn_segment *segment, const tn_block *block, bool shared) {
    if (tn_block_data(segment, block) == NULL) return NULL;
    void *view = mmap(NULL, pages_of(segment, block), PROT_READ | PROT_WRITE,
                      (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE, segment->fd,
                      (off_t)block->offset);
    return view == MAP_FAILED ? NULL : view;
}

void tn_view_unmap(uint8_t *view, uint64_t length) {
    munmap(view, whole_pages(length));
}
