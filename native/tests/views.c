/* What a program received stays its own across forks, whatever the system refuses; and places for children.
 *
 *   views SEED SECONDS
 *
 * Messages arrive, are written to, are parted before forks and go again, while mappings fail at random and
 * pages have 4, 16 or 64 KiB: every view shows what its owner wrote last, also in children. Then the real
 * limits: no mapping left, no addresses, no private memory; and pages that are refused for another reason. Then slots: all taken by the dead, and a
 * child that is held up before it registers.
 *
 * Each call that maps, or gives memory back, is looked at (the linker's --wrap): a place or an offset that
 * is not a whole number of pages would be refused where pages are large.
 *
 * PLANT=shared|stale   views that are not parted, pages that are not dropped: both have to be noticed
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../core/views.h"
#include "../platform/pages.h"
#include "harness.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { MOST = 500, LENGTH = 40000 };

void *__real_mmap(void *place, size_t size, int protection, int kind, int fd, off_t offset);
int __real_madvise(void *place, size_t size, int advice);
int __real_fallocate(int fd, int mode, off_t offset, off_t size);

static chance luck;
static uint32_t refused_of_100; /* how many mappings fail */
static bool looking, keeps_stale;

typedef struct {
    uint32_t index; /* TN_NO_BLOCK: not there */
    uint64_t length, sent, seen;
    uint8_t *view;
    bool parted;
} message;

static tn_segment segment;
static message messages[MOST];

static void check_offset(uint64_t offset, const char *call) {
    CHECK(!looking || offset % tn_page_size() == 0, "%s at %llx", call, (unsigned long long)offset);
}

/* Where a system has large pages, the mappings themselves begin at one. */
static void check_place(const void *place, const char *call) {
    const uint8_t *bases[] = {segment.base, segment.views}, *at = place;
    for (int i = 0; i < 2; i++)
        if (at >= bases[i] && at < bases[i] + segment.size)
            check_offset((uint64_t)(at - bases[i]), call);
}

void *__wrap_mmap(void *place, size_t size, int protection, int kind, int fd, off_t offset) {
    if (kind & MAP_FIXED) check_place(place, "mmap");
    check_offset((uint64_t)offset, "mmap of a file");
    if (refused_of_100 > 0 && draw(&luck, 100) < refused_of_100) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(place, size, protection, kind, fd, offset);
}

/* What MADV_POPULATE_WRITE, and the older way to have pages, fail with; 0: they do not. */
static int populate_error, allocate_error;

static int refusal(int error) {
    errno = error;
    return -1;
}

int __wrap_madvise(void *place, size_t size, int advice) {
    check_place(place, "madvise");
    if (populate_error != 0 && advice == MADV_POPULATE_WRITE) return refusal(populate_error);
    if (keeps_stale && advice == MADV_DONTNEED) return 0;
    return __real_madvise(place, size, advice);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t size) {
    check_offset((uint64_t)offset, "fallocate");
    check_offset((uint64_t)size, "fallocate");
    if (allocate_error != 0 && mode == 0) return refusal(allocate_error);
    return __real_fallocate(fd, mode, offset, size);
}

/* ---- a program that receives ---- */

static void receive(message *m) {
    m->length = 1 + draw(&luck, LENGTH);
    m->sent = m->seen = draw(&luck, 1 << 20);
    CHECK(tn_block_take(&segment, m->length, &m->index) == TN_OK, "no block");
    const tn_block *block = tn_block_at(&segment, m->index);
    fill(tn_block_data(&segment, block), m->length, m->sent);
    m->view = tn_view_open(&segment, block);
    m->parted = false;
}

static void let_go(message *m) {
    tn_view_close(&segment, (uint64_t)(m->view - segment.views), m->length);
    tn_block_release(&segment, m->index);
    m->index = TN_NO_BLOCK;
}

static void write_to(message *m) {
    m->seen = draw(&luck, 1 << 20);
    fill(m->view, m->length, m->seen);
    if (!m->parted) m->sent = 0; /* written over in the file, or not */
}

