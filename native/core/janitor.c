/* Gives idle pages back (see blocks.h). A burst leaves free blocks full of pages, kept hot for the next
 * message; if none comes within a moment they are of no use. The thread ends when little is left. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "blocks.h"

static const int64_t IDLE = TN_SECOND / 2;

enum { NONE, RUNNING, STOPPING };

/* Per process: threads are not inherited, so a forked child starts without one. */
static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    _Atomic uint32_t state;
    tn_segment *segment;
} janitor = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *run(void *unused) {
    (void)unused;
    tn_segment *segment = janitor.segment;
    while (atomic_load(&janitor.state) == RUNNING) {
        int64_t next = tn_now() + IDLE / 2;
        while (atomic_load(&janitor.state) == RUNNING && tn_now() < next) {
            tn_futex_wait(&janitor.state, RUNNING, next);
        }
        uint64_t left = tn_arena_trim(segment, TN_KEEP, tn_now() - IDLE);
        if (left <= TN_KEEP) break;
    }
    return NULL;
}

static void finish_locked(void) {
    if (atomic_load(&janitor.state) == NONE) return;
    atomic_store(&janitor.state, STOPPING);
    tn_futex_wake(&janitor.state, 1);
    pthread_join(janitor.thread, NULL);
    atomic_store(&janitor.state, NONE);
}

static bool has_ended(void) {
    void *unused;
    return atomic_load(&janitor.state) == RUNNING &&
           pthread_tryjoin_np(janitor.thread, &unused) == 0;
}

void tn_janitor_call(tn_segment *segment) {
    if (atomic_load(&segment->header->cached) <= TN_KEEP) return;
    if (pthread_mutex_trylock(&janitor.lock) != 0) return;
    if (has_ended()) atomic_store(&janitor.state, NONE);
    if (atomic_load(&janitor.state) == NONE) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
        janitor.segment = segment;
        atomic_store(&janitor.state, RUNNING);
        if (pthread_create(&janitor.thread, NULL, run, NULL) != 0)
            atomic_store(&janitor.state, NONE);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&janitor.lock);
}

void tn_janitor_stop(void) {
    pthread_mutex_lock(&janitor.lock);
    finish_locked();
    pthread_mutex_unlock(&janitor.lock);
}

void tn_janitor_forked(void) {
    pthread_mutex_init(&janitor.lock, NULL); /* another thread of the parent may have held it */
    atomic_store(&janitor.state, NONE);
}
