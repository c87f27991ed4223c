/*
 * Reference pages from option tables: Markdown, one row per option, nested objects as dotted names.
 */
#include <dango/options.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static void write_default(const struct dango_option *option, FILE *out)
{
    if (option->flags & DANGO_OPTION_REQUIRED) {
        fputs("(required)", out);
        return;
    }
    switch (option->type) {
    case DANGO_OPTION_TYPE_BOOL:
        fputs(option->default_int ? "`true`" : "`false`", out);
        break;
    case DANGO_OPTION_TYPE_INT:
        fprintf(out, "`%" PRId64 "`", option->default_int);
        break;
    case DANGO_OPTION_TYPE_REAL:
        fprintf(out, "`%g`", option->default_real);
        break;
    case DANGO_OPTION_TYPE_CHOICE:
        fprintf(out, "`\"%s\"`", option->choices[option->default_int]);
        break;
    case DANGO_OPTION_TYPE_STRING:
        if (option->default_text)
            fprintf(out, "`\"%s\"`", option->default_text);
        break;
    default:
        if (option->default_text)
            fprintf(out, "`%s`", option->default_text);
        break;
    }
}

static void write_kinds(int kinds, FILE *out)
{
    static const char *const names[] = {"object", "array", "string", "integer", "number", "boolean"};
    const char *glue = "";
    if (kinds == DANGO_JSON_ANY) {
        fputs("any JSON", out);
        return;
    }
    for (int i = 0; i < 6; i++) {
        if (kinds & (1 << i)) {
            fprintf(out, "%s%s", glue, names[i]);
            glue = " or ";
        }
    }
}

static void write_allowed(const struct dango_option *option, FILE *out)
{
    switch (option->type) {
    case DANGO_OPTION_TYPE_BOOL:
        fputs("true, false", out);
        break;
    case DANGO_OPTION_TYPE_INT:
        if (option->max == INT64_MAX)
            fprintf(out, "integer ≥ %" PRId64, option->min);
        else
            fprintf(out, "integer %" PRId64 " to %" PRId64, option->min, option->max);
        break;
    case DANGO_OPTION_TYPE_REAL:
        fprintf(out, "number %g to %g", option->min_real, option->max_real);
        break;
    case DANGO_OPTION_TYPE_CHOICE:
        for (size_t i = 0; option->choices[i]; i++)
            fprintf(out, "%s%s", i ? ", " : "", option->choices[i]);
        break;
    case DANGO_OPTION_TYPE_STRING:
        fputs("string", out);
        break;
    default:
        write_kinds(option->json_kinds, out);
        break;
    }
}

static void write_rows(const struct dango_option *table, const char *prefix, FILE *out)
{
    for (const struct dango_option *o = table; o->type != DANGO_OPTION_TYPE_END; o++) {
        if (o->type == DANGO_OPTION_TYPE_OBJECT) {
            char nested[256];
            snprintf(nested, sizeof nested, "%s%s.", prefix, o->name);
            write_rows(o->nested, nested, out);
            continue;
        }
        fprintf(out, "| `%s%s` | ", prefix, o->name);
        write_default(o, out);
        fputs(" | ", out);
        write_allowed(o, out);
        fprintf(out, " | %s |\n", o->help);
    }
}

void dango_options_document(const struct dango_option *table, const char *title, FILE *out)
{
    assert(table && title && out);
    fprintf(out, "# %s\n\n| field | default | allowed | meaning |\n|---|---|---|---|\n", title);
    write_rows(table, "", out);
}
