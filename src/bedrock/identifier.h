/*
 * What counts as a name of a provider, a type, a pool: [A-Za-z_][A-Za-z0-9_]*. Pure functions; no locale involved.
 */
#ifndef DANGO_BEDROCK_IDENTIFIER_H
#define DANGO_BEDROCK_IDENTIFIER_H

#include <stdbool.h>
#include <stddef.h>

static inline bool bdk_is_identifier_start(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/* Length of the identifier that `text` begins with; 0 if it begins with none. */
static inline size_t bdk_identifier_length(const char *text)
{
    size_t length = 0;
    if (!bdk_is_identifier_start(*text))
        return 0;
    while (bdk_is_identifier_start(text[length]) || (text[length] >= '0' && text[length] <= '9'))
        length++;
    return length;
}

static inline bool bdk_is_identifier(const char *text)
{
    size_t length = bdk_identifier_length(text);
    return length > 0 && text[length] == '\0';
}

#endif
