/* The chain of chunks that a ring's messages lie in: finding a record, with every index and length
 * checked, as another process wrote them. Private to the files of the ring. */
#ifndef TINES_CHAIN_H
#define TINES_CHAIN_H

#include "ring.h"

typedef struct {
    uint32_t next; /* block index; meaningful once a message beyond this chunk is committed */
    uint32_t unused;
} tn_chunk;

#define TN_CHUNK_START ((uint32_t)sizeof(tn_chunk))

static inline uint64_t tn_record_size(uint64_t length, uint64_t blocks) {
    return (sizeof(tn_record) + blocks * sizeof(uint32_t) + length + 7) & ~UINT64_C(7);
}

/* Whether a record may begin there; the end of a chunk counts, its beginning belongs to tn_chunk. */
static inline bool tn_is_place(uint64_t offset) {
    return offset >= TN_CHUNK_START && offset <= TN_CHUNK_SIZE && offset % 8 == 0;
}

/* NULL: the index is not a chunk of this ring. */
static inline tn_chunk *tn_chunk_at(const tn_queue *queue, uint32_t index) {
    tn_block *block = tn_block_at(queue->segment, index);
    if (block == NULL || block->order != TN_SMALLEST_CLASS || tn_state_of(block) != TN_CHUNK ||
        atomic_load(&block->ring) != queue->index) {
        return NULL;
    }
    return (tn_chunk *)tn_block_data(queue->segment, block);
}

/* The record at `end`, copied, so that what was checked is what is used. Returns what comes after it in
 * the ring: block indexes, then the payload. If the chain goes on in the next chunk, `end` moves there and
 * *left is the chunk behind. NULL: what is there cannot be a record. Only for a committed seq. */
static inline const uint8_t *tn_next_record(const tn_queue *queue, tn_end *end, uint32_t *left,
                                            tn_record *record) {
    const tn_chunk *chunk = tn_chunk_at(queue, end->chunk);
    if (chunk == NULL || !tn_is_place(end->offset)) return NULL;
    bool room = end->offset + sizeof(tn_record) <= TN_CHUNK_SIZE;
    if (room) *record = *(const tn_record *)((const uint8_t *)chunk + end->offset);
    if (!room || record->flags & TN_NEXT_CHUNK) {
        *left = end->chunk;
        end->chunk = chunk->next;
        end->offset = TN_CHUNK_START;
        chunk = tn_chunk_at(queue, end->chunk);
        if (chunk == NULL) return NULL;
        *record = *(const tn_record *)((const uint8_t *)chunk + end->offset);
    }
    if (record->length > TN_INLINE || record->blocks > TN_MOST_BLOCKS) return NULL;
    if (end->offset + tn_record_size(record->length, record->blocks) > TN_CHUNK_SIZE) return NULL;
    return (const uint8_t *)chunk + end->offset + sizeof(tn_record);
}

/* A ticket: 28 bits of seq, 22 of the chunk's index, 13 of the place in it. */
enum { TN_SEQ_BITS = 28, TN_CHUNK_BITS = 22, TN_PLACE_BITS = 13 };

static inline uint64_t tn_ticket(uint64_t seq, uint32_t chunk, uint32_t offset) {
    uint64_t low = seq & ((UINT64_C(1) << TN_SEQ_BITS) - 1);
    return low << (TN_CHUNK_BITS + TN_PLACE_BITS) | (uint64_t)chunk << TN_PLACE_BITS | offset / 8;
}

/* With get_lock held: the ticket's record if it is still in the queue, or NULL. */
static inline tn_record *tn_ticketed(const tn_queue *queue, uint64_t ticket) {
    uint64_t mask = (UINT64_C(1) << TN_SEQ_BITS) - 1;
    uint64_t low = ticket >> (TN_CHUNK_BITS + TN_PLACE_BITS);
    uint64_t taken = atomic_load(&queue->ring->get_count);
    uint64_t seq = taken + ((low - taken) & mask);
    if (low > mask || seq >= tn_ring_put_count(queue->ring)) return NULL;
    uint32_t index = (uint32_t)(ticket >> TN_PLACE_BITS) & ((1u << TN_CHUNK_BITS) - 1);
    uint64_t offset = (ticket & ((1u << TN_PLACE_BITS) - 1)) * 8;
    tn_chunk *chunk = tn_chunk_at(queue, index);
    if (chunk == NULL || !tn_is_place(offset) || offset + sizeof(tn_record) > TN_CHUNK_SIZE)
        return NULL;
    tn_record *record = (tn_record *)((uint8_t *)chunk + offset);
    return record->seq == seq ? record : NULL;
}

/* For whoever is told, by one of the ring's two locks, that its last holder died: called before anything
 * else. What that one had not committed is forgotten, or noted to be collected. */
void tn_ring_inherited(const tn_queue *queue, const tn_lock *lock);

#endif
