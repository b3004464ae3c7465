/* See ring.h for the structure, the commit rule and the lock order. Here: sending, taking, waiting.
 * What happens after a death is in recovery.c. */
#define _GNU_SOURCE
#include "ring.h"

#include <sched.h>
#include <string.h>

#include "chain.h"

enum { MOST_PAUSES = 64 }; /* about a microsecond */

static const int64_t GRACE = TN_SECOND / 20;

/* ---- making and opening ---- */

static tn_result initialise(tn_ring *ring, uint64_t birth, uint32_t self, uint32_t chunk) {
    tn_result result = tn_lock_init(&ring->put_lock);
    if (result == TN_OK) result = tn_lock_init(&ring->get_lock);
    tn_event_init(&ring->items);
    tn_event_init(&ring->space);
    tn_event_init(&ring->drained);
    tn_event_init(&ring->finished);
    ring->birth = birth;
    ring->self = self;
    ring->tail[0] = ring->head[0] = (tn_end){.chunk = chunk, .offset = TN_CHUNK_START};
    return result;
}

tn_result tn_ring_create(tn_segment *segment, uint64_t max_items, uint64_t max_bytes,
                         uint32_t leases, tn_queue *queue, uint32_t *reference) {
    uint32_t index, chunk;
    if (leases > TN_MOST_LEASES) return TN_TOO_MANY;
    uint64_t size = sizeof(tn_ring) + leases * sizeof(tn_lease);
    tn_result result = tn_block_take(segment, size, &index);
    if (result != TN_OK) return result;
    result = tn_block_take(segment, TN_CHUNK_SIZE, &chunk);
    if (result != TN_OK) {
        tn_block_release(segment, index);
        return result;
    }
    tn_block *block = tn_block_at(segment, index);
    tn_ring *ring = (tn_ring *)tn_block_data(segment, block);
    memset(ring, 0, size);
    ring->max_items = max_items;
    ring->max_bytes = max_bytes;
    ring->leases = leases;
    result = initialise(ring, 1 + atomic_fetch_add(&segment->header->births, 1), index, chunk);
    tn_block *first = tn_block_at(segment, chunk);
    memset(tn_block_data(segment, first), 0, TN_CHUNK_START);
    if (result == TN_OK && !tn_arena_lock(segment)) result = TN_CORRUPT;
    if (result != TN_OK) {
        tn_block_release(segment, index);
        tn_block_release(segment, chunk);
        return result;
    }
    /* In this order, and under one lock: a ring that nobody refers to yet is destroyed when the arena
     * is rebuilt after a death, and its chunks with it. */
    atomic_store(&block->status, tn_status(TN_RING, 0));
    atomic_store(&first->ring, index);
    atomic_store(&first->status, tn_status(TN_CHUNK, 0));
    result = tn_reference_take_locked(segment, index, segment->slot, reference);
    if (result != TN_OK) tn_ring_referenced(segment, index, 0);
    tn_arena_unlock(segment);
    return result == TN_OK ? tn_ring_open(segment, index, queue) : result;
}

tn_result tn_ring_open(tn_segment *segment, uint32_t index, tn_queue *queue) {
    tn_block *block = tn_block_at(segment, index);
    if (block == NULL || tn_state_of(block) != TN_RING) return TN_CORRUPT;
    tn_ring *ring = (tn_ring *)tn_block_data(segment, block);
    if (ring == NULL || ring->self != index) return TN_CORRUPT;
    *queue = (tn_queue){segment, ring, index, ring->leases};
    uint64_t size = sizeof(tn_ring) + queue->leases * sizeof(tn_lease);
    return size <= tn_block_length(segment, block) ? TN_OK : TN_CORRUPT;
}

/* ---- locks ---- */

