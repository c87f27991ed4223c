/*
 * Suggestions for misspelt names: edit distance with transpositions (optimal string alignment), case ignored.
 */
#include "util/suggest.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64u

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

static int same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned substitution = above[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, substitution);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                row[j] = smallest(row[j], before[j - 2] + 1, row[j]);
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_length];
}

const char *dango_suggest(const char *word, const char *const *names, size_t count)
{
    assert(word);
    size_t length = strlen(word);
    if (length > WORD_MAX)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = (unsigned)(length / 3 + 1) + 1;
    for (size_t i = 0; i < count; i++) {
        size_t name_length = strlen(names[i]);
        if (name_length > WORD_MAX)
            continue;
        unsigned distance = edit_distance(word, length, names[i], name_length);
        if (distance < best_distance && distance < name_length) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

const char *dango_suggest_list(const char *label, const char *word, const char *const *names, size_t count,
                               char *buffer, size_t size)
{
    assert(size >= 32);
    const char *best = word ? dango_suggest(word, names, count) : NULL;
    size_t reserve = best ? strlen(best) + 24 : 8;
    size_t used = (size_t)snprintf(buffer, size, " (%s: %s", label, count ? "" : "none");
    if (used >= size)
        return buffer;
    for (size_t i = 0; i < count; i++) {
        if (used + strlen(names[i]) + reserve + 8 >= size) {
            used += (size_t)snprintf(buffer + used, size - used, ", ...");
            break;
        }
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", names[i]);
    }
    if (best && used < size)
        used += (size_t)snprintf(buffer + used, size - used, "; did you mean \"%s\"?", best);
    if (used < size)
        snprintf(buffer + used, size - used, ")");
    return buffer;
}
