/* What the two ends of a ring share: their locks, how full it is, and waiting. Private to ring.c,
 * sending.c and taking.c. */
#ifndef TINES_ENDS_H
#define TINES_ENDS_H

#include "chain.h"

/* Take one of the two locks; a death in it leaves the ring sound, but perhaps blocks without a home. */
tn_result tn_end_lock(tn_queue *queue, tn_lock *lock, bool wait, int64_t deadline);
void tn_end_unlock(tn_queue *queue, tn_lock *lock);

static inline bool tn_ring_is_bounded(const tn_ring *ring) {
    return ring->max_items != 0 || ring->max_bytes != 0;
}

bool tn_ring_has_room(const tn_queue *queue, uint64_t more);

/* In this order: a put_count read first may be old by the time that the get_count is read, and they would
 * be found equal though there was always something in the queue. */
static inline bool tn_ring_is_empty(const tn_ring *ring) {
    uint64_t taken = atomic_load(&ring->get_count);
    return tn_ring_put_count(ring) == taken;
}

/* What somebody waits for; `argument` is the condition's own. */
typedef bool (*tn_condition)(const tn_queue *queue, uint64_t argument);

static inline bool tn_ring_can_take(const tn_queue *queue, uint64_t unused) {
    (void)unused;
    return !tn_ring_is_empty(queue->ring) || tn_ring_is_closed(queue->ring);
}

/* TN_OK: look again, the condition may hold. TN_INTERRUPTED: look for signals, then call again. */
tn_result tn_ring_wait_for(tn_event *event, tn_condition condition, const tn_queue *queue,
                           uint64_t argument, int64_t deadline);

#endif
