/*
 * Data selections: which bytes of an event's data are wanted.
 *
 * A selection is kept as what it flattens to: ranges in coordinates of the event's data, ascending, with touching
 * neighbours merged. A derivation counts its offsets in the bytes selected so far, so it walks the present ranges once,
 * from front to back, and writes the narrower list into a spare one; then the two change places. A derivation that
 * fails leaves the selection as it was. All arithmetic is on 64 bits and checked: offsets come from users and files.
 *
 * Bounds: a selection has at most RANGES_MAX ranges. Pure memory; one thread at a time per object.
 */
#include "diaspora/selection.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define RANGES_MAX ((size_t)1 << 22)

static int list_reserve(struct dsp_range_list *list, size_t capacity, diaspora_error *err)
{
    if (capacity <= list->capacity)
        return 0;
    if (capacity > RANGES_MAX)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "selection: more than %zu separate ranges", RANGES_MAX);
    size_t larger = list->capacity < 8 ? 8 : list->capacity * 2;
    if (larger < capacity)
        larger = capacity;
    diaspora_range *items = realloc(list->items, larger * sizeof *items);
    if (!items)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "selection: out of memory for %zu ranges", larger);
    list->items = items;
    list->capacity = larger;
    return 0;
}

static int list_add(struct dsp_range_list *list, uint64_t offset, uint64_t size, diaspora_error *err)
{
    if (list->count > 0) {
        diaspora_range *last = &list->items[list->count - 1];
        if (last->offset + last->size == offset) {
            last->size += size;
            return 0;
        }
    }
    int status = list_reserve(list, list->count + 1, err);
    if (status == 0)
        list->items[list->count++] = (diaspora_range){offset, size};
    return status;
}

/* Walks the present ranges for ascending requests in coordinates of the present selection. */
struct walk {
    diaspora_selection *selection;
    size_t index;    /* range that the walk stands in */
    uint64_t before; /* selected bytes in front of that range */
    uint64_t taken;  /* bytes written to the spare list */
};

static struct walk walk_begin(diaspora_selection *selection)
{
    selection->spare.count = 0;
    return (struct walk){.selection = selection};
}

static int walk_take(struct walk *walk, uint64_t offset, uint64_t size, diaspora_error *err)
{
    const struct dsp_range_list *ranges = &walk->selection->ranges;
    while (size > 0) {
        assert(walk->index < ranges->count);
        diaspora_range range = ranges->items[walk->index];
        if (offset - walk->before >= range.size) {
            walk->before += range.size;
            walk->index++;
            continue;
        }
        uint64_t within = offset - walk->before;
        uint64_t part = size < range.size - within ? size : range.size - within;
        int status = list_add(&walk->selection->spare, range.offset + within, part, err);
        if (status != 0)
            return status;
        walk->taken += part;
        offset += part;
        size -= part;
    }
    return 0;
}

static void walk_end(struct walk *walk)
{
    diaspora_selection *selection = walk->selection;
    struct dsp_range_list old = selection->ranges;
    selection->ranges = selection->spare;
    selection->spare = old;
    selection->size = walk->taken;
}

void dsp_selection_reset(diaspora_selection *selection, uint64_t size)
{
    assert(selection->ranges.capacity > 0);
    selection->ranges.items[0] = (diaspora_range){0, size};
    selection->ranges.count = size > 0;
    selection->size = size;
}

diaspora_selection *diaspora_selection_create(uint64_t size)
{
    diaspora_selection *selection = calloc(1, sizeof *selection);
    if (!selection)
        return NULL;
    if (list_reserve(&selection->ranges, 1, NULL) != 0 || list_reserve(&selection->spare, 1, NULL) != 0) {
        diaspora_selection_destroy(selection);
        return NULL;
    }
    dsp_selection_reset(selection, size);
    return selection;
}

void diaspora_selection_destroy(diaspora_selection *selection)
{
    if (!selection)
        return;
    free(selection->ranges.items);
    free(selection->spare.items);
    free(selection);
}

