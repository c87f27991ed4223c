/*
 * What the unit tests of Yokan share: slices from literals, opening a database, and a visitor that collects what it sees.
 */
#ifndef TESTS_YOKAN_SUPPORT_H
#define TESTS_YOKAN_SUPPORT_H

#include "tests/yokan/backends.h"

#include "util/json.h"
#include "yokan/store.h"

static inline struct yokan_slice slice(const char *text)
{
    return (struct yokan_slice){text, strlen(text)};
}

static inline struct yokan_pair pair(const char *key, const char *value)
{
    return (struct yokan_pair){slice(key), slice(value)};
}

static inline struct yokan_database *open_database(const char *config)
{
    struct dango_error err = {0};
    struct yokan_database *database = NULL;
    struct json_object *json = dango_json_parse(config, strlen(config), &err);
    assert_non_null(json);
    if (yokan_database_open(json, "database", &database, &err) != YOKAN_SUCCESS)
        fail_msg("%s", err.text);
    json_object_put(json);
    return database;
}

/* Pairs as text: "key=value " each, "key! " for an absent one. */
struct seen {
    char text[4096];
    size_t limit; /* stop after so many; 0: never */
    size_t count;
    yk_return_t answer; /* returned for each; YOKAN_SUCCESS by default */
};

static inline yk_return_t see(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)index;
    struct seen *seen = arg;
    size_t used = strlen(seen->text), left = sizeof seen->text - used;
    if (value.data)
        snprintf(seen->text + used, left, "%.*s=%.*s ", (int)key.size, (const char *)key.data, (int)value.size,
                 (const char *)value.data);
    else
        snprintf(seen->text + used, left, "%.*s! ", (int)key.size, (const char *)key.data);
    return ++seen->count == seen->limit ? YOKAN_STOP_ITERATION : seen->answer;
}

#endif
