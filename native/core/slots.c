/* See slots.h: taking a slot, setting one aside for a child, and noticing that a process is gone. */
#include "slots.h"

#include "../platform/process.h"
#include "blocks.h"
#include "sweep.h"

/* Where an expected child could not be given a mark. From its fork to its registration it takes a
 * millisecond; one that was killed never gets there. */
static const int64_t EXPECTED_FOR = 10 * TN_SECOND;

/* In `born` of an expected child, beside the moment: it has a mark. */
enum { MARKED = 1 };

/* A child that is forked holds a mark (platform/process.h) at the place of its slot once the parent has
 * returned from fork(). */
static uint64_t mark_place(const tn_segment *segment, uint32_t index) {
    return segment->slots_at + index * sizeof(tn_slot);
}

static void drop_mark(tn_segment *segment) {
    if (segment->child_mark >= 0) tn_mark_drop(segment->child_mark);
    segment->child_mark = -1;
}

static bool expected_lives(const tn_segment *segment, uint32_t index, uint64_t since) {
    tn_mark_state mark = TN_MARK_UNKNOWN;
    if (since & MARKED) mark = tn_mark_look(segment->fd, mark_place(segment, index));
    return mark == TN_MARK_UNKNOWN ? tn_now() - (int64_t)since < EXPECTED_FOR
                                   : mark == TN_MARK_HELD;
}

bool tn_slot_lives(const tn_segment *segment, uint32_t index, uint32_t pid, uint64_t born) {
    return pid == TN_EXPECTED ? expected_lives(segment, index, born) : tn_process_lives(pid, born);
}

bool tn_segment_registered(const tn_segment *segment) {
    return segment->registered == atomic_load(&tn_forks);
}

/* Slots need no repair: each is made valid, and free, by the one store of its pid. */
static bool lock_registry(tn_segment *segment) {
    return tn_lock_always(&segment->header->registry).result == TN_OK;
}

/* With the registry locked: the first free slot, or TN_NO_SLOT. */
static uint32_t free_slot(const tn_segment *segment) {
    uint32_t used = tn_slots_used(segment), index = 0;
    while (index < used && atomic_load(&tn_slot_at(segment, index)->pid) != 0) index++;
    return index < TN_SLOTS ? index : TN_NO_SLOT;
}

/* With the registry locked. */
static void fill_slot(tn_segment *segment, uint32_t index, uint32_t pid, uint64_t since) {
    tn_slot *slot = tn_slot_at(segment, index);
    atomic_store(&slot->born, since);
    atomic_store(&slot->serial, 1 + atomic_fetch_add(&segment->header->serials, 1));
    atomic_store(&slot->pid, pid);
    if (index == tn_slots_used(segment)) atomic_store(&segment->header->slots_used, index + 1);
}

static bool expect_child(tn_segment *segment) {
    if (!lock_registry(segment)) return false;
    uint32_t index = free_slot(segment);
    if (index != TN_NO_SLOT) {
        uint64_t since = (uint64_t)tn_now();
        segment->child_mark = tn_mark_make(segment->fd, mark_place(segment, index));
        since = segment->child_mark >= 0 ? since | MARKED : since & ~(uint64_t)MARKED;
        segment->child_expected_since = since;
        fill_slot(segment, index, TN_EXPECTED, since);
    }
    segment->child_slot = index;
    tn_lock_release(&segment->header->registry);
    return index != TN_NO_SLOT;
}

void tn_segment_expect_child(tn_segment *segment) {
    drop_mark(segment);
    segment->child_slot = TN_NO_SLOT;
    /* Nobody may have looked for the dead in the meantime. */
    if (!expect_child(segment) && tn_segment_sweep(segment, 0) > 0) expect_child(segment);
}

void tn_segment_forked(tn_segment *segment) {
    drop_mark(segment);
}

/* With the registry locked: the slot that the parent set aside, if it was not given up meanwhile. */
static uint32_t claim_slot(tn_segment *segment, uint32_t pid, uint64_t since) {
    uint32_t index = segment->child_slot;
    segment->child_slot = TN_NO_SLOT;
    if (index >= TN_SLOTS) return TN_NO_SLOT;
    tn_slot *slot = tn_slot_at(segment, index);
    if (atomic_load(&slot->pid) != TN_EXPECTED) return TN_NO_SLOT;
    if (atomic_load(&slot->born) != segment->child_expected_since) return TN_NO_SLOT;
    atomic_store(&slot->born,
                 since); /* a start time counts from boot in ticks: expired, if it dies here */
    atomic_store(&slot->pid, pid);
    return index;
}

/* With the registry locked: a slot that is free, or that of a holder whose death nobody has noticed. */
static uint32_t take_slot(tn_segment *segment, uint32_t pid, uint64_t since, bool *succeeds) {
    uint32_t index = free_slot(segment);
    *succeeds = index == TN_NO_SLOT;
    for (uint32_t i = 0; i < TN_SLOTS && index == TN_NO_SLOT; i++) {
        const tn_slot *slot = tn_slot_at(segment, i);
        if (!tn_slot_lives(segment, i, atomic_load(&slot->pid), atomic_load(&slot->born)))
            index = i;
    }
    if (index != TN_NO_SLOT) fill_slot(segment, index, pid, since);
    return index;
}

tn_result tn_segment_register(tn_segment *segment) {
    tn_process_count_forks();
    if (tn_segment_registered(segment)) return TN_OK;
    uint32_t pid = tn_process_self();
    if (!lock_registry(segment)) return TN_CORRUPT;
    uint64_t since = tn_process_birth(pid);
    bool succeeds = false;
    uint32_t index = claim_slot(segment, pid, since);
    drop_mark(segment);
    if (index == TN_NO_SLOT) index = take_slot(segment, pid, since, &succeeds);
    if (index != TN_NO_SLOT) {
        segment->slot = index;
        segment->serial = atomic_load(&tn_slot_at(segment, index)->serial);
        segment->registered = atomic_load(&tn_forks);
        /* What the dead one held; this process has nothing yet that could be taken for it. */
        if (succeeds) tn_blocks_inherit(segment, index);
    }
    tn_lock_release(&segment->header->registry);
    if (index == TN_NO_SLOT) return TN_TOO_MANY;
    if (succeeds) tn_segment_mend(segment);
    return TN_OK;
}

tn_holder tn_holder_self(tn_segment *segment) {
    if (!tn_segment_registered(segment) && tn_segment_register(segment) != TN_OK) return 0;
    return (tn_holder)segment->serial << 32 | TN_HOLDER_HELD | segment->slot;
}

bool tn_holder_died(const tn_segment *segment, tn_holder holder, bool thorough) {
    uint32_t index = (uint32_t)(holder & TN_HOLDER_SLOT);
    const tn_slot *slot = tn_slot_at(segment, index);
    uint32_t pid = atomic_load(&slot->pid), serial = (uint32_t)(holder >> 32);
    uint64_t since = atomic_load(&slot->born);
    /* Read last: a slot that is given to another has its new serial before its new pid. */
    if (pid == 0 || atomic_load(&slot->serial) != serial) return true;
    return thorough && !tn_slot_lives(segment, index, pid, since);
}

uint32_t tn_holder_pid(const tn_segment *segment, tn_holder holder) {
    const tn_slot *slot = tn_slot_at(segment, (uint32_t)(holder & TN_HOLDER_SLOT));
    uint32_t pid = atomic_load(&slot->pid);
    bool current = atomic_load(&slot->serial) == (uint32_t)(holder >> 32);
    return current && pid != TN_EXPECTED ? pid : 0;
}
