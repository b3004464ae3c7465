/* See event.h for the protocol and for why it cannot lose a wake. */
#include "event.h"

#include <limits.h>

enum { ASLEEP = 1, CHANGE = 2 };

void tn_event_init(tn_event *event) {
    atomic_init(&event->word, 0);
    atomic_init(&event->waiting, 0);
    atomic_init(&event->spinning_until, 0);
}

uint32_t tn_event_prepare(tn_event *event) {
    uint32_t word = atomic_load(&event->word);
    uint32_t prepared;
    do {
        prepared = (word + CHANGE) | ASLEEP;
    } while (!atomic_compare_exchange_weak(&event->word, &word, prepared));
    return prepared;
}

tn_result tn_event_sleep(tn_event *event, uint32_t prepared, int64_t deadline) {
    atomic_fetch_add_explicit(&event->waiting, 1, memory_order_relaxed);
    tn_result result = tn_wait_on(&event->word, prepared, deadline);
    atomic_fetch_sub_explicit(&event->waiting, 1, memory_order_relaxed);
    return result;
}

bool tn_event_spin_begin(tn_event *event, int64_t now) {
    int64_t until = atomic_load(&event->spinning_until);
    return until < now &&
           atomic_compare_exchange_strong(&event->spinning_until, &until, now + TN_SPIN);
}

void tn_event_spin_end(tn_event *event) {
    atomic_store(&event->spinning_until, 0);
}

void tn_event_wake_one(tn_event *event) {
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t word = atomic_load_explicit(&event->word, memory_order_relaxed);
    if (!(word & ASLEEP)) return;
    if (atomic_load(&event->spinning_until) > tn_now()) return;
    TN_STEP(before_wake);
    uint32_t bumped = atomic_fetch_add(&event->word, CHANGE) + CHANGE;
    if (tn_word_wake(&event->word, 1) == 0) {
        atomic_compare_exchange_strong(&event->word, &bumped, bumped & ~(uint32_t)ASLEEP);
    }
}

void tn_event_wake_all(tn_event *event) {
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t word = atomic_load(&event->word);
    if (!(word & ASLEEP)) return;
    while (
        !atomic_compare_exchange_weak(&event->word, &word, (word + CHANGE) & ~(uint32_t)ASLEEP)) {
    }
    tn_word_wake(&event->word, INT_MAX);
}
