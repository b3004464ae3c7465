/* Clock, futex and crash points: the few calls that the rest is built on. */
#define _GNU_SOURCE
#include "base.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int64_t tn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * TN_SECOND + t.tv_nsec;
}

static _Atomic uint64_t page_size;

uint64_t tn_page_size(void) {
    uint64_t known = atomic_load_explicit(&page_size, memory_order_relaxed);
    if (known == 0) {
        known = (uint64_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page_size, known, memory_order_relaxed);
    }
    return known;
}

#ifdef TINES_DEBUG
void tn_page_size_pretend(uint64_t size) {
    atomic_store(&page_size, size);
}
#endif

int tn_cores(void) {
    static _Atomic int cores;
    int known = atomic_load_explicit(&cores, memory_order_relaxed);
    if (known == 0) {
        cpu_set_t set;
        known = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                            : (int)sysconf(_SC_NPROCESSORS_ONLN);
        atomic_store_explicit(&cores, known, memory_order_relaxed);
    }
    return known;
}

tn_result tn_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline) {
    int64_t left = TN_LONGEST_SLEEP;
    if (deadline != TN_FOREVER) {
        int64_t until = deadline - tn_now();
        if (until <= 0) return TN_TIMED_OUT;
        if (until < left) left = until;
    }
    struct timespec t = {.tv_sec = left / TN_SECOND, .tv_nsec = left % TN_SECOND};
    /* Not FUTEX_PRIVATE: the sleepers and the wakers are different processes. */
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &t, NULL, 0) == 0) return TN_OK;
    if (errno == ETIMEDOUT) return TN_TIMED_OUT;
    return errno == EINTR ? TN_INTERRUPTED : TN_OK;
}

int tn_futex_wake(_Atomic uint32_t *word, int count) {
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    return woken < 0 ? 0 : (int)woken;
}

const char *const tn_step_names[TN_STEP_COUNT] = {
#define STEP(name) #name,
    TN_STEPS(STEP)
#undef STEP
};

#ifdef TINES_DEBUG
static _Atomic uint32_t countdowns[TN_STEP_COUNT];

void tn_step_arm(tn_step step, uint32_t countdown) {
    atomic_store(&countdowns[step], countdown);
}

void tn_step_pass(tn_step step) {
    if (atomic_load_explicit(&countdowns[step], memory_order_relaxed) == 0) return;
    if (atomic_fetch_sub(&countdowns[step], 1) == 1) kill(getpid(), SIGKILL);
}
#endif
