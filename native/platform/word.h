/* Waiting on a word: sleep while 32 bits of memory have a value, until somebody says that they changed.
 *
 * The word may lie in shared memory, and sleeper and waker may be different processes. Looking at the word
 * and going to sleep are one step: a wake that comes after the word was changed is never missed. */
#ifndef TINES_PLATFORM_WORD_H
#define TINES_PLATFORM_WORD_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum {
    TN_WOKEN,    /* or the word had another value; whether it is the right one, the caller looks */
    TN_SLEPT,    /* to the end of the time */
    TN_SIGNALLED /* a signal handler ran */
} tn_slumber;

/* Sleep for at most so many nanoseconds. */
static inline tn_slumber tn_word_wait(_Atomic uint32_t *word, uint32_t expected,
                                      int64_t nanoseconds);
/* Wake up to `count` sleepers; returns how many were woken. */
static inline int tn_word_wake(_Atomic uint32_t *word, int count);

#if defined(__linux__)
#include "linux/word.h"
#else
#error "native/platform knows no way to wait on a word on this system"
#endif

#endif
