/* See segment.h: creating, attaching, and noticing that a process is gone. */
#define _GNU_SOURCE
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blocks.h"
#include "primitives.h"
#include "ring.h"

/* Where an expected child could not be given a mark. From its fork to its registration it takes a
 * millisecond; one that was killed never gets there. */
static const int64_t EXPECTED_FOR = 10 * TN_SECOND;

/* In `born` of an expected child, beside the moment: it has a mark. */
enum { MARKED = 1 };

enum { GONE = 0, UNKNOWN = 1 };

/* Where there is no /proc: a zombie still has its pid, but what watches a process says that it has ended. */
static uint64_t born_unseen(uint32_t pid) {
#ifdef SYS_pidfd_open
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0U);
    if (fd < 0) return errno == ESRCH ? GONE : UNKNOWN;
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    bool ended = poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN) != 0;
    close(fd);
    if (ended) return GONE;
#endif
    (void)pid;
    return UNKNOWN;
}

/* The start time tells a reused pid from the process that registered. UNKNOWN where /proc does not say,
 * for want of a descriptor for instance: then the pid itself has to do. */
static uint64_t born(uint32_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return born_unseen(pid);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return UNKNOWN;
    text[n] = 0;
    char *field = strrchr(text, ')'); /* the name before it may hold anything */
    if (field == NULL) return UNKNOWN;
    char state = field[2];
    uint64_t threads = 0, start = 1;
    field += 2;
    for (int i = 3; i < 22 && field != NULL; i++) {
        field = strchr(field + 1, ' ');
        if (field != NULL && i + 1 == 20) threads = strtoull(field + 1, NULL, 10);
        if (field != NULL && i + 1 == 22) start = strtoull(field + 1, NULL, 10);
    }
    /* A zombie is dead, unless only its first thread has ended. */
    if ((state == 'Z' || state == 'X') && threads <= 1) return GONE;
    return start > UNKNOWN ? start : UNKNOWN;
}

static tn_slot *slot_at(const tn_segment *segment, uint32_t index) {
    return (tn_slot *)(segment->base + segment->slots_at) + index;
}

/* An expected child's mark is a lock on the byte of its slot, through an open file of its own, which only
 * the child has once the parent has returned from fork(). So the system knows whether the child lives,
 * however long it is held up, by a debugger or the hooks of others, and however it ends. */
static struct flock mark_of(const tn_segment *segment, uint32_t index) {
    return (struct flock){
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = (off_t)(segment->slots_at + index * sizeof(tn_slot)),
        .l_len = 1,
    };
}

/* A descriptor that holds the mark, or -1. */
static int make_mark(const tn_segment *segment, uint32_t index) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", segment->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock mark = mark_of(segment, index);
    if (fd < 0 || fcntl(fd, F_OFD_SETLK, &mark) == 0) return fd;
    close(fd);
    return -1;
}

static void drop_mark(tn_segment *segment) {
    if (segment->child_mark >= 0) close(segment->child_mark);
    segment->child_mark = -1;
}

static bool expected_lives(const tn_segment *segment, uint32_t index, uint64_t since) {
    struct flock mark = mark_of(segment, index);
    if (since & MARKED && fcntl(segment->fd, F_OFD_GETLK, &mark) == 0)
        return mark.l_type != F_UNLCK;
    return tn_now() - (int64_t)since < EXPECTED_FOR;
}

static bool alive(const tn_segment *segment, uint32_t index, uint32_t pid, uint64_t registered) {
    if (pid == TN_EXPECTED) return expected_lives(segment, index, registered);
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return false;
    uint64_t now = born(pid);
    if (now == GONE) return false;
    return now == registered || now == UNKNOWN || registered == UNKNOWN;
}

static uint8_t *map_once(const tn_segment *segment) {
    void *base = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      segment->fd, 0);
    if (base == MAP_FAILED) return NULL;
    madvise(base, segment->size, MADV_DONTDUMP);
    return base;
}

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
    segment->base = map_once(segment);
    segment->views = segment->base == NULL ? NULL : map_once(segment);
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
    if (segment->base != NULL) munmap(segment->base, segment->size);
    if (segment->views != NULL) munmap(segment->views, segment->size);
    drop_mark(segment);
    tn_views_spare(segment, false);
    free(segment->apart);
    segment->apart = NULL;
    segment->base = segment->views = NULL;
}

static tn_result initialise(tn_segment *segment) {
    tn_header *header = segment->header;
    header->size = segment->size;
    if (getrandom(header->id, sizeof header->id, 0) != sizeof header->id) return TN_SYSTEM_ERROR;
    header->data_used = segment->data_at;
    for (int i = 0; i < TN_CLASSES; i++) header->hot[i] = header->cold[i] = TN_NO_BLOCK;
    tn_result result = tn_lock_init(&header->registry);
    if (result == TN_OK) result = tn_lock_init(&header->arena);
    if (result == TN_OK) header->magic = TN_MAGIC;
    return result;
}

