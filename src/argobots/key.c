/*
 * Keys: values that belong to work units.
 *
 * A unit has a short list of (key, value), made when the first value is set. The values live as long as the unit (for a
 * named one: until it is freed, through revivals); then the destructors of the keys that still exist run. A key is
 * counted: freed by the user, it stays as long as a value refers to it, but its destructor does not run any more.
 */
#include <stdlib.h>

#include "argobots/abti.h"

struct ABT_key_opaque {
    atomic_uint refs;
    atomic_bool freed;
    void (*destructor)(void *);
};

struct value {
    ABT_key key;
    void *value;
};

struct abti_unit_values {
    unsigned num, capacity;
    struct value values[];
};

static void unref(ABT_key key)
{
    if (atomic_fetch_sub(&key->refs, 1) == 1)
        free(key);
}

int ABT_key_create(void (*destructor)(void *value), ABT_key *newkey)
{
    ABT_key key = calloc(1, sizeof *key);
    *newkey = key;
    if (!key)
        return ABT_ERR_MEM;
    key->destructor = destructor;
    abti_store(&key->refs, 1);
    return ABT_SUCCESS;
}

int ABT_key_free(ABT_key *key)
{
    ABTI_CHECK(key && *key, ABT_ERR_INV_KEY);
    abti_store_release(&(*key)->freed, true);
    unref(*key);
    *key = ABT_KEY_NULL;
    return ABT_SUCCESS;
}

static struct value *find(abti_thread *thread, ABT_key key)
{
    struct abti_unit_values *list = thread->values;
    for (unsigned i = 0; list && i < list->num; i++) {
        if (list->values[i].key == key)
            return &list->values[i];
    }
    return NULL;
}

/* Room for one more. */
static int reserve(abti_thread *thread)
{
    struct abti_unit_values *list = thread->values;
    if (list && list->num < list->capacity)
        return ABT_SUCCESS;
    unsigned capacity = list ? 2 * list->capacity : abti_global.settings.key_table_size;
    struct abti_unit_values *larger = realloc(list, sizeof *larger + capacity * sizeof larger->values[0]);
    if (!larger)
        return ABT_ERR_MEM;
    if (!list)
        larger->num = 0;
    larger->capacity = capacity;
    thread->values = larger;
    return ABT_SUCCESS;
}

static int set_value(abti_thread *thread, ABT_key key, void *value)
{
    struct value *slot = find(thread, key);
    if (!slot) {
        int err = reserve(thread);
        if (err)
            return err;
        atomic_fetch_add(&key->refs, 1);
        slot = &thread->values->values[thread->values->num++];
        slot->key = key;
    }
    slot->value = value;
    return ABT_SUCCESS;
}

static void *get_value(abti_thread *thread, ABT_key key)
{
    struct value *slot = find(thread, key);
    return slot ? slot->value : NULL;
}

/* Runs the destructors; these may set values again, which are destroyed too. */
void abti_values_destroy(abti_thread *thread)
{
    while (thread->values) {
        struct abti_unit_values *list = thread->values;
        thread->values = NULL;
        for (unsigned i = 0; i < list->num; i++) {
            struct value *slot = &list->values[i];
            if (slot->value && slot->key->destructor && !abti_load_acquire(&slot->key->freed))
                slot->key->destructor(slot->value);
            unref(slot->key);
        }
        free(list);
    }
}

int ABT_key_set(ABT_key key, void *value)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(key, ABT_ERR_INV_KEY);
    return set_value(es->current, key, value);
}

int ABT_key_get(ABT_key key, void **value)
{
    abti_xstream *es = abti_self();
    *value = NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(key, ABT_ERR_INV_KEY);
    *value = get_value(es->current, key);
    return ABT_SUCCESS;
}

int ABT_self_set_specific(ABT_key key, void *value)
{
    return ABT_key_set(key, value);
}

int ABT_self_get_specific(ABT_key key, void **value)
{
    return ABT_key_get(key, value);
}

int ABT_thread_set_specific(ABT_thread thread, ABT_key key, void *value)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    ABTI_CHECK(key, ABT_ERR_INV_KEY);
    return set_value(thread, key, value);
}

int ABT_thread_get_specific(ABT_thread thread, ABT_key key, void **value)
{
    *value = NULL;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    ABTI_CHECK(key, ABT_ERR_INV_KEY);
    *value = get_value(thread, key);
    return ABT_SUCCESS;
}
