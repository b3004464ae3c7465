/* See platform/process.h. */
#include "../process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t tn_process_self(void) {
    return (uint32_t)getpid();
}

uint64_t tn_process_space(void) {
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

/* ---- birth ---- */

/* Where there is no /proc: a zombie still has its pid, but what watches a process says that it has ended. */
static uint64_t birth_unseen(uint32_t pid) {
#ifdef SYS_pidfd_open
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0U);
    if (fd < 0) return errno == ESRCH ? TN_GONE : TN_BIRTH_UNKNOWN;
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    bool ended = poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN) != 0;
    close(fd);
    if (ended) return TN_GONE;
#endif
    (void)pid;
    return TN_BIRTH_UNKNOWN;
}

/* The start time tells a reused pid from the process that registered. */
uint64_t tn_process_birth(uint32_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return birth_unseen(pid);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return TN_BIRTH_UNKNOWN;
    text[n] = 0;
    char *field = strrchr(text, ')'); /* the name before it may hold anything */
    if (field == NULL) return TN_BIRTH_UNKNOWN;
    char state = field[2];
    uint64_t threads = 0, start = 1;
    field += 2;
    for (int i = 3; i < 22 && field != NULL; i++) {
        field = strchr(field + 1, ' ');
        if (field != NULL && i + 1 == 20) threads = strtoull(field + 1, NULL, 10);
        if (field != NULL && i + 1 == 22) start = strtoull(field + 1, NULL, 10);
    }
    /* A zombie is dead, unless only its first thread has ended. */
    if ((state == 'Z' || state == 'X') && threads <= 1) return TN_GONE;
    return start > TN_BIRTH_UNKNOWN ? start : TN_BIRTH_UNKNOWN;
}

bool tn_process_lives(uint32_t pid, uint64_t birth) {
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return false;
    uint64_t now = tn_process_birth(pid);
    if (now == TN_GONE) return false;
    return now == birth || now == TN_BIRTH_UNKNOWN || birth == TN_BIRTH_UNKNOWN;
}

/* ---- forks ---- */

_Atomic uint32_t tn_forks = 1;

static void forked(void) {
    atomic_fetch_add(&tn_forks, 1);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forked);
}

void tn_process_count_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
}

/* ---- marks: a lock on a byte, through an open file of its own ---- */

static struct flock byte_at(uint64_t place) {
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)place, .l_len = 1};
}

int tn_mark_make(int file, uint64_t place) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = byte_at(place);
    if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) == 0) return fd;
    close(fd);
    return -1;
}

void tn_mark_drop(int mark) {
    close(mark);
}

tn_mark_state tn_mark_look(int file, uint64_t place) {
    struct flock lock = byte_at(place);
    if (fcntl(file, F_OFD_GETLK, &lock) != 0) return TN_MARK_UNKNOWN;
    return lock.l_type != F_UNLCK ? TN_MARK_HELD : TN_MARK_FREE;
}

#ifdef TINES_DEBUG
void tn_process_die(void) {
    kill(getpid(), SIGKILL);
}
#endif
