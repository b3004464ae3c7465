/* Pages: mapping a memory file, having its pages before they are written, and giving them back.
 *
 * Offsets are whole pages; lengths need not be. What fails leaves errno. */
#ifndef TINES_PLATFORM_PAGES_H
#define TINES_PLATFORM_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* The system's page, of which mappings, and what is given back, are whole numbers. */
uint64_t tn_page_size(void);
static inline uint64_t tn_pages(uint64_t length) {
    uint64_t page = tn_page_size();
    return (length + page - 1) & ~(page - 1);
}
#ifdef TINES_DEBUG
/* A larger one than the system's, which is right on this as well. */
void tn_page_size_pretend(uint64_t size);
#endif

typedef enum {
    TN_SHARED_PAGES, /* what is written goes to the file */
    TN_PRIVATE_PAGES /* a page is copied when it is written, and stays this process's own */
} tn_sharing;

/* Most of what is mapped costs nothing until it is touched, so none of it is reserved. NULL: the system
 * would not. The first is kept out of core dumps, of which it would be nearly all. */
uint8_t *tn_map(int file, uint64_t size);
uint8_t *tn_map_privately(int file, uint64_t offset, uint64_t size);
/* A mapping that nobody may touch, to be unmapped when one more is needed elsewhere. */
uint8_t *tn_map_spare(int file, uint64_t size);
void tn_unmap(void *place, uint64_t size);
/* In the place of what is mapped there, at once for all who look; kept out of core dumps as well. False:
 * the old mapping may be gone. */
bool tn_map_over(uint8_t *place, int file, uint64_t offset, uint64_t size, tn_sharing sharing);

typedef enum {
    TN_PAGES_TAKEN,
    TN_PAGES_SHORT,  /* there is not that much memory */
    TN_PAGES_REFUSED /* for another reason, which errno says */
} tn_pages_outcome;

/* Have the pages of a shared mapping, so that writing there cannot fault: running out of memory is an
 * answer here, and the end of the process there. `offset` is the place's in the file. */
tn_pages_outcome tn_pages_take(uint8_t *place, uint64_t length, int file, uint64_t offset);
/* The same as a hint, for pages that the file has. */
void tn_pages_expect(uint8_t *place, uint64_t length);
/* A hint for memory of this process's own: its pages, where it has none yet, may be larger than the system's. */
void tn_pages_prefer_large(uint8_t *place, uint64_t length);
/* Give the file's pages back to the system; they read as zeros then. */
bool tn_pages_give_back(int file, uint64_t offset, uint64_t length);
/* Drop what this process has written to a private mapping: it shows the file again. */
void tn_pages_forget(uint8_t *place, uint64_t length);

#endif
