/* See platform/thread.h. */
#include "../thread.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t tn_thread_self(void) {
    return (uint32_t)syscall(SYS_gettid);
}

bool tn_thread_start(tn_thread *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void tn_thread_join(tn_thread thread) {
    pthread_join(thread, NULL);
}

bool tn_thread_has_ended(tn_thread thread) {
    void *unused;
    return pthread_tryjoin_np(thread, &unused) == 0;
}

bool tn_guard_try(tn_guard *guard) {
    return pthread_mutex_trylock(guard) == 0;
}

void tn_guard_take(tn_guard *guard) {
    pthread_mutex_lock(guard);
}

void tn_guard_release(tn_guard *guard) {
    pthread_mutex_unlock(guard);
}

void tn_guard_renew(tn_guard *guard) {
    pthread_mutex_init(guard, NULL);
}
