/* The producers' end of a ring: see ring.h for the commit rule. */
#include <string.h>

#include "ends.h"

/* A ring's first chunk begins with one page, as most rings never need more. */
static tn_result have_pages(const tn_queue *queue, uint32_t chunk, uint64_t length) {
    if (length <= tn_block_at(queue->segment, chunk)->touched) return TN_OK;
    return tn_block_extend(queue->segment, chunk, length);
}

/* Make a new chunk the next one of the chain. Nothing shows it until the message in it is committed. */
static tn_result link_chunk(tn_queue *queue, tn_end *end) {
    uint32_t index;
    tn_chunk *last = tn_chunk_at(queue, end->chunk);
    if (last == NULL) return TN_CORRUPT;
    bool says_so = end->offset + sizeof(tn_record) <= TN_CHUNK_SIZE;
    tn_result result = TN_OK;
    if (says_so) result = have_pages(queue, end->chunk, end->offset + sizeof(tn_record));
    if (result != TN_OK) return result;
    result = tn_block_try(queue->segment, TN_CHUNK_SIZE, &index);
    if (result != TN_OK) return result;
    tn_block *block = tn_block_at(queue->segment, index);
    atomic_store(&block->ring, queue->index);
    atomic_store(&block->status, tn_status(TN_CHUNK, 0));
    last->next = index;
    TN_STEP(chunk_linked);
    if (says_so) ((tn_record *)((uint8_t *)last + end->offset))->flags = TN_NEXT_CHUNK;
    end->chunk = index;
    end->offset = TN_CHUNK_START;
    return TN_OK;
}

static void write_record(tn_queue *queue, uint8_t *at, const tn_outgoing *message, uint64_t seq) {
    uint32_t length = message->payload_in_block ? 0 : (uint32_t)message->length;
    uint8_t in_block = message->payload_in_block ? TN_PAYLOAD_IN_BLOCK : 0;
    *(tn_record *)at = (tn_record){
        .length = length,
        .blocks = (uint16_t)message->block_count,
        .kind = message->kind,
        .flags = in_block | (message->packed ? TN_PACKED : 0),
        .tag = message->tag,
        .seq = seq,
        .bytes = message->bytes,
    };
    at += sizeof(tn_record);
    TN_STEP(half_written);
    for (uint32_t i = 0; i < message->block_count; i++) {
        uint32_t index = message->blocks[i];
        tn_block *block = tn_block_at(queue->segment, index);
        atomic_store(&block->ring, queue->index);
        atomic_store(&block->seq, seq);
        atomic_store(&block->status, tn_status(TN_SENT, 0));
        memcpy(at + i * sizeof index, &index, sizeof index);
    }
    memcpy(at + message->block_count * sizeof(uint32_t), message->payload, length);
}

/* A message that was written, but came too late: its blocks are its sender's again, and a chunk that was
 * linked for it is nobody's. */
static void take_back(tn_queue *queue, const tn_outgoing *message) {
    for (uint32_t i = 0; i < message->block_count; i++) {
        tn_block *block = tn_block_at(queue->segment, message->blocks[i]);
        atomic_store(&block->status, tn_status(TN_HELD, queue->segment->slot));
    }
    atomic_store(&queue->ring->orphans, 1);
}

