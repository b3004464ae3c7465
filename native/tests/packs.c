/* Packs: what is packed comes out as it went in, and garbage leads nowhere outside the block.
 *
 *   packs SEED SECONDS
 *
 * PLANT=swapped mixes two buffers up, PLANT=outside believes a length that it read: both have to be noticed (the second
 * needs ASan, or the check here that a part lies in its block).
 */
#include "../core/packs.h"
#include "harness.h"

enum { MOST = 400 };
static const uint64_t PACK = UINT64_C(64) << 10;

static tn_segment segment;
static tn_queue queue;

static uint64_t some_length(chance *c) {
    static const uint64_t lengths[] = {0, 1, 63, 64, 65, 512, 4000, 15000, 70000};
    return draw(c, 3) ? lengths[draw(c, 9)] : draw(c, 3000);
}

static void make(chance *c, tn_small *small, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *data = malloc(70000);
        CHECK(data != NULL, "no memory");
        small[i] =
            (tn_small){data, some_length(c), i * 2}; /* the odd ones are in blocks of their own */
        fill(data, small[i].length, i);
    }
}

/* Send them as the blocks of one message; returns how many packs there are. */
static uint32_t send_packed(const tn_small *small, uint32_t count) {
    uint32_t blocks[TN_MOST_BLOCKS], packs = 0;
    uint64_t ticket, size;
    for (uint32_t done = 0; done < count;) {
        uint32_t parts = tn_pack_plan(small + done, count - done, PACK, &size);
        CHECK(parts > 0 && parts <= count - done, "%u of %u are planned", parts, count - done);
        CHECK(tn_block_take(&segment, size, &blocks[packs]) == TN_OK, "no block");
        tn_pack_write(tn_block_data(&segment, tn_block_at(&segment, blocks[packs++])), small + done,
                      parts);
        done += parts;
    }
    tn_pack_entitle(tn_block_data(&segment, tn_block_at(&segment, blocks[0])), packs, count * 2);
    tn_outgoing message = {.blocks = blocks,
                           .block_count = packs,
                           .packed = true,
                           .tag = count,
                           .payload = (const uint8_t *)""};
    CHECK(tn_ring_send(&queue, &message, TN_FOREVER, &ticket) == TN_OK, "not sent");
    return packs;
}

static void check_part(const tn_small *small, uint32_t count, const uint8_t *block,
                       const tn_part *part, uint64_t at) {
    uint32_t place = planted("swapped", 7) && part->place < 4 ? 2 - part->place : part->place;
    CHECK(place % 2 == 0 && place / 2 < count, "there is no buffer %u", place);
    CHECK(part->length == small[place / 2].length, "buffer %u is of another length", place);
    CHECK(at % TN_CACHE_LINE == 0, "buffer %u is not aligned", place);
    CHECK(is_filled(block + at, part->length, place / 2), "buffer %u is torn", place);
}

static void receive_packed(const tn_small *small, uint32_t count, uint32_t packs) {
    static tn_incoming message;
    CHECK(tn_ring_recv(&queue, &message, TN_NO_LEASE, TN_FOREVER) == TN_OK, "not received");
    CHECK(message.packed && message.block_count == packs, "it is another message");
    uint32_t seen = 0;
    for (uint32_t i = 0; i < packs; i++) {
        const tn_block *block = tn_block_at(&segment, message.blocks[i]);
        const uint8_t *data = tn_block_data(&segment, block);
        tn_unpacking pack;
        tn_part part;
        uint64_t at;
        CHECK(tn_pack_open(&pack, data, tn_block_length(&segment, block)), "it is no pack");
        CHECK(i > 0 || (pack.head.packs == packs && pack.head.buffers == count * 2),
              "it is another pack");
        for (uint32_t p = 0; p < pack.head.parts; p++, seen++) {
            CHECK(tn_pack_next(&pack, &part, &at), "part %u is not in its pack", p);
            check_part(small, count, data, &part, at);
        }
        CHECK(!tn_pack_next(&pack, &part, &at), "there are more parts than there are");
        tn_block_release(&segment, message.blocks[i]);
    }
    CHECK(seen == count, "%u of %u buffers came", seen, count);
}

static void there_and_back(chance *c) {
    tn_small small[MOST];
    uint32_t count = 1 + (uint32_t)draw(c, MOST);
    make(c, small, count);
    receive_packed(small, count, send_packed(small, count));
    for (uint32_t i = 0; i < count; i++) free((void *)small[i].data);
    check_nothing_left(&segment, 1, 1);
}

/* Anything at all in a block of exactly its length: ASan sees what is read outside. */
static void garbage(chance *c) {
    uint64_t length = draw(c, 2000);
    uint8_t *block = malloc(length ? length : 1);
    CHECK(block != NULL, "no memory");
    for (uint64_t i = 0; i < length; i++)
        block[i] = draw(c, 4) ? 0 : (uint8_t)(draw(c, 3) ? draw(c, 90) : 255);
    tn_unpacking pack;
    tn_part part;
    uint64_t at, end = 0;
    bool is_pack = tn_pack_open(&pack, block, length);
    for (uint32_t i = 0; is_pack && i <= pack.head.parts && i < 5000; i++) {
        if (!tn_pack_next(&pack, &part, &at)) break;
        if (planted("outside", 7)) part.length += 3000;
        CHECK(at >= end && at <= length && part.length <= length - at, "a part lies outside");
        end = at + part.length;
    }
    free(block);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, rounds = 0;
    int64_t end = tn_now() + (argc > 2 ? strtoll(argv[2], NULL, 10) : 5) * TN_SECOND;
    uint32_t reference;
    CHECK(tn_segment_create(&segment, UINT64_C(1) << 30) == TN_OK, "no segment");
    CHECK(tn_ring_create(&segment, 0, 0, 0, &queue, &reference) == TN_OK, "no ring");
    do {
        chance c = {seed + rounds++};
        there_and_back(&c);
        for (int i = 0; i < 200; i++) garbage(&c);
    } while (tn_now() < end);
    tn_block_release(&segment, reference);
    printf(
        "packs: %llu rounds from seed %llu, each buffer came as it went, and none from outside\n",
        (unsigned long long)rounds, (unsigned long long)seed);
    return 0;
}
