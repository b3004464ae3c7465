/* The consumers' end of a ring: see ring.h for the commit rule and leases. */
#include <string.h>

#include "ends.h"
#include "janitor.h"

enum { GATHERING_PAUSES = 128 }; /* about two microseconds */
static const int64_t NO_TIME = TN_SPIN / 10;

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

/* With get_lock held: whether message `seq` has been put. The count moves in one direction only, so what
 * was seen of it once need not be asked of the producers' cache line again; "no" is never from memory.
 * As in tn_ring_is_empty, only equal counts mean that there is nothing: whoever is told so may wait. */
static bool is_put(tn_ring *ring, uint64_t seq) {
    if (ring->put_seen <= seq) ring->put_seen = tn_ring_put_count(ring);
    return ring->put_seen != seq;
}

/* With get_lock held. TN_TIMED_OUT: the ring is empty. A revoked message is passed over. `more`: there is
 * another one behind. */
static tn_result take(tn_queue *queue, tn_incoming *message, int lease, bool *more) {
    tn_ring *ring = queue->ring;
    *more = false;
    for (;;) {
        uint64_t seq = atomic_load_explicit(&ring->get_count, memory_order_relaxed);
        TN_STEP(get_locked);
        if (!is_put(ring, seq)) return TN_TIMED_OUT;
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
            message->packed = record.flags & TN_PACKED;
            memcpy(message->payload, indexes + record.blocks * sizeof(uint32_t), record.length);
            if (lease >= 0) write_lease(ring, lease, &record);
            TN_STEP(leased);
        }
        end.offset += (uint32_t)tn_record_size(record.length, record.blocks);
        tn_total total = ring->get_total[seq & 1];
        total.bytes += record.bytes;
        total.revoked += revoked;
        ring->get_total[(seq + 1) & 1] = total;
        ring->head[(seq + 1) & 1] = end;
        atomic_store_explicit(&ring->get_count, seq + 1, memory_order_release);
        TN_STEP(taken);
        *more = is_put(ring, seq + 1);
        bool whole = hand_over(queue, &record, indexes, message);
        if (left != TN_NO_BLOCK) leave_chunk(queue, left);
        if (!revoked) return whole ? TN_OK : TN_CORRUPT;
    }
}

/* Wake who may act on what was taken. `more`: the chain wake that event.h asks for; an event of which
 * nobody makes use is not looked at. */
static void announce(tn_ring *ring, bool more) {
    if (tn_ring_is_bounded(ring)) {
        if (more) tn_event_wake_one(&ring->space);
        else tn_event_wake_all(&ring->space);
    }
    if (more) tn_event_wake_one(&ring->items);
    else tn_event_wake_all(&ring->drained);
    if (atomic_load_explicit(&ring->watcher, memory_order_relaxed))
        tn_event_wake_all(&ring->noticed);
}

static tn_result recv_once(tn_queue *queue, tn_incoming *message, int lease, bool wait,
                           int64_t deadline, bool *contended) {
    tn_ring *ring = queue->ring;
    *contended = false;
    if (lease >= 0 && tn_ring_lease(queue, lease) == NULL) return TN_TOO_MANY;
    if (atomic_load_explicit(&ring->dropped, memory_order_acquire)) return TN_SHUT;
    /* To look at the count first would cost a transfer of the line that the lock needs anyway. */
    bool likely = atomic_load_explicit(&queue->more, memory_order_relaxed);
    if (!likely) {
        uint64_t taken = atomic_load(&ring->get_count), put = atomic_load(&ring->put_count);
        if (put == taken) return TN_TIMED_OUT;
        if (put == (taken | TN_CLOSED)) return TN_SHUT;
    }
    tn_result result = tn_end_lock(queue, &ring->get_lock, wait, deadline);
    *contended = result != TN_OK;
    if (result != TN_OK) return result;
    bool more;
    result = take(queue, message, lease, &more);
    tn_end_unlock(queue, &ring->get_lock);
    atomic_store_explicit(&queue->more, more, memory_order_relaxed);
    if (result == TN_TIMED_OUT && tn_ring_is_closed(ring) && tn_ring_is_empty(ring)) return TN_SHUT;
    if (result != TN_OK) return result;
    tn_janitor_call(queue->segment);
    announce(ring, more);
    return TN_OK;
}

tn_result tn_ring_recv_now(tn_queue *queue, tn_incoming *message, int lease, bool *contended) {
    return recv_once(queue, message, lease, false, 0, contended);
}

/* Let messages gather before the next look. A consumer that keeps up with a stream would else look after
 * each message, and each look takes the line with put_lock away from a producer that is about to need
 * it: where the cores are far apart, that costs both more than the message itself. It is a stream
 * if the last wait was over in no time and this process has sent nothing since: who sends in between
 * may be answering, and then somebody waits for it. Done as the spinner, so nobody is woken meanwhile. */
static void gather(const tn_queue *queue, int64_t now) {
    tn_event *items = &queue->ring->items;
    if (!atomic_load_explicit(&queue->streaming, memory_order_relaxed) ||
        atomic_load_explicit(&queue->more, memory_order_relaxed)) {
        return;
    }
    if (tn_cores() < 2 || !tn_event_spin_begin(items, now)) return;
    for (int i = 0; i < GATHERING_PAUSES; i++) tn_relax();
    tn_event_spin_end(items);
}

/* Whether this process has sent nothing since the last call for this view. */
static bool only_receives(tn_queue *queue) {
    uint32_t sends = atomic_load_explicit(&queue->segment->sends, memory_order_relaxed);
    uint32_t then = atomic_load_explicit(&queue->sends_then, memory_order_relaxed);
    if (sends != then) atomic_store_explicit(&queue->sends_then, sends, memory_order_relaxed);
    return sends == then;
}

tn_result tn_ring_recv(tn_queue *queue, tn_incoming *message, int lease, int64_t deadline) {
    /* Where it may be an answer that is waited for, not even the clock is asked. */
    bool one_way = only_receives(queue);
    int64_t start = one_way ? tn_now() : 0;
    if (one_way) gather(queue, start);
    for (;;) {
        bool contended;
        tn_result result = recv_once(queue, message, lease, true, deadline, &contended);
        if (result == TN_OK) {
            bool quick = one_way && tn_now() - start < NO_TIME;
            atomic_store_explicit(&queue->streaming, quick, memory_order_relaxed);
        }
        if (result != TN_TIMED_OUT || contended) return result;
        result = tn_ring_wait_for(&queue->ring->items, tn_ring_can_take, queue, 0, deadline);
        if (result != TN_OK) return result;
    }
}
