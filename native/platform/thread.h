/* Threads of the core itself, which touch nothing of Python's, and a lock for what one process keeps. */
#ifndef TINES_PLATFORM_THREAD_H
#define TINES_PLATFORM_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__linux__)
#include "linux/thread.h" /* the types, and TN_GUARD_INIT */
#else
#error "native/platform knows no threads for this system"
#endif

/* Tells this thread from the others that live in this process. */
uint32_t tn_thread_self(void);

/* Signals are for the program's own threads: this one takes none. False: the system would not. */
bool tn_thread_start(tn_thread *thread, void *(*run)(void *), void *argument);
void tn_thread_join(tn_thread thread);
/* Whether it has ended; then it is joined. */
bool tn_thread_has_ended(tn_thread thread);

/* Between threads of one process. `renew` in a forked child, as another thread may have held it. */
bool tn_guard_try(tn_guard *guard);
void tn_guard_take(tn_guard *guard);
void tn_guard_release(tn_guard *guard);
void tn_guard_renew(tn_guard *guard);

#endif
