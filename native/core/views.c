/* See views.h: what a program sees of its blocks, and how that stays its own across fork.
 *
 * All views of a process lie in one mapping of the whole file. A place in it is either *shared*, as at
 * first, or *apart*: mapped privately, so that a page is copied when it is written. `apart` has a bit for
 * each granule (the size of the smallest block) and tells which. Both show what the sender wrote, so a
 * view is right in either; a place is shared only because writing there copies nothing.
 *
 * To part is one mapping operation for a run of neighbours. It needs no memory and no addresses, and where
 * too many mappings would come of it, whole stretches are parted at once, up to all there are: that takes
 * none. */
#include "views.h"

#include <errno.h>
#include <stdlib.h>

#include "../platform/free_memory.h"
#include "../platform/pages.h"

/* Runs of places that are apart: each may cost two mappings, of which Linux gives a process 65,530. */
enum { MOST_RUNS = 4096 };
/* Runs so near to each other are parted as one. */
enum { BRIDGED = 16 };

typedef struct {
    uint64_t first, end; /* granules */
} span;

static span span_of(const tn_segment *segment, uint64_t offset, uint64_t length) {
    uint64_t from = offset - segment->data_at;
    return (span){from / TN_GRANULE, (from + length + TN_GRANULE - 1) / TN_GRANULE};
}

static uint64_t granules(const tn_segment *segment) {
    return (segment->size - segment->data_at) / TN_GRANULE;
}

static bool is_apart(const tn_segment *segment, uint64_t granule) {
    return segment->apart[granule / 64] >> granule % 64 & 1;
}

/* The first granule from `at` on that is apart, or is not; `end` where there is none. */
static uint64_t next_of(const tn_segment *segment, uint64_t at, uint64_t end, bool apart) {
    while (at < end && is_apart(segment, at) != apart) at++;
    return at;
}

/* How many runs begin in a span or right behind it. */
static uint32_t beginnings(const tn_segment *segment, span s) {
    uint32_t count = 0;
    bool before = s.first > 0 && is_apart(segment, s.first - 1);
    for (uint64_t i = s.first; i <= s.end && i < granules(segment); i++) {
        bool now = is_apart(segment, i);
        count += now && !before;
        before = now;
    }
    return count;
}

static void mark(tn_segment *segment, span s, bool apart) {
    segment->apart_runs -= beginnings(segment, s);
    for (uint64_t i = s.first; i < s.end; i++) {
        uint64_t bit = UINT64_C(1) << i % 64;
        if (apart) segment->apart[i / 64] |= bit;
        else segment->apart[i / 64] &= ~bit;
    }
    segment->apart_runs += beginnings(segment, s);
}

/* Map a span of the file anew in its place. With all granules goes the rest of the mapping, so that none
 * is split. */
static bool map(const tn_segment *segment, span s, tn_sharing sharing) {
    uint64_t offset = s.first == 0 ? 0 : segment->data_at + s.first * TN_GRANULE;
    uint64_t end =
        s.end == granules(segment) ? segment->size : segment->data_at + s.end * TN_GRANULE;
    return tn_map_over(segment->views + offset, segment->fd, offset, end - offset, sharing);
}

/* Linux lets a process have one mapping more than it then lets it replace: this one can be done without. */
void tn_views_spare(tn_segment *segment, bool wanted) {
    uint64_t size = TN_GRANULE;
    if (wanted && segment->spare == NULL) {
        segment->spare = tn_map_spare(segment->fd, size);
    } else if (!wanted && segment->spare != NULL) {
        tn_unmap(segment->spare, size);
        segment->spare = NULL;
    }
}

/* What is apart already is left alone: its pages may be this process's own by now. `room` for private
 * memory is looked at here, as Linux does not refuse what is put in the place of a mapping: it refuses
 * everything else from then on. */
static bool part(tn_segment *segment, span s, uint64_t *room) {
    for (uint64_t at = s.first; at < s.end;) {
        span run = {.first = next_of(segment, at, s.end, false)};
        run.end = next_of(segment, run.first, s.end, true);
        at = run.end;
        if (run.first == run.end) break;
        uint64_t size = (run.end - run.first) * TN_GRANULE;
        if (size > *room) {
            errno = ENOMEM;
            return false;
        }
        if (!map(segment, run, TN_PRIVATE_PAGES)) {
            /* Linux before 6.12 may have taken the old mapping away before it refused. */
            int error = errno;
            map(segment, run, TN_SHARED_PAGES);
            errno = error;
            return false;
        }
        mark(segment, run, true);
        if (*room != UINT64_MAX) *room -= size;
    }
    return true;
}

