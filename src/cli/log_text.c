/*
 * Findings, times and bytes as mofka-log shows them.
 */
#include "cli/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define HEX_LINE 16u

static const char *const severities[] = {"note", "damage", "unreadable"};

void log_print_finding(FILE *out, const struct mofka_inspection *inspection, const struct mofka_finding *finding)
{
    assert(finding->severity <= MOFKA_UNREADABLE);
    fprintf(out, "%s: %s/%s: ", severities[finding->severity], inspection->path, finding->file);
    if (finding->size > 0 || finding->offset > 0)
        fprintf(out, "offset %" PRIu64 ", %" PRIu64 " bytes: ", finding->offset, finding->size);
    if (finding->events == 1)
        fprintf(out, "event %" PRIu64 ": ", finding->first_id);
    else if (finding->events > 1)
        fprintf(out, "events %" PRIu64 " to %" PRIu64 ": ", finding->first_id, finding->first_id + finding->events - 1);
    fprintf(out, "%s; %s\n", finding->what, finding->advice);
}

struct json_object *log_finding_json(const struct mofka_finding *finding)
{
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "severity", json_object_new_string(severities[finding->severity]));
    json_object_object_add(json, "file", json_object_new_string(finding->file));
    json_object_object_add(json, "offset", json_object_new_uint64(finding->offset));
    json_object_object_add(json, "bytes", json_object_new_uint64(finding->size));
    json_object_object_add(json, "first_id", json_object_new_uint64(finding->first_id));
    json_object_object_add(json, "events", json_object_new_uint64(finding->events));
    json_object_object_add(json, "what", json_object_new_string(finding->what));
    json_object_object_add(json, "advice", json_object_new_string(finding->advice));
    return json;
}

const char *log_time(uint64_t time_ns, char text[LOG_TIME_SIZE])
{
    time_t seconds = (time_t)(time_ns / 1000000000u);
    struct tm utc;
    char date[24];
    gmtime_r(&seconds, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, LOG_TIME_SIZE, "%s.%09uZ", date, (unsigned)(time_ns % 1000000000u));
    return text;
}

void log_print_escaped(FILE *out, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        /* C1 control characters, as UTF-8 writes them, are as good as escape sequences. */
        bool c1 = bytes[i] >= 0x80 && bytes[i] < 0xa0 && i > 0 && bytes[i - 1] == 0xc2;
        if (bytes[i] < 0x20 || bytes[i] == 0x7f || c1)
            fprintf(out, "\\x%02x", bytes[i]);
        else
            putc(bytes[i], out);
    }
}

void log_print_hex_lines(FILE *out, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += HEX_LINE) {
        size_t count = size - at < HEX_LINE ? size - at : HEX_LINE;
        fprintf(out, "    %08zx ", at);
        for (size_t i = 0; i < HEX_LINE; i++)
            i < count ? fprintf(out, " %02x", bytes[at + i]) : fprintf(out, "   ");
        fprintf(out, "  |");
        for (size_t i = 0; i < count; i++)
            putc(bytes[at + i] >= 0x20 && bytes[at + i] < 0x7f ? bytes[at + i] : '.', out);
        fprintf(out, "|\n");
    }
}

void log_add_hex(struct json_object *object, const char *key, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * size + 1);
    if (!text)
        return;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    json_object_object_add(object, key, json_object_new_string_len(text, (int)(2 * size)));
    free(text);
}

void log_print_json(struct json_object *json)
{
    puts(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
}
