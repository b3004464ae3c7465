/* Garbage in shared memory: every call ends, with an error or without, and none leaves the segment.
 *
 *   hostile SEED SECONDS [LIMIT]
 *
 * A call that does not end within LIMIT seconds (20) ends the program with SIGALRM. PLANT=stray believes a
 * length that it read, PLANT=endless waits for what never comes: both have to be noticed.
 *
 * What is not written over are the locks themselves, and what would lead to writing over one: a lock
 * that says it is held cannot be told from one that is (docs/design/ring.md).
 */
#include <signal.h>
#include <sys/mman.h>

#include "../core/views.h"
#include "../core/waiters.h"
#include "harness.h"

static tn_segment segment;
static tn_queue queue;
static uint32_t reference;
static tn_sync primitive[TN_WAITERS]; /* one of each kind */

/* Lengths and indexes near limits, and anything else. */
static uint64_t garbage(chance *c) {
    static const uint64_t nasty[] = {
        0,          1,         7,          UINT16_MAX,     1 << 16,           INT32_MAX,
        UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 26, UINT64_C(1) << 63};
    return draw(c, 2) ? nasty[draw(c, 12)] : draw(c, UINT64_MAX);
}

static void scribble(chance *c, void *start, uint64_t length) {
    uint64_t words = 1 + draw(c, 8);
    for (uint64_t i = 0; i < words; i++) {
        uint64_t value = garbage(c), at = draw(c, length / 4) * 4;
        memcpy((uint8_t *)start + at, &value, length - at < 8 ? 4 : 8);
    }
}

#define SCRIBBLE_FROM(c, structure, from)                                                          \
    scribble(c, &(structure)->from, sizeof *(structure) - offsetof(__typeof__(*(structure)), from))
#define SCRIBBLE_BETWEEN(c, structure, from, until)                                                \
    scribble(c, &(structure)->from,                                                                \
             offsetof(__typeof__(*(structure)), until) - offsetof(__typeof__(*(structure)), from))

/* What says who owns a block or refers to it, and a place inside the segment, are left as they are: with a lie there, a
 * block is used twice, and data is written over a lock in a lawful way. */
static void scribble_block(chance *c, tn_block *block) {
    uint64_t offset = block->offset;
    uint32_t target = atomic_load(&block->target);
    SCRIBBLE_FROM(c, block, order);
    if (tn_block_data(&segment, block) != NULL) block->offset = offset;
    if (tn_block_data(&segment, block) != NULL) block->order = TN_SMALLEST_CLASS;
    atomic_store(&block->target, target);
}

static void damage(chance *c) {
    tn_header *header = segment.header;
    tn_ring *ring = queue.ring;
    uint32_t used = tn_blocks_used(&segment);
    switch (draw(c, 9)) {
    case 7:
    case 8: {
        uint32_t kind = (uint32_t)draw(c, TN_WAITERS);
        uint64_t size = kind + 1 == TN_WAITERS ? sizeof(tn_waiters) : sizeof(tn_primitive);
        scribble(c, primitive[kind].head, size + (draw(c, 2) ? 0 : 64));
        break;
    }
    case 0:
        SCRIBBLE_FROM(c, header, blocks_used);
        break;
    case 1:
    case 2:
        SCRIBBLE_BETWEEN(c, header, slots_used, arena);
        break;
    case 3:
        if (used > 0) scribble_block(c, tn_block_at(&segment, (uint32_t)draw(c, used)));
        break;
    case 4:
        if (draw(c, 2)) SCRIBBLE_BETWEEN(c, ring, birth, references);
        else SCRIBBLE_BETWEEN(c, ring, put_count, get_lock);
        break;
    case 5:
        SCRIBBLE_FROM(c, ring, get_count);
        break;
    default: {
        tn_chunk *chunk = tn_chunk_at(&queue, ring->head[atomic_load(&ring->get_count) & 1].chunk);
        if (chunk != NULL) scribble(c, chunk, draw(c, 2) ? 200 : TN_CHUNK_SIZE);
    }
    }
}

/* As the binding does with what it receives: every byte is looked at. */
static void look_at(const tn_incoming *in) {
    volatile uint64_t sum = 0;
    for (uint32_t i = 0; i < in->length; i++) sum += in->payload[i];
    for (uint32_t i = 0; i < in->block_count; i++) {
        const tn_block *block = tn_block_at(&segment, in->blocks[i]);
        const uint8_t *view = tn_view_at(&segment, block);
        uint64_t length = tn_block_length(&segment, block);
        if (planted("stray", 7)) length = segment.size * 1000;
        for (uint64_t at = 0; view != NULL && at < length; at += 997) sum += view[at];
        tn_block_release(&segment, in->blocks[i]);
    }
}

