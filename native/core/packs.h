/* Packs: many small buffers of one message in one block.
 *
 *   pack    | tn_pack | tn_part for each | buffer | buffer | ...        each buffer begins at a cache line
 *
 * A message that has packs says so in its record, and they come first among its blocks (behind the payload, if that
 * is one). The first of them says how many packs there are and how many buffers the message has in all. A part says
 * which of these it is; what no part says it is, is a block of its own, and those come in their order.
 *
 * A pack is taken, sent and freed as the block that it is, so a death needs no rules of its own. All of it stays in
 * use until the last of its buffers is let go: that is why there are several small packs and not a large one.
 *
 * Like everything that another process wrote, a pack is checked at each use, and read once. */
#ifndef TINES_PACKS_H
#define TINES_PACKS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t packs, buffers; /* of the message: in its first pack */
    uint32_t parts;          /* of this one */
    uint32_t unused;
} tn_pack;

typedef struct {
    uint64_t length;
    uint32_t place; /* among the message's buffers */
    uint32_t unused;
} tn_part;

/* A buffer that is to be packed. */
typedef struct {
    const uint8_t *data;
    uint64_t length;
    uint32_t place;
} tn_small;

/* How many of these, from the first on, one pack takes: what is at most `most` bytes, and one in any case.
 * *size is what the block for it has to have. */
uint32_t tn_pack_plan(const tn_small *small, uint32_t count, uint64_t most, uint64_t *size);
/* Copy all of these into a block of the size that was planned. */
void tn_pack_write(uint8_t *block, const tn_small *small, uint32_t count);
/* Say in the first pack what there is in all. */
void tn_pack_entitle(uint8_t *block, uint32_t packs, uint32_t buffers);

/* A pack that is being read: `length` bytes at `block`. */
typedef struct {
    const uint8_t *block;
    uint64_t length, at; /* where the next part's bytes are */
    tn_pack head;
    uint32_t next;
} tn_unpacking;

/* False: what is there is no pack. */
bool tn_pack_open(tn_unpacking *pack, const uint8_t *block, uint64_t length);
/* The next part and where in the block its bytes are. False: it would lie outside. To be called once for each part. */
bool tn_pack_next(tn_unpacking *pack, tn_part *part, uint64_t *offset);

#endif
