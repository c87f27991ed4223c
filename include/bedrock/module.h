/*
 * How to write a Bedrock module: a shared library that teaches the `bedrock` daemon a new type of provider.
 *
 * A module file is called lib<name>-bedrock-module.so, is listed in "libraries" of a configuration, and exports one
 * or several descriptions (struct bedrock_module). Bedrock reads the configuration, checks it, resolves the
 * dependencies, and then calls the functions of the description; a module never looks anything up by itself.
 * A complete one (examples/module/ holds it with its build):
 *
 *     struct counter_settings { int64_t start; };
 *     struct counter          { struct counter_settings settings; margo_instance_id mid; hg_id_t id; };
 *
 *     static const struct dango_option counter_options[] = {
 *         DANGO_OPTION_INT("start", struct counter_settings, start, 0, 0, 1000, "first number given out"),
 *         DANGO_OPTION_END,
 *     };
 *     static const struct bedrock_dependency_decl counter_dependencies[] = {
 *         {"pool", BEDROCK_TYPE_POOL, 0, "pool of the handlers; by default the RPC pool"},
 *         BEDROCK_DEPENDENCIES_END,
 *     };
 *
 *     static int counter_create(const struct bedrock_args *args, void **component, struct dango_error *err)
 *     {
 *         struct counter *counter = calloc(1, sizeof *counter);
 *         if (!counter)
 *             return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
 *         if (dango_options_parse(counter_options, bedrock_args_config(args), "config", &counter->settings, err) < 0) {
 *             free(counter);
 *             return err->code;
 *         }
 *         counter->mid = bedrock_args_instance(args);
 *         counter->id  = MARGO_REGISTER_PROVIDER(counter->mid, "counter_next", void, counter_out_t, counter_next_ult,
 *                                                bedrock_args_provider_id(args), bedrock_args_pool(args, "pool"));
 *         …
 *         *component = counter;
 *         return 0;
 *     }
 *
 *     static const struct bedrock_module counter_module = {
 *         BEDROCK_MODULE_HEADER("counter"),
 *         .summary       = "gives out consecutive numbers",
 *         .options       = counter_options,
 *         .settings_size = sizeof(struct counter_settings),
 *         .dependencies  = counter_dependencies,
 *         .create        = counter_create,
 *         .destroy       = counter_destroy,
 *         .get_config    = counter_get_config,
 *     };
 *     BEDROCK_MODULES(&counter_module)
 *
 * Life of a provider, and who may fail when:
 *
 *     check    pure check of the configuration of every provider before anything at all is started; no side effects
 *     create   providers are created one after the other in the order of the configuration
 *     ready    after the last provider of the configuration exists (for a provider that is started at run time: right
 *              after its create): the moment to become visible to the outside, e.g. to write a group file
 *     …        get_config, update_config, get_handle at any time
 *     destroy  in the reverse order; all that it depends on is still alive
 *
 * When one provider fails in create or ready, all that exist are destroyed in reverse order and the daemon ends with
 * status 1: what `destroy` leaves behind stays behind. A component that failed in its own `create` gets no `destroy`.
 *
 * A module may also work for the process as a whole, beside its providers: with attach, which is called once, between the
 * last `create` and the first `ready` of the configuration, and detach, before the first `destroy`.
 *
 * Errors: every function that can fail returns 0 or a negative code of dango/error.h and writes a text with
 * dango_error_set. The text need not say which provider it is about: Bedrock puts `providers[3] ("name", type "t"): `
 * in front. Name fields relative to the provider ("config.start").
 *
 * Threads: the callbacks except `check`, `choose_dependencies` and `get_config` run in a ULT of Margo and may block
 * cooperatively. Bedrock serialises create, ready, update_config and destroy of all providers of a process;
 * get_config and get_handle may come from any ULT while the provider exists.
 */
#ifndef BEDROCK_MODULE_H
#define BEDROCK_MODULE_H

#include <margo.h>

#include <dango/error.h>
#include <dango/options.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object;

/* Changes when a field of the structs below changes its meaning; new fields are only ever appended (see `size`). */
#define BEDROCK_MODULE_ABI 1u

