/* Processes at locks, an owned semaphore and a condition, killed at random moments and at each step.
 *
 *   locks SEED SECONDS             processes, killed and replaced
 *   locks SEED SECONDS threads     threads of one process, killed never: for the thread sanitizer
 *
 * At no moment are two inside a lock, or more inside a semaphore than it has tokens; who comes after a
 * dead holder is told; every item is consumed, though consumers die after they were notified; in the
 * end every token is there again, and nothing is leaked.
 *
 * PLANT=unlocked|untold|swallow|token   a fault that has to be found
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../core/waiters.h"
#include "harness.h"

enum { ACTORS = 5, CONSUMERS = 3, TOKENS = 2, FIRST_STEP = TN_STEP_held, LAST = TN_STEP_COUNT };
enum { LOCK, RLOCK, TOKEN, GATE, PLACES, PRIMITIVES };

typedef struct {
    _Atomic uint32_t inside[2]; /* LOCK and RLOCK: who is in, or 0 */
    uint64_t one[2], two[2];    /* equal, unless who was changing them died */
    _Atomic uint32_t token[ACTORS + CONSUMERS];
    _Atomic uint32_t items, produced;
    _Atomic uint32_t stop; /* 1: produce no more; 2: nothing is left to be consumed either */
    _Atomic uint64_t rounds[ACTORS + CONSUMERS];
    uint64_t before;       /* rounds of those that were killed */
    _Atomic uint32_t told; /* how often somebody was told of a death */
    _Atomic uint32_t deaf; /* consumers that will consume no more: the fault "swallow" */
} journal;

static tn_segment segment;
static tn_sync primitive[PRIMITIVES];
static uint32_t reference[PRIMITIVES];
static journal *notes;
static bool mortal; /* this is a process that may be killed */

static tn_taken take(const tn_sync *sync) {
    tn_taken taken = tn_sync_try(sync);
    while (taken.result == TN_TIMED_OUT || taken.result == TN_INTERRUPTED)
        taken = tn_sync_acquire(sync, TN_FOREVER);
    CHECK(taken.result == TN_OK, "acquire gave %d", taken.result);
    if (taken.owner_died) atomic_fetch_add(&notes->told, 1);
    return taken;
}

static void give_back(const tn_sync *sync) {
    tn_result result = tn_sync_release(sync);
    CHECK(result == TN_OK, "release gave %d", result);
}

static void linger(chance *c) {
    for (uint64_t i = draw(c, 60); i > 0; i--) tn_relax();
}

/* A critical section that notices anybody else in it, and a death in the middle of it. */
static void enter(int which, uint32_t actor, chance *c) {
    const tn_sync *sync = &primitive[which];
    bool bare = planted("unlocked", draw(c, 1000));
    bool died = !bare && take(sync).owner_died;
    if (which == RLOCK && !bare) {
        CHECK(!take(sync).owner_died && tn_sync_count(sync) == 2, "not taken a second time");
        give_back(sync);
        CHECK(tn_sync_is_mine(sync), "not mine after one of two releases");
    }
    if (planted("untold", 7)) died = false;
    if (!bare) CHECK(tn_sync_recovered(sync) == died || planted("untold", 7), "not told the same");
    uint32_t before = atomic_exchange(&notes->inside[which], actor + 1);
    CHECK(before == 0 || died, "%u and %u are inside", before, actor + 1);
    if (died) notes->two[which] = notes->one[which];
    CHECK(notes->one[which] == notes->two[which], "half changed, and nobody was told");
    notes->one[which]++;
    linger(c);
    if (mortal && draw(c, 300) == 0) kill(getpid(), SIGKILL);
    notes->two[which]++;
    CHECK(atomic_exchange(&notes->inside[which], 0) == actor + 1, "another came in");
    if (!bare) give_back(sync);
}

static void take_token(uint32_t actor, chance *c) {
    bool bare = planted("token", draw(c, 60));
    if (!bare) take(&primitive[TOKEN]);
    atomic_store(&notes->token[actor], 1);
    linger(c);
    if (bare) usleep(3000);
    atomic_store(&notes->token[actor], 0);
    if (!bare) give_back(&primitive[TOKEN]);
}

/* Who died in there may have owed a notification, so all look again. */
static void take_gate(void) {
    if (take(&primitive[GATE]).owner_died)
        tn_waiters_notify(&primitive[PLACES], UINT64_MAX, TN_NOTIFIED);
}

static void produce(void) {
    take_gate();
    if (atomic_load(&notes->items) < 5) {
        atomic_fetch_add(&notes->items, 1);
        atomic_fetch_add(&notes->produced, 1);
        tn_waiters_notify(&primitive[PLACES], 1, TN_NOTIFIED);
    }
    give_back(&primitive[GATE]);
}

/* With the gate held: wait for a notification, as a condition does. */
static void await(int64_t deadline) {
    uint32_t place;
    tn_verdict verdict;
    CHECK(tn_waiters_enter(&primitive[PLACES], &place) == TN_OK, "no place");
    give_back(&primitive[GATE]);
    tn_result result;
    do result = tn_waiters_wait(&primitive[PLACES], place, NULL, deadline, &verdict);
    while (result == TN_INTERRUPTED);
    CHECK(result == TN_TIMED_OUT || verdict == TN_NOTIFIED, "woken by nobody");
    take_gate();
    tn_waiters_leave(&primitive[PLACES], place, false);
}

