/* See platform/mutex.h: what is not for each message. */
#include "../mutex.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../clock.h"
#include "../sanitizers.h"

/* glibc tells the kernel of each thread's list of mutexes and does not look at the answer. It is asked here with a
 * length that no list has, which a kernel that keeps lists does not take. */
bool tn_mutex_can_outlive(void) {
    return syscall(SYS_set_robust_list, NULL, (size_t)0) != 0 && errno == EINVAL;
}

bool tn_mutex_init(tn_mutex *mutex) {
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0) return false;
    int failed = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) ||
                 pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) ||
                 pthread_mutex_init(&mutex->native, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return !failed;
}

tn_mutex_outcome tn_mutex_take(tn_mutex *mutex, int64_t until) {
    clockid_t clock = CLOCK_MONOTONIC;
#ifdef TN_THREAD_SANITIZER
    /* It knows pthread_mutex_timedlock, but not every version knows pthread_mutex_clocklock. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    until += (int64_t)now.tv_sec * TN_SECOND + now.tv_nsec - tn_now();
    clock = CLOCK_REALTIME;
#endif
    struct timespec t = {.tv_sec = until / TN_SECOND, .tv_nsec = until % TN_SECOND};
    int error = clock == CLOCK_MONOTONIC ? pthread_mutex_clocklock(&mutex->native, clock, &t)
                                         : pthread_mutex_timedlock(&mutex->native, &t);
    return tn_mutex_outcome_of(mutex, error);
}
