/* See packs.h. */
#include "packs.h"

#include <string.h>

#include "base.h"

/* Two additions to an offset below 2^62 do not overflow. */
static uint64_t aligned(uint64_t offset) {
    return (offset + TN_CACHE_LINE - 1) & ~(uint64_t)(TN_CACHE_LINE - 1);
}

static uint64_t table_size(uint64_t parts) {
    return aligned(sizeof(tn_pack) + parts * sizeof(tn_part));
}

uint32_t tn_pack_plan(const tn_small *small, uint32_t count, uint64_t most, uint64_t *size) {
    uint64_t bytes = 0, places = 0;
    uint32_t parts = 0;
    while (parts < count && (parts == 0 || small[parts].length <= most - bytes)) {
        bytes += small[parts].length;
        places += aligned(small[parts++].length);
        if (bytes >= most) break;
    }
    *size = table_size(parts) + places;
    return parts;
}

void tn_pack_write(uint8_t *block, const tn_small *small, uint32_t count) {
    *(tn_pack *)block = (tn_pack){.parts = count};
    tn_part *parts = (tn_part *)(block + sizeof(tn_pack));
    uint64_t at = table_size(count);
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = (tn_part){.length = small[i].length, .place = small[i].place};
        if (small[i].length > 0) memcpy(block + at, small[i].data, small[i].length);
        at += aligned(small[i].length);
    }
}

void tn_pack_entitle(uint8_t *block, uint32_t packs, uint32_t buffers) {
    ((tn_pack *)block)->packs = packs;
    ((tn_pack *)block)->buffers = buffers;
}

bool tn_pack_open(tn_unpacking *pack, const uint8_t *block, uint64_t length) {
    *pack = (tn_unpacking){.block = block, .length = length};
    if (block == NULL || length < sizeof(tn_pack)) return false;
    memcpy(&pack->head, block, sizeof pack->head);
    if (pack->head.parts > (length - sizeof(tn_pack)) / sizeof(tn_part)) return false;
    pack->at = table_size(pack->head.parts);
    return pack->head.parts > 0 && pack->at <= length;
}

bool tn_pack_next(tn_unpacking *pack, tn_part *part, uint64_t *offset) {
    if (pack->next >= pack->head.parts) return false;
    memcpy(part, pack->block + sizeof(tn_pack) + pack->next++ * sizeof *part, sizeof *part);
    if (part->length > pack->length - pack->at) return false;
    *offset = pack->at;
    uint64_t end = pack->at + aligned(part->length);
    pack->at = end < pack->length ? end : pack->length;
    return true;
}
