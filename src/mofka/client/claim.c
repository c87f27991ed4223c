/*
 * See claim.h.
 */
#include "mofka/client/claim.h"

#include "util/json.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SCOPE_MAX 128

/* Within which the name of a socket means something: "<boot>/<network name space>"; empty if that cannot be known. */
static void find_scope(char scope[SCOPE_MAX])
{
    char boot[64] = "", space[32] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (!fgets(boot, sizeof boot, file))
            boot[0] = '\0';
        fclose(file);
    }
    boot[strcspn(boot, "\n")] = '\0';
    ssize_t length = readlink("/proc/self/ns/net", space, sizeof space - 1);
    space[length > 0 ? length : 0] = '\0';
    scope[0] = '\0';
    if (*boot && *space)
        snprintf(scope, SCOPE_MAX, "%s/%s", boot, space);
}

/* Binds the socket of a mark: its descriptor, or -1 with errno; EADDRINUSE when somebody has it. */
static int bind_socket(const char *id)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "mofka-creation-%s", id);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    if (bind(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

int mofka_claim_init(struct mofka_claim *claim, struct dango_error *err)
{
    char id[UUID_STR_LEN], scope[SCOPE_MAX], host[HOST_NAME_MAX + 1] = "";
    uuid_t random;
    uuid_generate(random);
    uuid_unparse_lower(random, id);
    find_scope(scope);
    gethostname(host, sizeof host - 1);
    *claim = (struct mofka_claim){.socket = bind_socket(id)};
    if (claim->socket < 0)
        return dango_error_set_errno(err, errno, "cannot bind a socket");
    claim->json = json_object_new_object();
    json_object_object_add(claim->json, "id", json_object_new_string(id));
    json_object_object_add(claim->json, "host", json_object_new_string(host));
    json_object_object_add(claim->json, "scope", json_object_new_string(scope));
    json_object_object_add(claim->json, "time", json_object_new_int64(time(NULL)));
    return 0;
}

void mofka_claim_fini(struct mofka_claim *claim)
{
    if (claim->json && claim->socket >= 0)
        close(claim->socket);
    json_object_put(claim->json);
    *claim = (struct mofka_claim){.socket = -1};
}

static int64_t age_s(struct json_object *json)
{
    return (int64_t)time(NULL) - json_object_get_int64(dango_json_get(json, "time"));
}

bool mofka_claim_needs_renewal(struct mofka_claim *claim)
{
    if (age_s(claim->json) < MOFKA_CLAIM_RENEW_S)
        return false;
    json_object_object_add(claim->json, "time", json_object_new_int64(time(NULL)));
    return true;
}

bool mofka_claim_is_dead(struct json_object *json)
{
    char here[SCOPE_MAX];
    const char *id = dango_json_get_string(json, "id"), *scope = dango_json_get_string(json, "scope");
    uuid_t parsed;
    if (!id || !scope || uuid_parse(id, parsed) != 0)
        return true;
    find_scope(here);
    if (!*here || strcmp(here, scope) != 0)
        return age_s(json) > MOFKA_CLAIM_STALE_S;
    int fd = bind_socket(id);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

bool mofka_claim_is_same(struct json_object *a, struct json_object *b)
{
    const char *one = dango_json_get_string(a, "id"), *other = dango_json_get_string(b, "id");
    return one && other ? strcmp(one, other) == 0 : one == other;
}

int mofka_claim_refuse(struct json_object *json, const char *topic, struct dango_error *err)
{
    const char *host = dango_json_get_string(json, "host");
    return dango_error_set(err, DANGO_ERR_BUSY,
                           "topic \"%s\" is being created by a process on host \"%s\"; if that one is dead, its traces "
                           "are taken away when this is repeated %d seconds after its last step",
                           topic, host ? host : "?", MOFKA_CLAIM_STALE_S);
}