static void check_message(const message *m) {
    CHECK(is_filled(m->view, m->length, m->seen), "a view has changed");
    const uint8_t *data = tn_block_data(&segment, tn_block_at(&segment, m->index));
    /* The file is other processes' as well from the moment of parting. */
    if (m->parted && m->sent) CHECK(is_filled(data, m->length, m->sent), "the file has changed");
}

static bool part_all(void) {
    tn_stretch stretches[MOST];
    uint32_t count = 0;
    bool plant = planted("shared", 7);
    for (int i = 0; i < MOST && !plant; i++) {
        message *m = &messages[i];
        if (m->index == TN_NO_BLOCK) continue;
        uint64_t offset = (uint64_t)(m->view - segment.views);
        if (!tn_view_is_apart(&segment, offset, m->length))
            stretches[count++] = (tn_stretch){offset, m->length};
    }
    if (!tn_views_part(&segment, stretches, count)) return false;
    for (int i = 0; i < MOST; i++) {
        if (messages[i].index != TN_NO_BLOCK) messages[i].parted = true;
    }
    return true;
}

static void check_all(void) {
    for (int i = 0; i < MOST; i++)
        if (messages[i].index != TN_NO_BLOCK) check_message(&messages[i]);
}

/* Parent and child both write to all; neither sees it. */
static void check_fork(void) {
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        end_with(parent);
        check_all();
        for (int i = 0; i < MOST; i++)
            if (messages[i].index != TN_NO_BLOCK) write_to(&messages[i]);
        check_all();
        _exit(0);
    }
    draw(&luck, 2);
    for (int i = 0; i < MOST; i += 2)
        if (messages[i].index != TN_NO_BLOCK) write_to(&messages[i]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %x", status);
    check_all();
}

static void check_runs(void) {
    uint32_t runs = 0;
    uint64_t all = (segment.size - segment.data_at) / TN_GRANULE;
    for (uint64_t i = 0; i < all; i++) {
        bool now = segment.apart[i / 64] >> i % 64 & 1;
        runs += now && (i == 0 || !(segment.apart[(i - 1) / 64] >> (i - 1) % 64 & 1));
    }
    CHECK(runs == segment.apart_runs, "%u runs are taken for %u", runs, segment.apart_runs);
}

static void begin(uint64_t size) {
    CHECK(tn_segment_create(&segment, size) == TN_OK, "no segment");
    for (int i = 0; i < MOST; i++) messages[i].index = TN_NO_BLOCK;
}

static void end(void) {
    for (int i = 0; i < MOST; i++)
        if (messages[i].index != TN_NO_BLOCK) let_go(&messages[i]);
    tn_segment_unmap(&segment);
    close(segment.fd);
}

static unsigned play(int64_t until) {
    static const uint64_t pages[] = {4096, 16384, 65536};
    unsigned forks = 0;
    do {
        uint64_t real = (uint64_t)sysconf(_SC_PAGESIZE), page = pages[draw(&luck, 3)];
        tn_page_size_pretend(page > real ? page : real);
        looking = true;
        begin(UINT64_C(1) << 27);
        for (int i = 0; i < 20000; i++) {
            message *m = &messages[draw(&luck, MOST)];
            uint64_t what = draw(&luck, 100);
            refused_of_100 = draw(&luck, 4) ? 0 : 40;
            if (m->index == TN_NO_BLOCK) receive(m);
            else if (what < 30) write_to(m);
            else if (what < 60) let_go(m);
            else check_message(m);
            if (draw(&luck, 1000) == 0 && part_all()) {
                refused_of_100 = 0;
                check_fork();
                forks++;
            }
        }
        refused_of_100 = 0;
        check_all();
        check_runs();
        end();
        looking = false;
        tn_page_size_pretend(real);
    } while (tn_now() < until);
    return forks;
}

/* ---- the real limits ---- */

/* Too far from each other to be parted as one. */
static void receive_far_apart(void) {
    enum { BETWEEN = 20 };
    static uint32_t between[MOST * BETWEEN];
    begin(UINT64_C(1) << 32);
    for (int i = 0; i < MOST; i++) {
        receive(&messages[i]);
        for (int j = 0; j < BETWEEN; j++)
            CHECK(tn_block_take(&segment, 1, &between[i * BETWEEN + j]) == TN_OK, "no block");
    }
    for (int i = 0; i < MOST * BETWEEN; i++) tn_block_release(&segment, between[i]);
}

