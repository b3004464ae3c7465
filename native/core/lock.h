/* A lock that outlives its holder.
 *
 * Guarantee: if the holder dies, the next to acquire gets the lock and is told so; it must then treat
 * what the lock protects as left at an arbitrary instruction. The structures here are built so that
 * this needs no undoing: whatever was not committed by its one store does not exist.
 *
 * Held only for short, bounded stretches of straight-line code: never across a sleep, a system call
 * that can block, or anything of Python's.
 */
#ifndef TINES_LOCK_H
#define TINES_LOCK_H

#include "../platform/mutex.h"
#include "base.h"

typedef struct {
    tn_mutex mutex;
} tn_lock;

typedef struct {
    tn_result
        result; /* TN_OK: held. TN_TIMED_OUT, TN_INTERRUPTED (look for signals), TN_CORRUPT: not */
    bool owner_died; /* with TN_OK: the last holder died in the middle */
} tn_acquired;

tn_result tn_lock_init(tn_lock *lock);
tn_acquired tn_lock_try(tn_lock *lock);
tn_acquired tn_lock_acquire(tn_lock *lock,
                            int64_t deadline); /* at most TN_LONGEST_SLEEP at a time */
tn_acquired tn_lock_always(tn_lock *lock);     /* for callers that cannot give up */
void tn_lock_release(tn_lock *lock);

#endif
