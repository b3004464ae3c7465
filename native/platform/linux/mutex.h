/* See platform/mutex.h. The kernel walks a dying thread's robust list and marks its mutexes; glibc reports
 * that as EOWNERDEAD. No condition variables: glibc's can hang for ever when a waiter is killed. */
#ifndef TINES_LINUX_MUTEX_H
#define TINES_LINUX_MUTEX_H

#include <errno.h>
#include <pthread.h>

typedef struct {
    pthread_mutex_t native; /* PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST */
} tn_mutex;

static inline tn_mutex_outcome tn_mutex_outcome_of(tn_mutex *mutex, int error) {
    switch (error) {
    case 0:
        return TN_MUTEX_TAKEN;
    case EOWNERDEAD:
        pthread_mutex_consistent(&mutex->native);
        return TN_MUTEX_INHERITED;
    case EBUSY:
    case ETIMEDOUT:
        return TN_MUTEX_BUSY;
    default:
        return TN_MUTEX_BROKEN;
    }
}

static inline tn_mutex_outcome tn_mutex_try(tn_mutex *mutex) {
    return tn_mutex_outcome_of(mutex, pthread_mutex_trylock(&mutex->native));
}

static inline void tn_mutex_release(tn_mutex *mutex) {
    pthread_mutex_unlock(&mutex->native);
}

#endif
