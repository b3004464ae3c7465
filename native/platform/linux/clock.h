/* See platform/clock.h. */
#ifndef TINES_LINUX_CLOCK_H
#define TINES_LINUX_CLOCK_H

#include <time.h>

static inline int64_t tn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * TN_SECOND + t.tv_nsec;
}

#endif
