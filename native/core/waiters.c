/* See waiters.h for what a place says and for what happens to those of the dead. */
#include "waiters.h"

#include "slots.h"

enum { STATE = 3, TIME_SHIFT = 2 };

static tn_verdict state_of(uint32_t word) {
    return (tn_verdict)(word & STATE);
}

static uint32_t stamped(tn_verdict state, uint32_t time) {
    return time << TIME_SHIFT | (uint32_t)state;
}

/* Whether the time in one word comes before that in another. */
static bool before(uint32_t word, uint32_t other) {
    return (int32_t)((other & ~(uint32_t)STATE) - (word & ~(uint32_t)STATE)) > 0;
}

static uint32_t tick(tn_waiters *list) {
    return atomic_fetch_add(&list->clock, 1) + 1;
}

static uint32_t used_of(const tn_sync *sync) {
    uint32_t used = atomic_load(&tn_waiters_of(sync)->used);
    return used < sync->limit ? used : (uint32_t)sync->limit;
}

/* ---- notifying ---- */

/* The oldest one that waits since before `now`, or NULL. */
static tn_waiter *oldest(const tn_sync *sync, uint32_t now, uint32_t *word) {
    tn_waiters *list = tn_waiters_of(sync);
    tn_waiter *found = NULL;
    uint32_t used = used_of(sync);
    for (uint32_t i = 0; i < used; i++) {
        uint32_t here = atomic_load(&list->waiter[i].word);
        if (state_of(here) != TN_WAITING || !before(here, now)) continue;
        if (found != NULL && !before(here, *word)) continue;
        found = &list->waiter[i];
        *word = here;
    }
    return found;
}

static bool give(tn_waiter *waiter, uint32_t word, uint32_t verdict) {
    if (!atomic_compare_exchange_strong(&waiter->word, &word, verdict)) return false;
    TN_STEP(notified);
    tn_word_wake(&waiter->word, 1);
    return true;
}

static uint64_t give_to_all(const tn_sync *sync, uint32_t verdict) {
    tn_waiters *list = tn_waiters_of(sync);
    uint64_t given = 0;
    uint32_t used = used_of(sync);
    for (uint32_t i = 0; i < used; i++) {
        uint32_t word = atomic_load(&list->waiter[i].word);
        if (state_of(word) == TN_WAITING && before(word, verdict))
            given += give(&list->waiter[i], word, verdict);
    }
    return given;
}

static uint64_t give_to_oldest(const tn_sync *sync, uint64_t count, uint32_t verdict) {
    uint64_t given = 0;
    while (given < count) {
        uint32_t word;
        tn_waiter *waiter = oldest(sync, verdict, &word);
        if (waiter == NULL) break;
        given += give(waiter, word, verdict); /* false: it has just given up */
    }
    return given;
}

uint64_t tn_waiters_notify(const tn_sync *sync, uint64_t count, tn_verdict verdict) {
    uint32_t now = stamped(verdict, tick(tn_waiters_of(sync)));
    return count >= used_of(sync) ? give_to_all(sync, now) : give_to_oldest(sync, count, now);
}

/* ---- the dead ---- */

static void wake_all(const tn_sync *sync) {
    tn_waiters *list = tn_waiters_of(sync);
    uint32_t used = used_of(sync);
    for (uint32_t i = 0; i < used; i++) {
        if (state_of(atomic_load(&list->waiter[i].word)) == TN_WAITING)
            tn_word_wake(&list->waiter[i].word, 1);
    }
}

static void clear(tn_waiter *waiter) {
    atomic_store(&waiter->word, TN_ABSENT);
    atomic_store(&waiter->holder, 0);
}

/* Stop waiting at a place; returns the word that was there. Never a load and a store: a notification that
 * came in between would be lost. */
static uint32_t withdraw(tn_waiter *waiter) {
    uint32_t word = atomic_load(&waiter->word);
    while (state_of(word) == TN_WAITING &&
           !atomic_compare_exchange_weak(&waiter->word, &word, TN_ABSENT)) {
    }
    return word;
}

