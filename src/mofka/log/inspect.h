/*
 * Looking at a partition directory from outside: what `mofka-log` is made of.
 *
 * Nothing here writes, locks or repairs. A server may have the partition open, and go on writing: chunks are copied into
 * memory before they are looked at, so that a file that becomes shorter cannot hurt, and an end that is being written is
 * told from damage. Memory: the largest chunk.
 *
 * Directories are taken as they are found: damaged, foreign, incomplete. What is wrong becomes a finding, which says
 * where, which events, and what to do; only a directory that cannot be read at all is an error.
 *
 * An inspection belongs to one thread. Everything blocks on file I/O.
 */
#ifndef DANGO_MOFKA_LOG_INSPECT_H
#define DANGO_MOFKA_LOG_INSPECT_H

#include "mofka/log/chunk.h"
#include "mofka/log/scan.h"

#include <sys/types.h>

/* How bad it is; ascending, and the exit status of `mofka-log verify`. */
enum mofka_severity {
    MOFKA_NOTE,      /* as it should be, worth knowing; loses nothing that was acknowledged */
    MOFKA_DAMAGE,    /* bytes are not what was written */
    MOFKA_UNREADABLE /* could not be looked at: permissions, an I/O error, a newer format */
};

#define MOFKA_FINDING_TEXT_MAX 512

struct mofka_finding {
    enum mofka_severity severity;
    const char *file;          /* name in the directory */
    uint64_t offset, size;     /* bytes concerned; size 0: the file as a whole */
    uint64_t first_id, events; /* concerned; 0 events: none, or it is not known which */
    char what[MOFKA_FINDING_TEXT_MAX], advice[MOFKA_FINDING_TEXT_MAX];
};

struct mofka_inspected_chunk {
    uint64_t number;
    char name[MOFKA_CHUNK_NAME_MAX];
    uint64_t first_id; /* these two only when it has no problem */
    uint64_t size;     /* bytes, when the directory was opened */
    int code;          /* 0, or why it cannot be read: the header is damaged, … */
    char *problem;     /* text of that, or NULL */
};

struct mofka_inspection {
    char *path;    /* as given */
    int directory; /* descriptor */
    char *topic;
    uint8_t uuid[16];
    char uuid_text[37];
    int64_t format;
    struct dango_error
        identity_error; /* code 0, or what is wrong with partition.json: identity is from the name then */
    pid_t holder;       /* process of this machine that has the partition open; 0: none is seen */
    struct mofka_inspected_chunk *chunks; /* ascending */
    size_t num_chunks;
    uint64_t next_id; /* after the last event, once a walk has come to the end */
};

/*
 * The partition directories that `path` means: itself, or those in it, sorted. DANGO_ERR_NOT_FOUND when there is none.
 * The caller frees with dango_mofka_inspect_free_list.
 */
int dango_mofka_inspect_find(const char *path, char ***directories, size_t *count, struct dango_error *err);
void dango_mofka_inspect_free_list(char **directories, size_t count);

int dango_mofka_inspect_open(const char *directory, struct mofka_inspection **inspection, struct dango_error *err);
void dango_mofka_inspect_close(struct mofka_inspection *inspection);

/* What a walk tells. A function that returns something else than 0 ends the walk, which returns that. NULL: not wanted. */
struct mofka_inspect_visitor {
    /* A whole frame, followed in memory by its content; valid during the call. */
    int (*frame)(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item);
    int (*finding)(void *arg, const struct mofka_finding *finding);
    void *arg;
};

enum {
    MOFKA_INSPECT_CONTENTS = 1, /* compare contents with their checksums and take records apart */
    MOFKA_INSPECT_INDEX = 2     /* compare the index files with the chunks */
};

/* Walks through the frames from the one that holds event `from` on. */
int dango_mofka_inspect_walk(struct mofka_inspection *inspection, uint64_t from, unsigned flags,
                             const struct mofka_inspect_visitor *visitor);

/* Everything that can be checked: identity, all frames, indexes, positions. */
int dango_mofka_inspect_verify(struct mofka_inspection *inspection, const struct mofka_inspect_visitor *visitor);

struct mofka_inspected_cursor {
    char *name;
    uint64_t next_id; /* first event that the consumer has not acknowledged */
};

/* The positions that hold, sorted by name; freed with dango_mofka_inspect_free_cursors. `whole` and `torn` as in
 * dango_mofka_cursors_read. */
int dango_mofka_inspect_cursors(struct mofka_inspection *inspection, struct mofka_inspected_cursor **cursors,
                                size_t *count, size_t *whole, size_t *torn, struct dango_error *err);
void dango_mofka_inspect_free_cursors(struct mofka_inspected_cursor *cursors, size_t count);

#endif
