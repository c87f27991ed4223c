/*
 * The option parser: see args.h.
 */
#include "cli/args.h"

#include "util/json.h"
#include "util/suggest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 64
#define NAME_BYTES  256
#define HELP_COLUMN 34

/* How a word relates to the option that it was found to be. */
enum part { WHOLE, CONFIG, MEMBER };

static void *field_of(const struct cli_option *option, void *fields)
{
    return (char *)fields + option->offset;
}

static bool is_component(const struct cli_option *option)
{
    return option->kind == CLI_COMPONENT || option->kind == CLI_TYPED_COMPONENT;
}

/* Whether `name` (without dashes) means this option, and which part of it. */
static bool matches(const struct cli_option *option, const char *name, enum part *part)
{
    assert(option->name && part);
    if (option->kind == CLI_WORDS)
        return false;
    size_t length = strlen(option->name);
    *part = WHOLE;
    if (strcmp(name, option->name) == 0)
        return option->kind != CLI_COMPONENT;
    if (!is_component(option) || strncmp(name, option->name, length) != 0)
        return false;
    *part = name[length] == '.' ? MEMBER : CONFIG;
    return *part == MEMBER || strcmp(name + length, "-config") == 0;
}

static const struct cli_option *find_words(const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (o->kind == CLI_WORDS)
            return o;
    }
    return NULL;
}

static int add_word(struct cli_words *words, const char *word, struct dango_error *err)
{
    const char **list = reallocarray(words->list, words->count + 1, sizeof *list);
    if (!list)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    words->list = list;
    words->list[words->count++] = word;
    return 0;
}

static int unknown_option(const struct cli_option *options, const char *word, const char *name, struct dango_error *err)
{
    static char configs[OPTIONS_MAX][NAME_BYTES];
    const char *names[2 * OPTIONS_MAX];
    size_t count = 0;
    for (size_t i = 0; options[i].kind != CLI_END && i < OPTIONS_MAX; i++) {
        if (options[i].kind != CLI_COMPONENT && options[i].kind != CLI_WORDS)
            names[count++] = options[i].name;
        if (is_component(&options[i])) {
            snprintf(configs[i], sizeof configs[i], "%s-config", options[i].name);
            names[count++] = configs[i];
        }
    }
    const char *best = dango_suggest(name, names, count);
    /* A slip in the name of a component: --drvier.group_file. */
    const char *dot = strchr(name, '.');
    if (dot && dot - name < NAME_BYTES) {
        char component[NAME_BYTES];
        snprintf(component, sizeof component, "%.*s", (int)(dot - name), name);
        count = 0;
        for (size_t i = 0; options[i].kind != CLI_END && i < OPTIONS_MAX; i++) {
            if (is_component(&options[i]))
                names[count++] = options[i].name;
        }
        best = dango_suggest(component, names, count);
        if (best)
            return dango_error_set(err, DANGO_ERR_INVALID, "unknown option %s (did you mean --%s%s?)", word, best, dot);
    }
    if (best)
        return dango_error_set(err, DANGO_ERR_INVALID, "unknown option %s (did you mean --%s?)", word, best);
    return dango_error_set(err, DANGO_ERR_INVALID, "unknown option %s", word);
}

static int set_text(const char *name, const char **field, const char *value, struct dango_error *err)
{
    if (*field)
        return dango_error_set(err, DANGO_ERR_INVALID, "--%s is given twice", name);
    *field = value;
    return 0;
}

static int set_count(const char *name, int64_t *field, const char *value, struct dango_error *err)
{
    char *end;
    errno = 0;
    long long count = strtoll(value, &end, 10); /* accepts signs and blanks in front; both are harmless here */
    if (*field != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "--%s is given twice", name);
    if (errno != 0 || end == value || *end || count < 1)
        return dango_error_set(err, DANGO_ERR_INVALID, "--%s: expected a number from 1 on, got \"%s\"", name, value);
    *field = count;
    return 0;
}

static int set(const struct cli_option *option, enum part part, const char *name, const char *value, void *field,
               struct dango_error *err)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return 0;
    case CLI_TEXT:
        return set_text(name, field, value, err);
    case CLI_COUNT:
        return set_count(name, field, value, err);
    default:
        assert(is_component(option));
    }
    struct cli_component *component = field;
    if (part == WHOLE)
        return set_text(name, &component->type, value, err);
    if (part == CONFIG)
        return set_text(name, &component->file, value, err);
    int status = cli_component_set(component, name + strlen(option->name) + 1, value, err);
    if (status != 0)
        dango_error_prefix(err, "--%s", name);
    return status;
}

static const struct cli_option *find(const struct cli_option *options, const char *name, enum part *part)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (matches(o, name, part))
            return o;
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *options, char letter)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (letter && o->letter == letter)
            return o;
    }
    return NULL;
}

