/*
 * Gateway "default": members are reached at the address that margo listens on.
 */
#include "flock/internal.h"

#include "util/json.h"

#include <assert.h>

char *flk_self_address(margo_instance_id mid)
{
    assert(mid);
    hg_addr_t self = HG_ADDR_NULL;
    hg_size_t size = 0;
    char *text = NULL;
    if (margo_addr_self(mid, &self) == HG_SUCCESS && margo_addr_to_string(mid, NULL, &size, self) == HG_SUCCESS)
        text = malloc(size);
    if (text && margo_addr_to_string(mid, text, &size, self) != HG_SUCCESS) {
        free(text);
        text = NULL;
    }
    margo_addr_free(mid, self);
    return text;
}

/* The context is the address itself. */
static flock_return_t default_init(flock_gateway_init_args_t *args, void **context)
{
    assert(args && context);
    *context = flk_self_address(args->mid);
    return *context ? FLOCK_SUCCESS : FLOCK_ERR_FROM_MERCURY;
}

static flock_return_t default_destroy(void *context)
{
    free(context);
    return FLOCK_SUCCESS;
}

static flock_return_t default_get_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    (void)context;
    struct json_object *config = json_object_new_object();
    fn(uargs, config);
    json_object_put(config);
    return FLOCK_SUCCESS;
}

static const char *default_address(void *context)
{
    return context;
}

flock_gateway_impl flk_default_gateway = {
    .name = "default",
    .init_gateway = default_init,
    .destroy_gateway = default_destroy,
    .get_config = default_get_config,
    .get_public_address = default_address,
    .get_local_address = default_address,
};
