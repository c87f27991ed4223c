/*
 * Taking possession of a group file before a new group is formed.
 *
 * The file is never deleted by a group that ends, so a file that is there says nothing about who is alive. Whoever is about
 * to write it asks its members: if one of them answers and is not a member of the new group, the file is taken and the
 * start fails; otherwise the file is removed at once, so that nobody who waits for the new one reads the old one. What is
 * no group file is not touched: the path is then probably a mistake.
 */
#include "flock/internal.h"

#include <margo.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool has_member(const flock_group_view_t *view, const char *address)
{
    for (uint64_t i = 0; i < view->members.size; i++) {
        if (strcmp(view->members.data[i].address, address) == 0)
            return true;
    }
    return false;
}

/* Asks for what is built in everywhere: the kind of the provider. Addresses of other protocols cannot be asked. */
static bool is_alive(margo_instance_id mid, const flock_member_t *member)
{
    hg_addr_t address;
    char identity[64];
    size_t size = sizeof identity;
    if (margo_addr_lookup(mid, member->address, &address) != HG_SUCCESS)
        return false;
    hg_return_t ret = margo_provider_get_identity(mid, address, member->provider_id, identity, &size);
    margo_addr_free(mid, address);
    return ret == HG_SUCCESS && strcmp(identity, "flock") == 0;
}

int flk_claim_file(margo_instance_id mid, const char *filename, const flock_group_view_t *view, struct dango_error *err)
{
    flock_group_view_t old = FLOCK_GROUP_VIEW_INITIALIZER;
    if (access(filename, F_OK) != 0)
        return 0;
    if (flk_group_file_read(filename, &old, err) != FLOCK_SUCCESS)
        return dango_error_prefix(err, "exists and is not a group file: remove it, or give another path");
    int status = 0;
    for (uint64_t i = 0; status == 0 && i < old.members.size; i++) {
        const flock_member_t *member = &old.members.data[i];
        if (!has_member(view, member->address) && is_alive(mid, member))
            status =
                dango_error_set(err, DANGO_ERR_EXISTS,
                                "%s belongs to a group that is running (%s): stop it, or give this one another file",
                                filename, member->address);
    }
    flock_group_view_clear(&old);
    if (status == 0 && unlink(filename) != 0 && errno != ENOENT)
        status = dango_error_set_errno(err, errno, "%s: cannot remove the file of an old group", filename);
    return status;
}