/* With put_lock held. */
static tn_result append(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket) {
    tn_ring *ring = queue->ring;
    TN_STEP(put_locked);
    uint64_t seq = atomic_load_explicit(&ring->put_count, memory_order_relaxed);
    if (seq & TN_CLOSED) return TN_SHUT;
    if (!tn_ring_has_room(queue, message->bytes)) return TN_TIMED_OUT;
    tn_end end = ring->tail[seq & 1];
    uint64_t size =
        tn_record_size(message->payload_in_block ? 0 : message->length, message->block_count);
    if (!tn_is_place(end.offset)) return TN_CORRUPT;
    if (end.offset + size > TN_CHUNK_SIZE) {
        tn_result result = link_chunk(queue, &end);
        if (result != TN_OK) return result;
    }
    TN_STEP(reserved);
    tn_chunk *chunk = tn_chunk_at(queue, end.chunk);
    if (chunk == NULL) return TN_CORRUPT;
    tn_result result = have_pages(queue, end.chunk, end.offset + size);
    if (result != TN_OK) return result;
    write_record(queue, (uint8_t *)chunk + end.offset, message, seq);
    *ticket = tn_ticket(seq, end.chunk, end.offset);
    end.offset += (uint32_t)size;
    ring->tail[(seq + 1) & 1] = end;
    ring->put_total[(seq + 1) & 1].bytes = ring->put_total[seq & 1].bytes + message->bytes;
    TN_STEP(before_commit);
    /* Under the lock only a shutdown can have changed it. */
    uint64_t found = seq;
    if (!atomic_compare_exchange_strong_explicit(&ring->put_count, &found, seq + 1,
                                                 memory_order_release, memory_order_relaxed)) {
        take_back(queue, message);
        return TN_SHUT;
    }
    TN_STEP(after_commit);
    return TN_OK;
}

static tn_result locked_append(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket,
                               bool wait, int64_t deadline, bool *contended) {
    tn_result result = tn_end_lock(queue, &queue->ring->put_lock, wait, deadline);
    *contended = result != TN_OK;
    if (result != TN_OK) return result;
    result = append(queue, message, ticket);
    tn_end_unlock(queue, &queue->ring->put_lock);
    return result;
}

/* Wake who may act on what was sent: a receiver, and, if it is not full yet, the next sender. */
static void announce(tn_queue *queue) {
    tn_ring *ring = queue->ring;
    _Atomic uint32_t *sends = &queue->segment->sends;
    uint32_t before = atomic_load_explicit(sends, memory_order_relaxed);
    atomic_store_explicit(sends, before + 1, memory_order_relaxed);
    tn_event_wake_one(&ring->items);
    if (tn_ring_is_bounded(ring) && tn_ring_has_room(queue, 1)) tn_event_wake_one(&ring->space);
}

static tn_result send_once(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket, bool wait,
                           int64_t deadline, bool *contended) {
    if (message->block_count > TN_MOST_BLOCKS || message->length > TN_INLINE) return TN_TOO_MANY;
    tn_result result = locked_append(queue, message, ticket, wait, deadline, contended);
    if (result == TN_NO_MEMORY) {
        /* For the next chunk. What there is to reclaim takes locks that come before put_lock. */
        tn_arena_reclaim(queue->segment);
        result = locked_append(queue, message, ticket, wait, deadline, contended);
    }
    if (result != TN_OK) return result;
    announce(queue);
    return TN_OK;
}

tn_result tn_ring_send_now(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket,
                           bool *contended) {
    return send_once(queue, message, ticket, false, 0, contended);
}

uint32_t tn_ring_send_some(tn_queue *queue, const tn_outgoing *messages, uint32_t count,
                           uint64_t *tickets) {
    uint32_t sent = 0;
    if (tn_end_lock(queue, &queue->ring->put_lock, false, 0) != TN_OK) return 0;
    while (sent < count && messages[sent].length <= TN_INLINE &&
           append(queue, &messages[sent], &tickets[sent]) == TN_OK) {
        sent++;
        TN_STEP(sent_some);
    }
    tn_end_unlock(queue, &queue->ring->put_lock);
    if (sent > 0) announce(queue);
    return sent;
}

static bool can_send(const tn_queue *queue, uint64_t bytes) {
    return tn_ring_has_room(queue, bytes) || tn_ring_is_closed(queue->ring);
}

tn_result tn_ring_send(tn_queue *queue, const tn_outgoing *message, int64_t deadline,
                       uint64_t *ticket) {
    for (;;) {
        bool contended;
        tn_result result = send_once(queue, message, ticket, true, deadline, &contended);
        if (result != TN_TIMED_OUT || contended) return result;
        result = tn_ring_wait_for(&queue->ring->space, can_send, queue, message->bytes, deadline);
        if (result != TN_OK) return result;
    }
}
