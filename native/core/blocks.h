/* Blocks: who holds which stretch of the segment.
 *
 * A block's size is a power of two, but only what is touched costs memory, so rounding up is free and
 * nothing is ever split or merged. Free blocks wait in one list per size, last freed first: their
 * pages are hot, and fresh pages are the real cost of a large message.
 *
 * Each block is in one state, changed by one store of `status`:
 *
 *   FREE -> HELD(process) -> SENT(ring, seq) -> HELD(process) -> FREE
 *                  \-> CHUNK(ring), RING, SHARED
 *
 * and the state says who answers for it after any death: HELD by a dead process is free again; SENT
 * with a seq that its ring never committed, or that was taken by a process that died before it could
 * say so, is free again (ring.c, tn_ring_collect); a CHUNK that the ring's chain does not lead to is
 * free again. The free lists hold no truth: they are rebuilt from the states whenever the holder of
 * the arena lock died.
 *
 * A *reference* is a block without data whose `target` is a ring. It is held, sent and reclaimed like
 * any block, and a ring lives as long as there is a reference to it. So a ring in a message, or held
 * by a process that is killed, needs no rules of its own. A SHARED block, which several processes read,
 * lives by references in the same way: one for each of them.
 */
#ifndef TINES_BLOCKS_H
#define TINES_BLOCKS_H

#include "segment.h"

typedef enum {
    TN_UNUSED = 0,
    TN_FREE,
    TN_HELD,
    TN_SENT,
    TN_CHUNK,
    TN_RING,
    TN_SHARED,
} tn_state;

typedef struct {
    _Atomic uint64_t status; /* tn_state, and in the upper half the holder's slot */
    uint32_t order;          /* log2 of the size; 0: a reference, no data */
    uint32_t next;           /* in a free list */
    uint64_t offset;         /* of the data */
    _Atomic uint64_t length; /* bytes in use; at most 1 << order */
    _Atomic uint64_t seq;    /* SENT: of the message. SHARED: how many references, derived */
    _Atomic uint32_t
        ring; /* SENT, CHUNK: of which ring. SHARED: its birth, against stale handles */
    _Atomic uint32_t target; /* a reference: to which ring or SHARED block */
    uint64_t touched;        /* bytes from the start that may have pages */
    int64_t freed_at;
} tn_block;

_Static_assert(sizeof(tn_block) == TN_CACHE_LINE, "a descriptor is one cache line");

static inline uint64_t tn_status(tn_state state, uint32_t holder) {
    return (uint64_t)holder << 32 | state;
}
static inline tn_state tn_state_of(const tn_block *block) {
    return (tn_state)(uint32_t)atomic_load(&block->status);
}

/* The descriptor, or NULL if there is no such block. */
tn_block *tn_block_at(const tn_segment *segment, uint32_t index);
/* How many descriptors have ever been in use: tn_block_at gives all below it. */
uint32_t tn_blocks_used(const tn_segment *segment);
/* Where a block's data is in this process, or NULL for a reference or a corrupt descriptor. */
uint8_t *tn_block_data(const tn_segment *segment, const tn_block *block);
/* Bytes in use; 0 for a reference or a corrupt descriptor, so never more than there is behind its data. */
uint64_t tn_block_length(const tn_segment *segment, const tn_block *block);
/* Whether a descriptor makes sense. */
bool tn_block_sound(const tn_segment *segment, const tn_block *block);

/* Take a block of at least `length` bytes, HELD by this process, its pages present: writing to it
 * cannot fault, so running out of memory is TN_NO_MEMORY here and never a SIGBUS later. */
tn_result tn_block_take(tn_segment *segment, uint64_t length, uint32_t *index);
/* The same without the last resort: tn_block_take calls tn_arena_reclaim and tries again, which takes the
 * registry and the locks of all rings. For callers that hold one of those. */
tn_result tn_block_try(tn_segment *segment, uint64_t length, uint32_t *index);
void tn_arena_reclaim(tn_segment *segment);
/* Have pages for the first `length` bytes of a block that nobody else writes now: for a power of two of
 * them, so that few calls make it whole. Who dies in here leaves pages that do not count until the block is
 * used again. */
tn_result tn_block_extend(tn_segment *segment, uint32_t index, uint64_t length);
/* Take a reference to a ring, HELD by this process. TN_CORRUPT: no such ring. */
tn_result tn_reference_take(tn_segment *segment, uint32_t ring, uint32_t *index);
tn_result tn_reference_take_locked(tn_segment *segment, uint32_t ring, uint32_t holder,
                                   uint32_t *index);
/* The same, HELD by the child that tn_segment_expect_child was called for. */
tn_result tn_reference_take_for_child(tn_segment *segment, uint32_t ring, uint32_t *index);
/* Whether a block or reference is HELD by this process. */
bool tn_block_held(const tn_segment *segment, uint32_t index);
/* Make a block that this process holds SHARED; what it holds from then on is a reference to it. */
tn_result tn_block_share(tn_segment *segment, uint32_t index, uint32_t *reference);
/* Take a reference to a SHARED block for a message whose receiver is to read the block: unlike one to a ring or a
 * primitive it stands for the bytes there. */
tn_result tn_reference_take_to_data(tn_segment *segment, uint32_t target, uint32_t *index);
/* The block that such a reference stands for; NULL: it is of another kind. */
tn_block *tn_referred_data(const tn_segment *segment, uint32_t reference);
/* Take a reference to a SHARED block. TN_CORRUPT: it is gone. */
tn_result tn_shared_open(tn_segment *segment, uint32_t index, uint32_t birth, uint32_t *reference);
/* Give back a block or reference that this process holds; anything else is left alone. */
void tn_block_release(tn_segment *segment, uint32_t index);
/* Give back all that the holder of a slot held when it died. Its blocks lose their pages: it may have
 * died while it took them, or gave them back, and nobody knows how far it came. */
void tn_blocks_inherit(tn_segment *segment, uint32_t slot);

/* With the arena lock held. */
void tn_block_free_locked(tn_segment *segment, uint32_t index);
bool tn_arena_lock(tn_segment *segment); /* false: the lock itself is corrupt */
void tn_arena_unlock(tn_segment *segment);

/* Give pages of free blocks back until at most `keep` bytes are cached, large ones first, sparing what
 * was freed after `before`, and of large ones what was freed half a second earlier for each 64 MB.
 * Returns what is still cached. */
#define TN_KEEP (UINT64_C(4) << 20)
uint64_t tn_arena_trim(tn_segment *segment, uint64_t keep, int64_t before);

#endif
