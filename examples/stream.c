/*
 * Produces a thousand events with data into a topic and reads them back.
 *
 *     cc stream.c $(pkg-config --cflags --libs diaspora-stream-api) -o stream
 *     ./stream mofka.json TOPIC
 */
#include <diaspora/diaspora.h>

#include <inttypes.h>
#include <stdio.h>

enum { SHOTS = 1000, PIXELS = 64 };

static int produce(diaspora_topic *topic, diaspora_error *err)
{
    static unsigned char pixels[SHOTS][PIXELS];
    diaspora_producer *producer = diaspora_producer_open(topic, "{\"name\":\"detector\",\"batch_size\":128}", err);
    if (!producer)
        return err->code;
    int status = DIASPORA_OK;
    for (int shot = 0; shot < SHOTS && status == DIASPORA_OK; shot++) {
        char metadata[64];
        int length = snprintf(metadata, sizeof metadata, "{\"shot\":%d}", shot);
        pixels[shot][0] = (unsigned char)shot;
        status = diaspora_push(producer, metadata, (size_t)length, DIASPORA_DATA(pixels[shot], PIXELS), NULL, err);
    }
    if (status == DIASPORA_OK)
        status = diaspora_flush(producer, DIASPORA_FOREVER, err); /* every event is stored, or err says why not */
    diaspora_producer_close(producer);
    return status;
}

static int consume(diaspora_topic *topic, diaspora_error *err)
{
    diaspora_consumer *consumer = diaspora_consumer_open(topic, "{\"name\":\"viewer\",\"data\":\"all\"}", err);
    if (!consumer)
        return err->code;
    int status = DIASPORA_OK;
    for (int i = 0; i < SHOTS && status == DIASPORA_OK; i++) {
        diaspora_event *event;
        status = diaspora_pull(consumer, 5000, &event, err);
        if (status != DIASPORA_OK)
            break;
        if (i % 250 == 0)
            printf("event %" PRIu64 ": %s with %" PRIu64 " bytes\n", diaspora_event_id(event),
                   diaspora_event_metadata(event), diaspora_event_data_size(event));
        if (i == SHOTS - 1)
            status = diaspora_event_acknowledge(event, err);
        diaspora_event_release(event);
    }
    diaspora_consumer_close(consumer);
    return status;
}

int main(int argc, char **argv)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    if (argc != 3) {
        fprintf(stderr, "usage: %s GROUP_FILE TOPIC\n", argv[0]);
        return 2;
    }
    char options[512];
    snprintf(options, sizeof options, "{\"group_file\":\"%s\"}", argv[1]);
    diaspora_driver *driver = diaspora_driver_open("mofka", options, &err);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, argv[2], &err) : NULL;
    int status = topic ? produce(topic, &err) : err.code;
    if (status == DIASPORA_OK)
        status = consume(topic, &err);
    diaspora_error_print(stderr, &err);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status == DIASPORA_OK ? 0 : 1;
}
