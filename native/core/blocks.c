/* See blocks.h for the states and who answers for a block in each of them. */
#include "blocks.h"

#include <errno.h>

#include "../platform/free_memory.h"
#include "../platform/pages.h"
#include "ring.h"
#include "sweep.h"

enum { REFERENCES = 0 }; /* their place in hot and cold */
/* Bytes between two looks at what is left. Near the end it is less: see enough_left. */
static const uint64_t LOOK_EVERY = UINT64_C(32) << 20;

tn_block *tn_block_at(const tn_segment *segment, uint32_t index) {
    if (index >= segment->blocks_limit) return NULL;
    return (tn_block *)(segment->base + segment->blocks_at) + index;
}

uint32_t tn_blocks_used(const tn_segment *segment) {
    uint32_t used = atomic_load(&segment->header->blocks_used);
    return used < segment->blocks_limit ? used : segment->blocks_limit;
}

/* Orders from here on have no free list, as each of the others has one beside the references'. */
enum { ORDERS_END = TN_SMALLEST_CLASS + TN_CLASSES - 1 };

uint8_t *tn_block_data(const tn_segment *segment, const tn_block *block) {
    uint32_t order = block->order;
    if (order < TN_SMALLEST_CLASS || order >= ORDERS_END || block->offset < segment->data_at)
        return NULL;
    return tn_at(segment, block->offset, UINT64_C(1) << order);
}

uint64_t tn_block_length(const tn_segment *segment, const tn_block *block) {
    uint64_t length = atomic_load(&block->length);
    if (tn_block_data(segment, block) == NULL || length > UINT64_C(1) << block->order) return 0;
    return length;
}

bool tn_block_sound(const tn_segment *segment, const tn_block *block) {
    if (block->order == 0) return true;
    if (tn_block_data(segment, block) == NULL) return false;
    uint64_t size = UINT64_C(1) << block->order;
    return atomic_load(&block->length) <= size && block->touched <= size;
}

static uint32_t list_of(const tn_block *block) {
    return block->order ? block->order - TN_SMALLEST_CLASS + 1 : REFERENCES;
}

/* Returns how many bytes of pages are cached with it. */
static uint64_t push_free(tn_segment *segment, uint32_t index, tn_block *block) {
    tn_header *header = segment->header;
    if (!tn_block_sound(segment, block)) return 0; /* written over: never used again */
    uint32_t *head = block->touched ? &header->hot[list_of(block)] : &header->cold[list_of(block)];
    block->next = *head;
    *head = index;
    return block->touched;
}

static uint64_t end_of(const tn_block *block) {
    return block->offset + (block->order ? UINT64_C(1) << block->order : 0);
}

/* The holder of the arena lock died at any instruction: the states are the truth, the rest is made
 * anew from them. */
static void rebuild(tn_segment *segment) {
    tn_header *header = segment->header;
    uint64_t cached = 0, data_used = segment->data_at;
    for (int i = 0; i < TN_CLASSES; i++) header->hot[i] = header->cold[i] = TN_NO_BLOCK;
    uint32_t used = tn_blocks_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        tn_block *block = tn_block_at(segment, i);
        tn_state state = tn_state_of(block);
        if (tn_block_data(segment, block) != NULL && end_of(block) > data_used)
            data_used = end_of(block);
        /* UNUSED below the mark: its taker died before it said that it holds it. */
        if (state == TN_UNUSED) atomic_store(&block->status, tn_status(TN_FREE, 0));
        if (state == TN_UNUSED || state == TN_FREE) cached += push_free(segment, i, block);
    }
    header->data_used = data_used;
    atomic_store(&header->cached, cached);
    tn_rings_count_references(segment);
}

bool tn_arena_lock(tn_segment *segment) {
    tn_acquired got = tn_lock_always(&segment->header->arena);
    if (got.result != TN_OK) return false;
    if (got.owner_died) rebuild(segment);
    return true;
}

void tn_arena_unlock(tn_segment *segment) {
    tn_lock_release(&segment->header->arena);
}

/* A high-water mark that was written over would hand out what is in use. */
static bool marks_agree(const tn_segment *segment, uint32_t used) {
    uint64_t data_used = segment->header->data_used;
    if (data_used < segment->data_at || data_used > segment->size) return false;
    const tn_block *next = tn_block_at(segment, used),
                   *last = used ? tn_block_at(segment, used - 1) : NULL;
    if (next != NULL && tn_state_of(next) != TN_UNUSED) return false;
    if (last == NULL) return used == 0;
    return last->order < ORDERS_END && end_of(last) == data_used;
}

