/*
 * What the commands of diaspora-ctl share: how a command is described, connecting to the back-end, stopping on
 * signals, progress and output. Exit status: 0 success, 1 any failure, 128 + N when signal N ended a command early.
 */
#ifndef DANGO_CLI_CLI_H
#define DANGO_CLI_CLI_H

#include "cli/args.h"

#include <diaspora/diaspora.h>

#define CLI_LOG "diaspora-ctl"

/* Lines or events of one command that are complained about one by one; more are only counted. */
#define CLI_COMPLAINTS_MAX 10

/* Options that every command has; the first member of its fields. */
struct cli_common {
    struct cli_component driver;
    const char *logging;
    bool help, version;
};

#define CLI_COMMON(STRUCT)                                                                                             \
    {"driver",                                                                                                         \
     0,                                                                                                                \
     CLI_TYPED_COMPONENT,                                                                                              \
     false,                                                                                                            \
     offsetof(STRUCT, common.driver),                                                                                  \
     "TYPE",                                                                                                           \
     "driver: \"mofka\", or \"name:library.so\""},                                                                     \
        {"logging",                                                                                                    \
         0,                                                                                                            \
         CLI_TEXT,                                                                                                     \
         false,                                                                                                        \
         offsetof(STRUCT, common.logging),                                                                             \
         "LEVEL",                                                                                                      \
         "trace, debug, info (default), warn, error, critical, off"},                                                  \
        {"help", 'h', CLI_FLAG, false, offsetof(STRUCT, common.help), NULL, "this text"},                              \
        {"version", 0, CLI_FLAG, false, offsetof(STRUCT, common.version), NULL, "the version"},                        \
    {                                                                                                                  \
        .kind = CLI_END                                                                                                \
    }

struct cli_command {
    const char *name;    /* "topic create" */
    const char *usage;   /* mandatory options, for the usage line */
    const char *summary; /* one line for the list of commands */
    const char *details; /* paragraphs for --help; ends in a newline */
    const struct cli_option *options;
    size_t fields_size;
    int (*run)(void *fields, struct dango_error *err); /* exit status when ≥ 0, error code when < 0 */
};

extern const struct cli_command cli_topic_create, cli_topic_import, cli_topic_list, cli_topic_positions,
    cli_topic_positions_reset, cli_topic_positions_delete, cli_topic_complete, cli_topic_delete, cli_produce,
    cli_consume;

/* ---- connect.c -------------------------------------------------------------------------------------------------- */

/* Opens the driver that the options and DIASPORA_CTL_DRIVER_OPTIONS name. NULL with the error set. */
diaspora_driver *cli_connect(const struct cli_common *common, struct dango_error *err);
/* The same and opens a topic; NULL with the error set. *driver is to be closed in any case. */
diaspora_topic *cli_open_topic(const struct cli_common *common, const char *name, diaspora_driver **driver,
                               struct dango_error *err);
/* The driver's type and options; to be released with free and json_object_put. */
int cli_driver_options(const struct cli_component *driver, const char *environment, char **type,
                       struct json_object **json, struct dango_error *err);

/* ---- stop.c ----------------------------------------------------------------------------------------------------- */

/*
 * SIGINT and SIGTERM: the first asks the command to stop, another one after a second ends the process at once. To be
 * called before any other thread exists. SIGPIPE is ignored: writing to a closed pipe fails with EPIPE.
 */
int cli_stop_start(struct dango_error *err);
/* The signal that asked to stop; 0 while there was none. */
int cli_stop_signal(void);
/* Readable once there was one. */
int cli_stop_fd(void);

/* ---- progress.c ------------------------------------------------------------------------------------------------- */

/* What has been done so far, shown on a terminal while it goes on and as one line at the end. Standard error. */
struct cli_progress {
    const char *verb; /* "sent", "received" */
    int64_t start_ns, shown_ns;
    uint64_t events, bytes; /* stored by the service, or received */
    uint64_t expected;      /* events in all; 0: unknown */
    uint64_t skipped_links, failed;
    uint64_t line; /* of standard input: what came up to it is stored; 0: nothing, or not known */
    bool on_terminal;
};

void cli_progress_start(struct cli_progress *progress, const char *verb);
/* Shows the state, if it is time to. */
void cli_progress_show(struct cli_progress *progress);
/* Milliseconds until it should be shown again; -1 if it is not shown at all. */
int cli_progress_timeout_ms(const struct cli_progress *progress);
/* Clears the line of the terminal, before something else is printed. */
void cli_progress_hide(struct cli_progress *progress);
/* One line; `ending` is its end. */
void cli_progress_summary(struct cli_progress *progress, const char *ending);

/* ---- produce_lines.c -------------------------------------------------------------------------------------------- */

/* Sends every line of standard input; returns when all that was sent is stored or has failed. */
int cli_produce_lines(diaspora_producer *producer, bool raw, struct cli_progress *progress, struct dango_error *err);

/* ---- produce_files.c -------------------------------------------------------------------------------------------- */

/* The same for every regular file below a directory. */
int cli_produce_files(diaspora_producer *producer, const char *directory, struct cli_progress *progress,
                      struct dango_error *err);

/* ---- output.c --------------------------------------------------------------------------------------------------- */

/* Lines for standard output, gathered and written in large pieces. */
struct cli_output {
    char *bytes;
    size_t used, capacity;
    bool closed;         /* the reader is gone, or writing has failed */
    bool known, is_pipe; /* what standard output is, once known */
};

int cli_output_line(struct cli_output *output, const char *text, size_t size, struct dango_error *err);
int cli_output_flush(struct cli_output *output, struct dango_error *err);
void cli_output_release(struct cli_output *output);

/* ---- files.c ---------------------------------------------------------------------------------------------------- */

/* A directory into which events are written as files, and nowhere else. */
struct cli_files {
    int root;          /* descriptor of the directory */
    int parent;        /* of the directory of the last file, or -1 */
    char *parent_path; /* relative to root; "" is root itself */
    uint64_t count;
    bool hopeless; /* the disk is full or the like: no later event would fare better */
};

int cli_files_open(struct cli_files *files, const char *directory, struct dango_error *err);
/* Writes one event: metadata {"name", "size", "mode", "mtime"}, data the content. */
int cli_files_write(struct cli_files *files, const diaspora_event *event, struct dango_error *err);
/* Returns when everything that was written is on the medium: all of its file system, in one call. */
int cli_files_sync(struct cli_files *files, struct dango_error *err);
void cli_files_close(struct cli_files *files);

#endif
