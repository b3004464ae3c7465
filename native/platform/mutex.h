/* A mutex in shared memory that outlives its holder: if the holder dies, the next to take it gets it, and
 * is told so. For critical sections of nanoseconds; what the core makes of it is in core/lock.h. */
#ifndef TINES_PLATFORM_MUTEX_H
#define TINES_PLATFORM_MUTEX_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    TN_MUTEX_TAKEN,
    TN_MUTEX_INHERITED, /* taken, from a holder that died */
    TN_MUTEX_BUSY,      /* another has it, or had it until the end of the time */
    TN_MUTEX_BROKEN     /* no mutex is there any more */
} tn_mutex_outcome;

/* tn_mutex is a whole type, as it lies in structures of the core. */
#if defined(__linux__)
#include "linux/mutex.h"
#else
#error "native/platform knows no mutex for this system"
#endif

/* Whether the system keeps the promise. A sandbox or an emulator may leave it unkept without a word: then a
 * mutex whose holder is killed is held for ever. */
bool tn_mutex_can_outlive(void);
bool tn_mutex_init(tn_mutex *mutex);
/* At most until a moment of tn_now(). */
tn_mutex_outcome tn_mutex_take(tn_mutex *mutex, int64_t until);
/* These two for each message: inline. */
static inline tn_mutex_outcome tn_mutex_try(tn_mutex *mutex);
static inline void tn_mutex_release(tn_mutex *mutex);

#endif
