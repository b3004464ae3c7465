/* What dead processes leave behind, and the lives of rings. See ring.h and blocks.h for why the states
 * of the blocks are enough to tell. */
#include <stdlib.h>
#include <string.h>

#include "chain.h"

static tn_ring *ring_of(const tn_segment *segment, uint32_t index) {
    tn_block *block = tn_block_at(segment, index);
    if (block == NULL || tn_state_of(block) != TN_RING) return NULL;
    return (tn_ring *)tn_block_data(segment, block);
}

/* Leases first: one that was written, but whose message was not taken, would seem to hold that message
 * as soon as another process has it. Whoever does this may die as well: then the next is told again. */
void tn_ring_inherited(const tn_queue *queue, const tn_lock *lock) {
    tn_ring *ring = queue->ring;
    uint64_t taken = atomic_load(&ring->get_count);
    for (uint32_t i = 0; lock == &ring->get_lock && i < queue->leases; i++) {
        tn_lease *lease = &ring->lease[i];
        if (atomic_load(&lease->seq) >= taken) atomic_store(&lease->busy, 0);
    }
    atomic_store(&ring->orphans, 1);
}

static void mark(const tn_queue *queue, uint8_t *linked, uint32_t index) {
    if (index < tn_blocks_used(queue->segment)) linked[index] = 1;
}

/* Mark the chunks that the chain from head to tail leads through and the blocks of the messages in it,
 * and count the revoked on the way. */
static bool walk_chain(const tn_queue *queue, uint8_t *linked, uint64_t *revoked) {
    tn_ring *ring = queue->ring;
    uint64_t seq = atomic_load(&ring->get_count), put = tn_ring_put_count(ring);
    tn_end end = ring->head[seq & 1];
    *revoked = ring->get_total[seq & 1].revoked;
    uint32_t last = ring->tail[put & 1].chunk;
    if (tn_chunk_at(queue, end.chunk) == NULL || tn_chunk_at(queue, last) == NULL) return false;
    mark(queue, linked, end.chunk);
    mark(queue, linked, last);
    for (; seq < put; seq++) {
        uint32_t left, index;
        tn_record record;
        const uint8_t *indexes = tn_next_record(queue, &end, &left, &record);
        if (indexes == NULL || record.seq != seq) return false;
        mark(queue, linked, end.chunk);
        for (uint32_t i = 0; i < record.blocks; i++) {
            memcpy(&index, indexes + i * sizeof index, sizeof index);
            mark(queue, linked, index);
        }
        *revoked += (record.flags & TN_REVOKED) != 0;
        end.offset += (uint32_t)tn_record_size(record.length, record.blocks);
    }
    return true;
}

static bool belongs(const tn_queue *queue, const tn_block *block) {
    tn_state state = tn_state_of(block);
    return (state == TN_CHUNK || state == TN_SENT) && atomic_load(&block->ring) == queue->index;
}

/* With all three locks: nobody is in the middle of anything, so what does not fit is left over. */
static void collect_locked(tn_queue *queue) {
    tn_segment *segment = queue->segment;
    uint32_t used = tn_blocks_used(segment);
    uint8_t *linked = calloc(used, 1);
    uint64_t revoked;
    if (linked == NULL) return;
    if (walk_chain(queue, linked, &revoked)) {
        TN_STEP(collecting);
        atomic_store(&queue->ring->revoked, revoked);
        for (uint32_t i = 0; i < used; i++) {
            if (!linked[i] && belongs(queue, tn_block_at(segment, i)))
                tn_block_free_locked(segment, i);
        }
    }
    free(linked);
    atomic_store(&queue->ring->orphans, 0);
}

void tn_ring_collect(tn_queue *queue) {
    tn_ring *ring = queue->ring;
    if (tn_lock_always(&ring->put_lock).result != TN_OK) return;
    tn_acquired got = tn_lock_always(&ring->get_lock);
    if (got.result == TN_OK) {
        if (got.owner_died) tn_ring_inherited(queue, &ring->get_lock);
        if (tn_arena_lock(queue->segment)) {
            collect_locked(queue);
            tn_arena_unlock(queue->segment);
        }
        tn_lock_release(&ring->get_lock);
    }
    tn_lock_release(&ring->put_lock);
    /* The dead may have owed a wake. */
    tn_event_wake_all(&ring->items);
    tn_event_wake_all(&ring->space);
    tn_event_wake_all(&ring->drained);
    tn_event_wake_all(&ring->finished);
}

static void look_at_lock(const tn_queue *queue, tn_lock *lock) {
    tn_acquired got = tn_lock_try(lock);
    if (got.result != TN_OK) return;
    if (got.owner_died) tn_ring_inherited(queue, lock);
    tn_lock_release(lock);
}

/* Runs without a reference: holds one for as long as it looks. */
static void repair(tn_segment *segment, uint32_t index) {
    uint32_t reference;
    tn_queue queue;
    if (tn_reference_take(segment, index, &reference) != TN_OK) return;
    if (tn_ring_open(segment, index, &queue) == TN_OK) {
        look_at_lock(&queue, &queue.ring->put_lock);
        look_at_lock(&queue, &queue.ring->get_lock);
        if (atomic_load(&queue.ring->orphans)) tn_ring_collect(&queue);
        tn_event_wake_all(&queue.ring->items);
        tn_event_wake_all(&queue.ring->space);
        tn_event_wake_all(&queue.ring->drained);
    }
    tn_block_release(segment, reference);
}

