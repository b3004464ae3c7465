/* Gives idle pages back (see janitor.h). A burst leaves free blocks full of pages, kept hot for the next
 * message; if none comes within a moment they are of no use. The thread ends when little is left. */
#include "janitor.h"

#include "../platform/thread.h"
#include "blocks.h"

static const int64_t IDLE = TN_SECOND / 2;

enum { NONE, RUNNING, STOPPING };

/* Per process: threads are not inherited, so a forked child starts without one. */
static struct {
    tn_guard lock;
    tn_thread thread;
    _Atomic uint32_t state;
    tn_segment *segment;
} janitor = {.lock = TN_GUARD_INIT};

static void *run(void *unused) {
    (void)unused;
    tn_segment *segment = janitor.segment;
    while (atomic_load(&janitor.state) == RUNNING) {
        int64_t next = tn_now() + IDLE / 2;
        while (atomic_load(&janitor.state) == RUNNING && tn_now() < next) {
            tn_wait_on(&janitor.state, RUNNING, next);
        }
        uint64_t left = tn_arena_trim(segment, TN_KEEP, tn_now() - IDLE);
        if (left <= TN_KEEP) break;
    }
    return NULL;
}

static void finish_locked(void) {
    if (atomic_load(&janitor.state) == NONE) return;
    atomic_store(&janitor.state, STOPPING);
    tn_word_wake(&janitor.state, 1);
    tn_thread_join(janitor.thread);
    atomic_store(&janitor.state, NONE);
}

static bool has_ended(void) {
    return atomic_load(&janitor.state) == RUNNING && tn_thread_has_ended(janitor.thread);
}

void tn_janitor_call(tn_segment *segment) {
    if (atomic_load(&segment->header->cached) <= TN_KEEP) return;
    if (!tn_guard_try(&janitor.lock)) return;
    if (has_ended()) atomic_store(&janitor.state, NONE);
    if (atomic_load(&janitor.state) == NONE) {
        janitor.segment = segment;
        atomic_store(&janitor.state, RUNNING);
        if (!tn_thread_start(&janitor.thread, run, NULL)) atomic_store(&janitor.state, NONE);
    }
    tn_guard_release(&janitor.lock);
}

void tn_janitor_stop(void) {
    tn_guard_take(&janitor.lock);
    finish_locked();
    tn_guard_release(&janitor.lock);
}

void tn_janitor_forked(void) {
    tn_guard_renew(&janitor.lock); /* another thread of the parent may have held it */
    atomic_store(&janitor.state, NONE);
}
