/*
 * Service discovery: asks one member of a Flock group who the others are, and prints them.
 *
 *     cc discovery.c $(pkg-config --cflags --libs flock-client) -o discovery
 *     ./discovery na+sm://1234-0 1
 */
#include <flock/flock-client.h>
#include <flock/flock-group.h>
#include <margo.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(flock_return_t ret)
{
    static const char *const texts[] = {
#define X(code, text) [code] = text,
        FLOCK_RETURN_VALUES
#undef X
    };
    return ret < sizeof texts / sizeof texts[0] ? texts[ret] : "unknown error";
}

static void print_group(void *uargs, const flock_group_view_t *view)
{
    (void)uargs;
    printf("=== Service Discovery via Flock ===\n");
    printf("Group size: %zu members\n\nService members:\n", flock_group_view_member_count(view));
    for (size_t i = 0; i < flock_group_view_member_count(view); i++) {
        const flock_member_t *member = flock_group_view_member_at(view, i);
        printf(" [%zu]\n Address: %s\n Provider ID: %u\n", i, member->address, member->provider_id);
        /* Services at these addresses can be contacted now, e.g. a Yokan provider with id 42 at this address:
         * yk_database_handle_create(client, addr, 42, true, &database) */
    }
    printf("\n=== Service discovery completed ===\n");
}

static flock_return_t discover(margo_instance_id mid, const char *address, uint16_t provider_id)
{
    hg_addr_t addr = HG_ADDR_NULL;
    flock_client_t client = FLOCK_CLIENT_NULL;
    flock_group_handle_t group = FLOCK_GROUP_HANDLE_NULL;
    flock_return_t ret = FLOCK_ERR_FROM_MERCURY;
    if (margo_addr_lookup(mid, address, &addr) == HG_SUCCESS)
        ret = flock_client_init(mid, ABT_POOL_NULL, &client);
    /* Without the update, the handle knows only the member that it was made from. */
    if (ret == FLOCK_SUCCESS)
        ret = flock_group_handle_create(client, addr, provider_id, FLOCK_MODE_INIT_UPDATE, &group);
    if (ret == FLOCK_SUCCESS)
        ret = flock_group_access_view(group, print_group, NULL);
    if (group)
        flock_group_handle_release(group);
    if (client)
        flock_client_finalize(client);
    margo_addr_free(mid, addr);
    return ret;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "Usage: %s <flock_address> <flock_provider_id>\n", argv[0]);
        return 1;
    }
    /* The protocol is what stands before the first colon of the address. */
    char protocol[64];
    snprintf(protocol, sizeof protocol, "%.*s", (int)strcspn(argv[1], ":"), argv[1]);
    margo_instance_id mid = margo_init(protocol, MARGO_CLIENT_MODE, 0, 0);
    if (!mid) {
        fprintf(stderr, "Error: cannot use protocol \"%s\"\n", protocol);
        return 1;
    }
    flock_return_t ret = discover(mid, argv[1], (uint16_t)atoi(argv[2]));
    margo_finalize(mid);
    if (ret != FLOCK_SUCCESS)
        fprintf(stderr, "Flock error: %s\n", text_of(ret));
    return ret == FLOCK_SUCCESS ? 0 : 1;
}