uint64_t diaspora_selection_size(const diaspora_selection *selection)
{
    assert(selection);
    return selection->size;
}

void diaspora_selection_clear(diaspora_selection *selection)
{
    assert(selection);
    selection->ranges.count = 0;
    selection->size = 0;
}

int diaspora_selection_sub(diaspora_selection *selection, uint64_t offset, uint64_t size, diaspora_error *err)
{
    assert(selection);
    if (size == 0 || offset >= selection->size) {
        diaspora_selection_clear(selection);
        return 0;
    }
    uint64_t left = selection->size - offset;
    struct walk walk = walk_begin(selection);
    int status = walk_take(&walk, offset, size < left ? size : left, err);
    if (status == 0)
        walk_end(&walk);
    return status;
}

/* Whether offset + count * block + (count - 1) * gap fits into size, without overflow; count and block are > 0. */
static bool stride_fits(uint64_t offset, uint64_t count, uint64_t block, uint64_t gap, uint64_t size)
{
    uint64_t step, span, end;
    if (count == 1)
        return !__builtin_add_overflow(offset, block, &end) && end <= size;
    return !__builtin_add_overflow(block, gap, &step) && !__builtin_mul_overflow(count - 1, step, &span) &&
           !__builtin_add_overflow(span, block, &span) && !__builtin_add_overflow(offset, span, &end) && end <= size;
}

int diaspora_selection_strided(diaspora_selection *selection, uint64_t offset, uint64_t count, uint64_t block,
                               uint64_t gap, diaspora_error *err)
{
    assert(selection);
    if (count == 0 || block == 0 || offset > selection->size) {
        diaspora_selection_clear(selection);
        return 0;
    }
    if (!stride_fits(offset, count, block, gap, selection->size))
        return dango_error_set(err, DANGO_ERR_RANGE,
                               "selection: %" PRIu64 " blocks of %" PRIu64 " bytes with gaps of %" PRIu64
                               " from offset %" PRIu64 " do not fit into the %" PRIu64 " bytes selected",
                               count, block, gap, offset, selection->size);
    if (gap == 0)
        return diaspora_selection_sub(selection, offset, count * block, err);
    struct walk walk = walk_begin(selection);
    int status = 0;
    for (uint64_t i = 0; status == 0 && i < count; i++)
        status = walk_take(&walk, offset + i * (block + gap), block, err);
    if (status == 0)
        walk_end(&walk);
    return status;
}

static int check_ranges(const diaspora_range *ranges, size_t count, uint64_t size, diaspora_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].offset < end)
            return dango_error_set(err, DANGO_ERR_INVALID,
                                   "selection: range %zu starts at %" PRIu64 ", before the end (%" PRIu64
                                   ") of the one in front of it",
                                   i, ranges[i].offset, end);
        if (__builtin_add_overflow(ranges[i].offset, ranges[i].size, &end) || end > size)
            return dango_error_set(err, DANGO_ERR_RANGE,
                                   "selection: range %zu (offset %" PRIu64 ", %" PRIu64
                                   " bytes) does not end within the %" PRIu64 " bytes selected",
                                   i, ranges[i].offset, ranges[i].size, size);
    }
    return 0;
}

int diaspora_selection_ranges(diaspora_selection *selection, const diaspora_range *ranges, size_t count,
                              diaspora_error *err)
{
    assert(selection && (ranges || count == 0));
    int status = check_ranges(ranges, count, selection->size, err);
    struct walk walk = walk_begin(selection);
    for (size_t i = 0; status == 0 && i < count; i++)
        status = walk_take(&walk, ranges[i].offset, ranges[i].size, err);
    if (status == 0)
        walk_end(&walk);
    return status;
}

const diaspora_range *diaspora_selection_flatten(const diaspora_selection *selection, size_t *count)
{
    assert(selection && count);
    *count = selection->ranges.count;
    return selection->ranges.items;
}
