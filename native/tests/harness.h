/* What the programs in this directory share: checks, chance, messages that prove themselves, a census. */
#ifndef TINES_HARNESS_H
#define TINES_HARNESS_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../core/chain.h"
#include "../core/janitor.h"
#include "../core/sweep.h"

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* splitmix64: small, and the same everywhere, so a seed repeats a run. */
typedef struct {
    uint64_t state;
} chance;

static inline uint64_t draw(chance *c, uint64_t below) {
    uint64_t z = (c->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* Everything about a message follows from its tag. */
typedef struct {
    uint32_t inline_length, block_count;
    uint64_t block_length[3];
    bool payload_in_block;
} shape;

static inline shape shape_of(uint64_t tag) {
    static const uint32_t lengths[] = {0, 1, 8, 100, 3000, 9000, TN_INLINE};
    static const uint64_t blocks[] = {1, 5000, 70000, 300000};
    chance c = {tag};
    shape s = {.inline_length = lengths[draw(&c, 7)]};
    if (draw(&c, 4) == 0) s.block_count = (uint32_t)draw(&c, 4);
    for (uint32_t i = 0; i < s.block_count; i++) s.block_length[i] = blocks[draw(&c, 4)];
    s.payload_in_block = s.block_count > 0 && draw(&c, 3) == 0;
    return s;
}

static inline void fill(uint8_t *at, uint64_t length, uint64_t tag) {
    for (uint64_t i = 0; i < length; i++) at[i] = (uint8_t)(tag + i * 7);
}

static inline bool is_filled(const uint8_t *at, uint64_t length, uint64_t tag) {
    for (uint64_t i = 0; i < length; i++) {
        if (at[i] != (uint8_t)(tag + i * 7)) return false;
    }
    return true;
}

typedef struct {
    uint8_t payload[TN_INLINE];
    uint32_t blocks[3];
    tn_outgoing message;
} outgoing;

/* Make the message of a tag, its blocks held by this process. False: no memory, and nothing is held. */
static inline bool make_message(tn_segment *segment, outgoing *out, uint64_t tag) {
    shape s = shape_of(tag);
    uint64_t bytes = s.inline_length;
    for (uint32_t i = 0; i < s.block_count; i++) {
        if (tn_block_take(segment, s.block_length[i], &out->blocks[i]) != TN_OK) {
            while (i-- > 0) tn_block_release(segment, out->blocks[i]);
            return false;
        }
        fill(tn_block_data(segment, tn_block_at(segment, out->blocks[i])), s.block_length[i],
             tag + i);
        bytes += s.block_length[i];
    }
    fill(out->payload, s.inline_length, tag);
    out->message = (tn_outgoing){
        .payload = out->payload,
        .length = s.payload_in_block ? 0 : s.inline_length,
        .blocks = out->blocks,
        .block_count = s.block_count,
        .payload_in_block = s.payload_in_block,
        .kind = (uint8_t)tag,
        .tag = tag,
        .bytes = bytes,
    };
    return true;
}

static inline void drop_message(tn_segment *segment, const outgoing *out) {
    for (uint32_t i = 0; i < out->message.block_count; i++)
        tn_block_release(segment, out->blocks[i]);
}

/* PLANT=FAULT in the environment: a fault that a program has to find, to show that it can. */
static inline bool planted(const char *fault, uint64_t tag) {
    const char *wanted = getenv("PLANT");
    return wanted != NULL && strcmp(wanted, fault) == 0 && tag % 20 == 7;
}

/* Check a received message against its tag, and give its blocks back. */
static inline void take_apart(tn_segment *segment, const tn_incoming *in) {
    shape s = shape_of(in->tag);
    unsigned long long tag = in->tag;
    CHECK(in->kind == (uint8_t)in->tag, "message %llu has the kind of another", tag);
    CHECK(in->block_count == s.block_count, "message %llu has %u blocks", tag, in->block_count);
    CHECK(in->payload_in_block == s.payload_in_block, "message %llu is of another form", tag);
    if (!s.payload_in_block) {
        CHECK(in->length == s.inline_length, "message %llu has %u bytes", tag, in->length);
        uint64_t from = planted("torn", in->tag) ? in->tag + 1 : in->tag;
        CHECK(is_filled(in->payload, in->length, from), "message %llu is torn", tag);
    }
    for (uint32_t i = 0; i < s.block_count; i++) {
        const tn_block *block = tn_block_at(segment, in->blocks[i]);
        CHECK(tn_block_length(segment, block) == s.block_length[i],
              "block %u of %llu is of another length", i, tag);
        CHECK(is_filled(tn_block_data(segment, block), s.block_length[i], in->tag + i),
              "block %u of %llu is torn", i, tag);
        if (!planted("leak", in->tag)) tn_block_release(segment, in->blocks[i]);
    }
}

/* In a child: a failed check in the parent leaves nobody behind, and may have come before this. */
static inline void end_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
}

/* How many blocks are in a state; references apart from blocks with data. */
static inline uint32_t census(const tn_segment *segment, tn_state state, bool references) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < tn_blocks_used(segment); i++) {
        const tn_block *block = tn_block_at(segment, i);
        count += tn_state_of(block) == state && (block->order == 0) == references;
    }
    return count;
}

/* Nothing but `rings` empty rings with `references` to them. The janitor holds a block while it gives the
 * pages of it back, so it has to be done first. */
static inline void check_nothing_left(tn_segment *segment, uint32_t rings, uint32_t references) {
    tn_janitor_stop();
    CHECK(census(segment, TN_SENT, false) + census(segment, TN_SENT, true) == 0,
          "blocks are left in messages");
    CHECK(census(segment, TN_HELD, false) == 0, "%u blocks are still held",
          census(segment, TN_HELD, false));
    CHECK(census(segment, TN_CHUNK, false) == rings, "%u chunks", census(segment, TN_CHUNK, false));
    CHECK(census(segment, TN_RING, false) == rings, "%u rings", census(segment, TN_RING, false));
    CHECK(census(segment, TN_HELD, true) == references, "%u references",
          census(segment, TN_HELD, true));
}

#endif
