/* Views: a block's bytes as a program sees them, in a mapping apart from the one that the core uses.
 *
 * Memory of the segment stays shared across fork, but what a program received is its own: a child must
 * not see the parent's later changes, nor the parent the child's. So before a fork the block becomes
 * SHARED, with a reference for the child, and its view is *parted*: mapped copy-on-write, so that each
 * writes pages of its own. The block is used again when the last of them has let go of it. */
#ifndef TINES_VIEWS_H
#define TINES_VIEWS_H

#include "blocks.h"

uint8_t *tn_view_at(const tn_segment *segment, const tn_block *block);
/* The same for a block that this process has just received. */
uint8_t *tn_view_open(tn_segment *segment, const tn_block *block);
/* The view of a block, which is still held, is gone. `offset` is the block's. */
void tn_view_close(tn_segment *segment, uint64_t offset, uint64_t length);
typedef struct {
    uint64_t offset, length;
} tn_stretch;
/* Have what is written in these stretches stay with this process, from now on and across forks. False,
 * with errno: the system would not. What has failed is as it was. */
bool tn_views_part(tn_segment *segment, const tn_stretch *stretches, uint32_t count);
void tn_views_spare(tn_segment *segment, bool wanted);
bool tn_view_is_apart(const tn_segment *segment, uint64_t offset, uint64_t length);
/* A mapping of its own, copy on write, to be unmapped by the caller. */
uint8_t *tn_view_map(const tn_segment *segment, const tn_block *block);
/* Whether all that is written there goes to the block. */
bool tn_view_is_shared(const tn_segment *segment, uint64_t offset, uint64_t length);
/* All of it is about to be written. */
void tn_view_expect(uint8_t *view, uint64_t length);
void tn_view_unmap(uint8_t *view, uint64_t length);

#endif
