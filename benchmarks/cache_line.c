/* How long a cache line takes from one core to another and back: two processes, pinned to one core
 * each, take turns at one word of shared memory. Prints a line for each pair of the first core with
 * another: nanoseconds of a round trip, the median of several batches.
 *
 * Built and run by cache_line.py. Linux.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A batch lasts a fifth of a millisecond or so; a disturbed one does not move the median. */
enum { BATCHES = 15, ROUND_TRIPS = 1000, PAIRS = 8, LIMIT_SECONDS = 10 };

typedef struct {
    _Alignas(128) _Atomic uint32_t turn; /* odd: the other's */
} line;

static void wait_for(line *shared, uint32_t turn) {
    while (atomic_load_explicit(&shared->turn, memory_order_acquire) != turn) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
}

static int pin(int core) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(core, &only);
    return sched_setaffinity(0, sizeof only, &only);
}

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_size(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void answer(line *shared, int core) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(LIMIT_SECONDS);
    if (pin(core) != 0) _exit(1);
    for (uint32_t turn = 1;; turn += 2) {
        wait_for(shared, turn);
        atomic_store_explicit(&shared->turn, turn + 1, memory_order_release);
    }
}

/* The caller is pinned to the first core. */
static double round_trip(int core) {
    line *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return -1;
    pid_t other = fork();
    if (other < 0) return -1;
    if (other == 0) answer(shared, core);
    double batches[BATCHES];
    uint32_t turn = 0;
    for (int i = -1; i < BATCHES;
         i++) { /* the first waits for the other to come, and does not count */
        double start = nanoseconds();
        for (int j = 0; j < ROUND_TRIPS; j++) {
            atomic_store_explicit(&shared->turn, ++turn, memory_order_release);
            wait_for(shared, ++turn);
        }
        if (i >= 0) batches[i] = (nanoseconds() - start) / ROUND_TRIPS;
    }
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    munmap(shared, sizeof *shared);
    qsort(batches, BATCHES, sizeof *batches, by_size);
    return batches[BATCHES / 2];
}

int main(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    int first = -1, pairs = 0;
    alarm(LIMIT_SECONDS); /* where a pair cannot run at once, or the other has died */
    for (int core = 0; core < CPU_SETSIZE && pairs < PAIRS; core++) {
        if (!CPU_ISSET(core, &allowed)) continue;
        if (first < 0) {
            first = core;
            if (pin(first) != 0) return 1;
            continue;
        }
        double taken = round_trip(core);
        if (taken < 0) return 1;
        printf("%.0f\n", taken);
        pairs++;
    }
    return 0;
}
