/* The ring: a queue of variable-size messages between any processes that map the segment.
 *
 * A two-lock queue (Michael and Scott, 1996): producers hold one lock, consumers another, so that one
 * to one never contends. Messages lie in chunks of 64 KiB, linked into a chain; a chunk that has been
 * read goes back to the arena and, last freed first, is the next to be written, so a steady queue
 * stays in cache and an unbounded one needs no growing protocol.
 *
 *   head                                      tail
 *    v                                         v
 *   [ ..read.. | msg | msg | msg ] -> [ msg | msg | ..free.. ]
 *
 * Commit. `put_count` is the number of messages ever committed, `get_count` of those ever taken; a
 * message is in the queue if get_count <= seq < put_count. Each advance is ONE store, and everything
 * that belongs to it is in place before. Where the ends are is kept twice, `tail[n & 1]` for count n:
 * the next position is written to the other half, and the store of the count chooses it. So a process
 * that dies at any instruction has either sent (taken) a message or not, and nothing needs undoing.
 *
 * The end. The highest bit of `put_count` says that the ring was shut down. A commit is a compare-and-swap
 * from the count as its sender found it, so each message is before the end or refused, and after a
 * receiver was told of the end nothing comes any more, wherever a sender was held up.
 *
 * What a dead process can leave behind is a block that nobody answers for: a chunk not yet linked or
 * already left, a payload marked SENT for a message that was never committed, or of one that it
 * took. Whoever acquires its lock next sets `orphans`, and tn_ring_collect frees the ring's blocks that
 * its chain of messages does not lead to. Not by their seq: that of a message which was never committed
 * is given to the next one. For the same reason a lease that was written, but whose message was not
 * taken, is emptied before anybody else can take that message.
 *
 * Lock order: put_lock, get_lock, arena. Everything read from shared memory is checked before use.
 */
#ifndef TINES_RING_H
#define TINES_RING_H

#include "blocks.h"
#include "event.h"

#define TN_CHUNK_SIZE (UINT64_C(1) << TN_SMALLEST_CLASS)
#define TN_INLINE (UINT64_C(16) << 10) /* larger payloads travel in a block of their own */
#define TN_MOST_BLOCKS 1024            /* in one message; many small ones share some, see packs.h */
#define TN_MOST_LEASES 65536

typedef struct {
    uint32_t length; /* of the payload in the ring */
    uint16_t blocks; /* how many block indexes come before it */
    uint8_t kind;
    uint8_t flags;
    uint64_t tag;
    uint64_t seq;
    uint64_t bytes; /* of the whole message, blocks included: for max_bytes and statistics */
} tn_record;

enum { TN_PAYLOAD_IN_BLOCK = 1, TN_REVOKED = 2, TN_NEXT_CHUNK = 4, TN_PACKED = 8 };

typedef struct {
    uint32_t chunk, offset; /* where the next message begins */
} tn_end;

typedef struct {
    uint64_t bytes;   /* of all messages up to there */
    uint64_t revoked; /* head only: messages up to there that had been taken back */
} tn_total;

typedef struct {
    _Atomic uint64_t seq, tag, progress;
    _Atomic int64_t since;
    _Atomic int64_t held; /* for how long in all, up to the last release */
    _Atomic uint32_t busy;
} tn_lease;

typedef struct {
    uint64_t birth; /* tells this ring from a later one in the same block */
    uint64_t max_items, max_bytes;
    uint32_t leases, self;
    uint32_t references;      /* under the arena lock; derived, see tn_rings_count_references */
    _Atomic uint32_t dropped; /* shut down at once: what is in it is nobody's any more */
    _Atomic uint32_t orphans;
    _Atomic uint32_t shown; /* the watcher's descriptor says that there is something */
    _Atomic uint64_t
        watcher; /* who has a descriptor for it, a tn_holder; 0: nobody; see watching.c */
    /* Each end's lock, count and place fill one line (64-bit glibc): what passes from one producer, or
     * consumer, to the next is that line, and the totals while the message is copied. */
    _Alignas(2 * TN_CACHE_LINE) tn_lock put_lock;
    _Atomic uint64_t put_count; /* and TN_CLOSED */
    tn_end tail[2];
    tn_total put_total[2];
    _Alignas(2 * TN_CACHE_LINE) tn_lock get_lock;
    _Atomic uint64_t get_count;
    tn_end head[2];
    tn_total get_total[2];
    uint64_t put_seen;                        /* a put_count of some moment; under get_lock */
    _Atomic uint64_t revoked;                 /* messages ever taken back; under get_lock */
    _Alignas(TN_CACHE_LINE) tn_event items;   /* something to take */
    _Alignas(TN_CACHE_LINE) tn_event space;   /* something was taken */
    _Alignas(TN_CACHE_LINE) tn_event drained; /* nothing is left */
    _Alignas(TN_CACHE_LINE) tn_event finished;
    tn_event noticed;            /* it is shown, or taken: for senders to a ring that is watched */
    _Atomic uint64_t done_count; /* task_done() */
    tn_lease lease[];
} tn_ring;

