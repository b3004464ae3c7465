/* What happens at a fork, and how one is refused.
 *
 * Python's hooks only announce a fork: another thread may run between them and the fork itself, receive
 * or make something, or fork as well. So the work is done within fork(), where the GIL is not let go of:
 *
 *   prepare   a place for the child in each segment; what was received is isolated; references in the
 *             child's name
 *   child     ends at once if it could not be isolated: what it wrote would be its parent's data
 *   hook      it registers, and takes over what is held in its name
 *
 * Within fork() it is too late for an error. `isolate` does the part that can fail beforehand and
 * raises; the start methods call it. For os.fork() an audit hook does, which is the only one that can
 * stop it. Each audited event costs then a little more, so it is added only where isolation may fail:
 * where a limit counts the addresses of this process or what is promised to it, or when it has failed. */
#include "forking.h"
#include "binding.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../core/janitor.h"

static _Thread_local module_state *about_to_fork, *forking;
static _Thread_local bool refused;
static bool has_failed; /* in this process, or a forebear */

static const char REASON[] =
    "the arrays that this process has received cannot be kept apart from a child's, so it "
    "may not fork now: the system's limits (ulimit -v, ulimit -d, vm.overcommit_memory) or the "
    "segment leave no room for it; let go of some, or use the start method 'spawn'";

static const char LAST_WORDS[] =
    "tines: this child ends as soon as it was forked. It would have shared the arrays that its "
    "parent "
    "has received, and changed them there: no room was left to keep them apart (ulimit -v, "
    "ulimit -d, vm.overcommit_memory). The parent can let go of some, or use 'spawn'.\n";

enum { EXIT_CODE = 71 }; /* EX_OSERR of sysexits.h */

static void prepare(void) {
    module_state *state = about_to_fork;
    about_to_fork = NULL;
    refused = false;
    forking = state;
    if (state == NULL) return; /* not Python's, or on its way to an exec */
    tn_janitor_stop();
    segments_before_fork(state);
    refused = blocks_before_fork(state) != TN_OK;
    has_failed |= refused;
    rings_before_fork(state);
    syncs_before_fork(state);
}

static void in_parent(void) {
    refused = false;
    if (forking != NULL) segments_after_fork_in_parent(forking);
}

static void in_child(void) {
    if (!refused) return;
    ssize_t written = write(STDERR_FILENO, LAST_WORDS, sizeof LAST_WORDS - 1);
    (void)written;
    _exit(EXIT_CODE);
}

static void watch_forks(void) {
    pthread_atfork(prepare, in_parent, in_child);
}

static bool isolate_or_raise(module_state *state) {
    tn_result result = blocks_isolate(state);
    if (result == TN_OK) return true;
    has_failed = true;
    PyObject *error = PyObject_CallFunction(state->transport_error, "is", ENOMEM, REASON);
    if (error != NULL) PyErr_SetObject(state->transport_error, error);
    Py_XDECREF(error);
    return false;
}

PyObject *isolate(PyObject *module, PyObject *unused) {
    (void)unused;
    if (!isolate_or_raise(PyModule_GetState(module))) return NULL;
    Py_RETURN_NONE;
}

static int audit(const char *event, PyObject *args, void *state) {
    (void)args;
    if (strcmp(event, "os.fork") != 0 && strcmp(event, "os.forkpty") != 0) return 0;
    return isolate_or_raise(state) ? 0 : -1;
}

static bool may_fail(void) {
    struct rlimit addresses, data;
    bool limited = (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) ||
                   (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY);
    char mode = '0';
    FILE *file = limited ? NULL : fopen("/proc/sys/vm/overcommit_memory", "re");
    if (file != NULL) {
        if (fread(&mode, 1, 1, file) != 1) mode = '0';
        fclose(file);
    }
    return limited || mode == '2';
}

void forks_watch_audit(module_state *state) {
    static bool added;
    if (added || !(has_failed || may_fail())) return;
    added = true;
    if (PySys_AddAuditHook(audit, state) < 0) PyErr_Clear(); /* another hook forbids it */
}

PyObject *before_fork(PyObject *module, PyObject *unused) {
    (void)unused;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    about_to_fork = PyModule_GetState(module);
    Py_RETURN_NONE;
}

PyObject *after_fork_in_parent(PyObject *module, PyObject *unused) {
    (void)unused;
    if (has_failed) forks_watch_audit(PyModule_GetState(module)); /* the next is refused */
    Py_RETURN_NONE;
}

PyObject *after_fork_in_child(PyObject *module, PyObject *unused) {
    (void)unused;
    module_state *state = PyModule_GetState(module);
    tn_janitor_forked();
    segments_after_fork_in_child(state);
    rings_after_fork_in_child(state);
    syncs_after_fork_in_child(state);
    blocks_after_fork_in_child(state);
    Py_RETURN_NONE;
}
