/* See lock.h. */
#include "lock.h"

/* A critical section is some tens of nanoseconds; this many looks outlast most of them. */
enum { TRIES_BEFORE_SLEEP = 60 };

tn_result tn_lock_init(tn_lock *lock) {
    return tn_mutex_init(&lock->mutex) ? TN_OK : TN_SYSTEM_ERROR;
}

static tn_acquired acquired(tn_mutex_outcome outcome) {
    switch (outcome) {
    case TN_MUTEX_TAKEN:
        return (tn_acquired){TN_OK, false};
    case TN_MUTEX_INHERITED:
        return (tn_acquired){TN_OK, true};
    case TN_MUTEX_BUSY:
        return (tn_acquired){TN_TIMED_OUT, false};
    default:
        return (tn_acquired){TN_CORRUPT, false};
    }
}

tn_acquired tn_lock_try(tn_lock *lock) {
    return acquired(tn_mutex_try(&lock->mutex));
}

tn_acquired tn_lock_acquire(tn_lock *lock, int64_t deadline) {
    int tries = tn_cores() > 1 ? TRIES_BEFORE_SLEEP : 1;
    for (int i = 0; i < tries; i++) {
        tn_acquired got = tn_lock_try(lock);
        if (got.result != TN_TIMED_OUT) return got;
        tn_relax();
    }
    int64_t until = tn_now() + TN_LONGEST_SLEEP;
    bool last = deadline <= until;
    if (last) until = deadline;
    tn_acquired got = acquired(tn_mutex_take(&lock->mutex, until));
    if (got.result == TN_TIMED_OUT && !last) got.result = TN_INTERRUPTED;
    return got;
}

tn_acquired tn_lock_always(tn_lock *lock) {
    for (;;) {
        tn_acquired got = tn_lock_acquire(lock, TN_FOREVER);
        if (got.result != TN_INTERRUPTED) return got;
    }
}

void tn_lock_release(tn_lock *lock) {
    tn_mutex_release(&lock->mutex);
}