#define TN_CLOSED (UINT64_C(1) << 63)
static inline uint64_t tn_ring_put_count(const tn_ring *ring) {
    return atomic_load(&ring->put_count) & ~TN_CLOSED;
}
/* Whether it was shut down: then `put_count` is what it will be for ever. */
static inline bool tn_ring_is_closed(const tn_ring *ring) {
    return atomic_load(&ring->put_count) & TN_CLOSED;
}

/* A message on its way in. `blocks` are HELD by this process, and the ring's once it is sent. */
typedef struct {
    const uint8_t *payload;
    uint64_t length;
    const uint32_t *blocks;
    uint32_t block_count;
    bool payload_in_block; /* it is blocks[0], and `payload` is not used */
    bool packed;           /* the next of its blocks are packs: see packs.h */
    uint8_t kind;
    uint64_t tag, bytes;
} tn_outgoing;

/* A message on its way out. `blocks` are HELD by this process from then on. */
typedef struct {
    uint8_t payload[TN_INLINE];
    uint32_t blocks[TN_MOST_BLOCKS];
    uint32_t length, block_count;
    bool payload_in_block, packed;
    uint8_t kind;
    uint64_t tag;
} tn_incoming;

/* A process's view of one ring. */
typedef struct {
    tn_segment *segment;
    tn_ring *ring;
    uint32_t index;
    uint32_t leases; /* checked against the size of the ring's block */
    /* Hints of this process for itself; see taking.c. */
    _Atomic bool more;           /* the last message that was taken left others behind */
    _Atomic bool streaming;      /* the last wait for one was over in no time */
    _Atomic uint32_t sends_then; /* what the segment's `sends` was at the last wait */
} tn_queue;

enum { TN_NO_LEASE = -1 };

tn_result tn_ring_create(tn_segment *segment, uint64_t max_items, uint64_t max_bytes,
                         uint32_t leases, tn_queue *queue, uint32_t *reference);
/* For one who holds a reference to it. */
tn_result tn_ring_open(tn_segment *segment, uint32_t index, tn_queue *queue);

/* `now` forms never sleep: TN_TIMED_OUT means full, empty, or that the lock is taken by another
 * (then *contended is set, and waiting is worth while). */
tn_result tn_ring_send_now(tn_queue *queue, const tn_outgoing *message, uint64_t *ticket,
                           bool *contended);
/* Send as many of several messages as can be sent at once, under one hold of the lock; each is committed
 * by itself. Returns how many, from the first on. What stopped it, the next tn_ring_send_now will tell. */
uint32_t tn_ring_send_some(tn_queue *queue, const tn_outgoing *messages, uint32_t count,
                           uint64_t *tickets);
tn_result tn_ring_recv_now(tn_queue *queue, tn_incoming *message, int lease, bool *contended);
/* These sleep, in stretches: TN_INTERRUPTED asks the caller to look for signals and call again. */
tn_result tn_ring_send(tn_queue *queue, const tn_outgoing *message, int64_t deadline,
                       uint64_t *ticket);
tn_result tn_ring_recv(tn_queue *queue, tn_incoming *message, int lease, int64_t deadline);
/* Wait until there is something to take; `wanted` false: until there is nothing, or nothing of the first
 * `seen` messages that were ever put. */
tn_result tn_ring_wait(tn_queue *queue, bool wanted, uint64_t seen, int64_t deadline);

/* Who has a descriptor that follows the ring says so, and what it shows; senders let them notice. False:
 * no slot is left for this process. */
bool tn_ring_watch(tn_queue *queue, bool begins);
void tn_ring_show(tn_queue *queue, bool there);
static inline bool tn_ring_is_watched(const tn_queue *queue) {
    return atomic_load_explicit(&queue->ring->watcher, memory_order_relaxed) != 0;
}
void tn_ring_let_notice(tn_queue *queue);

/* A ticket says where a message lies and the low bits of its seq. */
tn_result tn_ring_revoke(tn_queue *queue, uint64_t ticket, bool *revoked);
tn_result tn_ring_task_done(tn_queue *queue);
tn_result tn_ring_join(tn_queue *queue, int64_t deadline);
void tn_ring_shutdown(tn_queue *queue, bool immediate);
uint64_t tn_ring_depth(const tn_queue *queue, uint64_t *bytes);
bool tn_ring_full(const tn_queue *queue);

tn_lease *tn_ring_lease(const tn_queue *queue, int index); /* NULL: no such slot */
bool tn_lease_read(const tn_queue *queue, int index, uint64_t *tag, uint64_t *progress,
                   int64_t *since);
void tn_lease_release(tn_lease *lease); /* by its holder, or for a dead one */
int64_t tn_lease_held(const tn_lease *lease);

/* Reclaim what dead processes left in this ring. Takes put_lock, get_lock and the arena. */
void tn_ring_collect(tn_queue *queue);
/* Look at the locks of every ring, so that a death in one that nobody uses is seen too. */
void tn_rings_repair(tn_segment *segment);

/* With the arena lock held. `target` is a ring or a SHARED block. */
void tn_ring_referenced(tn_segment *segment, uint32_t target,
                        int change); /* 0 left: it is destroyed */
void tn_rings_count_references(tn_segment *segment);

#endif