/* Take one of the two locks; a death in it leaves the ring sound, but perhaps blocks without a home. */
static tn_result lock_end(tn_queue *queue, tn_lock *lock, bool wait, int64_t deadline) {
    /* A call that must not wait for messages may wait for a lock: it is held for nanoseconds, and for
     * longer only where its holder was stopped. */
    if (wait && deadline != TN_FOREVER && deadline < tn_now() + GRACE) deadline = tn_now() + GRACE;
    tn_acquired got = wait ? tn_lock_acquire(lock, deadline) : tn_lock_try(lock);
    if (got.result == TN_OK && got.owner_died) tn_ring_inherited(queue, lock);
    return got.result;
}

static void unlock_end(tn_queue *queue, tn_lock *lock) {
    tn_lock_release(lock);
    if (atomic_load_explicit(&queue->ring->orphans, memory_order_relaxed)) tn_ring_collect(queue);
}

/* ---- how full ---- */

/* Reads both ends without their locks. A half that is being rewritten is one whose count has moved on,
 * and then the reading is thrown away. */
TN_VALIDATED_READ uint64_t tn_ring_depth(const tn_queue *queue, uint64_t *bytes) {
    tn_ring *ring = queue->ring;
    uint64_t taken, put, held, skipped;
    do {
        taken = atomic_load(&ring->get_count);
        skipped = atomic_load(&ring->revoked) - ring->head[taken & 1].revoked;
        put = atomic_load(&ring->put_count);
        held = ring->tail[put & 1].bytes - ring->head[taken & 1].bytes;
    } while (atomic_load(&ring->get_count) != taken || atomic_load(&ring->put_count) != put);
    if (atomic_load(&ring->shut) > 1) put = taken, held = 0;
    if (bytes != NULL) *bytes = held;
    return put - taken > skipped ? put - taken - skipped : 0;
}

static bool has_room(const tn_queue *queue, uint64_t more) {
    const tn_ring *ring = queue->ring;
    if (ring->max_items == 0 && ring->max_bytes == 0) return true;
    uint64_t bytes, depth = tn_ring_depth(queue, &bytes);
    if (ring->max_items != 0 && depth >= ring->max_items) return false;
    /* One that is larger than the bound passes when it would be alone. */
    return ring->max_bytes == 0 || depth == 0 || bytes + more <= ring->max_bytes;
}

bool tn_ring_full(const tn_queue *queue) {
    return !has_room(queue, 1);
}

/* In this order: a put_count read first may be old by the time that the get_count is read, and they would
 * be found equal though there was always something in the queue. */
static bool is_empty(const tn_ring *ring) {
    uint64_t taken = atomic_load(&ring->get_count);
    return atomic_load(&ring->put_count) == taken;
}

/* ---- sending ---- */

/* Make a new chunk the next one of the chain. Nothing shows it until the message in it is committed. */
static tn_result link_chunk(tn_queue *queue, tn_end *end) {
    uint32_t index;
    tn_chunk *last = tn_chunk_at(queue, end->chunk);
    if (last == NULL) return TN_CORRUPT;
    tn_result result = tn_block_try(queue->segment, TN_CHUNK_SIZE, &index);
    if (result != TN_OK) return result;
    tn_block *block = tn_block_at(queue->segment, index);
    atomic_store(&block->ring, queue->index);
    atomic_store(&block->status, tn_status(TN_CHUNK, 0));
    last->next = index;
    TN_STEP(chunk_linked);
    if (end->offset + sizeof(tn_record) <= TN_CHUNK_SIZE) {
        ((tn_record *)((uint8_t *)last + end->offset))->flags = TN_NEXT_CHUNK;
    }
    end->chunk = index;
    end->offset = TN_CHUNK_START;
    return TN_OK;
}

