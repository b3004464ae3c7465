/* See platform/pages.h. */
#include "../pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { WRITABLE = PROT_READ | PROT_WRITE };

static _Atomic uint64_t page_size;

uint64_t tn_page_size(void) {
    uint64_t known = atomic_load_explicit(&page_size, memory_order_relaxed);
    if (known == 0) {
        known = (uint64_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page_size, known, memory_order_relaxed);
    }
    return known;
}

#ifdef TINES_DEBUG
void tn_page_size_pretend(uint64_t size) {
    atomic_store(&page_size, size);
}
#endif

static uint8_t *map(void *place, uint64_t size, int protection, int kind, int file,
                    uint64_t offset) {
    void *mapped = mmap(place, size, protection, kind | MAP_NORESERVE, file, (off_t)offset);
    return mapped == MAP_FAILED ? NULL : mapped;
}

uint8_t *tn_map(int file, uint64_t size) {
    uint8_t *base = map(NULL, size, WRITABLE, MAP_SHARED, file, 0);
    if (base != NULL) madvise(base, size, MADV_DONTDUMP);
    return base;
}

uint8_t *tn_map_privately(int file, uint64_t offset, uint64_t size) {
    return map(NULL, size, WRITABLE, MAP_PRIVATE, file, offset);
}

uint8_t *tn_map_spare(int file, uint64_t size) {
    return map(NULL, size, PROT_NONE, MAP_SHARED, file, 0);
}

void tn_unmap(void *place, uint64_t size) {
    munmap(place, size);
}

bool tn_map_over(uint8_t *place, int file, uint64_t offset, uint64_t size, tn_sharing sharing) {
    int kind = sharing == TN_PRIVATE_PAGES ? MAP_PRIVATE : MAP_SHARED;
    if (map(place, size, WRITABLE, kind | MAP_FIXED, file, offset) == NULL) return false;
    madvise(place, size, MADV_DONTDUMP);
    return true;
}

/* Whether it says that memory is short, and not that the call may not be used. EFAULT: to write there would
 * be a SIGBUS, as the file cannot have the page. */
static bool is_shortage(int error) {
    return error == ENOMEM || error == ENOSPC || error == EFAULT || error == EDQUOT;
}

/* In pieces, as a signal undoes all that one call has done so far. */
static bool allocate(int file, uint64_t offset, uint64_t length) {
    const uint64_t piece = UINT64_C(4) << 20;
    for (uint64_t done = 0; done < length;) {
        uint64_t size = length - done < piece ? length - done : piece;
        if (fallocate(file, 0, (off_t)(offset + done), (off_t)size) == 0) done += size;
        else if (errno != EINTR) return false;
    }
    return true;
}

/* Linux before 5.14 does not know MADV_POPULATE_WRITE, and a sandbox may forbid what it does not know, in
 * whatever words: only a shortage is not a reason to try it in the older way. */
tn_pages_outcome tn_pages_take(uint8_t *place, uint64_t length, int file, uint64_t offset) {
    if (madvise(place, length, MADV_POPULATE_WRITE) == 0) return TN_PAGES_TAKEN;
    if (is_shortage(errno)) return TN_PAGES_SHORT;
    if (allocate(file, offset, length)) return TN_PAGES_TAKEN;
    return is_shortage(errno) ? TN_PAGES_SHORT : TN_PAGES_REFUSED;
}

void tn_pages_expect(uint8_t *place, uint64_t length) {
    (void)madvise(place, tn_pages(length), MADV_POPULATE_WRITE);
}

void tn_pages_prefer_large(uint8_t *place, uint64_t length) {
    uint64_t page = tn_page_size(), skipped = -(uint64_t)(uintptr_t)place & (page - 1);
    if (length < skipped + page) return;
    (void)madvise(place + skipped, (length - skipped) & ~(page - 1), MADV_HUGEPAGE);
}

bool tn_pages_give_back(int file, uint64_t offset, uint64_t length) {
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(file, mode, (off_t)offset, (off_t)tn_pages(length)) == 0;
}

void tn_pages_forget(uint8_t *place, uint64_t length) {
    madvise(place, length, MADV_DONTNEED);
}
