/* Those who follow a ring by a descriptor, and why senders wait for them.
 *
 * A program that sleeps in select() on a queue and on a process expects what it knows of pipes: what the
 * process sent is there before its end is. But a descriptor cannot be set from shared memory; a thread of the
 * program, the watcher, does that a moment later. So whoever sends to a ring that is watched from another
 * process waits until the watcher has shown that there is something. The descriptor that is shown already
 * costs nothing, nor does a ring that nobody watches.
 *
 * `shown` and the counts are a pair as in event.h: the sender puts and then looks whether it is shown; the
 * watcher says that it is not and then looks whether there is something. One of the two sees the other.
 *
 * One watcher is waited for, the one that came last. One that is held up for long is not waited for again
 * until it has looked, and a dead one is forgotten.
 */
#include "ends.h"
#include "slots.h"

static const int64_t PATIENCE = TN_SECOND / 10;

bool tn_ring_watch(tn_queue *queue, bool begins) {
    tn_ring *ring = queue->ring;
    tn_holder self = tn_holder_self(queue->segment);
    if (self == 0) return false;
    if (begins) {
        atomic_store(&ring->shown, 0);
        atomic_store(&ring->watcher, self);
    } else {
        tn_holder expected = self;
        atomic_compare_exchange_strong(&ring->watcher, &expected, 0);
    }
    tn_event_wake_all(&ring->noticed);
    return true;
}

void tn_ring_show(tn_queue *queue, bool there) {
    atomic_store(&queue->ring->shown, there);
    if (there) tn_event_wake_all(&queue->ring->noticed);
}

/* What the watcher was to be told of: it has shown it, or somebody has taken it. */
static bool is_noticed(const tn_queue *queue, uint64_t sent) {
    const tn_ring *ring = queue->ring;
    return atomic_load(&ring->shown) || atomic_load(&ring->get_count) >= sent ||
           atomic_load(&ring->watcher) == 0 || tn_ring_is_closed(ring);
}

void tn_ring_let_notice(tn_queue *queue) {
    tn_ring *ring = queue->ring;
    tn_holder watcher = atomic_load(&ring->watcher);
    if (watcher == 0 || tn_holder_same(watcher, tn_holder_self(queue->segment))) return;
    uint64_t sent = tn_ring_put_count(ring);
    int64_t deadline = tn_now() + PATIENCE;
    tn_result result = TN_OK;
    while (result != TN_TIMED_OUT && !is_noticed(queue, sent)) {
        result = tn_ring_wait_for(&ring->noticed, is_noticed, queue, sent, deadline);
    }
    if (is_noticed(queue, sent)) return;
    if (tn_holder_died(queue->segment, watcher, true)) {
        atomic_compare_exchange_strong(&ring->watcher, &watcher, 0);
    } else {
        atomic_store(&ring->shown, 1);
    }
}
