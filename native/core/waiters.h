/* Waiters: who sleeps on a condition or in a barrier, each under its own name.
 *
 * A condition that counts its sleepers breaks when one of them dies: the count is wrong for good, and a wake
 * that was meant for the living goes to the dead. Here each waiter has a place with its holder
 * (segment.h) and a word of its own to sleep on, so a wake is given to somebody, and it can be seen
 * that somebody is gone.
 *
 *   holder  0, or whose place it is; claimed and freed by one compare-and-swap
 *   word    state in 2 bits, and a time in 30: of `clock`, which every enter and every notify advances
 *
 *     0 -- enter --> WAITING(since) -- notify --> NOTIFIED(when) or DISMISSED(when)
 *     ^                  | gives up                    |
 *     +------------------+----------- leave -----------+
 *
 * `enter` and `notify` are called with the lock that belongs to the condition held; `wait` is called
 * without, and `leave` after it was acquired again. So a place says NOTIFIED until its waiter has the lock
 * and can act on it. If the waiter dies before that, the notification is passed on to the oldest one who was
 * waiting when it was given (`look`, by whoever sleeps on the same condition: at the latest when a
 * sleep of TN_LONGEST_SLEEP has ended). If nobody was, it is nobody's, as without a death. A second
 * death, of the one who passes it on, may pass it on twice: a waiter then wakes for nothing, which is
 * better than not at all.
 *
 * Times wrap: a waiter that has slept through 2^29 changes is taken for one who came later.
 */
#ifndef TINES_WAITERS_H
#define TINES_WAITERS_H

#include "primitives.h"

#define TN_MOST_WAITERS 1000 /* at one condition at the same time: 16 KiB */

typedef enum { TN_ABSENT = 0, TN_WAITING, TN_NOTIFIED, TN_DISMISSED } tn_verdict;

typedef struct {
    _Atomic uint64_t holder;
    _Atomic uint32_t word;
} tn_waiter;

typedef struct {
    tn_primitive_head head;
    _Atomic uint32_t clock;
    _Atomic uint32_t used;      /* high-water mark of the places */
    _Atomic uint32_t lost;      /* waiters that died before they were notified */
    _Atomic uint32_t number[2]; /* the caller's own, under its lock */
    tn_waiter waiter[];
} tn_waiters;

static inline tn_waiters *tn_waiters_of(const tn_sync *sync) {
    return (tn_waiters *)sync->head;
}

/* Take a place. TN_TOO_MANY: all are taken, by the living. */
tn_result tn_waiters_enter(const tn_sync *sync, uint32_t *place);
/* Sleep until there is a verdict; one stretch, so TN_INTERRUPTED asks to be called again. TN_TIMED_OUT:
 * there will be none. With `lost`, also ends (TN_OK, TN_WAITING) when more than that have died. */
tn_result tn_waiters_wait(const tn_sync *sync, uint32_t place, const uint32_t *lost,
                          int64_t deadline, tn_verdict *verdict);
/* Give the place back. `unused`: its verdict was not acted on and is to be passed on. */
void tn_waiters_leave(const tn_sync *sync, uint32_t place, bool unused);
/* Give a verdict to the `count` oldest; returns how many there were. */
uint64_t tn_waiters_notify(const tn_sync *sync, uint64_t count, tn_verdict verdict);
uint64_t tn_waiters_count(const tn_sync *sync);
/* Somebody has died: have every waiter look. */
void tn_waiters_look_again(const tn_sync *sync);

#endif
