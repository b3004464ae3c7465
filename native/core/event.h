/* An event count on a raw futex word: how a process sleeps until another has changed something.
 *
 * The waiter prepares, looks once more whether it still has to wait, and sleeps; the waker changes
 * the state, then wakes. Either the waiter sees the change or the waker sees the waiter (both sides
 * pass a sequentially consistent fence in between), so no wake is lost between living processes.
 *
 * A killed waiter leaves the `asleep` bit behind, which costs one needless wake. A killed waker may
 * leave its wake undone; that is why no sleep is unbounded (TN_LONGEST_SLEEP).
 *
 * A waker that finds nobody asleep clears the bit, unless the word has changed meanwhile: every waiter
 * changes it as it prepares. Waking one of several leaves the bit set. A producer wakes one for each
 * change, but may find a waiter that is just between its look and its sleep, and that is enough only
 * because whoever takes something wakes the next one if more is left ("chain wake"; taking.c does).
 *
 * One waiter at a time spins briefly before it sleeps and says so in `spinning_until`. While that lies
 * in the future nobody is woken: the spinner will see the change. It is a time and not a flag, so a
 * spinner that is killed suppresses wakes for some microseconds only.
 */
#ifndef TINES_EVENT_H
#define TINES_EVENT_H

#include "base.h"

typedef struct {
    _Atomic uint32_t word;    /* bit 0: somebody may be asleep; the rest counts wakes */
    _Atomic uint32_t waiting; /* for statistics; a killed waiter leaves it too high */
    _Atomic int64_t spinning_until;
} tn_event;

void tn_event_init(tn_event *event);

/* Announce that the caller is about to sleep. It must look again before tn_event_sleep. */
uint32_t tn_event_prepare(tn_event *event);
tn_result tn_event_sleep(tn_event *event, uint32_t prepared, int64_t deadline);

/* Claim the one place for a spinner; if claimed, spin for TN_SPIN at the most, then give it back and
 * look once more. */
#define TN_SPIN INT64_C(50000)
bool tn_event_spin_begin(tn_event *event, int64_t now);
void tn_event_spin_end(tn_event *event);

/* Called after the change, outside of locks where that is possible. Where the change was itself a
 * sequentially consistent read-modify-write, tn_event_maybe_asleep saves the fence. */
static inline bool tn_event_maybe_asleep(const tn_event *event) {
    return atomic_load(&event->word) & 1;
}
void tn_event_wake_one(tn_event *event);
void tn_event_wake_all(tn_event *event);

#endif