tn_result tn_segment_create(tn_segment *segment, uint64_t size) {
    *segment = (tn_segment){.child_slot = TN_NO_SLOT, .child_mark = -1};
    segment->fd = memfd_create("tines", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (segment->fd < 0) return TN_SYSTEM_ERROR;
    tn_result result = TN_NO_MEMORY;
    for (segment->size = size; segment->size >= TN_LEAST_SIZE; segment->size /= 2) {
        if (ftruncate(segment->fd, (off_t)segment->size) != 0) continue;
        result = map(segment);
        if (result != TN_NO_MEMORY) break;
    }
    if (result == TN_OK) fcntl(segment->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    if (result == TN_OK) result = initialise(segment);
    if (result == TN_OK) result = tn_segment_register(segment);
    if (result != TN_OK) close(segment->fd);
    return result;
}

tn_result tn_segment_attach(tn_segment *segment, int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0) return TN_SYSTEM_ERROR;
    *segment = (tn_segment){
        .fd = fd, .size = (uint64_t)status.st_size, .child_slot = TN_NO_SLOT, .child_mark = -1};
    if (segment->size < TN_LEAST_SIZE) return TN_CORRUPT;
    tn_result result = map(segment);
    if (result != TN_OK) return result;
    tn_header *header = segment->header;
    if (header->magic != TN_MAGIC || header->size != segment->size) {
        tn_segment_unmap(segment);
        return TN_CORRUPT;
    }
    return tn_segment_register(segment);
}

static uint32_t slots_used(const tn_segment *segment) {
    uint32_t used = atomic_load(&segment->header->slots_used);
    return used < TN_SLOTS ? used : TN_SLOTS;
}

/* Counts the forks that led to this process. In C, as it has to be right before anything else runs in
 * the child: what Python collects there early must not be given back in the parent's name. */
static _Atomic uint32_t forks = 1;

static void forked(void) {
    atomic_fetch_add(&forks, 1);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forked);
}

bool tn_segment_registered(const tn_segment *segment) {
    return segment->registered == atomic_load(&forks);
}

/* Slots need no repair: each is made valid, and free, by the one store of its pid. */
static bool lock_registry(tn_segment *segment) {
    return tn_lock_always(&segment->header->registry).result == TN_OK;
}

/* With the registry locked: the first free slot, or TN_NO_SLOT. */
static uint32_t free_slot(const tn_segment *segment) {
    uint32_t used = slots_used(segment), index = 0;
    while (index < used && atomic_load(&slot_at(segment, index)->pid) != 0) index++;
    return index < TN_SLOTS ? index : TN_NO_SLOT;
}

/* With the registry locked. */
static void fill_slot(tn_segment *segment, uint32_t index, uint32_t pid, uint64_t since) {
    tn_slot *slot = slot_at(segment, index);
    atomic_store(&slot->born, since);
    atomic_store(&slot->serial, 1 + atomic_fetch_add(&segment->header->serials, 1));
    atomic_store(&slot->pid, pid);
    if (index == slots_used(segment)) atomic_store(&segment->header->slots_used, index + 1);
}

static bool expect_child(tn_segment *segment) {
    if (!lock_registry(segment)) return false;
    uint32_t index = free_slot(segment);
    if (index != TN_NO_SLOT) {
        uint64_t since = (uint64_t)tn_now();
        segment->child_mark = make_mark(segment, index);
        since = segment->child_mark >= 0 ? since | MARKED : since & ~(uint64_t)MARKED;
        segment->child_expected_since = since;
        fill_slot(segment, index, TN_EXPECTED, since);
    }
    segment->child_slot = index;
    tn_lock_release(&segment->header->registry);
    return index != TN_NO_SLOT;
}

void tn_segment_expect_child(tn_segment *segment) {
    drop_mark(segment);
    segment->child_slot = TN_NO_SLOT;
    /* Nobody may have looked for the dead in the meantime. */
    if (!expect_child(segment) && tn_segment_sweep(segment, 0) > 0) expect_child(segment);
}

void tn_segment_forked(tn_segment *segment) {
    drop_mark(segment);
}

/* With the registry locked: the slot that the parent set aside, if it was not given up meanwhile. */
static uint32_t claim_slot(tn_segment *segment, uint32_t pid, uint64_t since) {
    uint32_t index = segment->child_slot;
    segment->child_slot = TN_NO_SLOT;
    if (index >= TN_SLOTS) return TN_NO_SLOT;
    tn_slot *slot = slot_at(segment, index);
    if (atomic_load(&slot->pid) != TN_EXPECTED) return TN_NO_SLOT;
    if (atomic_load(&slot->born) != segment->child_expected_since) return TN_NO_SLOT;
    atomic_store(&slot->born,
                 since); /* a start time counts from boot in ticks: expired, if it dies here */
    atomic_store(&slot->pid, pid);
    return index;
}

