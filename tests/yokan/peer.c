/*
 * A client for the scenarios, over the public API: peer ADDRESS PROVIDER put|check COUNT.
 *
 * put stores pair after pair and document after document, and says "acknowledged N" when both of number N are; it ends
 * with status 1 when the server is gone. check reads the first COUNT of both back and says "found COUNT".
 */
#include <yokan/collection.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTION "documents"

struct item {
    char key[32], value[64];
    size_t key_size, value_size;
};

static struct item make_item(unsigned long number)
{
    struct item item;
    item.key_size = (size_t)snprintf(item.key, sizeof item.key, "key-%lu", number);
    item.value_size = (size_t)snprintf(item.value, sizeof item.value, "the value of number %lu", number);
    return item;
}

static int put_all(yk_database_handle_t dbh, unsigned long count)
{
    yk_return_t ret = yk_collection_create(dbh, COLLECTION, 0);
    for (unsigned long i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        struct item item = make_item(i);
        yk_id_t id;
        ret = yk_put(dbh, 0, item.key, item.key_size, item.value, item.value_size);
        if (ret == YOKAN_SUCCESS)
            ret = yk_doc_store(dbh, COLLECTION, 0, item.value, item.value_size, &id);
        if (ret == YOKAN_SUCCESS && id == i) {
            printf("acknowledged %lu\n", i + 1);
            fflush(stdout);
        }
    }
    return ret == YOKAN_SUCCESS ? 0 : 1;
}

static int check_all(yk_database_handle_t dbh, unsigned long count)
{
    char value[128];
    for (unsigned long i = 0; i < count; i++) {
        struct item item = make_item(i);
        size_t size = sizeof value;
        yk_return_t ret = yk_get(dbh, 0, item.key, item.key_size, value, &size);
        if (ret != YOKAN_SUCCESS || size != item.value_size || memcmp(value, item.value, size) != 0)
            return printf("pair %lu: code %d, %zu bytes\n", i, ret, size), 1;
        size = sizeof value;
        ret = yk_doc_load(dbh, COLLECTION, 0, i, value, &size);
        if (ret != YOKAN_SUCCESS || size != item.value_size || memcmp(value, item.value, size) != 0)
            return printf("document %lu: code %d, %zu bytes\n", i, ret, size), 1;
    }
    printf("found %lu\n", count);
    return 0;
}

int main(int argc, char **argv)
{
    hg_addr_t addr;
    yk_client_t client;
    yk_database_handle_t dbh;
    if (argc != 5)
        return fprintf(stderr, "usage: %s ADDRESS PROVIDER put|check COUNT\n", argv[0]), 2;
    char protocol[32];
    snprintf(protocol, sizeof protocol, "%.*s", (int)strcspn(argv[1], ":"), argv[1]);
    margo_instance_id mid = margo_init(protocol, MARGO_CLIENT_MODE, 0, 0);
    if (!mid || margo_addr_lookup(mid, argv[1], &addr) != HG_SUCCESS || yk_client_init(mid, &client) != YOKAN_SUCCESS ||
        yk_database_handle_create(client, addr, (uint16_t)atoi(argv[2]), true, &dbh) != YOKAN_SUCCESS)
        return fprintf(stderr, "cannot reach provider %s of %s\n", argv[2], argv[1]), 2;
    unsigned long count = strtoul(argv[4], NULL, 10);
    int status = strcmp(argv[3], "put") == 0 ? put_all(dbh, count) : check_all(dbh, count);
    yk_database_handle_release(dbh);
    yk_client_finalize(client);
    margo_addr_free(mid, addr);
    margo_finalize(mid);
    return status;
}