static void write_record(tn_queue *queue, uint8_t *at, const tn_outgoing *message, uint64_t seq) {
    uint32_t length = message->payload_in_block ? 0 : (uint32_t)message->length;
    *(tn_record *)at = (tn_record){
        .length = length,
        .blocks = (uint16_t)message->block_count,
        .kind = message->kind,
        .flags = message->payload_in_block ? TN_PAYLOAD_IN_BLOCK : 0,
        .tag = message->tag,
        .seq = seq,
        .bytes = message->bytes,
    };
    at += sizeof(tn_record);
    TN_STEP(half_written);
    for (uint32_t i = 0; i < message->block_count; i++) {
        uint32_t index = message->blocks[i];
        tn_block *block = tn_block_at(queue->segment, index);
        atomic_store(&block->ring, queue->index);
        atomic_store(&block->seq, seq);
        atomic_store(&block->status, tn_status(TN_SENT, 0));
        memcpy(at + i * sizeof index, &index, sizeof index);
    }
    memcpy(at + message->block_count * sizeof(uint32_t), message->payload, length);
}

/* With put_lock held. */
static tn_result append(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket) {
    tn_ring *ring = queue->ring;
    TN_STEP(put_locked);
    if (atomic_load(&ring->shut)) return TN_SHUT;
    if (!has_room(queue, message->bytes)) return TN_TIMED_OUT;
    uint64_t seq = atomic_load_explicit(&ring->put_count, memory_order_relaxed);
    tn_end end = ring->tail[seq & 1];
    uint64_t size =
        tn_record_size(message->payload_in_block ? 0 : message->length, message->block_count);
    if (!tn_is_place(end.offset)) return TN_CORRUPT;
    if (end.offset + size > TN_CHUNK_SIZE) {
        tn_result result = link_chunk(queue, &end);
        if (result != TN_OK) return result;
    }
    TN_STEP(reserved);
    tn_chunk *chunk = tn_chunk_at(queue, end.chunk);
    if (chunk == NULL) return TN_CORRUPT;
    write_record(queue, (uint8_t *)chunk + end.offset, message, seq);
    *ticket = tn_ticket(seq, end.chunk, end.offset);
    end.offset += (uint32_t)size;
    end.bytes += message->bytes;
    ring->tail[(seq + 1) & 1] = end;
    TN_STEP(before_commit);
    atomic_store_explicit(&ring->put_count, seq + 1, memory_order_release);
    TN_STEP(after_commit);
    return TN_OK;
}

static tn_result locked_append(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket,
                               bool wait, int64_t deadline, bool *contended) {
    tn_result result = lock_end(queue, &queue->ring->put_lock, wait, deadline);
    *contended = result != TN_OK;
    if (result != TN_OK) return result;
    result = append(queue, message, ticket);
    unlock_end(queue, &queue->ring->put_lock);
    return result;
}

static tn_result send_once(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket, bool wait,
                           int64_t deadline, bool *contended) {
    tn_ring *ring = queue->ring;
    if (message->block_count > TN_MOST_BLOCKS || message->length > TN_INLINE) return TN_TOO_MANY;
    tn_result result = locked_append(queue, message, ticket, wait, deadline, contended);
    if (result == TN_NO_MEMORY) {
        /* For the next chunk. What there is to reclaim takes locks that come before put_lock. */
        tn_arena_reclaim(queue->segment);
        result = locked_append(queue, message, ticket, wait, deadline, contended);
    }
    if (result != TN_OK) return result;
    tn_event_wake_one(&ring->items);
    bool bounded = ring->max_items != 0 || ring->max_bytes != 0;
    if (bounded && has_room(queue, 1)) tn_event_wake_one(&ring->space);
    return TN_OK;
}

tn_result tn_ring_send_now(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket,
                           bool *contended) {
    return send_once(queue, message, ticket, false, 0, contended);
}

