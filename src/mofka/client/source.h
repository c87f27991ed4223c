/*
 * Inside of a source: what source.c (fetching) and read.c (reading of selections) share.
 */
#ifndef DANGO_MOFKA_CLIENT_SOURCE_H
#define DANGO_MOFKA_CLIENT_SOURCE_H

#include "mofka/client/driver.h"
#include "mofka/client/frames.h"
#include "mofka/client/link.h"

struct mofka_source {
    struct mofka_link link; /* its lock guards `idle`, `gap`, `compared` and `failure` */
    char *name;             /* of the consumer */
    enum diaspora_start start;
    bool opened;              /* once: from then on sessions begin at next_id */
    uint64_t first, end;      /* when it was opened */
    uint64_t skipped;         /* events before `first` that it asked for, but were no longer kept */
    uint64_t life;            /* of the partition's contents; see wire.h */
    uint64_t gap;             /* events from next_id on that went while the server was away; told with the next fetch */
    uint64_t next_id;         /* that the next event must have; used by whoever delivers, and between sessions */
    struct mofka_doubt doubt; /* used as next_id is */
    bool compared;            /* something was in doubt: the server is to look before it sends */
    bool with_data;
    struct list_node idle;      /* calls for fetches */
    struct dango_error failure; /* code 0 while all is well */
};

static inline struct mofka_source *mofka_source_of(struct mofka_link *link)
{
    return container_of(link, struct mofka_source, link);
}

#endif
