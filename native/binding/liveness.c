/* Ending with one's parent: the twin of the Python way in tines.process.liveness.
 *
 * The kernel sends BEREAVED to the child when its lifeline is at its end, and the handler does the rest,
 * without the GIL and without the interpreter: SIGTERM, and after GRACE_MS SIGKILL to what is still
 * there. SIGTERM may end this very process at once, or do nothing, so the second step belongs to a
 * helper: a bare fork, which shares no descriptor and runs system calls only. All that happens here is
 * async-signal-safe. To bind takes one call, as each page that a forked child is the first to touch
 * costs it a fault. */
#include "liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BEREAVED (SIGRTMAX - 6)

enum { GRACE_MS = 1000, LOOK_MS = 20, MOST_DESCRIPTORS = 1 << 16 };

static pid_t bare_fork(void) {
    /* Not fork(): that runs hooks, which may wait for locks that this thread holds. Without a signal at
     * its end, so that the program's own handler of SIGCHLD hears nothing of it. */
#if defined(__s390x__)
    return (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
#else
    return (pid_t)syscall(SYS_clone, 0UL, 0UL, 0UL, 0UL, 0UL);
#endif
}

static void close_all(void) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 0U, ~0U, 0U) == 0) return;
#endif
    struct rlimit limit;
    int count = MOST_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)count)
        count = (int)limit.rlim_cur;
    for (int fd = 0; fd < count; fd++) close(fd);
}

static bool is_over(pid_t pid, bool group) {
    if (getppid() == pid) return false;
    return !group || (kill(-pid, 0) < 0 && errno == ESRCH);
}

static _Noreturn void see_to_it(pid_t pid, bool group) {
    close_all();
    if (group) (void)setpgid(0, 0);
    for (int waited = 0; waited < GRACE_MS; waited += LOOK_MS) {
        if (is_over(pid, group)) _exit(0);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    if (group) kill(-pid, SIGKILL);
    if (getppid() == pid) kill(pid, SIGKILL);
    _exit(0);
}

static void end(bool group) {
    sigset_t every, before;
    pid_t pid = getpid();
    sigfillset(&every);
    /* The helper is in the group too, until it has left it. */
    sigprocmask(SIG_BLOCK, &every, &before);
    pid_t helper = bare_fork();
    if (helper == 0) see_to_it(pid, group);
    int signum = helper < 0 ? SIGKILL : SIGTERM;
    if (group) kill(-pid, signum);
    if (!group || getpgrp() != pid) kill(pid, signum); /* not twice: a handler may be cleaning up */
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Two, as a handler is told no more than the descriptor. */
static void end_alone(int signum, siginfo_t *info, void *context) {
    (void)signum, (void)context;
    int saved = errno;
    if (info->si_code > 0) end(false); /* from the kernel */
    errno = saved;
}

static void end_group(int signum, siginfo_t *info, void *context) {
    (void)signum, (void)context;
    int saved = errno;
    if (info->si_code > 0) end(true);
    errno = saved;
}

static bool ask_for_signal(int fd, bool group) {
    struct sigaction action = {.sa_sigaction = group ? end_group : end_alone,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigset_t bereaved;
    sigfillset(&action.sa_mask);
    sigemptyset(&bereaved);
    sigaddset(&bereaved, BEREAVED);
    return sigaction(BEREAVED, &action, NULL) == 0 &&
           sigprocmask(SIG_UNBLOCK, &bereaved, NULL) == 0 && fcntl(fd, F_SETSIG, BEREAVED) == 0 &&
           fcntl(fd, F_SETOWN, getpid()) == 0 && fcntl(fd, F_SETFL, O_RDONLY | O_ASYNC) == 0;
}

static bool at_end(int fd) {
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int count;
    do {
        count = poll(&wanted, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

PyObject *end_with_parent(PyObject *module, PyObject *args) {
    (void)module;
    int fd, group;
    if (!PyArg_ParseTuple(args, "ip:end_with_parent", &fd, &group)) return NULL;
    if (!ask_for_signal(fd, group)) return PyErr_SetFromErrno(PyExc_OSError);
    /* Looked at afterwards, so that an end in between is seen. Nothing of the user's runs yet. */
    if (at_end(fd)) kill(group ? 0 : getpid(), SIGKILL);
    Py_RETURN_NONE;
}

PyObject *set_parent_death_signal(PyObject *module, PyObject *arg) {
    (void)module;
    int signum = (int)PyLong_AsLong(arg);
    if (PyErr_Occurred()) return NULL;
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)signum) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
