/*
 * Asks a counter for a number: client ADDRESS PROVIDER_ID
 */
#include <margo.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS PROVIDER_ID\n", argv[0]);
        return 2;
    }
    hg_addr_t address = HG_ADDR_NULL;
    hg_handle_t handle = HG_HANDLE_NULL;
    uint64_t number = 0;
    margo_instance_id mid = margo_init("na+sm", MARGO_CLIENT_MODE, 0, 0);
    if (mid == MARGO_INSTANCE_NULL)
        return 1;
    hg_id_t rpc = margo_provider_register_name(mid, "counter_next", NULL, hg_proc_uint64_t, NULL,
                                               MARGO_DEFAULT_PROVIDER_ID, ABT_POOL_NULL);
    hg_return_t status = margo_addr_lookup(mid, argv[1], &address);
    if (status == HG_SUCCESS)
        status = margo_create(mid, address, rpc, &handle);
    if (status == HG_SUCCESS)
        status = margo_provider_forward_timed((uint16_t)atoi(argv[2]), handle, NULL, 5000);
    if (status == HG_SUCCESS)
        status = margo_get_output(handle, &number);
    if (status == HG_SUCCESS) {
        printf("%" PRIu64 "\n", number);
        margo_free_output(handle, &number);
    } else {
        fprintf(stderr, "%s: %s\n", argv[1], HG_Error_to_string(status));
    }
    margo_destroy(handle);
    margo_addr_free(mid, address);
    margo_finalize(mid);
    return status != HG_SUCCESS;
}
