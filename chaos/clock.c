/* A wall clock that nobody can rely on: preloaded, it is wrong by up to a day, differently at each look.
 *
 * The monotonic clocks stay as they are. Whatever waits for a time on the wall clock, or takes a
 * difference of two looks at it, ends far too early or not at all, and the rigs see that.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 24 * 60 * 60 };

static time_t error(void) {
    static _Thread_local uint64_t state;
    if (state == 0) state = (uint64_t)(uintptr_t)&state ^ (uint64_t)getpid() << 32 ^ 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (time_t)((state >> 33) % (2 * DAY)) - DAY;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += error();
    return (int)failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (kept) *kept = exact.tv_sec;
    return exact.tv_sec;
}
