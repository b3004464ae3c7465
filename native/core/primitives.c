/* See primitives.h for what a word says, and for why taking over from the dead is one step. */
#include "primitives.h"

#include <string.h>

#include "../platform/thread.h"
#include "slots.h"
#include "waiters.h"

enum { FLAG_SET = 1, FLAG_CHANGE = 2 };

static tn_primitive *body_of(const tn_sync *sync) {
    return (tn_primitive *)sync->head;
}

/* ---- making and opening ---- */

/* Where the bytes of MEMORY begin: behind the head, at a cache line. */
enum { MEMORY_AT = (sizeof(tn_primitive_head) + TN_CACHE_LINE - 1) & ~(TN_CACHE_LINE - 1) };

uint8_t *tn_sync_memory(const tn_sync *sync) {
    return (uint8_t *)sync->head + MEMORY_AT;
}

static uint64_t words_of(tn_kind kind, uint64_t limit) {
    return kind == TN_LOCK || kind == TN_RLOCK ? 1 : kind == TN_OWNED ? limit : 0;
}

static uint64_t size_of(tn_kind kind, uint64_t limit) {
    if (kind == TN_WAITERS) return sizeof(tn_waiters) + limit * sizeof(tn_waiter);
    if (kind == TN_MEMORY) return MEMORY_AT + limit;
    return sizeof(tn_primitive) + words_of(kind, limit) * sizeof(uint64_t);
}

static bool is_sound(uint32_t kind, uint64_t limit) {
    if (kind < TN_LOCK || kind > TN_MEMORY) return false;
    if (kind == TN_MEMORY) return limit <= TN_MOST_MEMORY;
    if (kind == TN_WAITERS) return limit == TN_MOST_WAITERS;
    return kind != TN_OWNED || limit <= TN_MOST_TOKENS;
}

tn_result tn_sync_create(tn_segment *segment, tn_kind kind, uint64_t value, uint64_t limit,
                         tn_sync *sync, uint32_t *reference) {
    uint32_t index;
    if (!is_sound(kind, limit) || value > limit) return TN_TOO_MANY;
    uint64_t size = size_of(kind, limit);
    tn_result result = tn_block_take(segment, size, &index);
    if (result != TN_OK) return result;
    tn_primitive_head *head =
        (tn_primitive_head *)tn_block_data(segment, tn_block_at(segment, index));
    memset(head, 0, size);
    *head = (tn_primitive_head){.magic = TN_PRIMITIVE_MAGIC, .kind = kind, .limit = limit};
    if (kind == TN_SEMAPHORE) atomic_init(&((tn_primitive *)head)->value, value);
    tn_event_init(&head->changed);
    result = tn_block_share(segment, index, reference);
    if (result != TN_OK) {
        tn_block_release(segment, index);
        return result;
    }
    return tn_sync_open(segment, index, sync);
}

tn_result tn_sync_open(tn_segment *segment, uint32_t index, tn_sync *sync) {
    const tn_block *block = tn_block_at(segment, index);
    if (block == NULL || tn_state_of(block) != TN_SHARED) return TN_CORRUPT;
    tn_primitive_head *head = (tn_primitive_head *)tn_block_data(segment, block);
    uint64_t length = tn_block_length(segment, block);
    if (head == NULL || length < sizeof *head || head->magic != TN_PRIMITIVE_MAGIC)
        return TN_CORRUPT;
    *sync = (tn_sync){segment, head, index, (tn_kind)head->kind, head->limit};
    if (!is_sound(sync->kind, sync->limit)) return TN_CORRUPT;
    return size_of(sync->kind, sync->limit) <= length ? TN_OK : TN_CORRUPT;
}

/* ---- who ---- */

/* A thread, told from those of all other processes that have ever been. */
static uint64_t this_thread(tn_holder me) {
    static _Thread_local struct {
        tn_holder process;
        uint64_t id;
    } known;
    __typeof__(known) *mine = &known;
    if (mine->process != me) { /* the first time in this thread, or it was forked since */
        mine->id = (me & ~UINT64_C(0xffffffff)) | tn_thread_self();
        mine->process = me;
    }
    return mine->id;
}

static bool is_thread(const tn_sync *sync, tn_holder me) {
    tn_primitive *body = body_of(sync);
    return tn_holder_same(atomic_load(&body->holder[0]), me) &&
           atomic_load_explicit(&body->thread, memory_order_relaxed) == this_thread(me);
}

/* ---- taking ---- */

static void write_thread(const tn_sync *sync, tn_holder me) {
    tn_primitive *body = body_of(sync);
    TN_STEP(held);
    if (sync->kind == TN_OWNED) return;
    if (sync->kind == TN_RLOCK) atomic_store_explicit(&body->depth, 1, memory_order_relaxed);
    atomic_store_explicit(&body->thread, this_thread(me), memory_order_relaxed);
}

