/* See platform/free_memory.h. Looked at are the system's own figure and every control group from this
 * process's up to the root, in both versions of the interface; the tightest counts. Inside a container the
 * group that /proc names may not be visible under its path: its files are then those at the root. */
#include "../free_memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct {
    const char *base, *limit, *usage;
    const char *active_file,
        *inactive_file; /* lines of memory.stat: page cache, given back at need */
} interface;

static const interface VERSION_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                    "memory.usage_in_bytes", "total_active_file ",
                                    "total_inactive_file "};
static const interface VERSION_2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                    "active_file ", "inactive_file "};

static bool read_file(const char *directory, const char *name, char *text, size_t size) {
    char path[640];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n <= 0) return false;
    text[n] = 0;
    return true;
}

static bool read_number(const char *directory, const char *name, uint64_t *value) {
    char text[64];
    if (!read_file(directory, name, text, sizeof text)) return false;
    if (text[0] < '0' || text[0] > '9') return false; /* "max" */
    *value = strtoull(text, NULL, 10);
    return true;
}

/* The number behind a word at the beginning of a line; 0 where there is none. */
static uint64_t number_behind(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, word, length) == 0) return strtoull(line + length, NULL, 10);
    }
    return 0;
}

static uint64_t left_in(const interface *version, const char *directory) {
    uint64_t limit, usage;
    char text[8192];
    if (!read_number(directory, version->limit, &limit)) return UINT64_MAX;
    if (!read_number(directory, version->usage, &usage)) return UINT64_MAX;
    if (read_file(directory, "memory.stat", text, sizeof text)) {
        uint64_t cache =
            number_behind(text, version->active_file) + number_behind(text, version->inactive_file);
        usage = cache < usage ? usage - cache : 0;
    }
    return tn_without_reserve(usage < limit ? limit - usage : 0, limit);
}

/* The group with this path, and every one above it. */
static uint64_t left_along(const interface *version, const char *path) {
    char directory[576];
    size_t base = strlen(version->base), length = strcspn(path, "\n");
    if (base + length >= sizeof directory) length = 0;
    memcpy(directory, version->base, base);
    memcpy(directory + base, path, length);
    directory[base + length] = 0;
    uint64_t left = UINT64_MAX;
    for (;;) {
        uint64_t here = left_in(version, directory);
        if (here < left) left = here;
        char *slash = strrchr(directory + base, '/');
        if (slash == NULL) return left;
        *slash = 0;
    }
}

static uint64_t left_in_cgroups(void) {
    char text[4096];
    uint64_t left = UINT64_MAX;
    if (!read_file("/proc/self", "cgroup", text, sizeof text)) return left;
    /* Lines are "number:controllers:/path"; version 2 is number 0 and names no controllers. */
    for (const char *line = text; line != NULL && *line != 0; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        const char *path = strchr(line, '/');
        if (path == NULL) break;
        const char *memory = strstr(line, "memory");
        const interface *version = NULL;
        if (strncmp(line, "0::", 3) == 0) version = &VERSION_2;
        else if (memory != NULL && memory < path) version = &VERSION_1;
        uint64_t here = version != NULL ? left_along(version, path) : UINT64_MAX;
        if (here < left) left = here;
    }
    return left;
}

uint64_t tn_memory_left(void) {
    char text[4096];
    uint64_t left = UINT64_MAX;
    if (read_file("/proc", "meminfo", text, sizeof text)) {
        uint64_t available = number_behind(text, "MemAvailable:") * 1024;
        uint64_t total = number_behind(text, "MemTotal:") * 1024;
        if (available > 0) left = tn_without_reserve(available, total);
    }
    uint64_t group = left_in_cgroups();
    return group < left ? group : left;
}

uint64_t tn_private_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    char text[256];
    unsigned long long data = 0;
    if (!read_file("/proc/self", "statm", text, sizeof text) ||
        sscanf(text, "%*u %*u %*u %*u %*u %llu", &data) != 1)
        return UINT64_MAX;
    uint64_t used = data * (uint64_t)sysconf(_SC_PAGESIZE);
    return used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}
