/* The consumers' end of a ring: see ring.h for the commit rule and leases. */
#define _GNU_SOURCE
#include <string.h>

#include "ends.h"

static void write_lease(tn_ring *ring, int index, const tn_record *record) {
    tn_lease *lease = &ring->lease[index];
    atomic_store_explicit(&lease->busy, 0, memory_order_relaxed);
    atomic_store_explicit(&lease->seq, record->seq, memory_order_relaxed);
    atomic_store_explicit(&lease->tag, record->tag, memory_order_relaxed);
    atomic_store_explicit(&lease->progress, 0, memory_order_relaxed);
    atomic_store_explicit(&lease->since, tn_now(), memory_order_relaxed);
    atomic_store_explicit(&lease->busy, 1, memory_order_release);
}

static bool is_part_of(const tn_queue *queue, const tn_record *record, const tn_block *block) {
    return block != NULL && tn_state_of(block) == TN_SENT &&
           atomic_load(&block->ring) == queue->index && atomic_load(&block->seq) == record->seq &&
           tn_block_sound(queue->segment, block);
}

/* The message is taken: its blocks become this process's, or free if nobody is to have it because it had
 * been revoked. False: some are missing, and then it has none. */
static bool hand_over(tn_queue *queue, const tn_record *record, const uint8_t *indexes,
                      tn_incoming *message) {
    message->block_count = 0;
    for (uint32_t i = 0; i < record->blocks; i++) {
        uint32_t index;
        memcpy(&index, indexes + i * sizeof index, sizeof index);
        tn_block *block = tn_block_at(queue->segment, index);
        if (!is_part_of(queue, record, block)) continue;
        atomic_store(&block->status, tn_status(TN_HELD, queue->segment->slot));
        message->blocks[message->block_count++] = index;
        TN_STEP(handed_over);
    }
    bool whole = message->block_count == record->blocks;
    if (whole && !(record->flags & TN_REVOKED)) return true;
    for (uint32_t i = 0; i < message->block_count; i++) {
        tn_block_release(queue->segment, message->blocks[i]);
    }
    message->block_count = 0;
    return whole;
}

static void leave_chunk(tn_queue *queue, uint32_t index) {
    TN_STEP(chunk_left);
    if (!tn_arena_lock(queue->segment)) return;
    tn_block_free_locked(queue->segment, index);
    tn_arena_unlock(queue->segment);
}

/* With get_lock held. TN_TIMED_OUT: the ring is empty. A revoked message is passed over. */
static tn_result take(tn_queue *queue, tn_incoming *message, int lease) {
    tn_ring *ring = queue->ring;
    for (;;) {
        uint64_t seq = atomic_load_explicit(&ring->get_count, memory_order_relaxed);
        TN_STEP(get_locked);
        if (atomic_load_explicit(&ring->put_count, memory_order_acquire) == seq)
            return TN_TIMED_OUT;
        tn_end end = ring->head[seq & 1];
        uint32_t left = TN_NO_BLOCK;
        tn_record record;
        const uint8_t *indexes = tn_next_record(queue, &end, &left, &record);
        if (indexes == NULL || record.seq != seq) return TN_CORRUPT;
        bool revoked = record.flags & TN_REVOKED;
        if (!revoked) {
            message->length = record.length;
            message->kind = record.kind;
            message->tag = record.tag;
            message->payload_in_block = record.flags & TN_PAYLOAD_IN_BLOCK;
            memcpy(message->payload, indexes + record.blocks * sizeof(uint32_t), record.length);
            if (lease >= 0) write_lease(ring, lease, &record);
            TN_STEP(leased);
        }
        end.offset += (uint32_t)tn_record_size(record.length, record.blocks);
        end.bytes += record.bytes;
        end.revoked += revoked;
        ring->head[(seq + 1) & 1] = end;
        atomic_store_explicit(&ring->get_count, seq + 1, memory_order_release);
        TN_STEP(taken);
        bool whole = hand_over(queue, &record, indexes, message);
        if (left != TN_NO_BLOCK) leave_chunk(queue, left);
        if (!revoked) return whole ? TN_OK : TN_CORRUPT;
    }
}

static tn_result recv_once(tn_queue *queue, tn_incoming *message, int lease, bool wait,
                           int64_t deadline, bool *contended) {
    tn_ring *ring = queue->ring;
    *contended = false;
    if (lease >= 0 && tn_ring_lease(queue, lease) == NULL) return TN_TOO_MANY;
    uint32_t shut = atomic_load_explicit(&ring->shut, memory_order_acquire);
    if (shut > 1) return TN_SHUT;
    if (tn_ring_is_empty(ring)) return shut ? TN_SHUT : TN_TIMED_OUT;
    tn_result result = tn_end_lock(queue, &ring->get_lock, wait, deadline);
    *contended = result != TN_OK;
    if (result != TN_OK) return result;
    result = take(queue, message, lease);
    tn_end_unlock(queue, &ring->get_lock);
    if (result == TN_TIMED_OUT && atomic_load(&ring->shut) && tn_ring_is_empty(ring))
        return TN_SHUT;
    if (result != TN_OK) return result;
    tn_janitor_call(queue->segment);
    if (tn_ring_is_empty(ring)) {
        tn_event_wake_all(&ring->drained);
        tn_event_wake_all(&ring->space);
    } else {
        tn_event_wake_one(&ring->space);
        tn_event_wake_one(&ring->items); /* the chain wake that event.h asks for */
    }
    return TN_OK;
}

tn_result tn_ring_recv_now(tn_queue *queue, tn_incoming *message, int lease, bool *contended) {
    return recv_once(queue, message, lease, false, 0, contended);
}

tn_result tn_ring_recv(tn_queue *queue, tn_incoming *message, int lease, int64_t deadline) {
    for (;;) {
        bool contended;
        tn_result result = recv_once(queue, message, lease, true, deadline, &contended);
        if (result != TN_TIMED_OUT || contended) return result;
        result = tn_ring_wait_for(&queue->ring->items, tn_ring_can_take, queue, 0, deadline);
        if (result != TN_OK) return result;
    }
}
