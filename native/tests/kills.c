/* Processes at one ring, killed with SIGKILL at random moments and replaced, under an exact account.
 *
 *   kills SEED SECONDS
 *
 * Every message that was sent is received exactly once, or lies under the lease of a dead consumer;
 * one that was being sent may exist or not; nothing is torn or leaked.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

enum { PRODUCERS = 2, CONSUMERS = 2, EACH = 200000 };
enum { NOTHING, SENDING, SENT, REVOKING, REVOKED };

typedef struct {
    _Atomic uint8_t sent[PRODUCERS * EACH];     /* what its producer did with each message */
    _Atomic uint8_t received[PRODUCERS * EACH]; /* how often */
    _Atomic uint32_t next[PRODUCERS];
    _Atomic uint64_t taking[CONSUMERS]; /* 1 + the tag that it took, until its lease is released */
} journal;

static tn_segment segment;
static tn_queue queue;
static journal *notes;

static void produce(int producer, uint64_t seed) {
    static outgoing out;
    chance c = {seed};
    for (uint32_t i; (i = atomic_load(&notes->next[producer])) < EACH;) {
        uint64_t tag = (uint64_t)producer * EACH + i, ticket;
        if (!make_message(&segment, &out, tag)) continue;
        atomic_store(&notes->sent[tag], SENDING);
        atomic_store(&notes->next[producer], i + 1);
        tn_result result;
        do result = tn_ring_send(&queue, &out.message, TN_FOREVER, &ticket);
        while (result == TN_INTERRUPTED);
        CHECK(result == TN_OK, "send gave %d", result);
        atomic_store(&notes->sent[tag], SENT);
        if (draw(&c, 10) != 0) continue;
        bool revoked;
        atomic_store(&notes->sent[tag], REVOKING);
        CHECK(tn_ring_revoke(&queue, ticket, &revoked) == TN_OK, "revoke");
        atomic_store(&notes->sent[tag], revoked ? REVOKED : SENT);
    }
}

static bool receive(int consumer) {
    static tn_incoming in;
    tn_result result;
    do result = tn_ring_recv(&queue, &in, consumer, TN_FOREVER);
    while (result == TN_INTERRUPTED);
    if (result == TN_SHUT) return false;
    CHECK(result == TN_OK, "recv gave %d", result);
    atomic_store(&notes->taking[consumer], in.tag + 1);
    if (!planted("lost", in.tag)) atomic_fetch_add(&notes->received[in.tag], 1);
    if (planted("twice", in.tag)) atomic_fetch_add(&notes->received[in.tag], 1);
    take_apart(&segment, &in);
    atomic_store(&tn_ring_lease(&queue, consumer)->busy, 0);
    return true;
}

static pid_t start(int actor, uint64_t seed) {
    uint32_t reference;
    tn_segment_expect_child(&segment);
    CHECK(tn_reference_take_for_child(&segment, queue.index, &reference) == TN_OK, "no reference");
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0, "fork");
    if (pid > 0) tn_segment_forked(&segment);
    if (pid > 0) return pid;
    end_with(parent);
    tn_janitor_forked();
    CHECK(tn_segment_register(&segment) == TN_OK, "no slot");
    if (actor < PRODUCERS) produce(actor, seed);
    else
        while (receive(actor - PRODUCERS)) {
        }
    _exit(0);
}

/* The lease is the last word on what a dead consumer had taken. */
static void account_for(int consumer) {
    uint64_t tag, progress;
    int64_t since;
    if (!tn_lease_read(&queue, consumer, &tag, &progress, &since)) return;
    if (atomic_load(&notes->received[tag]) == 0) atomic_fetch_add(&notes->received[tag], 1);
    /* Received by another, the lease would be a lie. */
    else
        CHECK(atomic_load(&notes->taking[consumer]) == tag + 1,
              "%llu is leased by one and received by another", (unsigned long long)tag);
    atomic_store(&tn_ring_lease(&queue, consumer)->busy, 0);
}

static bool end(pid_t pid, int signum) {
    int status;
    if (signum) kill(pid, signum);
    CHECK(waitpid(pid, &status, 0) == pid, "wait");
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "a child failed: status %d",
          status);
    return killed;
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int64_t seconds = argc > 2 ? strtoll(argv[2], NULL, 10) : 5;
    int64_t until = tn_now() + seconds * TN_SECOND;
    chance c = {seed};
    uint32_t reference;
    alarm((unsigned)seconds + 60);
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 34) == TN_OK, "no segment");
    CHECK(tn_ring_create(&segment, draw(&c, 2) ? 0 : 30, 0, CONSUMERS + 1, &queue, &reference) ==
              TN_OK,
          "no ring");
    pid_t pids[PRODUCERS + CONSUMERS];
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) pids[i] = start(i, seed + (uint64_t)i);
    unsigned kills = 0;
    while (tn_now() < until) {
        usleep((useconds_t)draw(&c, 4000)); /* the moment of a kill is random on purpose */
        int victim = (int)draw(&c, PRODUCERS + CONSUMERS);
        pid_t pid = pids[victim];
        kills += end(pid, SIGKILL);
        if (victim >= PRODUCERS) account_for(victim - PRODUCERS);
        if (draw(&c, 2)) tn_segment_sweep(&segment, (uint32_t)pid);
        pids[victim] = start(victim, seed * 1000 + kills);
    }
    for (int i = 0; i < PRODUCERS; i++) end(pids[i], SIGKILL);
    tn_ring_shutdown(&queue, false);
    for (int i = PRODUCERS; i < PRODUCERS + CONSUMERS; i++) end(pids[i], 0);
    while (receive(CONSUMERS - 1)) {
    }
    uint32_t leaked; /* what a child keeps is not leaked: it ends with the child */
    if (planted("leak", 7)) CHECK(tn_block_take(&segment, 1, &leaked) == TN_OK, "no memory");
    unsigned sent = 0, delivered = 0;
    for (int i = 0; i < PRODUCERS * EACH; i++) {
        int state = notes->sent[i], count = notes->received[i];
        CHECK(count <= 1, "message %d was received %d times", i, count);
        CHECK(state != SENT || count == 1, "message %d is lost", i);
        CHECK((state != NOTHING && state != REVOKED) || count == 0, "message %d (%d) was received",
              i, state);
        sent += state == SENT;
        delivered += (unsigned)count;
    }
    for (int i = 0; i < 60 && census(&segment, TN_HELD, true) > 1; i++) {
        usleep(200000); /* what was held for children killed right after their fork */
        tn_segment_sweep(&segment, 0);
    }
    tn_segment_sweep(&segment, 0);
    check_nothing_left(&segment, 1, 1);
    printf(
        "kills: %u kills from seed %llu, %u sent, %u delivered, none lost, twice, torn or leaked\n",
        kills, (unsigned long long)seed, sent, delivered);
    return 0;
}
