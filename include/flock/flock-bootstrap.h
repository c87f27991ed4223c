/*
 * Initial views for flock_provider_register. Each replaces the content of the destination.
 */
#ifndef FLOCK_BOOTSTRAP_H
#define FLOCK_BOOTSTRAP_H

#include <flock/flock-common.h>
#include <flock/flock-group-view.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One member: this process's address with the given provider id. */
flock_return_t flock_group_view_init_from_self(margo_instance_id mid, uint16_t provider_id, flock_group_view_t *view);
/* The members of a group file. */
flock_return_t flock_group_view_init_from_file(const char *filename, flock_group_view_t *view);

#ifdef __cplusplus
}
#endif

#endif