static tn_result take_count(const tn_sync *sync) {
    _Atomic uint64_t *value = &body_of(sync)->value;
    uint64_t left = atomic_load(value);
    while (left > 0 && left <= sync->limit) {
        if (atomic_compare_exchange_weak(value, &left, left - 1)) return TN_OK;
    }
    return left == 0 ? TN_TIMED_OUT : TN_CORRUPT;
}

static tn_result take_again(const tn_sync *sync) {
    _Atomic uint32_t *depth = &body_of(sync)->depth;
    if (atomic_load(depth) == UINT32_MAX) return TN_TOO_MANY;
    atomic_fetch_add_explicit(depth, 1, memory_order_relaxed);
    return TN_OK;
}

tn_taken tn_sync_try(const tn_sync *sync) {
    if (sync->kind == TN_SEMAPHORE) return (tn_taken){.result = take_count(sync)};
    tn_holder me = tn_holder_self(sync->segment);
    if (me == 0) return (tn_taken){.result = TN_TOO_MANY};
    if (sync->kind == TN_RLOCK && is_thread(sync, me))
        return (tn_taken){.result = take_again(sync)};
    tn_primitive *body = body_of(sync);
    for (uint64_t i = 0; i < words_of(sync->kind, sync->limit); i++) {
        tn_holder found = atomic_load(&body->holder[i]);
        if (found == 0 && atomic_compare_exchange_strong(&body->holder[i], &found, me)) {
            write_thread(sync, me);
            return (tn_taken){.result = TN_OK};
        }
        if (found != 0 && !tn_holder_sound(found)) return (tn_taken){.result = TN_CORRUPT};
    }
    return (tn_taken){.result = TN_TIMED_OUT};
}

/* Take over what a dead process holds, if there is such a thing. */
static tn_taken inherit(const tn_sync *sync, bool thorough) {
    tn_primitive *body = body_of(sync);
    tn_holder me = tn_holder_self(sync->segment), lives = me;
    for (uint64_t i = 0; i < words_of(sync->kind, sync->limit); i++) {
        tn_holder found = atomic_load(&body->holder[i]);
        if (found == 0 || tn_holder_same(found, lives)) continue;
        if (!tn_holder_sound(found)) return (tn_taken){.result = TN_CORRUPT};
        uint32_t pid = tn_holder_pid(sync->segment, found);
        if (!tn_holder_died(sync->segment, found, thorough)) lives = found;
        else if (atomic_compare_exchange_strong(&body->holder[i], &found, me | TN_HOLDER_HEIR)) {
            TN_STEP(inherited);
            atomic_fetch_add(&sync->head->deaths, 1);
            write_thread(sync, me);
            return (tn_taken){TN_OK, true, pid};
        }
    }
    return (tn_taken){.result = TN_TIMED_OUT};
}

bool tn_sync_look_is_due(const tn_sync *sync) {
    _Atomic int64_t *last_look = &sync->head->last_look;
    int64_t last = atomic_load(last_look), now = tn_now();
    bool due = last > now || last < now - TN_LONGEST_SLEEP / 2;
    return due && atomic_compare_exchange_strong(last_look, &last, now);
}

tn_taken tn_sync_look(const tn_sync *sync) {
    tn_taken taken = tn_sync_try(sync);
    return taken.result == TN_TIMED_OUT ? inherit(sync, tn_sync_look_is_due(sync)) : taken;
}

/* One stretch. Each sleep is followed by a look, whatever has ended it: a wake that came together with the
 * end of the time must not be lost, as it was meant for one. */
tn_taken tn_sync_acquire(const tn_sync *sync, int64_t deadline) {
    tn_event *changed = &sync->head->changed;
    for (;;) {
        uint32_t prepared = tn_event_prepare(changed);
        tn_taken taken = tn_sync_look(sync);
        if (taken.result != TN_TIMED_OUT) return taken;
        tn_result slept = tn_event_sleep(changed, prepared, deadline);
        if (slept == TN_OK) continue;
        taken = tn_sync_look(sync);
        if (taken.result != TN_TIMED_OUT) return taken;
        if (slept == TN_TIMED_OUT && tn_now() >= deadline) return taken;
        return (tn_taken){.result = TN_INTERRUPTED};
    }
}

/* ---- releasing ---- */

static tn_result release_lock(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    atomic_store_explicit(&body->thread, 0, memory_order_relaxed);
    TN_STEP(releasing);
    return atomic_exchange(&body->holder[0], 0) == 0 ? TN_TOO_MANY : TN_OK;
}

static tn_result release_rlock(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    tn_holder me = tn_holder_self(sync->segment);
    if (me == 0 || !is_thread(sync, me)) return TN_NOT_HOLDER;
    uint32_t depth = atomic_load_explicit(&body->depth, memory_order_relaxed);
    if (depth > 1) {
        atomic_store_explicit(&body->depth, depth - 1, memory_order_relaxed);
        return TN_OK;
    }
    return release_lock(sync);
}

