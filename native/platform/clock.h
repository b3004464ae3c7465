/* The clock of all waiting and ageing: nanoseconds that only ever grow, from a moment that is the same in
 * every process of this machine. */
#ifndef TINES_PLATFORM_CLOCK_H
#define TINES_PLATFORM_CLOCK_H

#include <stdint.h>

#define TN_SECOND INT64_C(1000000000)
#define TN_FOREVER INT64_MAX

/* Read for each message: inline. */
static inline int64_t tn_now(void);

#if defined(__linux__)
#include "linux/clock.h"
#else
#error "native/platform knows no clock for this system"
#endif

#endif
