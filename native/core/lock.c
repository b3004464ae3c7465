/* See lock.h. The kernel walks a dying thread's robust list and marks its locks; glibc reports that
 * as EOWNERDEAD. No condition variables: glibc's can hang for ever when a waiter is killed. */
#define _GNU_SOURCE
#include "lock.h"

#include <errno.h>
#include <time.h>

/* A critical section is some tens of nanoseconds; this many looks outlast most of them. */
enum { TRIES_BEFORE_SLEEP = 60 };

tn_result tn_lock_init(tn_lock *lock) {
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0) return TN_NO_MEMORY;
    int failed = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) ||
                 pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) ||
                 pthread_mutex_init(&lock->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return failed ? TN_SYSTEM_ERROR : TN_OK;
}

static tn_acquired outcome(tn_lock *lock, int error) {
    switch (error) {
    case 0:
        return (tn_acquired){TN_OK, false};
    case EOWNERDEAD:
        pthread_mutex_consistent(&lock->mutex);
        return (tn_acquired){TN_OK, true};
    case EBUSY:
    case ETIMEDOUT:
        return (tn_acquired){TN_TIMED_OUT, false};
    default:
        return (tn_acquired){TN_CORRUPT, false};
    }
}

static int lock_until(pthread_mutex_t *mutex, int64_t until) {
    clockid_t clock = CLOCK_MONOTONIC;
#ifdef TN_THREAD_SANITIZER
    /* It knows pthread_mutex_timedlock, but not every version knows pthread_mutex_clocklock. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    until += (int64_t)now.tv_sec * TN_SECOND + now.tv_nsec - tn_now();
    clock = CLOCK_REALTIME;
#endif
    struct timespec t = {.tv_sec = until / TN_SECOND, .tv_nsec = until % TN_SECOND};
    return clock == CLOCK_MONOTONIC ? pthread_mutex_clocklock(mutex, clock, &t)
                                    : pthread_mutex_timedlock(mutex, &t);
}

tn_acquired tn_lock_try(tn_lock *lock) {
    return outcome(lock, pthread_mutex_trylock(&lock->mutex));
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
    tn_acquired got = outcome(lock, lock_until(&lock->mutex, until));
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
    pthread_mutex_unlock(&lock->mutex);
}
