/* See segment.h: creating, attaching, and noticing that a process is gone. */
#define _GNU_SOURCE
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blocks.h"
#include "ring.h"

/* The start time tells a reused pid from the process that registered. 0: the process is gone. */
static uint64_t born(uint32_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : 1; /* no /proc: the pid itself has to do */
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    char *field = strrchr(text, ')'); /* the name before it may hold anything */
    if (field == NULL) return 1;
    char state = field[2];
    uint64_t threads = 0, start = 1;
    field += 2;
    for (int i = 3; i < 22 && field != NULL; i++) {
        field = strchr(field + 1, ' ');
        if (field != NULL && i + 1 == 20) threads = strtoull(field + 1, NULL, 10);
        if (field != NULL && i + 1 == 22) start = strtoull(field + 1, NULL, 10);
    }
    /* A zombie is dead, unless only its first thread has ended. */
    if ((state == 'Z' || state == 'X') && threads <= 1) return 0;
    return start ? start : 1;
}

static bool alive(uint32_t pid, uint64_t registered) {
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return false;
    return born(pid) == registered;
}

static uint8_t *map_once(const tn_segment *segment) {
    void *base = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      segment->fd, 0);
    if (base == MAP_FAILED) return NULL;
    madvise(base, segment->size, MADV_DONTDUMP);
    return base;
}

static tn_result map(tn_segment *segment) {
    segment->base = map_once(segment);
    segment->views = segment->base == NULL ? NULL : map_once(segment);
    segment->header = (tn_header *)segment->base;
    if (segment->views != NULL) return TN_OK;
    int error = errno;
    tn_segment_unmap(segment);
    return error == ENOMEM ? TN_NO_MEMORY : TN_SYSTEM_ERROR;
}

void tn_segment_unmap(tn_segment *segment) {
    if (segment->base != NULL) munmap(segment->base, segment->size);
    if (segment->views != NULL) munmap(segment->views, segment->size);
    segment->base = segment->views = NULL;
}

static uint64_t page_up(uint64_t n) {
    return (n + 4095) & ~UINT64_C(4095);
}

static tn_result lay_out(tn_segment *segment) {
    tn_header *header = segment->header;
    header->size = segment->size;
    if (getrandom(header->id, sizeof header->id, 0) != sizeof header->id) return TN_SYSTEM_ERROR;
    uint64_t most = segment->size >> TN_SMALLEST_CLASS;
    header->blocks_limit = most < (1u << 22) ? (uint32_t)most : 1u << 22;
    header->slots_at = page_up(sizeof(tn_header));
    header->blocks_at = page_up(header->slots_at + TN_SLOTS * sizeof(tn_slot));
    header->data_at = page_up(header->blocks_at + header->blocks_limit * sizeof(tn_block));
    header->data_used = header->data_at;
    for (int i = 0; i < TN_CLASSES; i++) header->hot[i] = header->cold[i] = TN_NO_BLOCK;
    tn_result result = tn_lock_init(&header->registry);
    if (result == TN_OK) result = tn_lock_init(&header->arena);
    if (result == TN_OK) header->magic = TN_MAGIC;
    return result;
}

tn_result tn_segment_create(tn_segment *segment, uint64_t size) {
    *segment = (tn_segment){.fd = memfd_create("tines", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (segment->fd < 0) return TN_SYSTEM_ERROR;
    tn_result result = TN_NO_MEMORY;
    for (segment->size = size; segment->size >= TN_LEAST_SIZE; segment->size /= 2) {
        if (ftruncate(segment->fd, (off_t)segment->size) != 0) continue;
        result = map(segment);
        if (result != TN_NO_MEMORY) break;
    }
    if (result == TN_OK) fcntl(segment->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    if (result == TN_OK) result = lay_out(segment);
    if (result == TN_OK) result = tn_segment_register(segment);
    if (result != TN_OK) close(segment->fd);
    return result;
}

tn_result tn_segment_attach(tn_segment *segment, int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) return TN_SYSTEM_ERROR;
    *segment = (tn_segment){.fd = fd, .size = (uint64_t)status.st_size};
    if (segment->size < TN_LEAST_SIZE) return TN_CORRUPT;
    tn_result result = map(segment);
    if (result != TN_OK) return result;
    tn_header *header = segment->header;
    if (header->magic != TN_MAGIC || header->size != segment->size ||
        header->data_at > segment->size || header->blocks_at >= header->data_at) {
        tn_segment_unmap(segment);
        return TN_CORRUPT;
    }
    return tn_segment_register(segment);
}

static tn_slot *slot_at(const tn_segment *segment, uint32_t index) {
    return (tn_slot *)(segment->base + segment->header->slots_at) + index;
}

/* Slots need no repair: each is made valid, and free, by the one store of its pid. */
static bool lock_registry(tn_segment *segment) {
    return tn_lock_always(&segment->header->registry).result == TN_OK;
}

tn_result tn_segment_register(tn_segment *segment) {
    uint32_t pid = (uint32_t)getpid();
    if (!lock_registry(segment)) return TN_CORRUPT;
    uint32_t used = atomic_load(&segment->header->slots_used), index = 0;
    while (index < used && atomic_load(&slot_at(segment, index)->pid) != 0) index++;
    tn_result result = index < TN_SLOTS ? TN_OK : TN_TOO_MANY;
    if (result == TN_OK) {
        tn_slot *slot = slot_at(segment, index);
        atomic_store(&slot->born, born(pid));
        atomic_store(&slot->pid, pid);
        if (index == used) atomic_store(&segment->header->slots_used, used + 1);
        segment->slot = index;
    }
    tn_lock_release(&segment->header->registry);
    return result;
}

static void release_all_of(tn_segment *segment, uint32_t slot) {
    if (!tn_arena_lock(segment)) return;
    uint32_t used = atomic_load(&segment->header->blocks_used);
    for (uint32_t i = 0; i < used; i++) {
        tn_block *block = tn_block_at(segment, i);
        if (atomic_load(&block->status) == tn_status(TN_HELD, slot)) tn_block_free_locked(segment, i);
    }
    tn_arena_unlock(segment);
}

int tn_segment_sweep(tn_segment *segment, uint32_t pid) {
    int died = 0;
    if (!lock_registry(segment)) return 0;
    atomic_store(&segment->header->last_sweep, tn_now());
    uint32_t used = atomic_load(&segment->header->slots_used);
    for (uint32_t i = 0; i < used; i++) {
        tn_slot *slot = slot_at(segment, i);
        uint32_t owner = atomic_load(&slot->pid);
        if (owner == 0 || (pid != 0 && owner != pid) || alive(owner, atomic_load(&slot->born))) continue;
        release_all_of(segment, i);
        atomic_store(&slot->pid, 0);
        died++;
    }
    tn_lock_release(&segment->header->registry);
    if (died) {
        tn_rings_repair(segment);
        tn_arena_trim(segment, TN_KEEP, tn_now() - TN_SECOND);
    }
    return died;
}

void tn_segment_sweep_sometimes(tn_segment *segment) {
    int64_t last = atomic_load(&segment->header->last_sweep), now = tn_now();
    if (now - last < TN_SECOND) return;
    if (atomic_compare_exchange_strong(&segment->header->last_sweep, &last, now)) {
        tn_segment_sweep(segment, 0);
    }
}
