/* See sweep.h. */
#include "sweep.h"

#include "blocks.h"
#include "primitives.h"
#include "ring.h"

void tn_segment_mend(tn_segment *segment) {
    tn_rings_repair(segment);
    tn_primitives_wake(segment);
    tn_arena_trim(segment, TN_KEEP, tn_now() - TN_SECOND);
}

/* With the registry locked. */
static int sweep_locked(tn_segment *segment, uint32_t pid) {
    int died = 0;
    atomic_store(&segment->header->last_sweep, tn_now());
    uint32_t used = tn_slots_used(segment);
    for (uint32_t i = 0; i < used; i++) {
        tn_slot *slot = tn_slot_at(segment, i);
        uint32_t owner = atomic_load(&slot->pid);
        if (owner == 0 || (pid != 0 && owner != pid) ||
            tn_slot_lives(segment, i, owner, atomic_load(&slot->born)))
            continue;
        tn_blocks_inherit(segment, i);
        atomic_store(&slot->pid, 0);
        died++;
    }
    return died;
}

static int sweep(tn_segment *segment, uint32_t pid, tn_acquired registry) {
    if (registry.result != TN_OK) return 0;
    int died = sweep_locked(segment, pid);
    tn_lock_release(&segment->header->registry);
    if (died) tn_segment_mend(segment);
    return died;
}

int tn_segment_sweep(tn_segment *segment, uint32_t pid) {
    return sweep(segment, pid, tn_lock_always(&segment->header->registry));
}

void tn_segment_sweep_sometimes(tn_segment *segment) {
    int64_t last = atomic_load(&segment->header->last_sweep), now = tn_now();
    if (now - last < TN_SECOND) return;
    if (atomic_compare_exchange_strong(&segment->header->last_sweep, &last, now)) {
        sweep(segment, 0, tn_lock_try(&segment->header->registry)); /* taken: another is at it */
    }
}
