/* Sweeping: looking for processes that have died, and reclaiming what they held. */
#ifndef TINES_SWEEP_H
#define TINES_SWEEP_H

#include "slots.h"

/* Reclaim all that dead processes held; returns how many had died. Looks at `pid` alone if not 0.
 * `pid` need not exist any more; it is taken for dead if its process cannot be found. */
int tn_segment_sweep(tn_segment *segment, uint32_t pid);
/* The same, but at most about once a second over all processes. */
void tn_segment_sweep_sometimes(tn_segment *segment);

/* What is to be done after a death, without the registry, once the blocks are inherited. */
void tn_segment_mend(tn_segment *segment);

#endif
