/* What a step costs does not depend on how much else there is: counted are the descriptors that are looked
 * at, and the pages that the file has.
 *
 *   growth SEED SECONDS
 *
 * Each part is also carried out on rings with messages of all forms, after which nothing may be left.
 */
#include <sys/stat.h>

#include "../platform/pages.h"
#include "harness.h"

enum { FEW = 20, MANY = 3000, SENT = 200 };

static uint64_t looked_at;
static tn_segment segment;

tn_block *__real_tn_block_at(const tn_segment *in, uint32_t index);
tn_block *__wrap_tn_block_at(const tn_segment *in, uint32_t index);
tn_block *__wrap_tn_block_at(const tn_segment *in, uint32_t index) {
    looked_at++;
    return __real_tn_block_at(in, index);
}

/* The janitor holds what it gives pages back of. */
static void check_empty(void) {
    tn_janitor_stop();
    check_nothing_left(&segment, 0, 0);
}

static uint32_t make(tn_queue *queue) {
    uint32_t reference;
    CHECK(tn_ring_create(&segment, 0, 0, 0, queue, &reference) == TN_OK, "no ring");
    return reference;
}

static void send_some(chance *c, tn_queue *queue, int count) {
    outgoing *out = malloc(sizeof *out);
    for (int i = 0; i < count; i++) {
        uint64_t ticket;
        CHECK(make_message(&segment, out, draw(c, UINT64_MAX)), "no memory for a message");
        CHECK(tn_ring_send(queue, &out->message, TN_FOREVER, &ticket) == TN_OK, "not sent");
    }
    free(out);
}

static void take_some(tn_queue *queue, int count) {
    tn_incoming *in = malloc(sizeof *in);
    for (int i = 0; i < count; i++) {
        CHECK(tn_ring_recv(queue, in, TN_NO_LEASE, TN_FOREVER) == TN_OK, "not received");
        take_apart(&segment, in);
    }
    free(in);
}

/* Beside others: how many descriptors it takes to let go of a ring. */
static uint64_t cost_of_dropping(uint32_t others) {
    static uint32_t reference[MANY];
    tn_queue queue;
    for (uint32_t i = 0; i < others; i++) reference[i] = make(&queue);
    uint32_t one = make(&queue);
    looked_at = 0;
    tn_block_release(&segment, one);
    uint64_t cost = looked_at;
    for (uint32_t i = 0; i < others; i++) tn_block_release(&segment, reference[i]);
    check_empty();
    return cost;
}

/* Rings that have been in use, in the middle of a stream, and in one that somebody may have died in. */
static void drop_used(chance *c) {
    tn_queue queue, inner;
    uint32_t one = make(&queue), other = make(&inner), passed, sent = 1 + (uint32_t)draw(c, SENT);
    send_some(c, &queue, (int)sent);
    take_some(&queue, (int)draw(c, sent + 1));
    send_some(c, &inner, 3);
    CHECK(tn_reference_take(&segment, inner.index, &passed) == TN_OK, "no reference");
    tn_outgoing message = {.payload = (const uint8_t *)"", .blocks = &passed, .block_count = 1};
    uint64_t ticket;
    CHECK(tn_ring_send(&queue, &message, TN_FOREVER, &ticket) == TN_OK, "not sent");
    if (draw(c, 4) == 0) atomic_store(&queue.ring->orphans, 1);
    tn_block_release(&segment, other);
    tn_block_release(&segment, one); /* and with it the last reference to the other */
    check_empty();
}

static uint64_t bytes_of_file(void) {
    struct stat status;
    CHECK(fstat(segment.fd, &status) == 0, "no status");
    return (uint64_t)status.st_blocks * 512;
}

static void check_memory(void) {
    static uint32_t reference[MANY];
    tn_queue queue;
    uint64_t before = bytes_of_file();
    for (int i = 0; i < MANY; i++) reference[i] = make(&queue);
    uint64_t each = (bytes_of_file() - before) / MANY;
    CHECK(each <= 3 * tn_page_size(), "a ring takes %llu bytes", (unsigned long long)each);
    for (int i = 0; i < MANY; i++) tn_block_release(&segment, reference[i]);
}

/* All that is written to is there: whole chunks are, of whatever the block was before. */
static void check_pages(chance *c) {
    tn_queue queue;
    uint32_t block;
    CHECK(tn_block_take(&segment, 1 + draw(c, TN_CHUNK_SIZE), &block) == TN_OK, "no block");
    tn_block_release(&segment, block);
    uint32_t one = make(&queue);
    for (int i = 0; i < SENT; i++) {
        send_some(c, &queue, 1);
        tn_end end = queue.ring->tail[atomic_load(&queue.ring->put_count) & 1];
        const tn_block *chunk = tn_block_at(&segment, end.chunk);
        CHECK(tn_pages(chunk->touched) >= end.offset, "written behind the pages");
        if (draw(c, 3) == 0) take_some(&queue, 1);
    }
    tn_block_release(&segment, one);
    check_empty();
}

int main(int count, char **arguments) {
    uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 0) : 1;
    int64_t until = tn_now() + (count > 2 ? atoi(arguments[2]) : 1) * TN_SECOND;
    chance c = {seed};
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 34) == TN_OK, "no segment");
    check_memory();
    uint64_t few = cost_of_dropping(FEW), many = cost_of_dropping(MANY);
    CHECK(many <= few, "among %d rings one takes %llu looks, among %d %llu", FEW,
          (unsigned long long)few, MANY, (unsigned long long)many);
    int rounds = 0;
    do {
        drop_used(&c);
        check_pages(&c);
        rounds++;
    } while (tn_now() < until);
    tn_janitor_stop();
    printf("%d rounds from seed %llu\n", rounds, (unsigned long long)seed);
    return 0;
}