static void synchronise(chance *c) {
    const tn_sync *one = &primitive[draw(c, TN_WAITERS - 1)], *list = &primitive[TN_WAITERS - 1];
    tn_sync again;
    uint32_t place;
    tn_verdict verdict;
    switch (draw(c, 7)) {
    case 0:
        if (one->kind != TN_FLAG) tn_sync_acquire(one, tn_now());
        break;
    case 1:
        if (one->kind != TN_FLAG) tn_sync_release(one);
        break;
    case 2:
        tn_sync_look(one);
        tn_sync_count(one);
        tn_sync_value(one);
        tn_sync_recovered(one);
        break;
    case 3:
        tn_flag_set(&primitive[TN_FLAG - 1]);
        if (draw(c, 2)) tn_flag_clear(&primitive[TN_FLAG - 1]);
        tn_flag_wait(&primitive[TN_FLAG - 1], draw(c, 4), tn_now());
        break;
    case 4:
        if (tn_waiters_enter(list, &place) != TN_OK) break;
        tn_waiters_wait(list, place, NULL, tn_now(), &verdict);
        tn_waiters_leave(list, place, draw(c, 2));
        break;
    case 5:
        tn_waiters_notify(list, draw(c, 2) ? 1 : garbage(c), TN_NOTIFIED);
        tn_waiters_count(list);
        tn_waiters_look_again(list);
        break;
    default:
        tn_sync_open(&segment, draw(c, 2) ? one->index : (uint32_t)garbage(c), &again);
        tn_primitives_wake(&segment);
    }
}

static void operate(chance *c) {
    static outgoing out;
    static tn_incoming in;
    uint64_t ticket = draw(c, UINT64_MAX), bytes, tag, progress;
    int64_t since;
    bool flag;
    uint32_t index;
    tn_queue other;
    switch (draw(c, 15)) {
    case 0:
    case 1:
        if (make_message(&segment, &out, draw(c, 1000)) &&
            tn_ring_send(&queue, &out.message, tn_now(), &ticket) != TN_OK) {
            drop_message(&segment, &out);
        }
        break;
    case 2:
    case 3:
        in.block_count = in.length = 0;
        if (tn_ring_recv(&queue, &in, (int)draw(c, 4) - 1, tn_now()) == TN_OK) look_at(&in);
        break;
    case 4:
        tn_ring_revoke(&queue, draw(c, 2) ? ticket : garbage(c), &flag);
        break;
    case 5:
        tn_ring_collect(&queue);
        break;
    case 6:
        tn_arena_trim(&segment, draw(c, 2) ? 0 : garbage(c), TN_FOREVER);
        break;
    case 7:
        tn_rings_repair(&segment);
        tn_rings_count_references(&segment);
        break;
    case 8:
        tn_ring_depth(&queue, &bytes);
        tn_ring_full(&queue);
        tn_lease_read(&queue, (int)garbage(c), &tag, &progress, &since);
        break;
    case 9:
        if (tn_reference_take(&segment, (uint32_t)garbage(c), &index) == TN_OK)
            tn_block_release(&segment, index);
        tn_block_release(&segment, (uint32_t)garbage(c));
        break;
    case 10:
    case 11:
    case 12:
        synchronise(c);
        break;
    case 13:
        if (tn_ring_create(&segment, 0, 0, 2, &other, &index) == TN_OK)
            tn_block_release(&segment, index);
        break;
    default:
        while (planted("endless", 7)) sleep(1);
        tn_ring_task_done(&queue);
        tn_ring_join(&queue, tn_now());
        tn_segment_sweep(&segment, (uint32_t)getpid());
    }
}

static void play(uint64_t seed) {
    chance c = {seed};
    static outgoing out;
    uint64_t ticket;
    CHECK(tn_segment_create(&segment, TN_LEAST_SIZE) == TN_OK, "no segment");
    CHECK(tn_ring_create(&segment, draw(&c, 2) * 50, 0, 3, &queue, &reference) == TN_OK, "no ring");
    for (tn_kind kind = TN_LOCK; kind <= TN_WAITERS; kind++) {
        uint64_t limit = kind == TN_WAITERS ? TN_MOST_WAITERS : draw(&c, 4);
        uint32_t index;
        CHECK(tn_sync_create(&segment, kind, limit, limit, &primitive[kind - 1], &index) == TN_OK,
              "no primitive");
    }
    for (int i = 0; i < 10; i++) {
        CHECK(make_message(&segment, &out, draw(&c, 1000)), "no memory");
        CHECK(tn_ring_send(&queue, &out.message, tn_now(), &ticket) == TN_OK, "send");
    }
    for (int i = 0; i < 30; i++) {
        if (draw(&c, 4) == 0) damage(&c);
        operate(&c);
    }
    tn_segment again;
    int fd = dup(segment.fd);
    if (tn_segment_attach(&again, fd) == TN_OK) tn_segment_unmap(&again);
    close(fd);
    tn_janitor_stop();
    tn_segment_unmap(&segment);
    close(segment.fd);
}

static volatile uint64_t round_seed;

static const int endings[] = {SIGALRM, SIGSEGV, SIGBUS, SIGABRT};
static struct sigaction before[NSIG]; /* a sanitizer may have its own */

/* Say which seed it was, and go on as if this had not been called. */
static void name_seed(int signum) {
    dprintf(2, "hostile: seed %llu: signal %d\n", (unsigned long long)round_seed, signum);
    sigaction(signum, &before[signum], NULL);
    if (signum == SIGALRM || signum == SIGABRT) raise(signum);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int64_t end = tn_now() + (argc > 2 ? strtoll(argv[2], NULL, 10) : 5) * TN_SECOND;
    unsigned limit = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 20;
    uint64_t rounds = 0;
    struct sigaction named = {.sa_handler = name_seed};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        sigaction(endings[i], &named, &before[endings[i]]);
    do {
        round_seed = seed + rounds;
        alarm(limit);
        play(round_seed);
        rounds++;
    } while (tn_now() < end);
    printf("hostile: %llu rounds from seed %llu, every call ended inside the segment\n",
           (unsigned long long)rounds, (unsigned long long)seed);
    return 0;
}
