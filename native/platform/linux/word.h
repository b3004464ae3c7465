/* See platform/word.h. A futex, and not a private one: the sleepers and the wakers are different
 * processes. */
#ifndef TINES_LINUX_WORD_H
#define TINES_LINUX_WORD_H

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline tn_slumber tn_word_wait(_Atomic uint32_t *word, uint32_t expected,
                                      int64_t nanoseconds) {
    const int64_t second = 1000000000;
    struct timespec t = {.tv_sec = nanoseconds / second, .tv_nsec = nanoseconds % second};
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &t, NULL, 0) == 0) return TN_WOKEN;
    if (errno == ETIMEDOUT) return TN_SLEPT;
    return errno == EINTR ? TN_SIGNALLED : TN_WOKEN;
}

static inline int tn_word_wake(_Atomic uint32_t *word, int count) {
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    return woken < 0 ? 0 : (int)woken;
}

#endif
