/* A shutdown in the middle of a send: the message is before the end or refused, never behind it.
 *
 *   ending SEED SECONDS
 *
 * The sender is held up at each of the places where it looks at a block, of messages of all forms, while
 * another shuts the ring down and takes what is there until it is told of the end.
 */
#include "harness.h"

enum { BEFORE = 40 };

static tn_segment segment;
static tn_queue queue;
static uint64_t looks, held_up_at;
static bool ended;

/* All that is in the ring, and then the end. */
static uint32_t take_until_the_end(void) {
    static tn_incoming in;
    uint32_t count = 0;
    tn_result result;
    while ((result = tn_ring_recv(&queue, &in, TN_NO_LEASE, TN_FOREVER)) == TN_OK) {
        take_apart(&segment, &in);
        count++;
    }
    CHECK(result == TN_SHUT, "recv gave %d", result);
    return count;
}

tn_block *__real_tn_block_at(const tn_segment *in, uint32_t index);
tn_block *__wrap_tn_block_at(const tn_segment *in, uint32_t index);
tn_block *__wrap_tn_block_at(const tn_segment *in, uint32_t index) {
    if (looks++ == held_up_at && !ended) {
        ended = true;
        tn_ring_shutdown(&queue, false);
        CHECK(take_until_the_end() == BEFORE, "what was sent before is not there");
    }
    return __real_tn_block_at(in, index);
}

/* Whether the sender got as far as to be held up. */
static bool play(uint64_t tag, uint64_t place) {
    static outgoing out;
    uint64_t ticket;
    uint32_t reference;
    held_up_at = UINT64_MAX;
    CHECK(tn_ring_create(&segment, 0, 0, 0, &queue, &reference) == TN_OK, "no ring");
    for (uint64_t i = 0; i < BEFORE; i++) {
        CHECK(make_message(&segment, &out, tag + i), "no memory");
        CHECK(tn_ring_send(&queue, &out.message, TN_FOREVER, &ticket) == TN_OK, "not sent");
    }
    CHECK(make_message(&segment, &out, tag + BEFORE), "no memory");
    ended = false;
    looks = 0;
    held_up_at = place;
    tn_result result = tn_ring_send(&queue, &out.message, TN_FOREVER, &ticket);
    held_up_at = UINT64_MAX;
    CHECK(result == (ended ? TN_SHUT : TN_OK), "after the end, send gave %d", result);
    if (ended) drop_message(&segment, &out);
    else tn_ring_shutdown(&queue, false);
    CHECK(take_until_the_end() == (ended ? 0 : BEFORE + 1), "more, or less, than was sent");
    CHECK(tn_ring_depth(&queue, NULL) == 0, "something is left");
    tn_block_release(&segment, reference);
    check_nothing_left(&segment, 0, 0);
    return ended;
}

int main(int count, char **arguments) {
    uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 0) : 1;
    chance c = {seed};
    int64_t until = tn_now() + (count > 2 ? atoi(arguments[2]) : 1) * TN_SECOND;
    alarm(120);
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 34) == TN_OK, "no segment");
    uint64_t ends = 0, sent = 0;
    do {
        uint64_t tag = draw(&c, UINT32_MAX), place = 0;
        while (play(tag, place)) place++;
        ends += place;
        sent++;
    } while (tn_now() < until);
    printf(
        "ending: %llu messages from seed %llu, %llu ends in the middle, none was sent after one\n",
        (unsigned long long)sent, (unsigned long long)seed, (unsigned long long)ends);
    return 0;
}
