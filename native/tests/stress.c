/* Threads of one process at one ring: nothing lost, twice, torn or out of order. For TSan.
 *
 *   stress SEED SECONDS
 */
#include <pthread.h>

#include "harness.h"

enum { MOST = 4, EACH = 400 };

typedef struct {
    tn_segment segment;
    tn_queue queue;
    uint32_t reference;
    int producers, consumers;
    _Atomic uint8_t seen[MOST * EACH]; /* how often each message was received or revoked */
    _Atomic bool over;
    uint64_t seed;
} stage;

typedef struct {
    stage *stage;
    int number;
} actor;

static void *produce(void *argument) {
    actor *self = argument;
    stage *stage = self->stage;
    chance c = {stage->seed + (uint64_t)self->number};
    outgoing *out = malloc(sizeof *out);
    for (int i = 0; i < EACH; i++) {
        uint64_t tag = (uint64_t)(self->number * EACH + i), ticket;
        CHECK(make_message(&stage->segment, out, tag), "no memory");
        tn_result result;
        do {
            int64_t deadline = draw(&c, 3) ? TN_FOREVER : tn_now() + (int64_t)draw(&c, 100000);
            result = tn_ring_send(&stage->queue, &out->message, deadline, &ticket);
        } while (result == TN_TIMED_OUT || result == TN_INTERRUPTED);
        CHECK(result == TN_OK, "send gave %d", result);
        bool revoked = false;
        if (draw(&c, 10) == 0)
            CHECK(tn_ring_revoke(&stage->queue, ticket, &revoked) == TN_OK, "revoke");
        if (revoked) atomic_fetch_add(&stage->seen[tag], 1);
    }
    free(out);
    return NULL;
}

static void *consume(void *argument) {
    actor *self = argument;
    stage *stage = self->stage;
    int64_t last[MOST];
    memset(last, -1, sizeof last);
    chance c = {stage->seed * 31 + (uint64_t)self->number};
    tn_incoming *in = malloc(sizeof *in);
    for (;;) {
        int64_t deadline = draw(&c, 3) ? TN_FOREVER : tn_now() + (int64_t)draw(&c, 100000);
        tn_result result = tn_ring_recv(&stage->queue, in, self->number, deadline);
        if (result == TN_TIMED_OUT || result == TN_INTERRUPTED) continue;
        if (result == TN_SHUT) break;
        CHECK(result == TN_OK, "recv gave %d", result);
        int producer = (int)(in->tag / EACH);
        CHECK((int64_t)in->tag > last[producer], "%llu is out of order",
              (unsigned long long)in->tag);
        last[producer] = (int64_t)in->tag;
        if (!planted("lost", in->tag)) atomic_fetch_add(&stage->seen[in->tag], 1);
        if (planted("twice", in->tag)) atomic_fetch_add(&stage->seen[in->tag], 1);
        take_apart(&stage->segment, in);
        CHECK(tn_ring_task_done(&stage->queue) == TN_OK, "task_done");
    }
    free(in);
    return NULL;
}

/* Looks at everything that may be looked at from outside, and gives pages back in between. */
static void *meddle(void *argument) {
    stage *stage = argument;
    chance c = {stage->seed};
    while (!atomic_load(&stage->over)) {
        uint64_t bytes, tag, progress;
        int64_t since;
        uint64_t depth = tn_ring_depth(&stage->queue, &bytes);
        CHECK(depth <= (uint64_t)stage->producers * EACH, "depth %llu", (unsigned long long)depth);
        tn_ring_full(&stage->queue);
        tn_lease_read(&stage->queue, (int)draw(&c, MOST), &tag, &progress, &since);
        tn_ring_wait(&stage->queue, draw(&c, 2), UINT64_MAX, tn_now() + 1000);
        if (draw(&c, 20) == 0) tn_arena_trim(&stage->segment, draw(&c, 1000000), TN_FOREVER);
        if (draw(&c, 50) == 0) tn_ring_collect(&stage->queue);
        if (draw(&c, 50) == 0) tn_segment_sweep(&stage->segment, 0);
        if (draw(&c, 20) == 0) {
            tn_queue other;
            uint32_t reference;
            CHECK(tn_ring_create(&stage->segment, 0, 0, 3, &other, &reference) == TN_OK, "create");
            tn_block_release(&stage->segment, reference);
        }
    }
    return NULL;
}