/* ---- taking ---- */

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
    if (is_empty(ring)) return shut ? TN_SHUT : TN_TIMED_OUT;
    tn_result result = lock_end(queue, &ring->get_lock, wait, deadline);
    *contended = result != TN_OK;
    if (result != TN_OK) return result;
    result = take(queue, message, lease);
    unlock_end(queue, &ring->get_lock);
    if (result == TN_TIMED_OUT && atomic_load(&ring->shut) && is_empty(ring)) return TN_SHUT;
    if (result != TN_OK) return result;
    tn_janitor_call(queue->segment);
    if (is_empty(ring)) {
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

/* ---- waiting ---- */

typedef bool (*tn_condition)(const tn_queue *queue, uint64_t argument);

static bool can_take(const tn_queue *queue, uint64_t unused) {
    (void)unused;
    return !is_empty(queue->ring) || atomic_load(&queue->ring->shut);
}

static bool has_nothing(const tn_queue *queue, uint64_t unused) {
    (void)unused;
    return is_empty(queue->ring) || atomic_load(&queue->ring->shut);
}

static bool can_send(const tn_queue *queue, uint64_t bytes) {
    return has_room(queue, bytes) || atomic_load(&queue->ring->shut);
}

/* Messages that join() need not wait for: dealt with, or taken back, for which nobody calls task_done(). */
static uint64_t settled_count(const tn_ring *ring) {
    return atomic_load(&ring->done_count) + atomic_load(&ring->revoked);
}

static bool is_finished(const tn_queue *queue, uint64_t unused) {
    (void)unused;
    uint64_t settled = settled_count(queue->ring); /* first, as in is_empty */
    return settled >= atomic_load(&queue->ring->put_count) || atomic_load(&queue->ring->shut) > 1;
}

/* Watch without sleeping, for what comes within microseconds. Yields, as there may be more processes
 * than cores and the one that is waited for may be among them. */
static void spin(tn_event *event, tn_condition condition, const tn_queue *queue,
                 uint64_t argument) {
    int64_t start = tn_now();
    if (tn_cores() < 2 || !tn_event_spin_begin(event, start)) return;
    /* Each look takes the count's cache line away from the producer, so the looks grow rarer: what
     * comes meanwhile is then taken as a batch. */
    int pauses = 1;
    for (int64_t now = start; now - start < TN_SPIN; now = tn_now()) {
        if (condition(queue, argument)) break;
        for (int i = 0; i < pauses; i++) tn_relax();
        if (pauses < MOST_PAUSES) pauses *= 2;
        if (now - start > TN_SPIN / 10) sched_yield();
    }
    tn_event_spin_end(event);
}

/* TN_OK: look again, the condition may hold. TN_INTERRUPTED: look for signals, then call again. */
static tn_result wait_for(tn_event *event, tn_condition condition, const tn_queue *queue,
                          uint64_t argument, int64_t deadline) {
    if (condition(queue, argument)) return TN_OK;
    if (deadline <= tn_now()) return TN_TIMED_OUT;
    spin(event, condition, queue, argument);
    uint32_t prepared = tn_event_prepare(event);
    if (condition(queue, argument)) return TN_OK;
    tn_result result = tn_event_sleep(event, prepared, deadline);
    if (result == TN_OK || condition(queue, argument)) return TN_OK;
    tn_segment_sweep_sometimes(queue->segment);
    if (result == TN_TIMED_OUT && deadline <= tn_now()) return TN_TIMED_OUT;
    return TN_INTERRUPTED;
}

tn_result tn_ring_send(tn_queue *queue, const tn_outgoing *message, int64_t deadline,
                       uint64_t *ticket) {
    for (;;) {
        bool contended;
        tn_result result = send_once(queue, message, ticket, true, deadline, &contended);
        if (result != TN_TIMED_OUT || contended) return result;
        result = wait_for(&queue->ring->space, can_send, queue, message->bytes, deadline);
        if (result != TN_OK) return result;
    }
}

tn_result tn_ring_recv(tn_queue *queue, tn_incoming *message, int lease, int64_t deadline) {
    for (;;) {
        bool contended;
        tn_result result = recv_once(queue, message, lease, true, deadline, &contended);
        if (result != TN_TIMED_OUT || contended) return result;
        result = wait_for(&queue->ring->items, can_take, queue, 0, deadline);
        if (result != TN_OK) return result;
    }
}

/* The same, until the condition is seen to hold. */
static tn_result wait_until(tn_event *event, tn_condition condition, const tn_queue *queue,
                            int64_t deadline) {
    tn_result result;
    do {
        result = wait_for(event, condition, queue, 0, deadline);
    } while (result == TN_OK && !condition(queue, 0));
    return result;
}

tn_result tn_ring_wait(tn_queue *queue, bool wanted, int64_t deadline) {
    tn_ring *ring = queue->ring;
    if (!wanted) return wait_until(&ring->drained, has_nothing, queue, deadline);
    tn_result result = wait_until(&ring->items, can_take, queue, deadline);
    /* It takes nothing, so the wake that it may have had is still owed to one who does. */
    if (result == TN_OK) tn_event_wake_one(&ring->items);
    return result;
}

/* ---- the rest ---- */

tn_result tn_ring_revoke(tn_queue *queue, uint64_t ticket, bool *revoked) {
    tn_ring *ring = queue->ring;
    *revoked = false;
    tn_acquired got = tn_lock_always(&ring->get_lock);
    if (got.result != TN_OK) return got.result;
    if (got.owner_died) tn_ring_inherited(queue, &ring->get_lock);
    tn_record *record = tn_ticketed(queue, ticket);
    if (record != NULL && !(record->flags & TN_REVOKED)) {
        record->flags |= TN_REVOKED;
        atomic_fetch_add(&ring->revoked, 1);
        *revoked = true;
    }
    unlock_end(queue, &ring->get_lock);
    if (*revoked) {
        tn_event_wake_all(&ring->finished);
        tn_event_wake_all(&ring->space);
    }
    return TN_OK;
}

tn_result tn_ring_task_done(tn_queue *queue) {
    tn_ring *ring = queue->ring;
    uint64_t done = atomic_load(&ring->done_count);
    do {
        if (done + atomic_load(&ring->revoked) >= atomic_load(&ring->put_count)) return TN_TOO_MANY;
    } while (!atomic_compare_exchange_weak(&ring->done_count, &done, done + 1));
    if (settled_count(ring) >= atomic_load(&ring->put_count)) tn_event_wake_all(&ring->finished);
    return TN_OK;
}

tn_result tn_ring_join(tn_queue *queue, int64_t deadline) {
    return wait_until(&queue->ring->finished, is_finished, queue, deadline);
}

/* Under put_lock, so that no message is committed after a receiver has seen the end. If its holder was
 * stopped, the ring is shut all the same. */
void tn_ring_shutdown(tn_queue *queue, bool immediate) {
    tn_ring *ring = queue->ring;
    uint32_t shut = immediate ? 2 : 1, before = atomic_load(&ring->shut);
    tn_result locked = lock_end(queue, &ring->put_lock, true, tn_now() + TN_SECOND);
    while (before < shut && !atomic_compare_exchange_weak(&ring->shut, &before, shut)) {
    }
    if (immediate) atomic_store(&ring->done_count, atomic_load(&ring->put_count));
    if (locked == TN_OK) unlock_end(queue, &ring->put_lock);
    tn_event_wake_all(&ring->items);
    tn_event_wake_all(&ring->space);
    tn_event_wake_all(&ring->drained);
    tn_event_wake_all(&ring->finished);
}

tn_lease *tn_ring_lease(const tn_queue *queue, int index) {
    return index >= 0 && (uint32_t)index < queue->leases ? &queue->ring->lease[index] : NULL;
}

bool tn_lease_read(const tn_queue *queue, int index, uint64_t *tag, uint64_t *progress,
                   int64_t *since) {
    tn_lease *lease = tn_ring_lease(queue, index);
    if (lease == NULL || !atomic_load_explicit(&lease->busy, memory_order_acquire)) return false;
    /* Written before the commit: a holder that died in between had not taken the message. */
    if (atomic_load(&lease->seq) >= atomic_load(&queue->ring->get_count)) return false;
    *tag = atomic_load(&lease->tag);
    *progress = atomic_load(&lease->progress);
    *since = atomic_load(&lease->since);
    return true;
}
