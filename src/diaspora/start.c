/*
 * Where to start reading: see start.h.
 */
#include "diaspora/start.h"

#include "util/clock.h"

#include <json-c/json.h>

#include <ctype.h>
#include <string.h>
#include <time.h>

/* Reads ".123" in nanoseconds; further digits are cut off. Returns what is behind it. */
static const char *parse_fraction(const char *text, uint64_t *ns)
{
    uint64_t unit = DANGO_NS_PER_S / 10;
    *ns = 0;
    if (*text != '.')
        return text;
    for (text++; isdigit((unsigned char)*text); text++, unit /= 10)
        *ns += (uint64_t)(*text - '0') * unit;
    return text;
}

static bool parse_time(const char *text, uint64_t *time_ns)
{
    struct tm tm = {.tm_isdst = -1};
    uint64_t fraction_ns;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return false;
    rest = parse_fraction(rest, &fraction_ns);
    bool utc = *rest == 'Z';
    time_t seconds = utc ? timegm(&tm) : mktime(&tm);
    if (rest[utc] || seconds < 0 || (uint64_t)seconds >= UINT64_MAX / DANGO_NS_PER_S)
        return false;
    *time_ns = (uint64_t)seconds * DANGO_NS_PER_S + fraction_ns;
    return true;
}

int dsp_start_parse(struct json_object *json, const char *field, bool saved, enum diaspora_start *start, uint64_t *id,
                    struct dango_error *err)
{
    static const struct {
        const char *name;
        enum diaspora_start start;
    } starts[] = {{"saved", DIASPORA_START_SAVED}, {"first", DIASPORA_START_FIRST}, {"last", DIASPORA_START_LAST}};
    if (json_object_is_type(json, json_type_int)) {
        if (json_object_get_int64(json) < 0)
            return dango_error_set(err, DANGO_ERR_RANGE, "%s: an event id is not negative", field);
        *start = DIASPORA_START_ID;
        *id = json_object_get_uint64(json);
        return 0;
    }
    const char *text = json_object_get_string(json);
    for (size_t i = saved ? 0 : 1; i < sizeof starts / sizeof *starts; i++) {
        if (strcmp(text, starts[i].name) == 0) {
            *start = starts[i].start;
            return 0;
        }
    }
    if (parse_time(text, id)) {
        *start = DIASPORA_START_TIME;
        return 0;
    }
    return dango_error_set(err, DANGO_ERR_INVALID,
                           "%s: expected %s\"first\", \"last\", an event id or a time (2025-01-31T12:00:00, with Z "
                           "for UTC), got \"%s\"",
                           field, saved ? "\"saved\", " : "", text);
}
