/*
 * The grammar of reference.h.
 */
#include "bedrock/reference.h"
#include "bedrock/identifier.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decimal digits only; false beyond `max`. *end is what follows them. */
static bool parse_digits(const char *text, long max, long *number, const char **end)
{
    long value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (*at - '0');
        if (value > max)
            return false;
    }
    *number = value;
    *end = at;
    return at > text;
}

static bool parse_place(struct bdk_reference *reference, const char *text)
{
    long rank;
    const char *end;
    if (strcmp(text, "local") == 0) {
        reference->place = BDK_PLACE_LOCAL;
    } else if (parse_digits(text, INT_MAX, &rank, &end) && !*end) {
        reference->place = BDK_PLACE_RANK;
        reference->rank = (int)rank;
    } else if (*text && strlen(text) < sizeof reference->address) {
        reference->place = BDK_PLACE_ADDRESS;
        snprintf(reference->address, sizeof reference->address, "%s", text);
    } else {
        return false;
    }
    return true;
}

static bool parse(struct bdk_reference *reference, const char *text)
{
    size_t length = bdk_identifier_length(text);
    if (length == 0 || length > BEDROCK_NAME_MAX)
        return false;
    memcpy(reference->name, text, length);
    text += length;
    if (*text == ':') {
        long id;
        if (!parse_digits(text + 1, UINT16_MAX, &id, &text))
            return false;
        reference->by_id = true;
        reference->provider_id = (uint16_t)id;
    }
    return *text == '@' ? parse_place(reference, text + 1) : *text == '\0';
}

int bdk_reference_parse(struct bdk_reference *reference, const char *text, struct dango_error *err)
{
    assert(reference && text);
    *reference = (struct bdk_reference){0};
    if (parse(reference, text))
        return 0;
    return dango_error_set(err, DANGO_ERR_INVALID, "ill-formed reference \"%s\"", text);
}

const char *bdk_reference_spec(const struct bdk_reference *reference, char buffer[BEDROCK_NAME_MAX + 8])
{
    if (reference->by_id)
        snprintf(buffer, BEDROCK_NAME_MAX + 8, "%s:%u", reference->name, reference->provider_id);
    else
        snprintf(buffer, BEDROCK_NAME_MAX + 8, "%s", reference->name);
    return buffer;
}
