/*
 * Progress (see cli.h): on a terminal one line that is written over again and again, with a bar when the end is known;
 * elsewhere only the summary.
 */
#include "cli/cli.h"

#include "util/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define SHOW_EVERY_NS (200 * DANGO_NS_PER_MS)
#define BAR_WIDTH     30
#define RATE_FROM_S   0.001 /* a shorter time says nothing about speed */

void cli_progress_start(struct cli_progress *progress, const char *verb)
{
    memset(progress, 0, sizeof *progress);
    progress->verb = verb;
    progress->start_ns = progress->shown_ns = dango_clock_ns();
    progress->on_terminal = isatty(STDERR_FILENO);
}

/* Three significant digits and a prefix: 1234567 is "1.23 MB" with unit "B", "1.23 M events/s" with " events/s". */
static const char *scaled(double value, const char *unit, char *buffer, size_t size)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T"};
    size_t p = 0;
    while (value >= 999.5 && p + 1 < sizeof prefixes / sizeof *prefixes) {
        value /= 1000;
        p++;
    }
    int decimals = p == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    const char *blank = p == 0 && *unit == ' ' ? "" : " ";
    snprintf(buffer, size, "%.*f%s%s%s", decimals, value, blank, prefixes[p], unit);
    return buffer;
}

static void amounts(const struct cli_progress *progress, char *buffer, size_t size)
{
    char bytes[32], rate[32], speed[32];
    double seconds = (double)(dango_clock_ns() - progress->start_ns) / (double)DANGO_NS_PER_S;
    int length =
        snprintf(buffer, size, "%" PRIu64 " event%s (%s) in %.2f s", progress->events, progress->events == 1 ? "" : "s",
                 scaled((double)progress->bytes, "B", bytes, sizeof bytes), seconds);
    assert(length > 0 && (size_t)length < size);
    if (seconds < RATE_FROM_S)
        return;
    double events = (double)progress->events / seconds;
    const char *unit = events > 0.5 && events < 1.5 ? " event/s" : " events/s"; /* what is printed as 1 */
    snprintf(buffer + length, size - (size_t)length, ": %s, %s", scaled(events, unit, rate, sizeof rate),
             scaled((double)progress->bytes / seconds, "B/s", speed, sizeof speed));
}

void cli_progress_show(struct cli_progress *progress)
{
    int64_t now = progress->on_terminal ? dango_clock_ns() : 0;
    if (!progress->on_terminal || now - progress->shown_ns < SHOW_EVERY_NS)
        return;
    char text[256], bar[BAR_WIDTH + 4] = "";
    progress->shown_ns = now;
    amounts(progress, text, sizeof text);
    if (progress->expected > 0) {
        uint64_t done = progress->events < progress->expected ? progress->events : progress->expected;
        size_t full = (size_t)((double)done / (double)progress->expected * BAR_WIDTH);
        memset(bar, '-', BAR_WIDTH);
        memset(bar, '#', full);
        bar[BAR_WIDTH] = ' ';
        bar[BAR_WIDTH + 1] = '\0';
    }
    fprintf(stderr, "\r\033[K%s%s", bar, text);
    fflush(stderr);
}

int cli_progress_timeout_ms(const struct cli_progress *progress)
{
    return progress->on_terminal ? (int)(SHOW_EVERY_NS / DANGO_NS_PER_MS) : -1;
}

void cli_progress_hide(struct cli_progress *progress)
{
    if (!progress->on_terminal)
        return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

void cli_progress_summary(struct cli_progress *progress, const char *ending)
{
    char text[256];
    cli_progress_hide(progress);
    amounts(progress, text, sizeof text);
    fprintf(stderr, "%s %s", progress->verb, text);
    if (progress->skipped_links > 0)
        fprintf(stderr, "; %" PRIu64 " symbolic link%s skipped", progress->skipped_links,
                progress->skipped_links == 1 ? "" : "s");
    if (progress->failed > 0)
        fprintf(stderr, "; %" PRIu64 " failed", progress->failed);
    fprintf(stderr, "%s\n", ending);
}