static int by_place(const void *one, const void *other) {
    uint64_t a = ((const span *)one)->first, b = ((const span *)other)->first;
    return (a > b) - (a < b);
}

/* Join neighbours; returns how many spans are left. */
static uint32_t join(span *spans, uint32_t count) {
    uint32_t joined = 0;
    qsort(spans, count, sizeof *spans, by_place);
    for (uint32_t i = 1; i < count; i++) {
        if (spans[i].first > spans[joined].end + BRIDGED) spans[++joined] = spans[i];
        else if (spans[i].end > spans[joined].end) spans[joined].end = spans[i].end;
    }
    return joined + 1;
}

static bool part_each(tn_segment *segment, const span *spans, uint32_t count, uint64_t *room) {
    for (uint32_t i = 0; i < count; i++) {
        if (!part(segment, spans[i], room)) return false;
    }
    return true;
}

bool tn_views_part(tn_segment *segment, const tn_stretch *stretches, uint32_t count) {
    if (count == 0) return true;
    uint64_t all = granules(segment), room = tn_private_left();
    if (segment->apart == NULL) segment->apart = calloc(all / 64 + 1, sizeof *segment->apart);
    if (segment->apart == NULL) return false;
    span whole = {0, all};
    span *spans = malloc(count * sizeof *spans);
    if (spans == NULL) return part(segment, whole, &room);
    tn_views_spare(segment, true);
    for (uint32_t i = 0; i < count; i++)
        spans[i] = span_of(segment, stretches[i].offset, stretches[i].length);
    uint32_t left = join(spans, count);
    span hull = {spans[0].first, spans[left - 1].end};
    bool done = left + segment->apart_runs <= MOST_RUNS && part_each(segment, spans, left, &room);
    free(spans);
    done = done || part(segment, hull, &room) || part(segment, whole, &room);
    if (done) return true;
    tn_views_spare(segment, false);
    return part(segment, whole, &room);
}

bool tn_view_is_apart(const tn_segment *segment, uint64_t offset, uint64_t length) {
    if (segment->apart == NULL) return false;
    span s = span_of(segment, offset, length);
    return next_of(segment, s.first, s.end, false) == s.end;
}

bool tn_view_is_shared(const tn_segment *segment, uint64_t offset, uint64_t length) {
    if (segment->apart == NULL) return true;
    span s = span_of(segment, offset, length);
    return next_of(segment, s.first, s.end, true) == s.end;
}

void tn_view_expect(uint8_t *view, uint64_t length) {
    tn_pages_expect(view, length);
}

/* Have a place shared again, if it is apart and there are mappings left for it. */
static bool share(tn_segment *segment, span s) {
    tn_views_spare(segment, true); /* the last mapping is not for this */
    if (segment->spare == NULL || segment->apart_runs >= MOST_RUNS) return false;
    if (!map(segment, s, TN_SHARED_PAGES)) return false;
    mark(segment, s, false);
    return true;
}

uint8_t *tn_view_at(const tn_segment *segment, const tn_block *block) {
    return tn_block_data(segment, block) == NULL ? NULL : segment->views + block->offset;
}

uint8_t *tn_view_open(tn_segment *segment, const tn_block *block) {
    uint8_t *view = tn_view_at(segment, block);
    if (view == NULL || segment->apart == NULL) return view;
    span s = span_of(segment, block->offset, tn_block_length(segment, block));
    if (next_of(segment, s.first, s.end, true) < s.end) share(segment, s);
    return view;
}

void tn_view_close(tn_segment *segment, uint64_t offset, uint64_t length) {
    if (segment->apart == NULL) return;
    span s = span_of(segment, offset, length);
    s.first = next_of(segment, s.first, s.end, true);
    if (s.first == s.end || share(segment, s)) return;
    /* What the program wrote there must not hide the next message. */
    tn_pages_forget(segment->views + offset, length);
}

uint8_t *tn_view_map(const tn_segment *segment, const tn_block *block) {
    if (tn_block_data(segment, block) == NULL) return NULL;
    return tn_map_privately(segment->fd, block->offset, tn_pages(tn_block_length(segment, block)));
}

void tn_view_unmap(uint8_t *view, uint64_t length) {
    tn_unmap(view, tn_pages(length));
}