/* Settle a place that is this process's by inheritance; if this one dies as well, the next does it again. */
static void settle(const tn_sync *sync, tn_waiter *waiter) {
    uint32_t word = withdraw(waiter);
    tn_verdict state = state_of(word);
    TN_STEP(passing_on);
    if (state == TN_NOTIFIED) give_to_oldest(sync, 1, word);
    if (state == TN_WAITING || state == TN_ABSENT) {
        atomic_fetch_add(&tn_waiters_of(sync)->lost, 1);
        clear(waiter);
        wake_all(sync);
    } else {
        clear(waiter);
    }
}

/* Free the places of the dead. */
static void look(const tn_sync *sync, bool thorough) {
    tn_waiters *list = tn_waiters_of(sync);
    tn_holder me = tn_holder_self(sync->segment), lives = me;
    uint32_t used = used_of(sync);
    for (uint32_t i = 0; me != 0 && i < used; i++) {
        tn_waiter *waiter = &list->waiter[i];
        tn_holder found = atomic_load(&waiter->holder);
        if (found == 0 || tn_holder_same(found, lives)) continue;
        bool dead = !tn_holder_sound(found) || tn_holder_died(sync->segment, found, thorough);
        if (!dead) lives = found;
        else if (atomic_compare_exchange_strong(&waiter->holder, &found, me)) settle(sync, waiter);
    }
}

void tn_waiters_look_again(const tn_sync *sync) {
    look(sync, false);
}

/* ---- waiting ---- */

static bool claim(const tn_sync *sync, tn_holder me, uint32_t *place) {
    tn_waiters *list = tn_waiters_of(sync);
    for (uint32_t i = 0; i < sync->limit; i++) {
        uint64_t nobody = 0;
        if (atomic_load(&list->waiter[i].holder) != 0) continue;
        if (!atomic_compare_exchange_strong(&list->waiter[i].holder, &nobody, me)) continue;
        uint32_t used = atomic_load(&list->used);
        while (used <= i && !atomic_compare_exchange_weak(&list->used, &used, i + 1)) {
        }
        *place = i;
        return true;
    }
    return false;
}

tn_result tn_waiters_enter(const tn_sync *sync, uint32_t *place) {
    tn_waiters *list = tn_waiters_of(sync);
    tn_holder me = tn_holder_self(sync->segment);
    if (me == 0) return TN_TOO_MANY;
    if (!claim(sync, me, place)) {
        look(sync, true);
        if (!claim(sync, me, place)) return TN_TOO_MANY;
    }
    TN_STEP(listed);
    atomic_store(&list->waiter[*place].word, stamped(TN_WAITING, tick(list)));
    return TN_OK;
}

tn_result tn_waiters_wait(const tn_sync *sync, uint32_t place, const uint32_t *lost,
                          int64_t deadline, tn_verdict *verdict) {
    tn_waiters *list = tn_waiters_of(sync);
    _Atomic uint32_t *word = &list->waiter[place].word;
    for (;;) {
        uint32_t here = atomic_load(word);
        *verdict = state_of(here);
        if (*verdict == TN_ABSENT) return TN_CORRUPT;
        if (*verdict != TN_WAITING) return TN_OK;
        if (lost != NULL && atomic_load(&list->lost) != *lost) return TN_OK;
        if (tn_sync_look_is_due(sync)) look(sync, true);
        tn_result slept = tn_wait_on(word, here, deadline);
        if (slept == TN_INTERRUPTED) return slept;
        if (slept == TN_OK) continue;
        if (tn_now() < deadline) return TN_INTERRUPTED;
        /* If this fails there is a verdict after all. */
        if (atomic_compare_exchange_strong(word, &here, TN_ABSENT)) return TN_TIMED_OUT;
    }
}

void tn_waiters_leave(const tn_sync *sync, uint32_t place, bool unused) {
    tn_waiter *waiter = &tn_waiters_of(sync)->waiter[place];
    uint32_t word = withdraw(waiter);
    TN_STEP(leaving);
    if (unused && state_of(word) == TN_NOTIFIED) give_to_oldest(sync, 1, word);
    clear(waiter);
}

uint64_t tn_waiters_count(const tn_sync *sync) {
    tn_waiters *list = tn_waiters_of(sync);
    uint64_t count = 0;
    uint32_t used = used_of(sync);
    for (uint32_t i = 0; i < used; i++)
        count += state_of(atomic_load(&list->waiter[i].word)) == TN_WAITING;
    return count;
}
