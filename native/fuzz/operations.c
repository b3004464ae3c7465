/* Sequences of operations on a ring, beside a model of it: a plain list. They have to agree.
 *
 * Each two bytes of the input are one operation and its argument. With libFuzzer (clang) the input comes
 * from it; with -DSTANDALONE it is drawn at random, after what is in the files: operations SEED SECONDS
 * [FILE...]. Seeds that are kept lie in seeds/.
 */
#include "../tests/harness.h"

enum { MOST = 4096, LEASES = 3 };

/* What the ring should hold. */
typedef struct {
    uint64_t tag, bytes, ticket;
    bool revoked;
} entry;

typedef struct {
    entry entries[MOST];
    uint32_t first, last; /* entries first..last-1 are in the queue */
    uint64_t max_items, max_bytes, next_tag, done;
    int shut;
    uint64_t leased[LEASES]; /* 1 + tag */
} model;

static tn_segment segment;
static tn_queue queue;
static model *expected;

static uint32_t depth(void) {
    uint32_t count = 0;
    for (uint32_t i = expected->first; i < expected->last; i++)
        count += !expected->entries[i].revoked;
    return expected->shut > 1 ? 0 : count;
}

static uint64_t bytes(void) {
    uint64_t sum = 0;
    for (uint32_t i = expected->first; i < expected->last; i++) sum += expected->entries[i].bytes;
    return expected->shut > 1 ? 0 : sum;
}

static bool has_room(uint64_t more) {
    if (expected->max_items && depth() >= expected->max_items) return false;
    return expected->max_bytes == 0 || depth() == 0 || bytes() + more <= expected->max_bytes;
}

static void do_send(uint8_t argument) {
    static outgoing out;
    uint64_t tag = expected->next_tag + argument;
    if (expected->last == MOST) return;
    CHECK(make_message(&segment, &out, tag), "no memory");
    entry *next = &expected->entries[expected->last];
    *next = (entry){.tag = tag, .bytes = out.message.bytes};
    bool contended;
    tn_result result = tn_ring_send_now(&queue, &out.message, &next->ticket, &contended);
    if (expected->shut) CHECK(result == TN_SHUT, "send after shutdown gave %d", result);
    else if (!has_room(out.message.bytes))
        CHECK(result == TN_TIMED_OUT, "send to a full ring gave %d", result);
    else CHECK(result == TN_OK, "send gave %d", result);
    if (result != TN_OK) {
        drop_message(&segment, &out);
        return;
    }
    expected->last++;
    expected->next_tag += 256;
}

static void do_recv(uint8_t argument) {
    static tn_incoming in;
    int lease = argument % 5 < LEASES ? argument % 5 : TN_NO_LEASE;
    bool contended;
    tn_result result = tn_ring_recv_now(&queue, &in, lease, &contended);
    if (expected->shut > 1) {
        CHECK(result == TN_SHUT, "recv gave %d after an immediate shutdown", result);
        return;
    }
    while (expected->first < expected->last && expected->entries[expected->first].revoked)
        expected->first++;
    if (expected->first == expected->last) {
        CHECK(result == (expected->shut ? TN_SHUT : TN_TIMED_OUT),
              "recv from an empty ring gave %d", result);
        return;
    }
    CHECK(result == TN_OK, "recv gave %d", result);
    CHECK(in.tag == expected->entries[expected->first].tag, "out of order");
    take_apart(&segment, &in);
    if (lease >= 0) expected->leased[lease] = in.tag + 1;
    expected->first += planted("twice", in.tag) ? 0 : planted("lost", in.tag) ? 2 : 1;
}

static void do_revoke(uint8_t argument) {
    bool revoked;
    if (expected->last == 0) return;
    uint32_t index = argument % expected->last;
    entry *at = &expected->entries[index];
    CHECK(tn_ring_revoke(&queue, at->ticket, &revoked) == TN_OK, "revoke");
    CHECK(revoked == (index >= expected->first && !at->revoked), "revoked %d", revoked);
    at->revoked = at->revoked || revoked;
    expected->done += revoked; /* nobody will call task_done() for it */
}

