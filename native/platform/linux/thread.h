/* See platform/thread.h. */
#ifndef TINES_LINUX_THREAD_H
#define TINES_LINUX_THREAD_H

#include <pthread.h>

typedef pthread_t tn_thread;
typedef pthread_mutex_t tn_guard;
#define TN_GUARD_INIT PTHREAD_MUTEX_INITIALIZER

#endif
