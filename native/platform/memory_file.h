/* A memory file: memory without a name, that other processes map by a descriptor of it, which children
 * have by fork or are sent. It is gone with its last user, so a crash leaves nothing behind.
 *
 * It is sparse: its size is address space only, and a page costs memory once it was touched (pages.h). */
#ifndef TINES_PLATFORM_MEMORY_FILE_H
#define TINES_PLATFORM_MEMORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -1, with errno: the system would not. */
int tn_memory_file_create(void);
bool tn_memory_file_resize(int file, uint64_t size);
/* From now on nobody can change its size, and so take memory away from under those who map it. */
void tn_memory_file_seal(int file);
bool tn_memory_file_size(int file, uint64_t *size);
void tn_memory_file_close(int file);

/* Bytes that tell one from all others; false, with errno: there are none. */
bool tn_random(uint8_t *bytes, size_t count);

#endif
