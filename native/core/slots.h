/* Slots: which processes are attached to the segment, under which name, and whether they live.
 *
 * A process registers once, and a forked child again, in the slot that its parent has set aside for it.
 * What is held in the segment is held in the name of a slot; when its process is dead, it is reclaimed
 * (sweep.h). */
#ifndef TINES_SLOTS_H
#define TINES_SLOTS_H

#include "segment.h"

/* Take a slot for this process, once; again after fork, in the child. */
tn_result tn_segment_register(tn_segment *segment);
/* Before a fork: set a slot aside for the child, so that things can be held in its name for as long as it
 * lives, registered or not. Where descriptors are short, for ten seconds. */
void tn_segment_expect_child(tn_segment *segment);
void tn_segment_forked(tn_segment *segment); /* in the parent, after it: also if it failed */
/* False in a child that was forked and has not registered yet: what its parent held is not its own. */
bool tn_segment_registered(const tn_segment *segment);

/* A holder: a process, in one word that a compare-and-swap writes together with the claim, so that there
 * is no moment at which something is held and nobody knows by whom. It is the slot and the serial of
 * the registration, so neither a reused pid nor a reused slot is taken for a holder that died. */
typedef uint64_t tn_holder;
#define TN_HOLDER_SLOT UINT64_C(0x3fff)
#define TN_HOLDER_HELD (UINT64_C(1) << 14) /* always set: no holder is 0 */
#define TN_HOLDER_HEIR (UINT64_C(1) << 15) /* for the user of the word; no part of the identity */
#define TN_HOLDER_NONE UINT64_C(0xffff0000)

_Static_assert(TN_SLOTS == TN_HOLDER_SLOT + 1, "a slot fits into a holder");

static inline bool tn_holder_same(tn_holder one, tn_holder other) {
    return (one | TN_HOLDER_HEIR) == (other | TN_HOLDER_HEIR);
}
/* This process. Registers it first in a child that was forked a moment ago; 0: there is no slot left. */
tn_holder tn_holder_self(tn_segment *segment);
/* False for what no process can have written. */
static inline bool tn_holder_sound(tn_holder holder) {
    return holder & TN_HOLDER_HELD && !(holder & TN_HOLDER_NONE);
}
/* Whether the process is known to be gone: at the price of two loads if somebody has swept it, and else
 * (`thorough`) of some system calls. Never true of one that lives, also if it is stopped. */
bool tn_holder_died(const tn_segment *segment, tn_holder holder, bool thorough);
/* Its pid, or 0 where that is no longer known. */
uint32_t tn_holder_pid(const tn_segment *segment, tn_holder holder);

/* For sweeping. With the registry locked, but for the reading of a single slot. */
static inline tn_slot *tn_slot_at(const tn_segment *segment, uint32_t index) {
    return (tn_slot *)(segment->base + segment->slots_at) + index;
}
static inline uint32_t tn_slots_used(const tn_segment *segment) {
    uint32_t used = atomic_load(&segment->header->slots_used);
    return used < TN_SLOTS ? used : TN_SLOTS;
}
/* Whether the process lives that a slot names, as `pid` and `born` have been read there. */
bool tn_slot_lives(const tn_segment *segment, uint32_t index, uint32_t pid, uint64_t born);

#endif