static void play(uint64_t seed) {
    static const uint64_t bounds[] = {0, 1, 7, 100};
    stage *stage = calloc(1, sizeof *stage);
    chance c = {seed};
    stage->seed = seed;
    stage->producers = 1 + (int)draw(&c, MOST);
    stage->consumers = 1 + (int)draw(&c, MOST);
    CHECK(tn_segment_create(&stage->segment, UINT64_C(1) << 32) == TN_OK, "no segment");
    CHECK(tn_ring_create(&stage->segment, bounds[draw(&c, 4)], draw(&c, 2) ? 0 : 100000, MOST,
                         &stage->queue, &stage->reference) == TN_OK,
          "no ring");
    pthread_t producers[MOST], consumers[MOST], meddler;
    actor actors[2 * MOST];
    pthread_create(&meddler, NULL, meddle, stage);
    for (int i = 0; i < stage->producers; i++) {
        actors[i] = (actor){stage, i};
        pthread_create(&producers[i], NULL, produce, &actors[i]);
    }
    for (int i = 0; i < stage->consumers; i++) {
        actors[MOST + i] = (actor){stage, i};
        pthread_create(&consumers[i], NULL, consume, &actors[MOST + i]);
    }
    for (int i = 0; i < stage->producers; i++) pthread_join(producers[i], NULL);
    tn_ring_shutdown(&stage->queue, false);
    for (int i = 0; i < stage->consumers; i++) pthread_join(consumers[i], NULL);
    atomic_store(&stage->over, true);
    pthread_join(meddler, NULL);
    tn_janitor_stop();
    for (int i = 0; i < stage->producers * EACH; i++) {
        CHECK(stage->seen[i] == 1, "message %d was received or revoked %d times", i,
              stage->seen[i]);
    }
    check_nothing_left(&stage->segment, 1, 1);
    tn_block_release(&stage->segment, stage->reference);
    check_nothing_left(&stage->segment, 0, 0);
    tn_segment_unmap(&stage->segment);
    close(stage->segment.fd);
    free(stage);
}

/* Idle for less than a second, a small block loses its pages and a large one, in the middle of a
 * stream, does not; idle for longer, it does too. */
static void keep_large_pages_longer(void) {
    enum { SMALL = 1 << 20, LARGE = 128 << 20 };
    tn_segment segment;
    uint32_t small, large;
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 30) == TN_OK, "no segment");
    CHECK(tn_block_take(&segment, SMALL, &small) == TN_OK, "no block of 1 MB");
    CHECK(tn_block_take(&segment, LARGE, &large) == TN_OK, "no block of 128 MB");
    tn_block_release(&segment, small);
    tn_block_release(&segment, large);
    int64_t now = tn_now();
    uint64_t left = tn_arena_trim(&segment, 0, now);
    CHECK(left == LARGE, "%llu bytes are left at once", (unsigned long long)left);
    left = tn_arena_trim(&segment, 0, now + TN_SECOND);
    CHECK(left == 0, "%llu bytes are left later", (unsigned long long)left);
    tn_janitor_stop();
    tn_segment_unmap(&segment);
    close(segment.fd);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int64_t end = tn_now() + (argc > 2 ? strtoll(argv[2], NULL, 10) : 5) * TN_SECOND;
    int rounds = 0;
    keep_large_pages_longer();
    do {
        alarm(60); /* a hang ends with SIGALRM */
        play(seed + (uint64_t)rounds);
        rounds++;
    } while (tn_now() < end);
    printf("stress: %d rounds from seed %llu, nothing lost, twice, torn or out of order\n", rounds,
           (unsigned long long)seed);
    return 0;
}