/* Deals with words[*at] and its value; moves *at on. */
static int parse_word(const struct cli_option *options, int count, char *const *words, int *at, void *fields,
                      struct dango_error *err)
{
    const char *word = words[(*at)++];
    char name[NAME_BYTES];
    enum part part = WHOLE;
    const struct cli_option *option = NULL;
    const char *value = NULL;
    const struct cli_option *place = find_words(options);
    if ((word[0] != '-' || !word[1]) && place)
        return add_word(field_of(place, fields), word, err);
    if (word[0] != '-' || !word[1])
        return dango_error_set(err, DANGO_ERR_INVALID, "unexpected argument \"%s\"", word);
    if (word[1] != '-') {
        option = !word[2] ? find_letter(options, word[1]) : NULL;
        snprintf(name, sizeof name, "%s", option ? option->name : word);
    } else {
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word - 2) : strlen(word + 2);
        if (length >= sizeof name)
            return dango_error_set(err, DANGO_ERR_INVALID, "the option \"%.40s…\" is too long", word);
        snprintf(name, sizeof name, "%.*s", (int)length, word + 2);
        option = find(options, name, &part);
        value = equals ? equals + 1 : NULL;
    }
    if (!option)
        return unknown_option(options, word, name, err);
    if (option->kind == CLI_FLAG && value)
        return dango_error_set(err, DANGO_ERR_INVALID, "--%s takes no value", name);
    /* The next word, even if it looks like an option: otherwise no value could start with dashes. */
    if (option->kind != CLI_FLAG && !value) {
        if (*at == count)
            return dango_error_set(err, DANGO_ERR_INVALID, "--%s needs a value", name);
        value = words[(*at)++];
    }
    return set(option, part, name, value, field_of(option, fields), err);
}

static bool is_missing(const struct cli_option *option, void *fields)
{
    if (!option->required)
        return false;
    void *field = field_of(option, fields);
    if (option->kind == CLI_COUNT)
        return *(int64_t *)field == 0;
    if (option->kind == CLI_WORDS)
        return ((struct cli_words *)field)->count == 0;
    return !(is_component(option) ? ((struct cli_component *)field)->type : *(const char **)field);
}

static bool asks_for_help(const struct cli_option *options, void *fields)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (o->kind == CLI_FLAG && strcmp(o->name, "help") == 0)
            return *(bool *)field_of(o, fields);
    }
    return false;
}

int cli_args_parse(const struct cli_option *options, int count, char *const *words, void *fields,
                   struct dango_error *err)
{
    int at = 0, status = 0;
    assert(options && fields);
    while (status == 0 && at < count)
        status = parse_word(options, count, words, &at, fields, err);
    if (status != 0 || asks_for_help(options, fields))
        return status;
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (is_missing(o, fields) && o->kind == CLI_WORDS)
            return dango_error_set(err, DANGO_ERR_INVALID, "%s is required", o->value);
        if (is_missing(o, fields))
            return dango_error_set(err, DANGO_ERR_INVALID, "--%s %s is required", o->name, o->value);
    }
    return 0;
}

void cli_args_release(const struct cli_option *options, void *fields)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        if (o->kind == CLI_WORDS) {
            struct cli_words *words = field_of(o, fields);
            free(words->list);
            *words = (struct cli_words){0};
        }
        if (!is_component(o))
            continue;
        struct cli_component *component = field_of(o, fields);
        json_object_put(component->members);
        component->members = NULL;
    }
}

static void document_line(const char *left, const char *help, FILE *out)
{
    int length = (int)strlen(left);
    if (length >= HELP_COLUMN)
        fprintf(out, "  %s\n  %*s%s\n", left, HELP_COLUMN, "", help);
    else
        fprintf(out, "  %-*s%s\n", HELP_COLUMN, left, help);
}

void cli_args_document(const struct cli_option *options, FILE *out)
{
    for (const struct cli_option *o = options; o->kind != CLI_END; o++) {
        char left[NAME_BYTES];
        int used = o->letter ? snprintf(left, sizeof left, "-%c, ", o->letter) : 0;
        if (o->kind == CLI_WORDS)
            document_line(o->value, o->help, out);
        else if (o->kind != CLI_COMPONENT) {
            snprintf(left + used, sizeof left - (size_t)used, "--%s%s%s", o->name, o->value ? " " : "",
                     o->value ? o->value : "");
            document_line(left, o->help, out);
        }
        if (!is_component(o))
            continue;
        snprintf(left, sizeof left, "--%s-config FILE", o->name);
        document_line(left, o->kind == CLI_COMPONENT ? o->help : "options of it, as a JSON file", out);
        snprintf(left, sizeof left, "--%s.KEY[.KEY...] VALUE", o->name);
        document_line(left, "one option of it", out);
    }
}
