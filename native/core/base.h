/* Ground floor of the native core: types, result codes, sleeping, crash points.
 *
 * The core is plain C11. What it needs of the system it asks ../platform for, and it includes no header of
 * a system's. Every structure below lives in memory
 * that several processes map, at addresses that differ between them, so nothing in shared memory
 * holds a pointer: places are offsets and indexes, and each is checked before it is used.
 */
#ifndef TINES_BASE_H
#define TINES_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../platform/clock.h"
#include "../platform/processor.h"
#include "../platform/sanitizers.h"
#include "../platform/word.h"

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
    TN_NO_RECOVERY,  /* this system does not say when the holder of a lock was killed */
    TN_OTHER_SPACE,  /* the segment's processes are in another pid namespace */
    TN_OTHER_LAYOUT, /* the segment was made by another version of this code */
} tn_result;

#define TN_CACHE_LINE 64

/* No sleep is longer than this. A process can die between its commit and its wake, and then a
 * sleeper would never hear of the message; this is the one place where time stands in for an event. */
#define TN_LONGEST_SLEEP (TN_SECOND / 5)

/* Sleep while *word == expected; at most until `deadline` or TN_LONGEST_SLEEP.
 * TN_OK: woken, or the word had changed. TN_TIMED_OUT: slept to the end. TN_INTERRUPTED: a signal. */
tn_result tn_wait_on(_Atomic uint32_t *word, uint32_t expected, int64_t deadline);

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

extern const char *const tn_step_names[TN_STEP_COUNT];

#ifdef TINES_DEBUG
void tn_step_arm(tn_step step, uint32_t countdown);
void tn_step_pass(tn_step step);
#define TN_STEP(name) tn_step_pass(TN_STEP_##name)
#else
#define TN_STEP(name) ((void)0)
#endif

#endif
