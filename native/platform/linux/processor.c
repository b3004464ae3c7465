/* See platform/processor.h. */
#include "../processor.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

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

void tn_yield(void) {
    sched_yield();
}