void tn_rings_repair(tn_segment *segment) {
    uint32_t used = tn_blocks_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        if (tn_state_of(tn_block_at(segment, i)) == TN_RING) repair(segment, i);
    }
}

/* Free a chunk of the ring; false: it is none. */
static bool free_chunk(const tn_queue *queue, uint32_t index) {
    if (tn_chunk_at(queue, index) == NULL) return false;
    tn_block_free_locked(queue->segment, index);
    return true;
}

/* Free what the chain from head to tail leads through. False: it does not hold together. */
static bool free_chain(const tn_queue *queue) {
    const tn_ring *ring = queue->ring;
    uint64_t seq = atomic_load(&ring->get_count), put = tn_ring_put_count(ring);
    tn_end end = ring->head[seq & 1];
    for (; seq < put; seq++) {
        uint32_t left = TN_NO_BLOCK, index;
        tn_record record;
        const uint8_t *indexes = tn_next_record(queue, &end, &left, &record);
        if (indexes == NULL || record.seq != seq) return false;
        if (left != TN_NO_BLOCK && !free_chunk(queue, left)) return false;
        for (uint32_t i = 0; i < record.blocks; i++) {
            memcpy(&index, indexes + i * sizeof index, sizeof index);
            const tn_block *block = tn_block_at(queue->segment, index);
            if (block != NULL && belongs(queue, block)) tn_block_free_locked(queue->segment, index);
        }
        end.offset += (uint32_t)tn_record_size(record.length, record.blocks);
    }
    uint32_t last = ring->tail[put & 1].chunk;
    return free_chunk(queue, end.chunk) && (last == end.chunk || free_chunk(queue, last));
}

/* Whether nobody died in the middle of something in this ring: then its chain leads to all that it has.
 * Both locks are taken and kept; whoever holds one of them now is dead, as there are no references. */
static bool is_orderly(tn_ring *ring, tn_acquired *put, tn_acquired *get) {
    *put = tn_lock_try(&ring->put_lock);
    *get = tn_lock_try(&ring->get_lock);
    return put->result == TN_OK && !put->owner_died && get->result == TN_OK && !get->owner_died &&
           !atomic_load(&ring->orphans);
}

/* Free what a ring has, without a look at what others have, if that is possible. To die in here leaves
 * an orphan: who destroys it then looks at everything. */
static bool clear_orderly(tn_segment *segment, uint32_t index) {
    tn_ring *ring = ring_of(segment, index);
    tn_acquired put, get;
    if (ring == NULL) return false;
    tn_queue queue = {.segment = segment, .ring = ring, .index = index};
    bool cleared = is_orderly(ring, &put, &get);
    atomic_store(&ring->orphans, 1);
    cleared = cleared && free_chain(&queue);
    if (get.result == TN_OK) tn_lock_release(&ring->get_lock);
    if (put.result == TN_OK) tn_lock_release(&ring->put_lock);
    return cleared;
}

static void clear_by_looking_everywhere(tn_segment *segment, uint32_t index) {
    uint32_t used = tn_blocks_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        tn_block *block = tn_block_at(segment, i);
        tn_state state = tn_state_of(block);
        if ((state == TN_CHUNK || state == TN_SENT) && atomic_load(&block->ring) == index) {
            tn_block_free_locked(segment, i);
        }
    }
}

/* With the arena lock held, when the last reference is gone: nobody can reach the ring any more. What
 * is in it goes with it, references to other rings included. */
static void destroy(tn_segment *segment, uint32_t index) {
    if (!clear_orderly(segment, index)) clear_by_looking_everywhere(segment, index);
    tn_block_free_locked(segment, index);
}

static tn_block *shared_at(const tn_segment *segment, uint32_t index) {
    tn_block *block = tn_block_at(segment, index);
    return block != NULL && tn_state_of(block) == TN_SHARED ? block : NULL;
}

void tn_ring_referenced(tn_segment *segment, uint32_t index, int change) {
    tn_block *shared = shared_at(segment, index);
    if (shared != NULL) {
        uint64_t before = atomic_fetch_add(&shared->seq, (uint64_t)change);
        if (before + (uint64_t)change == 0) tn_block_free_locked(segment, index);
        return;
    }
    tn_ring *ring = ring_of(segment, index);
    if (ring == NULL) return;
    ring->references += (uint32_t)change;
    if (ring->references == 0) destroy(segment, index);
}

void tn_rings_count_references(tn_segment *segment) {
    uint32_t used = tn_blocks_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        tn_ring *ring = ring_of(segment, i);
        if (ring != NULL) ring->references = 0;
        if (shared_at(segment, i) != NULL) atomic_store(&shared_at(segment, i)->seq, 0);
    }
    for (uint32_t i = 0; i < used; i++) {
        tn_block *block = tn_block_at(segment, i);
        tn_state state = tn_state_of(block);
        if (block->order != 0 || (state != TN_HELD && state != TN_SENT)) continue;
        uint32_t target = atomic_load(&block->target);
        tn_ring *ring = ring_of(segment, target);
        if (ring != NULL) ring->references++;
        if (shared_at(segment, target) != NULL)
            atomic_fetch_add(&shared_at(segment, target)->seq, 1);
    }
    for (uint32_t i = 0; i < used; i++) {
        tn_ring *ring = ring_of(segment, i);
        if (ring != NULL && ring->references == 0) destroy(segment, i);
        tn_block *shared = shared_at(segment, i);
        if (shared != NULL && atomic_load(&shared->seq) == 0) tn_block_free_locked(segment, i);
    }
}