static void consume(chance *c) {
    take_gate();
    while (atomic_load(&notes->items) == 0 && atomic_load(&notes->stop) < 2) {
        await(draw(c, 8) ? TN_FOREVER : tn_now() + (int64_t)draw(c, 1000000));
        if (!planted("swallow", 7)) continue;
        atomic_fetch_add(&notes->deaf, 1);
        while (atomic_load(&notes->stop) < 2) await(TN_FOREVER);
    }
    if (atomic_load(&notes->items) > 0) atomic_fetch_sub(&notes->items, 1);
    give_back(&primitive[GATE]);
}

static void act(uint32_t actor, uint64_t seed) {
    chance c = {seed};
    while (atomic_load(&notes->stop) < (actor < ACTORS ? 1 : 2)) {
        if (actor >= ACTORS) consume(&c);
        else if (draw(&c, 4) == 0) enter(LOCK, actor, &c);
        else if (draw(&c, 3) == 0) enter(RLOCK, actor, &c);
        else if (draw(&c, 2) == 0) take_token(actor, &c);
        else produce();
        atomic_fetch_add(&notes->rounds[actor], 1);
    }
}

/* ---- threads ---- */

static void *run_thread(void *argument) {
    uint32_t actor = (uint32_t)(uintptr_t)argument;
    act(actor, actor + 1);
    return NULL;
}

static void play_threads(int64_t seconds) {
    pthread_t threads[ACTORS + CONSUMERS];
    for (uintptr_t i = 0; i < ACTORS + CONSUMERS; i++)
        CHECK(pthread_create(&threads[i], NULL, run_thread, (void *)i) == 0, "no thread");
    usleep((useconds_t)(seconds * 1000000)); /* how long the play is, not a wait for something */
    atomic_store(&notes->stop, 1);
    for (int i = 0; i < ACTORS; i++) CHECK(pthread_join(threads[i], NULL) == 0, "join");
    atomic_store(&notes->stop, 2);
    for (int i = ACTORS; i < ACTORS + CONSUMERS; i++) {
        while (pthread_tryjoin_np(threads[i], NULL) != 0) {
            tn_waiters_notify(&primitive[PLACES], UINT64_MAX, TN_NOTIFIED);
            usleep(1000);
        }
    }
}

/* ---- processes ---- */

typedef struct {
    pid_t pid;
    int step;    /* that it was told to die at, or -1 */
    bool killed; /* from here */
} victim;

static unsigned died_at[LAST];

static victim start(uint32_t actor, chance *c, bool dies) {
    victim born = {.step = dies && draw(c, 3) ? FIRST_STEP + (int)draw(c, LAST - FIRST_STEP) : -1};
    uint32_t countdown = 1 + (uint32_t)draw(c, 1 + draw(c, 60)), index;
    uint64_t seed = draw(c, UINT64_MAX);
    tn_segment_expect_child(&segment);
    for (int i = 0; i < PRIMITIVES; i++)
        CHECK(tn_reference_take_for_child(&segment, primitive[i].index, &index) == TN_OK, "no ref");
    pid_t parent = getpid();
    born.pid = fork();
    CHECK(born.pid >= 0, "fork");
    if (born.pid > 0) tn_segment_forked(&segment);
    if (born.pid > 0) return born;
    end_with(parent);
    tn_janitor_forked();
    CHECK(tn_segment_register(&segment) == TN_OK, "no slot");
    if (born.step >= 0) tn_step_arm((tn_step)born.step, countdown);
    mortal = dies;
    act(actor, seed);
    _exit(0);
}

/* True if it has ended by being killed; what it noted of itself is then out of date. */
static bool ended(victim *who, uint32_t actor, int flags) {
    int status;
    pid_t pid = waitpid(who->pid, &status, flags);
    if (pid == 0) return false;
    CHECK(pid == who->pid, "wait");
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "%u failed: status %d", actor,
          status);
    atomic_store(&notes->token[actor], 0);
    return true;
}

static void count_tokens(void) {
    unsigned held = 0;
    for (int i = 0; i < ACTORS; i++) held += atomic_load(&notes->token[i]);
    CHECK(held <= TOKENS, "%u have one of %d tokens", held, TOKENS);
}

/* All have to come to their end by themselves, whoever was killed before. */
static void finish(victim *who) {
    int64_t patience = tn_now() + 30 * TN_SECOND;
    atomic_store(&notes->stop, 1);
    for (uint32_t i = 0; i < ACTORS; i++) ended(&who[i], i, 0);
    while (atomic_load(&notes->items) > 0) {
        CHECK(tn_now() < patience, "%u items, and nobody consumes them", notes->items);
        usleep(10000);
    }
    atomic_store(&notes->stop, 2);
    for (uint32_t i = ACTORS; i < ACTORS + CONSUMERS; i++) {
        while (!ended(&who[i], i, WNOHANG)) {
            CHECK(tn_now() < patience, "%u does not end", i);
            take(&primitive[GATE]);
            tn_waiters_notify(&primitive[PLACES], UINT64_MAX, TN_NOTIFIED);
            give_back(&primitive[GATE]);
            usleep(1000);
        }
    }
}

