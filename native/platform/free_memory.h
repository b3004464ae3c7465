/* How much memory may still be taken. Asked before the segment grows by a lot: past a container's
 * limit the system kills instead of refusing, so the refusal has to be ours. */
#ifndef TINES_PLATFORM_FREE_MEMORY_H
#define TINES_PLATFORM_FREE_MEMORY_H

#include <stdint.h>

/* Left to everybody else: an eighth of a small limit, this much of a large one. */
#define TN_MEMORY_RESERVE (UINT64_C(64) << 20)
static inline uint64_t tn_without_reserve(uint64_t left, uint64_t limit) {
    uint64_t reserve = limit / 8 < TN_MEMORY_RESERVE ? limit / 8 : TN_MEMORY_RESERVE;
    return left > reserve ? left - reserve : 0;
}

/* Bytes of memory that this process may still take, under its containers' limits and the system's
 * own, without the reserve of each. */
uint64_t tn_memory_left(void);
/* Bytes of private memory that this process's own limit still allows. */
uint64_t tn_private_left(void);

#endif
