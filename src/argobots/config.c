/*
 * Configurations of schedulers and pools: a list of (key, type, value). Users' variables of schedulers have
 * keys 0, 1, …; what the library knows has negative keys. Not thread safe.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "argobots/sched_config.h"

ABT_sched_config_var ABT_sched_config_var_end = {.idx = -1, .type = ABT_SCHED_CONFIG_INT};
ABT_sched_config_var ABT_sched_config_access = {.idx = -2, .type = ABT_SCHED_CONFIG_INT};
ABT_sched_config_var ABT_sched_config_automatic = {.idx = -3, .type = ABT_SCHED_CONFIG_INT};
ABT_sched_config_var ABT_sched_basic_freq = {.idx = -4, .type = ABT_SCHED_CONFIG_INT};
const ABT_pool_config_var ABT_pool_config_automatic = {.key = -2, .type = ABT_POOL_CONFIG_INT};

struct entry {
    struct entry *next;
    int key;
    int type; /* ABT_sched_config_type and ABT_pool_config_type have the same values */
    union {
        int i;
        double d;
        void *p;
    } value;
};

struct ABT_sched_config_opaque {
    struct entry *entries;
};

struct ABT_pool_config_opaque {
    struct entry *entries;
};

static struct entry **find(struct entry **place, int key)
{
    while (*place && (*place)->key != key)
        place = &(*place)->next;
    return place;
}

static void delete (struct entry **place)
{
    struct entry *entry = *place;
    if (entry) {
        *place = entry->next;
        free(entry);
    }
}

static void delete_all(struct entry **entries)
{
    while (*entries)
        delete (entries);
}

static void store(const struct entry *entry, void *val)
{
    if (entry->type == ABT_SCHED_CONFIG_INT)
        *(int *)val = entry->value.i;
    else if (entry->type == ABT_SCHED_CONFIG_DOUBLE)
        *(double *)val = entry->value.d;
    else
        *(void **)val = entry->value.p;
}

/* NULL deletes. */
static int set(struct entry **entries, int key, int type, const void *val)
{
    struct entry **place = find(entries, key);
    if (!val) {
        delete (place);
        return ABT_SUCCESS;
    }
    ABTI_CHECK(type >= ABT_SCHED_CONFIG_INT && type <= ABT_SCHED_CONFIG_PTR, ABT_ERR_INV_ARG);
    if (!*place) {
        *place = calloc(1, sizeof **place);
        if (!*place)
            return ABT_ERR_MEM;
        (*place)->key = key;
    }
    (*place)->type = type;
    if (type == ABT_SCHED_CONFIG_INT)
        (*place)->value.i = *(const int *)val;
    else if (type == ABT_SCHED_CONFIG_DOUBLE)
        (*place)->value.d = *(const double *)val;
    else
        (*place)->value.p = *(void *const *)val;
    return ABT_SUCCESS;
}

static bool get_int(struct entry *entries, int key, int *value)
{
    struct entry *entry = *find(&entries, key);
    if (!entry || entry->type != ABT_SCHED_CONFIG_INT)
        return false;
    *value = entry->value.i;
    return true;
}

bool abti_sched_config_int(ABT_sched_config config, int idx, int *value)
{
    return config && get_int(config->entries, idx, value);
}

bool abti_pool_config_int(ABT_pool_config config, int key, int *value)
{
    return config && get_int(config->entries, key, value);
}

static int set_from_varargs(struct entry **entries, ABT_sched_config_var var, va_list *list)
{
    if (var.type == ABT_SCHED_CONFIG_INT) {
        int i = va_arg(*list, int);
        return set(entries, var.idx, var.type, &i);
    }
    if (var.type == ABT_SCHED_CONFIG_DOUBLE) {
        double d = va_arg(*list, double);
        return set(entries, var.idx, var.type, &d);
    }
    void *p = va_arg(*list, void *);
    return set(entries, var.idx, var.type, &p);
}

int ABT_sched_config_create(ABT_sched_config *config, ...)
{
    int err = ABT_SUCCESS;
    *config = calloc(1, sizeof **config);
    if (!*config)
        return ABT_ERR_MEM;
    va_list list;
    va_start(list, config);
    for (;;) {
        ABT_sched_config_var var = va_arg(list, ABT_sched_config_var);
        if (var.idx == ABT_sched_config_var_end.idx)
            break;
        err = set_from_varargs(&(*config)->entries, var, &list);
        if (err) {
            ABT_sched_config_free(config);
            break;
        }
    }
    va_end(list);
    return err;
}

int ABT_sched_config_read(ABT_sched_config config, int num_vars, ...)
{
    ABTI_CHECK(config, ABT_ERR_INV_SCHED_CONFIG);
    va_list list;
    va_start(list, num_vars);
    for (int i = 0; i < num_vars; i++) {
        void *val = va_arg(list, void *);
        struct entry *entry = *find(&config->entries, i);
        if (entry && val)
            store(entry, val);
    }
    va_end(list);
    return ABT_SUCCESS;
}

int ABT_sched_config_set(ABT_sched_config config, int idx, ABT_sched_config_type type, const void *val)
{
    ABTI_CHECK(config, ABT_ERR_INV_SCHED_CONFIG);
    return set(&config->entries, idx, (int)type, val);
}

int ABT_sched_config_get(ABT_sched_config config, int idx, ABT_sched_config_type *type, void *val)
{
    ABTI_CHECK(config, ABT_ERR_INV_SCHED_CONFIG);
    struct entry *entry = *find(&config->entries, idx);
    ABTI_CHECK(entry, ABT_ERR_INV_ARG);
    if (type)
        *type = (ABT_sched_config_type)entry->type;
    if (val)
        store(entry, val);
    return ABT_SUCCESS;
}

int ABT_sched_config_free(ABT_sched_config *config)
{
    ABTI_CHECK(config && *config, ABT_ERR_INV_SCHED_CONFIG);
    delete_all(&(*config)->entries);
    free(*config);
    *config = ABT_SCHED_CONFIG_NULL;
    return ABT_SUCCESS;
}

int ABT_pool_config_create(ABT_pool_config *config)
{
    *config = calloc(1, sizeof **config);
    return *config ? ABT_SUCCESS : ABT_ERR_MEM;
}

int ABT_pool_config_free(ABT_pool_config *config)
{
    ABTI_CHECK(config && *config, ABT_ERR_INV_POOL_CONFIG);
    delete_all(&(*config)->entries);
    free(*config);
    *config = ABT_POOL_CONFIG_NULL;
    return ABT_SUCCESS;
}

int ABT_pool_config_set(ABT_pool_config config, int key, ABT_pool_config_type type, const void *val)
{
    ABTI_CHECK(config, ABT_ERR_INV_POOL_CONFIG);
    return set(&config->entries, key, (int)type, val);
}

int ABT_pool_config_get(ABT_pool_config config, int key, ABT_pool_config_type *type, void *val)
{
    ABTI_CHECK(config, ABT_ERR_INV_POOL_CONFIG);
    struct entry *entry = *find(&config->entries, key);
    ABTI_CHECK(entry, ABT_ERR_INV_ARG);
    if (type)
        *type = (ABT_pool_config_type)entry->type;
    if (val)
        store(entry, val);
    return ABT_SUCCESS;
}