static void do_release(uint8_t argument) {
    int lease = argument % LEASES;
    atomic_store(&tn_ring_lease(&queue, lease)->busy, 0);
    expected->leased[lease] = 0;
}

static void do_task_done(void) {
    tn_result result = tn_ring_task_done(&queue);
    bool may = expected->shut < 2 && expected->done < expected->last;
    CHECK(result == (may ? TN_OK : TN_TOO_MANY), "task_done gave %d", result);
    expected->done += may;
}

static void compare(void) {
    uint64_t held, tag, progress;
    int64_t since;
    CHECK(tn_ring_depth(&queue, &held) == depth(), "depth");
    CHECK(held == bytes(), "%llu bytes, not %llu", (unsigned long long)held,
          (unsigned long long)bytes());
    CHECK(tn_ring_full(&queue) == !has_room(1), "full");
    for (int i = 0; i < LEASES; i++) {
        bool busy = tn_lease_read(&queue, i, &tag, &progress, &since);
        CHECK(busy == (expected->leased[i] != 0), "lease %d", i);
        CHECK(!busy || tag + 1 == expected->leased[i], "lease %d", i);
    }
}

static void operate(uint8_t operation, uint8_t argument) {
    switch (operation % 12) {
    case 0:
    case 1:
    case 2:
    case 3:
        do_send(argument);
        break;
    case 4:
    case 5:
    case 6:
        do_recv(argument);
        break;
    case 7:
        do_revoke(argument);
        break;
    case 8:
        do_release(argument);
        break;
    case 9:
        do_task_done();
        break;
    case 10:
        if (argument % 3 == 0) tn_ring_collect(&queue);
        else if (argument % 3 == 1) tn_arena_trim(&segment, argument * 1000u, TN_FOREVER);
        else tn_rings_repair(&segment);
        break;
    default:
        if (argument > 8) break;
        tn_ring_shutdown(&queue, argument == 0);
        if (expected->shut < 1 + (argument == 0)) expected->shut = 1 + (argument == 0);
    }
    compare();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t items[] = {0, 0, 1, 5}, limits[] = {0, 0, 1, 50000};
    static bool made;
    uint32_t reference;
    if (size < 3) return 0;
    if (!made) CHECK(tn_segment_create(&segment, UINT64_C(1) << 34) == TN_OK, "no segment");
    if (!made) expected = malloc(sizeof *expected);
    made = true;
    memset(expected, 0, sizeof *expected);
    expected->max_items = items[data[0] % 4];
    expected->max_bytes = limits[data[0] / 4 % 4];
    CHECK(tn_ring_create(&segment, expected->max_items, expected->max_bytes, LEASES, &queue,
                         &reference) == TN_OK,
          "no ring");
    for (size_t i = 1; i + 1 < size; i += 2) operate(data[i], data[i + 1]);
    tn_block_release(&segment, reference);
    check_nothing_left(&segment, 0, 0);
    return 0;
}

#ifdef STANDALONE
static void replay(const char *name, uint8_t *data, size_t most) {
    FILE *file = fopen(name, "rb");
    CHECK(file != NULL, "%s cannot be read", name);
    size_t size = fread(data, 1, most, file);
    fclose(file);
    fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, runs = 0;
    int64_t end = tn_now() + (argc > 2 ? strtoll(argv[2], NULL, 10) : 5) * TN_SECOND;
    static uint8_t data[2000];
    for (int i = 3; i < argc; i++) replay(argv[i], data, sizeof data);
    for (; tn_now() < end; runs++) {
        chance c = {seed + runs};
        size_t size = 3 + draw(&c, sizeof data - 3);
        for (size_t i = 0; i < size; i++) data[i] = (uint8_t)draw(&c, 256);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("fuzz: %llu sequences from seed %llu agreed with the model\n", (unsigned long long)runs,
           (unsigned long long)seed);
    return 0;
}
#endif