static void without_mappings(void) {
    receive_far_apart();
    enum { TABLE = 70000 };
    static void *taken[TABLE];
    int count = 0;
    while (count < TABLE) {
        int protection = count % 2 ? PROT_READ : PROT_NONE; /* neighbours do not merge */
        void *place = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED) break;
        taken[count++] = place;
    }
    CHECK(count < TABLE, "the system's table of mappings has no end: %d", count);
    for (int i = 0; i < 3; i++) {
        CHECK(part_all(), "views are not parted where no mapping is left");
        check_fork();
    }
    for (int i = 0; i < MOST;
         i += 3) { /* nothing can be shared again, and nothing stale may show */
        let_go(&messages[i]);
        receive(&messages[i]);
    }
    check_all();
    CHECK(part_all(), "what came since is not parted");
    check_fork();
    for (int i = 0; i < count; i++) munmap(taken[i], 4096);
    end();
}

/* Of all addresses, or of private memory: no more than there is now. */
static rlim_t used_now(bool addresses) {
    unsigned long pages[6];
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL && fscanf(file, "%lu %lu %lu %lu %lu %lu", &pages[0], &pages[1], &pages[2],
                                 &pages[3], &pages[4], &pages[5]) == 6,
          "no /proc/self/statm");
    fclose(file);
    return (rlim_t)(addresses ? pages[0] : pages[5]) * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void with_limit(int which, const char *name, bool refused) {
    receive_far_apart();
    struct rlimit before, tight;
    CHECK(getrlimit(which, &before) == 0, "%s", name);
    tight = (struct rlimit){used_now(which == RLIMIT_AS) + (1 << 16), before.rlim_max};
    CHECK(setrlimit(which, &tight) == 0, "%s", name);
    CHECK(part_all() == !refused, "%s", name);
    check_all(); /* refused or not */
    CHECK(setrlimit(which, &before) == 0, "%s", name);
    CHECK(part_all(), "not even without %s", name);
    check_fork();
    end();
}

static void stale(void) {
    begin(UINT64_C(1) << 27);
    keeps_stale = planted("stale", 7);
    receive(&messages[0]);
    CHECK(part_all(), "not parted");
    write_to(&messages[0]);
    refused_of_100 = 100; /* so the place stays apart */
    let_go(&messages[0]);
    receive(&messages[0]);
    check_all();
    refused_of_100 = 0;
    end();
}

/* ---- slots ---- */

static void ended_well(pid_t pid, const char *what) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%s: %x", what, status);
}

static void slots_of_the_dead(void) {
    begin(UINT64_C(1) << 27);
    uint32_t kept, last;
    for (int i = 0; i < TN_SLOTS;
         i++) { /* as many children as there are slots, each killed at once */
        tn_segment_expect_child(&segment);
        CHECK(segment.child_slot != TN_NO_SLOT, "no slot for child %d", i);
        tn_segment_forked(&segment);
    }
    CHECK(tn_block_take(&segment, 1, &kept) == TN_OK, "no block");
    /* A child finds its place, and its own reference, and one that nobody expected as well. */
    CHECK(tn_block_share(&segment, kept, &last) == TN_OK, "not shared");
    for (int expected = 1; expected >= 0; expected--) {
        uint32_t reference = TN_NO_BLOCK;
        if (expected) tn_segment_expect_child(&segment);
        if (expected)
            CHECK(tn_reference_take_for_child(&segment, kept, &reference) == TN_OK, "no place");
        for (uint32_t i = 0; i < TN_SLOTS && !expected; i++) {
            tn_segment_expect_child(&segment);
            tn_segment_forked(&segment);
        }
        pid_t pid = fork();
        if (pid == 0) {
            CHECK(tn_segment_register(&segment) == TN_OK, "no slot");
            CHECK(!expected || tn_block_held(&segment, reference), "the reference is gone");
            _exit(0);
        }
        tn_segment_forked(&segment);
        ended_well(pid, "a child after many");
    }
    tn_segment_sweep(&segment, 0);
    CHECK(census(&segment, TN_HELD, true) == 1, "references of children are left");
    tn_block_release(&segment, last);
    end();
}

