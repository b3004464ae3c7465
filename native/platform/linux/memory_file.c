/* See platform/memory_file.h. */
#include "../memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int tn_memory_file_create(void) {
    return memfd_create("tines", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

bool tn_memory_file_resize(int file, uint64_t size) {
    return ftruncate(file, (off_t)size) == 0;
}

void tn_memory_file_seal(int file) {
    fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
}

bool tn_memory_file_size(int file, uint64_t *size) {
    struct stat status;
    if (fstat(file, &status) != 0) return false;
    *size = (uint64_t)status.st_size;
    return true;
}

void tn_memory_file_close(int file) {
    close(file);
}

bool tn_random(uint8_t *bytes, size_t count) {
    return getrandom(bytes, count, 0) == (ssize_t)count;
}