static unsigned play_processes(chance *c, int64_t until) {
    victim who[ACTORS + CONSUMERS];
    unsigned kills = 0;
    for (uint32_t i = 0; i < ACTORS + CONSUMERS; i++) who[i] = start(i, c, true);
    while (tn_now() < until) {
        usleep((useconds_t)draw(c, 3000)); /* the moment of a kill is random on purpose */
        uint32_t chosen = (uint32_t)draw(c, ACTORS + CONSUMERS);
        if (draw(c, 3) == 0) who[chosen].killed = kill(who[chosen].pid, SIGKILL) == 0;
        for (uint32_t i = 0; i < ACTORS + CONSUMERS; i++) {
            pid_t pid = who[i].pid;
            if (!ended(&who[i], i, WNOHANG)) continue;
            kills++;
            if (who[i].step >= 0 && !who[i].killed) died_at[who[i].step]++;
            if (draw(c, 8)) tn_segment_sweep(&segment, (uint32_t)pid);
            who[i] = start(i, c, true);
        }
        count_tokens();
    }
    /* The last ones shall live: a death now would be mistaken for the end. */
    for (uint32_t i = 0; i < ACTORS + CONSUMERS; i++) {
        kill(who[i].pid, SIGKILL);
        ended(&who[i], i, 0);
    }
    atomic_store(&notes->deaf, 0);
    for (uint32_t i = 0; i < ACTORS + CONSUMERS; i++) {
        notes->before += atomic_exchange(&notes->rounds[i], 0);
        who[i] = start(i, c, false);
    }
    /* A planted fault is seen once it has taken hold of each consumer ... */
    while (planted("swallow", 7) && atomic_load(&notes->deaf) < CONSUMERS) usleep(1000);
    /* ... and then after enough rounds to fill what is not consumed. */
    for (uint32_t i = 0; i < ACTORS; i++) {
        uint64_t enough = atomic_load(&notes->rounds[i]) + 100;
        while (atomic_load(&notes->rounds[i]) < enough) usleep(1000);
    }
    finish(who);
    return kills;
}

/* Nobody is left: whatever was held can be had again, and nothing is leaked. */
static void check_end(void) {
    for (int i = 0; i < 60 && census(&segment, TN_HELD, true) > PRIMITIVES; i++) {
        usleep(200000); /* what was held for children killed right after their fork */
        tn_segment_sweep(&segment, 0);
    }
    tn_segment_sweep(&segment, 0);
    for (int i = 0; i < TOKENS; i++) take(&primitive[TOKEN]);
    CHECK(tn_sync_try(&primitive[TOKEN]).result == TN_TIMED_OUT, "a token too many");
    take(&primitive[LOCK]);
    take(&primitive[RLOCK]);
    take(&primitive[GATE]);
    CHECK(tn_waiters_count(&primitive[PLACES]) == 0, "somebody dead still waits");
    CHECK(census(&segment, TN_HELD, true) == PRIMITIVES, "%u references",
          census(&segment, TN_HELD, true));
    CHECK(census(&segment, TN_SHARED, false) == PRIMITIVES, "primitives are leaked");
    CHECK(census(&segment, TN_HELD, false) == 0, "blocks are leaked");
}

int main(int argc, char **argv) {
    static const tn_kind kinds[] = {TN_LOCK, TN_RLOCK, TN_OWNED, TN_LOCK, TN_WAITERS};
    static const uint64_t limits[] = {0, 0, TOKENS, 0, TN_MOST_WAITERS};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int64_t seconds = argc > 2 ? strtoll(argv[2], NULL, 10) : 5;
    bool threads = argc > 3;
    chance c = {seed};
    unsigned kills = 0;
    alarm((unsigned)seconds + 60);
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 32) == TN_OK, "no segment");
    for (int i = 0; i < PRIMITIVES; i++)
        CHECK(tn_sync_create(&segment, kinds[i], limits[i], limits[i], &primitive[i],
                             &reference[i]) == TN_OK,
              "no primitive");
    if (threads) play_threads(seconds);
    else kills = play_processes(&c, tn_now() + seconds * TN_SECOND);
    check_end();
    for (int i = FIRST_STEP; i < LAST && !threads; i++) {
        CHECK(died_at[i] > 0 || kills < 800, "nobody was killed at %s", tn_step_names[i]);
        printf("%s=%u ", tn_step_names[i], died_at[i]);
    }
    uint64_t rounds = notes->before;
    for (int i = 0; i < ACTORS + CONSUMERS; i++) rounds += notes->rounds[i];
    printf("locks: %u kills from seed %llu, %llu rounds, %u times told, never two inside\n", kills,
           (unsigned long long)seed, (unsigned long long)rounds, notes->told);
    return 0;
}