static void held_up(bool killed) {
    begin(UINT64_C(1) << 27);
    uint32_t kept, mine, its;
    int gate[2];
    char byte = 0;
    CHECK(pipe(gate) == 0, "no pipe");
    CHECK(tn_block_take(&segment, 1, &kept) == TN_OK, "no block");
    CHECK(tn_block_share(&segment, kept, &mine) == TN_OK, "not shared");
    tn_segment_expect_child(&segment);
    CHECK(tn_reference_take_for_child(&segment, kept, &its) == TN_OK, "no place");
    /* As if it had begun an hour ago. */
    uint64_t hour = UINT64_C(7200) * TN_SECOND / 2;
    tn_slot *slot = (tn_slot *)(segment.base + segment.slots_at) + segment.child_slot;
    segment.child_expected_since -= hour;
    atomic_fetch_sub(&slot->born, hour);
    pid_t pid = fork();
    if (pid == 0) {
        close(gate[1]);
        CHECK(read(gate[0], &byte, 1) == 0, "the gate");
        CHECK(tn_segment_register(&segment) == TN_OK, "no slot");
        CHECK(tn_block_held(&segment, its), "the reference is gone");
        _exit(0);
    }
    tn_segment_forked(&segment);
    CHECK(tn_segment_sweep(&segment, 0) == 0, "a child that is held up is taken for dead");
    CHECK(census(&segment, TN_HELD, true) == 2, "its reference is gone");
    if (killed) {
        kill(pid, SIGKILL);
        CHECK(waitpid(pid, NULL, 0) == pid, "the child");
        CHECK(tn_segment_sweep(&segment, 0) == 1, "its death is not seen");
        CHECK(census(&segment, TN_HELD, true) == 1, "its reference is left");
    }
    close(gate[1]);
    if (!killed) ended_well(pid, "a child that was held up");
    close(gate[0]);
    tn_block_release(&segment, mine);
    end();
}

/* What a block cannot have pages for, and what it is then told. */
static void refused(void) {
    static const struct {
        int populate, allocate;
        tn_result result;
    } cases[] = {
        {EINVAL, 0, TN_OK},
        {EPERM, 0, TN_OK},
        {ENOSYS, 0, TN_OK},
        {ENOMEM, 0, TN_NO_MEMORY},
        {EFAULT, 0, TN_NO_MEMORY},
        {EINVAL, ENOSPC, TN_NO_MEMORY},
        {EPERM, ENOMEM, TN_NO_MEMORY},
        {EPERM, EACCES, TN_SYSTEM_ERROR},
    };
    begin(UINT64_C(1) << 27);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t index;
        populate_error = cases[i].populate;
        allocate_error = cases[i].allocate;
        tn_result result = tn_block_take(&segment, 100000, &index);
        int error = errno;
        populate_error = allocate_error = 0;
        CHECK(result == cases[i].result, "%d and %d gave %d", cases[i].populate, cases[i].allocate,
              result);
        CHECK(result != TN_SYSTEM_ERROR || error == cases[i].allocate, "told of error %d", error);
        if (result == TN_OK) tn_block_release(&segment, index);
        tn_arena_trim(&segment, 0, TN_FOREVER); /* or the next finds its pages there */
        CHECK(census(&segment, TN_HELD, false) == 0, "something is kept");
    }
    end();
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int64_t seconds = argc > 2 ? strtoll(argv[2], NULL, 10) : 5;
    luck.state = seed;
    alarm((unsigned)seconds + 90);
    unsigned forks = play(tn_now() + seconds * TN_SECOND);
    stale();
    with_limit(RLIMIT_AS, "RLIMIT_AS", false);
    with_limit(RLIMIT_DATA, "RLIMIT_DATA", true);
    without_mappings();
    slots_of_the_dead();
    held_up(false);
    held_up(true);
    refused();
    printf("views: %u forks from seed %llu, each process kept what it wrote\n", forks,
           (unsigned long long)seed);
    return 0;
}
