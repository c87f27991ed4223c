/*
 * Inside of a consumer: feeds, packets, spans, events.
 *
 *   feed     one partition: its source, and what was fetched from it, in order
 *   packet   one credit: a fetch with its buffer. Asked for, then arrived; read front to back; given out again
 *   span     up to a few thousand consecutive events of one packet, parsed, with the data that was selected: read by
 *            one request. The unit of reference counting: each event that is not released holds its span, each span
 *            its packet (the bytes that the events are views of)
 *   event    an element of a span's array; what the user gets
 *
 * Threads. Fetches and reads are answered by threads of the driver, which only note the answer, under the consumer's
 * lock, and open the gate. All work on packets (parsing, selecting, asking for data) is done by whoever pulls: one
 * thread at a time takes the role (`working`) and drops the lock for it; others take finished events meanwhile.
 *
 * Ownership. The consumer is counted: the user's handle is one reference and every packet one, so that events may be
 * held and released after the consumer was closed. Packets and spans are reused, buffers and arrays included.
 */
#ifndef DANGO_DIASPORA_CONSUMER_H
#define DANGO_DIASPORA_CONSUMER_H

#include "diaspora/driver.h"
#include "diaspora/gate.h"
#include "diaspora/record.h"
#include "diaspora/topic.h"

#define DSP_RUNS_MAX 1024u /* runs in one answer to a fetch */

struct diaspora_event {
    struct dsp_span *span; /* NULL: the end of the stream */
    uint64_t id;
    const char *metadata;
    size_t metadata_size;
    uint64_t data_total; /* at the source */
    uint64_t data_size;  /* selected */
    const diaspora_segment *segments;
    size_t segment_count;
    diaspora_segment own; /* what segments points to when the library has the memory */
    int status;           /* ≠ 0: this event could not be had; see error */
    struct dango_error *error;
};

struct dsp_packet {
    struct diaspora_fetch fetch;
    struct list_node order; /* in the feed's list `ahead`, or in `idle` */
    struct dsp_feed *feed;
    bool arrived;
    struct dango_error *error;   /* of the fetch */
    _Atomic uint32_t references; /* one of the feed while it is in `ahead`, one per span */
    struct diaspora_run runs[DSP_RUNS_MAX];
    /* Where reading stands. */
    size_t run;
    uint32_t done;     /* events of that run */
    size_t records_at; /* in that run's records */
    uint64_t data_at;  /* in that run's data */
};

/* How one event of a span gets its data; only for consumers of data. */
struct dsp_plan {
    const unsigned char *along; /* the event's data, when they came with the records */
    size_t first_range, range_count;
    uint64_t area_offset;
    bool in_area; /* the library provides the memory */
    bool wanted;
};

struct dsp_span {
    struct list_node link; /* in the feed's list of spans, or among the free ones */
    struct dsp_packet *packet;
    struct diaspora_event *events;
    uint32_t count, capacity, next;
    bool reading;                /* data are under way */
    _Atomic uint32_t references; /* events not released */
    /* For consumers of data: */
    struct diaspora_read read;
    struct dsp_plan *plans;
    struct diaspora_read_item *items;
    diaspora_range *ranges;
    size_t range_count, range_capacity;
    diaspora_segment *destination;
    size_t destination_count, destination_capacity;
    unsigned char *area;
    uint64_t area_size, area_capacity;
};

struct dsp_feed {
    struct diaspora_consumer *consumer;
    size_t partition;
    void *source;
    struct list_node ahead; /* packets in the order of submission */
    struct list_node spans; /* in order */
    size_t span_count;
    struct list_node idle; /* packets that wait for reuse */
    size_t idle_count;
    uint64_t next_id; /* of the next event to be parsed, once `started` */
    bool started;
    bool ended;                  /* complete, and everything is parsed */
    struct dango_error *damage;  /* events that cannot be read are next: told before what is behind them is looked at */
    struct dango_error *failure; /* the partition cannot be read any more */
    bool failure_told;
    uint64_t acknowledged; /* saved position as far as this consumer knows */
    uint64_t skipped;      /* events that were no longer kept when their turn came */
};

struct diaspora_consumer {
    _Atomic uint32_t references;
    diaspora_topic *topic;
    char *name;
    bool data_all;
    diaspora_data_selector selector;
    void *selector_arg;
    diaspora_data_allocator allocator;
    void *allocator_arg;
    diaspora_selection *selection; /* handed to the selector */
    uint32_t events_per_fetch;
    size_t credits; /* packets per feed that are asked for or not read to the end */
    size_t buffer_size;

    pthread_mutex_t lock;
    struct dsp_gate gate;
    bool pulled, closing, working, work_pending;
    size_t calls; /* threads inside pull, acknowledge … */
    struct list_node free_spans;
    size_t free_span_count;
    int fd; /* eventfd, or -1 */
    bool fd_raised;
    size_t turn; /* feed that is pulled from first */
    size_t feed_count;
    struct dsp_feed feeds[];
};

static inline bool dsp_consumer_wants_data(const struct diaspora_consumer *consumer)
{
    return consumer->data_all || consumer->selector || consumer->allocator;
}

/* ---- consumer.c ------------------------------------------------------------------------------------------------ */

void dsp_consumer_retain(struct diaspora_consumer *consumer);
void dsp_consumer_release(struct diaspora_consumer *consumer);
/* Something has arrived. With the lock; the caller opens the gate afterwards. */
void dsp_consumer_arrived(struct diaspora_consumer *consumer);

/* ---- feed.c ---------------------------------------------------------------------------------------------------- */

void dsp_feed_init(struct dsp_feed *feed, struct diaspora_consumer *consumer, size_t partition);
/* Asks for packets up to the credits. With the lock, which is let go meanwhile. */
int dsp_feed_ask(struct dsp_feed *feed, struct dango_error *err);
/* Makes spans out of what has arrived. With the lock (let go meanwhile) and the role `working`. */
void dsp_feed_work(struct dsp_feed *feed);
/* Frees everything that no event needs. The source is closed. With nobody inside the consumer. */
void dsp_feed_fini(struct dsp_feed *feed);
/* Drops a reference of a packet. Without the lock. */
void dsp_packet_release(struct dsp_packet *packet);

/* ---- span.c ---------------------------------------------------------------------------------------------------- */

/*
 * Parses the next events of a packet into a span, without the lock. *span is NULL when the packet has no more. Fails
 * when the packet's content is damaged, or for lack of memory.
 */
int dsp_span_build(struct dsp_packet *packet, struct dsp_span **span, struct dango_error *err);
/* Asks for the span's data if they are not there. Without the lock; the span is in its feed's list. */
void dsp_span_fetch_data(struct dsp_span *span);
/* Drops `count` references. Without the lock. */
void dsp_span_release(struct dsp_span *span, uint32_t count);
void dsp_span_destroy(struct dsp_span *span);

/* ---- data.c ---------------------------------------------------------------------------------------------------- */

/* Selects the data of one event and provides memory for them; sets the event's status on failure. */
void dsp_data_plan(struct dsp_span *span, struct diaspora_event *event, struct dsp_plan *plan);
/* Memory of the library, copies of what came along, and the request for the rest: read.item_count may be 0. */
int dsp_data_prepare(struct dsp_span *span, struct dango_error *err);
/* Gives an event its error. */
void dsp_event_fail(struct diaspora_event *event, int code, const char *text);

#endif