/* What was inherited first, so that `recovered` is about what is left. */
static tn_result release_owned(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    tn_holder me = tn_holder_self(sync->segment);
    for (int heir = 1; me != 0 && heir >= 0; heir--) {
        tn_holder wanted = heir ? me | TN_HOLDER_HEIR : me;
        for (uint64_t i = 0; i < sync->limit; i++) {
            tn_holder found = wanted;
            if (atomic_compare_exchange_strong(&body->holder[i], &found, 0)) return TN_OK;
        }
    }
    return TN_NOT_HOLDER;
}

static tn_result release_count(const tn_sync *sync) {
    _Atomic uint64_t *value = &body_of(sync)->value;
    uint64_t left = atomic_load(value);
    while (left < sync->limit) {
        if (atomic_compare_exchange_weak(value, &left, left + 1)) return TN_OK;
    }
    return left == sync->limit ? TN_TOO_MANY : TN_CORRUPT;
}

tn_result tn_sync_release(const tn_sync *sync) {
    tn_result result = sync->kind == TN_LOCK    ? release_lock(sync)
                       : sync->kind == TN_RLOCK ? release_rlock(sync)
                       : sync->kind == TN_OWNED ? release_owned(sync)
                                                : release_count(sync);
    TN_STEP(released);
    tn_event *changed = &sync->head->changed;
    if (result == TN_OK && tn_event_maybe_asleep(changed)) tn_event_wake_one(changed);
    return result;
}

/* ---- looking ---- */

bool tn_sync_is_mine(const tn_sync *sync) {
    if (sync->kind != TN_LOCK && sync->kind != TN_RLOCK) return false;
    tn_holder me = tn_holder_self(sync->segment);
    return me != 0 && is_thread(sync, me);
}

uint32_t tn_sync_count(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    tn_holder me = tn_holder_self(sync->segment);
    uint32_t count = 0;
    for (uint64_t i = 0; i < words_of(sync->kind, sync->limit); i++)
        count += me != 0 && tn_holder_same(atomic_load(&body->holder[i]), me);
    return count > 0 && sync->kind == TN_RLOCK ? atomic_load(&body->depth) : count;
}

uint64_t tn_sync_value(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    if (sync->kind == TN_SEMAPHORE) return atomic_load(&body->value);
    uint64_t left = 0;
    for (uint64_t i = 0; i < words_of(sync->kind, sync->limit); i++)
        left += atomic_load(&body->holder[i]) == 0;
    return left;
}

bool tn_sync_recovered(const tn_sync *sync) {
    tn_primitive *body = body_of(sync);
    tn_holder me = tn_holder_self(sync->segment);
    for (uint64_t i = 0; me != 0 && i < words_of(sync->kind, sync->limit); i++) {
        if (atomic_load(&body->holder[i]) == (me | TN_HOLDER_HEIR)) return true;
    }
    return false;
}

/* ---- flags: bit 0 says whether it is set, the rest counts how often it was ---- */

void tn_flag_set(const tn_sync *sync) {
    _Atomic uint64_t *value = &body_of(sync)->value;
    uint64_t now = atomic_load(value);
    while (!(now & FLAG_SET) &&
           !atomic_compare_exchange_weak(value, &now, (now + FLAG_CHANGE) | FLAG_SET)) {
    }
    TN_STEP(released);
    tn_event_wake_all(&sync->head->changed);
}

void tn_flag_clear(const tn_sync *sync) {
    atomic_fetch_and(&body_of(sync)->value, ~(uint64_t)FLAG_SET);
}

bool tn_flag_is_set(const tn_sync *sync) {
    return atomic_load(&body_of(sync)->value) & FLAG_SET;
}

uint64_t tn_flag_look(const tn_sync *sync) {
    return atomic_load(&body_of(sync)->value) & ~(uint64_t)FLAG_SET;
}

tn_result tn_flag_wait(const tn_sync *sync, uint64_t seen, int64_t deadline) {
    for (;;) {
        uint32_t prepared = tn_event_prepare(&sync->head->changed);
        uint64_t now = atomic_load(&body_of(sync)->value);
        if (now & FLAG_SET || now != seen) return TN_OK;
        tn_result slept = tn_event_sleep(&sync->head->changed, prepared, deadline);
        if (slept == TN_OK) continue;
        if (tn_flag_is_set(sync) || tn_flag_look(sync) != seen) return TN_OK;
        return slept == TN_TIMED_OUT && tn_now() >= deadline ? TN_TIMED_OUT : TN_INTERRUPTED;
    }
}

/* ---- after a death ---- */

/* Holds a reference for as long as it looks. */
static void wake(tn_segment *segment, uint32_t index) {
    uint32_t reference;
    tn_sync sync;
    if (tn_reference_take(segment, index, &reference) != TN_OK) return;
    if (tn_sync_open(segment, index, &sync) == TN_OK) {
        if (sync.kind == TN_WAITERS) tn_waiters_look_again(&sync);
        else tn_event_wake_all(&sync.head->changed);
    }
    tn_block_release(segment, reference);
}

void tn_primitives_wake(tn_segment *segment) {
    uint32_t used = tn_blocks_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        if (tn_state_of(tn_block_at(segment, i)) == TN_SHARED) wake(segment, i);
    }
}
