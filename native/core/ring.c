/* See ring.h for the structure, the commit rule and the lock order. Here: the lives of rings, how full one
 * is, waiting. Sending is in sending.c, taking in taking.c, what happens after a death in recovery.c. */
#include "ring.h"

#include <string.h>

#include "ends.h"
#include "sweep.h"

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
    tn_event_init(&ring->noticed);
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
    result = tn_block_take(segment, TN_CHUNK_START, &chunk); /* more pages when they are used */
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
    *queue = (tn_queue){.segment = segment, .ring = ring, .index = index, .leases = ring->leases};
    uint64_t size = sizeof(tn_ring) + queue->leases * sizeof(tn_lease);
    return size <= tn_block_length(segment, block) ? TN_OK : TN_CORRUPT;
}

/* ---- locks ---- */

/* Take one of the two locks; a death in it leaves the ring sound, but perhaps blocks without a home. */
tn_result tn_end_lock(tn_queue *queue, tn_lock *lock, bool wait, int64_t deadline) {
    /* A call that must not wait for messages may wait for a lock: it is held for nanoseconds, and for
     * longer only where its holder was stopped. */
    if (wait && deadline != TN_FOREVER && deadline < tn_now() + GRACE) deadline = tn_now() + GRACE;
    tn_acquired got = wait ? tn_lock_acquire(lock, deadline) : tn_lock_try(lock);
    if (got.result == TN_OK && got.owner_died) tn_ring_inherited(queue, lock);
    return got.result;
}

void tn_end_unlock(tn_queue *queue, tn_lock *lock) {
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
        skipped = atomic_load(&ring->revoked) - ring->get_total[taken & 1].revoked;
        put = tn_ring_put_count(ring);
        held = ring->put_total[put & 1].bytes - ring->get_total[taken & 1].bytes;
    } while (atomic_load(&ring->get_count) != taken || tn_ring_put_count(ring) != put);
    if (atomic_load(&ring->dropped)) put = taken, held = 0;
    if (bytes != NULL) *bytes = held;
    return put - taken > skipped ? put - taken - skipped : 0;
}

bool tn_ring_has_room(const tn_queue *queue, uint64_t more) {
    const tn_ring *ring = queue->ring;
    if (!tn_ring_is_bounded(ring)) return true;
    uint64_t bytes, depth = tn_ring_depth(queue, &bytes);
    if (ring->max_items != 0 && depth >= ring->max_items) return false;
    /* One that is larger than the bound passes when it would be alone. */
    return ring->max_bytes == 0 || depth == 0 || bytes + more <= ring->max_bytes;
}

bool tn_ring_full(const tn_queue *queue) {
    return !tn_ring_has_room(queue, 1);
}

/* ---- waiting ---- */

/* Nothing, or nothing of what there was when `seen` messages had been put: whoever was late sees that it
 * was empty in between. */
static bool has_nothing(const tn_queue *queue, uint64_t seen) {
    const tn_ring *ring = queue->ring;
    return atomic_load(&ring->get_count) >= seen || tn_ring_is_empty(ring) ||
           tn_ring_is_closed(ring);
}

/* Messages that join() need not wait for: dealt with, or taken back, for which nobody calls task_done(). */
static uint64_t settled_count(const tn_ring *ring) {
    return atomic_load(&ring->done_count) + atomic_load(&ring->revoked);
}

static bool is_finished(const tn_queue *queue, uint64_t unused) {
    (void)unused;
    uint64_t settled = settled_count(queue->ring); /* first, as in is_empty */
    return settled >= tn_ring_put_count(queue->ring) || atomic_load(&queue->ring->dropped);
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
        if (now - start > TN_SPIN / 10) tn_yield();
    }
    tn_event_spin_end(event);
}

/* TN_OK: look again, the condition may hold. TN_INTERRUPTED: look for signals, then call again. */
tn_result tn_ring_wait_for(tn_event *event, tn_condition condition, const tn_queue *queue,
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

/* The same, until the condition is seen to hold. */
static tn_result wait_until(tn_event *event, tn_condition condition, const tn_queue *queue,
                            uint64_t argument, int64_t deadline) {
    tn_result result;
    do {
        result = tn_ring_wait_for(event, condition, queue, argument, deadline);
    } while (result == TN_OK && !condition(queue, argument));
    return result;
}

tn_result tn_ring_wait(tn_queue *queue, bool wanted, uint64_t seen, int64_t deadline) {
    tn_ring *ring = queue->ring;
    if (!wanted) return wait_until(&ring->drained, has_nothing, queue, seen, deadline);
    tn_result result = wait_until(&ring->items, tn_ring_can_take, queue, 0, deadline);
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
    tn_end_unlock(queue, &ring->get_lock);
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
        if (done + atomic_load(&ring->revoked) >= tn_ring_put_count(ring)) return TN_TOO_MANY;
    } while (!atomic_compare_exchange_weak(&ring->done_count, &done, done + 1));
    if (settled_count(ring) >= tn_ring_put_count(ring)) tn_event_wake_all(&ring->finished);
    return TN_OK;
}

tn_result tn_ring_join(tn_queue *queue, int64_t deadline) {
    return wait_until(&queue->ring->finished, is_finished, queue, 0, deadline);
}

/* Without put_lock: its holder may be stopped. A message that is being sent is in before the bit, or refused. */
void tn_ring_shutdown(tn_queue *queue, bool immediate) {
    tn_ring *ring = queue->ring;
    uint64_t put = atomic_fetch_or(&ring->put_count, TN_CLOSED) & ~TN_CLOSED;
    if (immediate) {
        atomic_store(&ring->dropped, 1);
        atomic_store(&ring->done_count, put);
    }
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

void tn_lease_release(tn_lease *lease) {
    if (!atomic_load_explicit(&lease->busy, memory_order_relaxed)) return;
    int64_t held = atomic_load_explicit(&lease->held, memory_order_relaxed);
    held += tn_now() - atomic_load_explicit(&lease->since, memory_order_relaxed);
    atomic_store_explicit(&lease->held, held, memory_order_relaxed);
    atomic_store_explicit(&lease->busy, 0, memory_order_release);
}

/* Up to now. Its holder may release it, or take the next message, between two of these loads: then one
 * message is missing or counts too long. Good enough for what people look at. */
int64_t tn_lease_held(const tn_lease *lease) {
    int64_t held = atomic_load(&lease->held);
    if (!atomic_load_explicit(&lease->busy, memory_order_acquire)) return held;
    return held + tn_now() - atomic_load(&lease->since);
}