/* A descriptor from its free list, or a new one with its data from above the marks. */
static tn_result pick_locked(tn_segment *segment, uint32_t order, uint32_t *index) {
    tn_header *header = segment->header;
    uint32_t list = order ? order - TN_SMALLEST_CLASS + 1 : REFERENCES;
    uint32_t *head = header->hot[list] != TN_NO_BLOCK ? &header->hot[list] : &header->cold[list];
    uint32_t first = *head;
    tn_block *block;
    if (first != TN_NO_BLOCK) {
        block = tn_block_at(segment, first);
        if (block == NULL || block->order != order || tn_state_of(block) != TN_FREE)
            return TN_CORRUPT;
        if (!tn_block_sound(segment, block)) return TN_CORRUPT;
        *head = block->next;
        uint64_t cached = atomic_load(&header->cached);
        atomic_store(&header->cached, cached > block->touched ? cached - block->touched : 0);
        *index = first;
        return TN_OK;
    }
    uint64_t size = order ? UINT64_C(1) << order : 0;
    uint32_t used = atomic_load(&header->blocks_used);
    if (!marks_agree(segment, used)) return TN_CORRUPT;
    if (used >= segment->blocks_limit || size > segment->size - header->data_used)
        return TN_NO_MEMORY;
    block = tn_block_at(segment, used);
    block->order = order;
    block->offset = header->data_used;
    block->touched = 0;
    header->data_used += size;
    atomic_store(&header->blocks_used, used + 1);
    *index = used;
    return TN_OK;
}

/* Whether the system has that many bytes. A look costs some microseconds, so after one a part of what is
 * left, an eighth, is taken before the next look. That goes for all processes together: a share of its
 * own would be out of date when a process that has paused goes on, and the others have taken the rest. */
