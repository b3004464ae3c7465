/* Ground floor of the native core: types, result codes, clock, futex, crash points.
 *
 * The core is plain C11 on Linux and needs nothing but libc. Every structure below lives in memory
 * that several processes map, at addresses that differ between them, so nothing in shared memory
 * holds a pointer: places are offsets and indexes, and each is checked before it is used.
 */
#ifndef TINES_BASE_H
#define TINES_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    TN_OK = 0,
    TN_TIMED_OUT,    /* the deadline passed; nothing was done */
    TN_INTERRUPTED,  /* a signal, or time to look for one; call again */
    TN_SHUT,         /* the ring was shut down */
    TN_NO_MEMORY,    /* the system or the segment has not that much left */
    TN_CORRUPT,      /* shared memory holds a value that cannot be: refused, not followed */
    TN_SYSTEM_ERROR, /* errno says what */
    TN_TOO_MANY,     /* a count would pass its limit */
    TN_NOT_HOLDER,   /* only its holder may do that */
} tn_result;

#define TN_CACHE_LINE 64
#define TN_SECOND INT64_C(1000000000)
#define TN_FOREVER INT64_MAX

/* No sleep is longer than this. A process can die between its commit and its wake, and then a
 * sleeper would never hear of the message; this is the one place where time stands in for an event. */
#define TN_LONGEST_SLEEP (TN_SECOND / 5)

int64_t tn_now(void); /* CLOCK_MONOTONIC in nanoseconds: the same in every process */

static inline void tn_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* The system's page, of which mappings, and what is given back, are whole numbers: at most TN_GRANULE. */
uint64_t tn_page_size(void);
static inline uint64_t tn_pages(uint64_t length) {
    uint64_t page = tn_page_size();
    return (length + page - 1) & ~(page - 1);
}

/* Cores that this process may use; 1 means that spinning is of no use. */
int tn_cores(void);

/* Sleep while *word == expected; at most until `deadline` or TN_LONGEST_SLEEP.
 * TN_OK: woken, or the word had changed. TN_TIMED_OUT: slept to the end. TN_INTERRUPTED: a signal. */
tn_result tn_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline);

/* Wake up to `count` sleepers; returns how many were woken. */
int tn_futex_wake(_Atomic uint32_t *word, int count);

#if defined(__SANITIZE_THREAD__)
#define TN_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TN_THREAD_SANITIZER
#endif
#endif

/* A read that may race and is checked afterwards (a sequence lock's reader). */
#ifdef TN_THREAD_SANITIZER
#define TN_VALIDATED_READ __attribute__((no_sanitize("thread"), noinline))
#else
#define TN_VALIDATED_READ
#endif

/* Crash points. In a debug build (TINES_DEBUG) the process kills itself with SIGKILL the
 * `countdown`-th time it passes the named step; in a release build a step is nothing at all. */
/* clang-format off */
#define TN_STEPS(STEP) \
    STEP(put_locked) STEP(reserved) STEP(chunk_linked) STEP(half_written) \
    STEP(before_commit) STEP(after_commit) STEP(get_locked) STEP(leased) \
    STEP(taken) STEP(handed_over) STEP(chunk_left) STEP(allocating) \
    STEP(allocated) STEP(freeing) STEP(freed) STEP(before_wake) \
    STEP(collecting) STEP(populated) STEP(inheriting) STEP(sent_some) \
    STEP(held) STEP(inherited) STEP(releasing) STEP(released) \
    STEP(listed) STEP(notified) STEP(passing_on) STEP(leaving)
/* clang-format on */

typedef enum {
#define STEP(name) TN_STEP_##name,
    TN_STEPS(STEP)
#undef STEP
        TN_STEP_COUNT
} tn_step;

#ifdef TINES_DEBUG
void tn_page_size_pretend(
    uint64_t size); /* a larger one than the system's, which is right on this as well */
#endif

extern const char *const tn_step_names[TN_STEP_COUNT];

#ifdef TINES_DEBUG
void tn_step_arm(tn_step step, uint32_t countdown);
void tn_step_pass(tn_step step);
#define TN_STEP(name) tn_step_pass(TN_STEP_##name)
#else
#define TN_STEP(name) ((void)0)
#endif

#endif