/* Provider id in `check` and `choose_dependencies` when the configuration leaves the choice to Bedrock. */
#define BEDROCK_PROVIDER_ID_ANY UINT16_MAX

/* Types a dependency may have besides the type of a component ("yokan", "abt_io", …). */
#define BEDROCK_TYPE_POOL    "pool"
#define BEDROCK_TYPE_XSTREAM "xstream"
#define BEDROCK_TYPE_MARGO   "margo"

enum bedrock_dependency_flags {
    BEDROCK_REQUIRED = 1, /* the configuration must give it */
    BEDROCK_ARRAY = 2,    /* may be a list; otherwise exactly one */
};

/* What a provider may depend on, declared by its module. A list ends with BEDROCK_DEPENDENCIES_END. */
struct bedrock_dependency_decl {
    const char *name; /* key in "dependencies" */
    const char *type; /* BEDROCK_TYPE_… or the type of a component */
    unsigned flags;   /* enum bedrock_dependency_flags */
    const char *help; /* one line for the reference page */
};

#define BEDROCK_DEPENDENCIES_END                                                                                       \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

enum bedrock_kind {
    BEDROCK_KIND_POOL,      /* `pool` */
    BEDROCK_KIND_XSTREAM,   /* `xstream` */
    BEDROCK_KIND_INSTANCE,  /* `instance` */
    BEDROCK_KIND_COMPONENT, /* a provider of this process: `component`, and also `address`, `provider_id` */
    BEDROCK_KIND_HANDLE,    /* a provider given as name@place: `address`, `addr`, `provider_id` */
};

/*
 * A resolved dependency. Everything in it stays valid until `destroy` of the dependent provider returns.
 * Which of COMPONENT and HANDLE one gets depends on how the configuration refers to the provider ("db" or
 * "db@na+sm://…"), not on the declaration: a module that can use only one of them must check `kind`.
 */
struct bedrock_dependency {
    enum bedrock_kind kind;
    const char *name;           /* canonical, as shown by bedrock-query: "io_pool", "db", "yokan:3@na+sm://12-0" */
    const char *type;           /* as declared */
    ABT_pool pool;              /* of the process; outlives the provider */
    ABT_xstream xstream;        /* the same */
    margo_instance_id instance; /* engine */
    void *component;            /* get_handle() of the provider */
    const char *address;        /* of the process of the provider, as text */
    hg_addr_t addr;             /* HANDLE only: the address looked up on the dependent's engine; do not free */
    uint16_t provider_id;       /* of the provider */
};

/* What a callback learns about the provider it works for. Valid only during the call; so is all it returns. */
struct bedrock_args;

const char *bedrock_args_name(const struct bedrock_args *args);
/* BEDROCK_PROVIDER_ID_ANY before create when Bedrock chooses. */
uint16_t bedrock_args_provider_id(const struct bedrock_args *args);
/* "config": never NULL, always a JSON object; borrowed, must not be changed. */
struct json_object *bedrock_args_config(const struct bedrock_args *args);
/* The engine the provider registers on; MARGO_INSTANCE_NULL in `check` (nothing runs yet). */
margo_instance_id bedrock_args_instance(const struct bedrock_args *args);
size_t bedrock_args_num_tags(const struct bedrock_args *args);
const char *bedrock_args_tag(const struct bedrock_args *args, size_t i);

/* Resolved dependencies (in `create` only): how many were given for `name`, and the i-th (NULL beyond the last). */
size_t bedrock_args_num_dependencies(const struct bedrock_args *args, const char *name);
const struct bedrock_dependency *bedrock_args_dependency(const struct bedrock_args *args, const char *name, size_t i);

/* The pool given as dependency `name`, else the RPC pool of the provider's engine. */
ABT_pool bedrock_args_pool(const struct bedrock_args *args, const char *name);

/*
 * The daemon, for a module that works for the process as a whole: it can look at the other providers and start some. Valid
 * from attach until detach has returned, for any ULT.
 */
struct bedrock_host;

/* Engine 0, its address as text, and the id of the management provider. */
margo_instance_id bedrock_host_instance(const struct bedrock_host *host);
const char *bedrock_host_address(const struct bedrock_host *host);
uint16_t bedrock_host_management_id(const struct bedrock_host *host);

