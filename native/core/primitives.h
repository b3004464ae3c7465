/* Primitives: what a program synchronises with, as long as it likes: locks, semaphores, flags.
 *
 * A tn_lock (lock.h) is for critical sections of the core itself: some nanoseconds, one thread, no
 * system call. These are for programs: held for hours, released by another thread, waited for with the
 * GIL let go, and their holders are killed like any other process.
 *
 *   LOCK       one word, 0 or its holder; anybody may release it
 *   RLOCK      the same, and only the thread that holds it takes it again or releases it
 *   OWNED      a semaphore of `limit` such words: a token belongs to the process that took it
 *   SEMAPHORE  a plain count: who took a token is not known, so what a dead process took is gone
 *   FLAG       set or not; whoever waited when it was set has seen that, also if it was cleared since
 *   MEMORY     `limit` bytes that all who have it read and write as they like
 *
 * Death. A word names its holder (segment.h), and one compare-and-swap takes it and writes who has it.
 * Whoever does not get it looks whether the holder lives: always whether it was swept, and one of all
 * who wait, ten times a second at the most, at the process itself. No sleep is longer than
 * TN_LONGEST_SLEEP. A dead holder's word is taken over
 * by a compare-and-swap from that very value, which exactly one heir wins, and which cannot hit a
 * later holder: the dead write nothing any more. The heir's word has TN_HOLDER_HEIR until it is released,
 * and an heir that dies is taken over in the same way. A stopped holder lives.
 *
 * What belongs to a held RLOCK, its thread and depth, is written after the word and cleared before it.
 * `thread` carries the serial of its process, so what a dead holder wrote there is nobody's.
 *
 * Waiting is an event count (event.h): a killed waiter costs a needless wake, and a waiter that was killed
 * in between its wake and its look costs the others one stretch of sleep.
 *
 * A primitive is a SHARED block (blocks.h) and lives as long as there are references to it.
 */
#ifndef TINES_PRIMITIVES_H
#define TINES_PRIMITIVES_H

#include "blocks.h"
#include "event.h"

typedef enum {
    TN_LOCK = 1,
    TN_RLOCK,
    TN_OWNED,
    TN_SEMAPHORE,
    TN_FLAG,
    TN_WAITERS, /* waiters.h */
    TN_MEMORY,
} tn_kind;

#define TN_PRIMITIVE_MAGIC UINT32_C(0x4b434f4c) /* "LOCK" */
#define TN_MOST_TOKENS 1024                     /* of an OWNED one */
#define TN_MOST_MEMORY (UINT64_C(1) << 46)

typedef struct {
    uint32_t magic, kind;
    uint64_t limit;            /* tokens at the most; for WAITERS, places; for MEMORY, bytes */
    _Atomic uint32_t deaths;   /* how often something was taken over from the dead */
    _Atomic int64_t last_look; /* at whether the holders live */
    tn_event changed;          /* something was released, or set */
} tn_primitive_head;

typedef struct {
    tn_primitive_head head;
    _Alignas(TN_CACHE_LINE) _Atomic uint64_t value; /* SEMAPHORE: tokens left. FLAG: see below */
    _Atomic uint64_t thread;                        /* LOCK, RLOCK: which thread of the holder */
    _Atomic uint32_t depth;                         /* RLOCK */
    _Atomic uint64_t holder[];                      /* LOCK, RLOCK: one. OWNED: `limit` */
} tn_primitive;

/* A process's view of one. Kind and limit are its own copies, checked when it was opened. */
typedef struct {
    tn_segment *segment;
    tn_primitive_head *head;
    uint32_t index;
    tn_kind kind;
    uint64_t limit;
} tn_sync;

typedef struct {
    tn_result result;
    bool owner_died; /* with TN_OK: it was taken over from a dead holder */
    uint32_t pid;    /* of that one, or 0 where it is no longer known */
} tn_taken;

/* `value` is how many tokens a SEMAPHORE has at first. */
tn_result tn_sync_create(tn_segment *segment, tn_kind kind, uint64_t value, uint64_t limit,
                         tn_sync *sync, uint32_t *reference);
/* For one who holds a reference to it. */
tn_result tn_sync_open(tn_segment *segment, uint32_t index, tn_sync *sync);

/* Never sleeps, and does not look at holders. TN_TIMED_OUT: another holds it. */
tn_taken tn_sync_try(const tn_sync *sync);
/* The same, and takes over from the dead; for when tn_sync_try has failed and there is no time to wait. */
tn_taken tn_sync_look(const tn_sync *sync);
/* Sleeps in stretches: TN_INTERRUPTED asks the caller to look for signals and call again. */
tn_taken tn_sync_acquire(const tn_sync *sync, int64_t deadline);
/* TN_TOO_MANY: it was not held, or is at its limit. TN_NOT_HOLDER: not by this thread or process. */
tn_result tn_sync_release(const tn_sync *sync);

uint8_t *tn_sync_memory(const tn_sync *sync); /* MEMORY: the first of its bytes */

bool tn_sync_is_mine(const tn_sync *sync); /* LOCK, RLOCK: held by this thread */
/* How often this process would have to release it (RLOCK: its depth). */
uint32_t tn_sync_count(const tn_sync *sync);
uint64_t tn_sync_value(const tn_sync *sync); /* tokens that are left */
/* Whether a token of this process was taken over from a dead holder. */
bool tn_sync_recovered(const tn_sync *sync);

void tn_flag_set(const tn_sync *sync);
void tn_flag_clear(const tn_sync *sync);
bool tn_flag_is_set(const tn_sync *sync);
/* What tn_flag_wait compares with: taken once, before the first call. */
uint64_t tn_flag_look(const tn_sync *sync);
tn_result tn_flag_wait(const tn_sync *sync, uint64_t seen, int64_t deadline);

/* Whether it is for the caller to ask the system who is alive: one of all that wait, a few times a second. */
bool tn_sync_look_is_due(const tn_sync *sync);
/* After a sweep that found somebody dead: have all that wait for anything look again. */
void tn_primitives_wake(tn_segment *segment);

#endif