/* What is to be done after a death, without the registry. */
static void mend(tn_segment *segment) {
    tn_rings_repair(segment);
    tn_primitives_wake(segment);
    tn_arena_trim(segment, TN_KEEP, tn_now() - TN_SECOND);
}

/* With the registry locked: a slot that is free, or that of a holder whose death nobody has noticed. */
static uint32_t take_slot(tn_segment *segment, uint32_t pid, uint64_t since, bool *succeeds) {
    uint32_t index = free_slot(segment);
    *succeeds = index == TN_NO_SLOT;
    for (uint32_t i = 0; i < TN_SLOTS && index == TN_NO_SLOT; i++) {
        const tn_slot *slot = slot_at(segment, i);
        if (!alive(segment, i, atomic_load(&slot->pid), atomic_load(&slot->born))) index = i;
    }
    if (index != TN_NO_SLOT) fill_slot(segment, index, pid, since);
    return index;
}

tn_result tn_segment_register(tn_segment *segment) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    if (tn_segment_registered(segment)) return TN_OK;
    uint32_t pid = (uint32_t)getpid();
    if (!lock_registry(segment)) return TN_CORRUPT;
    uint64_t since = born(pid);
    bool succeeds = false;
    uint32_t index = claim_slot(segment, pid, since);
    drop_mark(segment);
    if (index == TN_NO_SLOT) index = take_slot(segment, pid, since, &succeeds);
    if (index != TN_NO_SLOT) {
        segment->slot = index;
        segment->serial = atomic_load(&slot_at(segment, index)->serial);
        segment->registered = atomic_load(&forks);
        /* What the dead one held; this process has nothing yet that could be taken for it. */
        if (succeeds) tn_blocks_inherit(segment, index);
    }
    tn_lock_release(&segment->header->registry);
    if (index == TN_NO_SLOT) return TN_TOO_MANY;
    if (succeeds) mend(segment);
    return TN_OK;
}

tn_holder tn_holder_self(tn_segment *segment) {
    if (!tn_segment_registered(segment) && tn_segment_register(segment) != TN_OK) return 0;
    return (tn_holder)segment->serial << 32 | TN_HOLDER_HELD | segment->slot;
}

bool tn_holder_died(const tn_segment *segment, tn_holder holder, bool thorough) {
    uint32_t index = (uint32_t)(holder & TN_HOLDER_SLOT);
    const tn_slot *slot = slot_at(segment, index);
    uint32_t pid = atomic_load(&slot->pid), serial = (uint32_t)(holder >> 32);
    uint64_t since = atomic_load(&slot->born);
    /* Read last: a slot that is given to another has its new serial before its new pid. */
    if (pid == 0 || atomic_load(&slot->serial) != serial) return true;
    return thorough && !alive(segment, index, pid, since);
}

uint32_t tn_holder_pid(const tn_segment *segment, tn_holder holder) {
    const tn_slot *slot = slot_at(segment, (uint32_t)(holder & TN_HOLDER_SLOT));
    uint32_t pid = atomic_load(&slot->pid);
    bool current = atomic_load(&slot->serial) == (uint32_t)(holder >> 32);
    return current && pid != TN_EXPECTED ? pid : 0;
}

/* With the registry locked. */
static int sweep_locked(tn_segment *segment, uint32_t pid) {
    int died = 0;
    atomic_store(&segment->header->last_sweep, tn_now());
    uint32_t used = slots_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        tn_slot *slot = slot_at(segment, i);
        uint32_t owner = atomic_load(&slot->pid);
        if (owner == 0 || (pid != 0 && owner != pid) ||
            alive(segment, i, owner, atomic_load(&slot->born)))
            continue;
        tn_blocks_inherit(segment, i);
        atomic_store(&slot->pid, 0);
        died++;
    }
    return died;
}

static int sweep(tn_segment *segment, uint32_t pid, tn_acquired registry) {
    if (registry.result != TN_OK) return 0;
    int died = sweep_locked(segment, pid);
    tn_lock_release(&segment->header->registry);
    if (died) mend(segment);
    return died;
}

int tn_segment_sweep(tn_segment *segment, uint32_t pid) {
    return sweep(segment, pid, tn_lock_always(&segment->header->registry));
}

void tn_segment_sweep_sometimes(tn_segment *segment) {
    int64_t last = atomic_load(&segment->header->last_sweep), now = tn_now();
    if (now - last < TN_SECOND) return;
    if (atomic_compare_exchange_strong(&segment->header->last_sweep, &last, now)) {
        sweep(segment, 0, tn_lock_try(&segment->header->registry)); /* taken: another is at it */
    }
}
