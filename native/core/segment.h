/* The segment: one sparse memory file for a whole program, mapped by each of its processes.
 *
 *   0            header: identity, locks, free lists
 *   slots        one per attached process: pid and start time, so that deaths are seen
 *   descriptors  one per block, 64 bytes each
 *   data         blocks: ring headers, ring chunks, payloads
 *
 * The file is one of platform/memory_file.h: it has no name, so a crash leaves nothing behind, and it
 * reaches children by fork or as a file descriptor. Its size is address space only; pages are taken on first touch and
 * given back (a hole is punched) when what they held has been idle for a moment.
 *
 * Where the parts lie follows from the size of the file alone. Each process works it out for itself and
 * keeps it in private memory, so nothing that is written over in the segment can lead outside of it.
 */
#ifndef TINES_SEGMENT_H
#define TINES_SEGMENT_H

#include "base.h"
#include "lock.h"

/* Its end is the number of the layout: of all that processes find in there, and what they take it for. */
#define TN_MAGIC UINT64_C(0x32303053454e4954) /* "TINES002" */
#define TN_MAGIC_NAME UINT64_C(0xffffffffff)
#define TN_SLOTS 16384
#define TN_SMALLEST_CLASS 16 /* blocks are 2^16 bytes and up, in powers of two */
#define TN_GRANULE (UINT64_C(1) << TN_SMALLEST_CLASS)
#define TN_CLASSES 32
#define TN_NO_BLOCK UINT32_MAX

typedef struct {
    _Atomic uint32_t pid;    /* 0: free. TN_EXPECTED: for a child that is being forked */
    _Atomic uint32_t serial; /* of this registration: no later one in the slot has it */
    _Atomic uint64_t
        born; /* start time of that pid, so that a reused pid is not taken for it; of an
                            * expected child, since when it is */
} tn_slot;

#define TN_EXPECTED UINT32_MAX
#define TN_NO_SLOT UINT32_MAX

typedef struct {
    uint64_t magic;
    uint64_t size;
    uint8_t id[16];
    uint64_t pid_space; /* of its maker; 0: not known. Who is alive is asked by pid */
    _Alignas(TN_CACHE_LINE) tn_lock registry; /* slots; order: registry, put, get, arena */
    _Atomic uint32_t slots_used;              /* high-water mark */
    _Atomic int64_t last_sweep;
    _Atomic uint32_t serials;              /* numbers registrations */
    _Alignas(TN_CACHE_LINE) tn_lock arena; /* everything below; the innermost lock */
    _Atomic uint32_t blocks_used;          /* high-water mark of the descriptors */
    uint64_t data_used;                    /* high-water mark of the data */
    uint32_t hot[TN_CLASSES];              /* free, last freed first; references in [0] */
    uint32_t cold[TN_CLASSES];             /* free, and their pages given back */
    _Atomic uint64_t cached;               /* bytes of pages that free blocks still hold */
    _Atomic uint64_t births;               /* numbers rings, so that a stale handle is refused */
    _Atomic uint64_t
        unlooked; /* bytes to take from the system before the next look at what is left;
                                * without the lock */
} tn_header;

typedef struct {
    int fd;
    uint8_t *base;   /* where the core looks */
    uint8_t *views;  /* the same once more, for the blocks that Python sees: see tn_views_part */
    uint64_t *apart; /* a bit for each granule of views that is mapped privately */
    uint32_t apart_runs; /* in how many stretches they lie */
    uint8_t *spare;      /* a mapping that can be done without, or NULL */
    uint64_t size;
    uint64_t slots_at, blocks_at, data_at; /* offsets */
    uint32_t blocks_limit;
    tn_header *header;
    uint32_t slot;       /* this process's, if it is the one that registered */
    uint32_t serial;     /* of that registration */
    uint32_t registered; /* in which process of a line of forks; see tn_segment_registered */
    uint32_t child_slot; /* of the child that is being forked, or TN_NO_SLOT */
    int child_mark;      /* says that it lives until it has registered; -1: none */
    uint64_t child_expected_since;
    _Atomic uint32_t sends; /* of this process, to any ring: a hint, see taking.c */
} tn_segment;

#define TN_DEFAULT_SIZE (UINT64_C(1) << 40)
#define TN_LEAST_SIZE (UINT64_C(1) << 26)

/* Create a segment of at most `size` bytes of address space; less where less can be had. */
tn_result tn_segment_create(tn_segment *segment, uint64_t size);
/* Map the segment behind a descriptor, which stays the caller's. Refused are other layouts, and processes of other
 * pid namespaces: they could not tell who lives, and would take locks from the living. */
tn_result tn_segment_attach(tn_segment *segment, int fd);
void tn_segment_unmap(tn_segment *segment); /* the descriptor stays open */

/* A checked place: NULL if [offset, offset + length) is not inside the segment. */
static inline void *tn_at(const tn_segment *segment, uint64_t offset, uint64_t length) {
    if (offset > segment->size || length > segment->size - offset) return NULL;
    return segment->base + offset;
}

#endif
