/* How much memory may still be taken. Asked before the segment grows by a lot: past a container's
 * limit the kernel kills instead of refusing, so the refusal has to be ours. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"

static bool read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n <= 0) return false;
    text[n] = 0;
    return true;
}

static bool read_number(const char *directory, const char *name, uint64_t *value) {
    char path[512], text[64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (!read_file(path, text, sizeof text) || text[0] < '0' || text[0] > '9') return false;
    *value = strtoull(text, NULL, 10);
    return true;
}

static uint64_t left_in(const char *directory, const char *limit_name, const char *usage_name) {
    uint64_t limit, usage;
    if (!read_number(directory, limit_name, &limit)) return UINT64_MAX;
    if (!read_number(directory, usage_name, &usage)) return UINT64_MAX;
    return usage < limit ? limit - usage : 0;
}

static uint64_t left_in_cgroups(void) {
    char text[1024], directory[640];
    uint64_t left =
        left_in("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes");
    if (!read_file("/proc/self/cgroup", text, sizeof text)) return left;
    char *path = strstr(text, "0::");
    if (path == NULL) return left;
    path += 3;
    path[strcspn(path, "\n")] = 0;
    if (strlen(path) > 500) return left;
    /* The group itself and every one above it: the tightest counts. */
    for (;;) {
        snprintf(directory, sizeof directory, "/sys/fs/cgroup%s", path);
        uint64_t here = left_in(directory, "memory.max", "memory.current");
        if (here < left) left = here;
        char *slash = strrchr(path, '/');
        if (slash == NULL || path[0] == 0) return left;
        *slash = 0;
    }
}

uint64_t tn_memory_left(void) {
    char text[4096];
    uint64_t left = UINT64_MAX;
    if (read_file("/proc/meminfo", text, sizeof text)) {
        const char *line = strstr(text, "MemAvailable:");
        if (line != NULL) left = strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024;
    }
    uint64_t group = left_in_cgroups();
    return group < left ? group : left;
}