/* What this server is called, in this life and after a restart; NULL while nobody has said it (docs/bedrock.md). */
const char *bedrock_host_name(const struct bedrock_host *host);
/* Names a server that has no name yet. The name is copied. */
int bedrock_host_set_name(struct bedrock_host *host, const char *name, struct dango_error *err);

/* The effective configuration, as bedrock-query shows it. A new reference. */
struct json_object *bedrock_host_config(struct bedrock_host *host);

/* Starts a provider from its description, an object as in "providers"; `provider_id` receives its id. Blocks. */
int bedrock_host_start_provider(struct bedrock_host *host, struct json_object *description, uint16_t *provider_id,
                                struct dango_error *err);

/* Whether the daemon has been asked to stop: whoever waits in attach gives up then. */
bool bedrock_host_is_stopping(struct bedrock_host *host);

/* One more option table for the reference page, e.g. of a backend. A list ends with a NULL title. */
struct bedrock_option_page {
    const char *title;
    const struct dango_option *options;
};

/*
 * The description of a type of provider: constant, lives as long as the library. Mandatory: the header macro, create
 * and destroy. What is left NULL has the default written beside it.
 */
struct bedrock_module {
    uint32_t abi;        /* BEDROCK_MODULE_ABI    ┐                        */
    uint32_t size;       /* sizeof of this struct ├ BEDROCK_MODULE_HEADER  */
    const char *type;    /* "type" of providers   ┘                        */
    const char *summary; /* one line for the reference page */

    /* Shape of "config". NULL: not checked by Bedrock. settings_size is the size of the struct the table fills in. */
    const struct dango_option *options;
    size_t settings_size;
    const struct bedrock_option_page *pages; /* more tables for the reference; NULL: none */

    /* What providers of this type depend on; NULL: nothing. */
    const struct bedrock_dependency_decl *dependencies;

    /* The same where it depends on the configuration: a list with static lifetime, used instead of `dependencies`;
     * NULL with an error set on failure. Without side effects. */
    const struct bedrock_dependency_decl *(*choose_dependencies)(const struct bedrock_args *args,
                                                                 struct dango_error *err);

    /* Checks what the option table cannot express. Without side effects. NULL: nothing more to check. */
    int (*check)(const struct bedrock_args *args, struct dango_error *err);

    int (*create)(const struct bedrock_args *args, void **component, struct dango_error *err);
    void (*destroy)(void *component);

    /* Becomes visible to the outside; see above. NULL: nothing to do. */
    int (*ready)(void *component, struct dango_error *err);

    /* Effective configuration, one new reference to a JSON object that can be given back as "config" to get the same
     * provider. NULL function or result: {}. */
    struct json_object *(*get_config)(void *component);

    /* Changes the configuration of a running provider: `config` holds the fields to change. Must change all or
     * nothing. NULL: refused with "not supported". */
    int (*update_config)(void *component, struct json_object *config, struct dango_error *err);

    /* What providers of the same process that depend on this one get. NULL: the component itself. */
    void *(*get_handle)(void *component);

    /* Work for the process as a whole. attach may block, and start providers, but what may take long is for a ULT of its
     * own; a failure ends the daemon (or fails the request that loaded the library). detach ends such ULTs and waits for
     * them; NULL with a NULL attach. */
    int (*attach)(struct bedrock_host *host, void **state, struct dango_error *err);
    void (*detach)(void *state);
};

#define BEDROCK_MODULE_HEADER(TYPE)                                                                                    \
    .abi = BEDROCK_MODULE_ABI, .size = (uint32_t)sizeof(struct bedrock_module), .type = (TYPE)

/* The entry point of a module library: a NULL-terminated list. Define it with BEDROCK_MODULES(&one, &two). */
__attribute__((visibility("default"))) const struct bedrock_module *const *bedrock_modules(void);

#define BEDROCK_MODULES(...)                                                                                           \
    const struct bedrock_module *const *bedrock_modules(void)                                                          \
    {                                                                                                                  \
        static const struct bedrock_module *const list[] = {__VA_ARGS__, NULL};                                        \
        return list;                                                                                                   \
    }

#ifdef __cplusplus
}
#endif

#endif