static bool enough_left(const tn_segment *segment, uint64_t fresh) {
    _Atomic uint64_t *unlooked = &segment->header->unlooked;
    uint64_t now = atomic_load_explicit(unlooked, memory_order_relaxed);
    while (fresh <= now && now <= LOOK_EVERY) { /* it is never more, unless it was written over */
        if (atomic_compare_exchange_weak_explicit(unlooked, &now, now - fresh, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    uint64_t left = tn_memory_left();
    if (fresh > left) return false;
    uint64_t share = (left - fresh) / 8;
    atomic_store_explicit(unlooked, share < LOOK_EVERY ? share : LOOK_EVERY, memory_order_relaxed);
    return true;
}

/* Have the pages before anybody writes: running out of memory is an answer here, and a SIGBUS there. */
static tn_result populate(tn_segment *segment, tn_block *block, uint64_t length) {
    uint64_t present = block->touched & ~(tn_page_size() - 1);
    if (length <= present) return TN_OK;
    uint8_t *data = tn_block_data(segment, block);
    if (data == NULL) return TN_CORRUPT;
    if (!enough_left(segment, length - present)) return TN_NO_MEMORY;
    switch (tn_pages_take(data + present, length - present, segment->fd, block->offset + present)) {
    case TN_PAGES_TAKEN:
        return TN_OK;
    case TN_PAGES_SHORT:
        return TN_NO_MEMORY;
    default:
        return TN_SYSTEM_ERROR;
    }
}

tn_result tn_block_extend(tn_segment *segment, uint32_t index, uint64_t length) {
    tn_block *block = tn_block_at(segment, index);
    if (block == NULL || block->order == 0 || length > UINT64_C(1) << block->order)
        return TN_CORRUPT;
    uint64_t wanted = tn_page_size();
    while (wanted < length) wanted *= 2;
    tn_result result = populate(segment, block, wanted);
    if (result == TN_OK && wanted > block->touched) block->touched = wanted;
    return result;
}

/* Give the pages of a block of ours back: `length` bytes, or as many as it is known to have. */
static void punch(const tn_segment *segment, tn_block *block, uint64_t length) {
    if (!tn_block_sound(segment, block)) return;
    if (length < block->touched) length = block->touched;
    if (length == 0) return;
    if (tn_pages_give_back(segment->fd, block->offset, length)) block->touched = 0;
}

static uint32_t order_for(uint64_t length) {
    uint32_t order = TN_SMALLEST_CLASS;
    while (order < 63 && (UINT64_C(1) << order) < length) order++;
    return order;
}

static tn_result take_once(tn_segment *segment, uint32_t order, uint64_t length, uint32_t *index) {
    if (!tn_arena_lock(segment)) return TN_CORRUPT;
    TN_STEP(allocating);
    tn_result result = pick_locked(segment, order, index);
    if (result == TN_OK) {
        tn_block *block = tn_block_at(segment, *index);
        atomic_store(&block->length, length);
        atomic_store(&block->target, TN_NO_BLOCK);
        atomic_store(&block->status, tn_status(TN_HELD, segment->slot));
    }
    TN_STEP(allocated);
    tn_arena_unlock(segment);
    return result;
}

tn_result tn_block_try(tn_segment *segment, uint64_t length, uint32_t *index) {
    uint32_t order = order_for(length);
    if (order >= ORDERS_END) return TN_NO_MEMORY;
    tn_result result = take_once(segment, order, length, index);
    if (result != TN_OK) return result;
    tn_block *block = tn_block_at(segment, *index);
    result = populate(segment, block, length);
    TN_STEP(populated);
    /* The descriptor is this process's own by now: nobody else looks at `touched`. */
    if (result == TN_OK) {
        if (length > block->touched) block->touched = length;
        return TN_OK;
    }
    int error = errno; /* of a TN_SYSTEM_ERROR, which this must not hide */
    punch(segment, block, length);
    tn_block_release(segment, *index);
    errno = error;
    return result;
}

void tn_arena_reclaim(tn_segment *segment) {
    tn_segment_sweep(segment, 0);
    /* Pages that only wait for reuse. */
    tn_arena_trim(segment, 0, TN_FOREVER);
}

tn_result tn_block_take(tn_segment *segment, uint64_t length, uint32_t *index) {
    tn_result result = tn_block_try(segment, length, index);
    if (result != TN_NO_MEMORY) return result;
    tn_arena_reclaim(segment);
    return tn_block_try(segment, length, index);
}

tn_result tn_reference_take_locked(tn_segment *segment, uint32_t ring, uint32_t holder,
                                   uint32_t *index) {
    tn_block *target = tn_block_at(segment, ring);
    tn_state state = target == NULL ? TN_UNUSED : tn_state_of(target);
    tn_result result = state == TN_RING || state == TN_SHARED ? TN_OK : TN_CORRUPT;
    if (result == TN_OK) result = pick_locked(segment, 0, index);
    if (result == TN_OK) {
        tn_block *block = tn_block_at(segment, *index);
        atomic_store(&block->length, 0);
        atomic_store(&block->target, ring);
        atomic_store(&block->status, tn_status(TN_HELD, holder));
        tn_ring_referenced(segment, ring, +1);
    }
    return result;
}

static tn_result take_reference(tn_segment *segment, uint32_t ring, uint32_t holder,
                                uint32_t *index) {
    if (!tn_arena_lock(segment)) return TN_CORRUPT;
    tn_result result = tn_reference_take_locked(segment, ring, holder, index);
    tn_arena_unlock(segment);
    return result;
}

tn_result tn_reference_take(tn_segment *segment, uint32_t ring, uint32_t *index) {
    return take_reference(segment, ring, segment->slot, index);
}

/* The length of such a reference; others have none. */
enum { TO_DATA = 1 };

tn_result tn_reference_take_to_data(tn_segment *segment, uint32_t target, uint32_t *index) {
    tn_result result = tn_reference_take(segment, target, index);
    if (result == TN_OK) atomic_store(&tn_block_at(segment, *index)->length, TO_DATA);
    return result;
}

tn_block *tn_referred_data(const tn_segment *segment, uint32_t reference) {
    const tn_block *block = tn_block_at(segment, reference);
    if (block == NULL || block->order != 0 || atomic_load(&block->length) != TO_DATA) return NULL;
    tn_block *target = tn_block_at(segment, atomic_load(&block->target));
    bool there = target != NULL && tn_state_of(target) == TN_SHARED;
    return there && tn_block_data(segment, target) != NULL ? target : NULL;
}

tn_result tn_reference_take_for_child(tn_segment *segment, uint32_t ring, uint32_t *index) {
    if (segment->child_slot == TN_NO_SLOT) return TN_TOO_MANY;
    return take_reference(segment, ring, segment->child_slot, index);
}

tn_result tn_block_share(tn_segment *segment, uint32_t index, uint32_t *reference) {
    if (!tn_arena_lock(segment)) return TN_CORRUPT;
    tn_block *block = tn_block_at(segment, index);
    uint64_t birth = 1 + atomic_fetch_add(&segment->header->births, 1);
    atomic_store(&block->ring, (uint32_t)birth);
    atomic_store(&block->seq, 0);
    /* As with a ring: one that nobody refers to yet is freed when the arena is rebuilt after a death. */
    atomic_store(&block->status, tn_status(TN_SHARED, 0));
    tn_result result = tn_reference_take_locked(segment, index, segment->slot, reference);
    if (result != TN_OK) atomic_store(&block->status, tn_status(TN_HELD, segment->slot));
    tn_arena_unlock(segment);
    return result;
}

tn_result tn_shared_open(tn_segment *segment, uint32_t index, uint32_t birth, uint32_t *reference) {
    tn_result result = tn_reference_take(segment, index, reference);
    if (result != TN_OK) return result;
    const tn_block *block = tn_block_at(segment, index);
    if (tn_state_of(block) == TN_SHARED && atomic_load(&block->ring) == birth) return TN_OK;
    tn_block_release(segment, *reference);
    return TN_CORRUPT;
}

bool tn_block_held(const tn_segment *segment, uint32_t index) {
    const tn_block *block = tn_block_at(segment, index);
    return block != NULL && tn_segment_registered(segment) &&
           atomic_load(&block->status) == tn_status(TN_HELD, segment->slot);
}

void tn_block_free_locked(tn_segment *segment, uint32_t index) {
    tn_block *block = tn_block_at(segment, index);
    uint32_t target = atomic_load(&block->target);
    TN_STEP(freeing);
    block->freed_at = tn_now();
    atomic_store(&block->target, TN_NO_BLOCK);
    atomic_store(&block->status, tn_status(TN_FREE, 0));
    TN_STEP(freed);
    atomic_fetch_add(&segment->header->cached, push_free(segment, index, block));
    if (block->order == 0 && target != TN_NO_BLOCK) tn_ring_referenced(segment, target, -1);
}

void tn_block_release(tn_segment *segment, uint32_t index) {
    if (tn_block_at(segment, index) == NULL || !tn_arena_lock(segment)) return;
    if (tn_block_held(segment, index)) tn_block_free_locked(segment, index);
    tn_arena_unlock(segment);
}

/* The first block from `index` on that was held under a slot, made this process's own. */
static uint32_t inherit_one(tn_segment *segment, uint32_t slot, uint32_t index) {
    uint32_t used = tn_blocks_used(segment);
    if (!tn_arena_lock(segment)) return used;
    for (; index < used; index++) {
        tn_block *block = tn_block_at(segment, index);
        if (atomic_load(&block->status) != tn_status(TN_HELD, slot)) continue;
        atomic_store(&block->status, tn_status(TN_HELD, segment->slot));
        break;
    }
    tn_arena_unlock(segment);
    return index;
}

void tn_blocks_inherit(tn_segment *segment, uint32_t slot) {
    uint32_t index = 0;
    while ((index = inherit_one(segment, slot, index)) < tn_blocks_used(segment)) {
        tn_block *block = tn_block_at(segment, index);
        if (block == NULL) return;
        TN_STEP(inheriting);
        punch(segment, block, tn_block_length(segment, block));
        tn_block_release(segment, index++);
    }
}

enum { BATCH = 128 };

/* A stream of large messages needs a block now and then that has been idle for a moment. To make its
 * pages again holds the stream up for so long that others become idle meanwhile. So large ones stay
 * longer: half a second for each 64 MB, some ten times as long as it takes to make the pages, and half
 * a minute at most, whatever somebody may have written there. */
static int64_t longer_for(const tn_block *block) {
    uint64_t steps = block->touched >> 26;
    return (int64_t)(steps < 64 ? steps : 64) * (TN_SECOND / 2);
}

/* Take free blocks that have been idle since `before`, large ones for longer, out of their lists, in
 * one pass, so that their pages can go without the lock held. Large ones first: what is kept hot is
 * what costs little to keep. */
static uint32_t unlink_idle_locked(tn_segment *segment, uint64_t keep, int64_t before,
                                   uint32_t *batch) {
    tn_header *header = segment->header;
    uint64_t cached = atomic_load(&header->cached);
    uint32_t taken = 0;
    for (uint32_t list = TN_CLASSES; list-- > 0;) {
        uint32_t *link = &header->hot[list], steps = tn_blocks_used(segment);
        while (*link != TN_NO_BLOCK && steps-- > 0 && taken < BATCH && cached > keep) {
            uint32_t index = *link;
            tn_block *block = tn_block_at(segment, index);
            if (block == NULL || !tn_block_sound(segment, block) || tn_state_of(block) != TN_FREE)
                return taken;
            if (block->freed_at > before - longer_for(block)) {
                link = &block->next;
                continue;
            }
            *link = block->next;
            atomic_store(&block->status, tn_status(TN_HELD, segment->slot));
            uint64_t held = block->touched < cached ? block->touched : cached;
            atomic_fetch_sub(&header->cached, held);
            cached -= held;
            batch[taken++] = index;
        }
    }
    return taken;
}

uint64_t tn_arena_trim(tn_segment *segment, uint64_t keep, int64_t before) {
    tn_header *header = segment->header;
    uint32_t batch[BATCH];
    bool given_back = true;
    while (given_back && atomic_load(&header->cached) > keep) {
        if (!tn_arena_lock(segment)) break;
        uint32_t taken = unlink_idle_locked(segment, keep, before, batch);
        tn_arena_unlock(segment);
        if (taken == 0) break;
        for (uint32_t i = 0; i < taken; i++) {
            tn_block *block = tn_block_at(segment, batch[i]);
            uint64_t held = block->touched;
            punch(segment, block, 0);
            if (block->touched == held) given_back = false; /* the system would not */
            tn_block_release(segment, batch[i]);
        }
    }
    return atomic_load(&header->cached);
}
