/*
 * Settings of libfabric's providers that nothing but the environment can change, and that they read once, when the
 * library looks for its first endpoint. A provider of which the user has set any stays as it is.
 *
 * The environment is replaced by a longer copy: setenv might free the old one while another thread reads it. Both stay,
 * so that getenv finds a whole one at any time; what another thread sets at this very moment may be missing in it.
 */
#include "mercury/na/ofi/ofi.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct setting {
    const char *provider, *name, *text;
} settings[] = {
    /* Its thread spins for 10 ms after every message, on the processors that those who wait for it need; calls take 4
     * times as long. */
    {"sockets", "FI_SOCKETS_PE_WAITTIME", "FI_SOCKETS_PE_WAITTIME=0"},
    /* Its 4096 buffers are 66 MB, 5 if smaller. Over TCP it needs them for its own words only, and messages may be
     * larger (not so over verbs); those of up to 16 KiB are sent at once, as they are with its own settings. */
    {"tcp;ofi_rxm", "FI_OFI_RXM_BUFFER_SIZE", "FI_OFI_RXM_BUFFER_SIZE=1024"},
    {"tcp;ofi_rxm", "FI_OFI_RXM_EAGER_LIMIT", "FI_OFI_RXM_EAGER_LIMIT=16384"},
    /* Peers know the keys of registered memory: what we close must be gone, not kept for later. */
    {"verbs;ofi_rxm", "FI_MR_CACHE_MAX_COUNT", "FI_MR_CACHE_MAX_COUNT=0"},
    {"cxi", "FI_MR_CACHE_MAX_COUNT", "FI_MR_CACHE_MAX_COUNT=0"},
    {"gni", "FI_MR_CACHE_MAX_COUNT", "FI_MR_CACHE_MAX_COUNT=0"},
};

#define SETTINGS (sizeof settings / sizeof *settings)

/* Those of the provider that are to be added, at most SETTINGS. */
static size_t choose(const char *provider, const char **texts)
{
    size_t count = 0;

    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(settings[i].provider, provider) != 0)
            continue;
        if (getenv(settings[i].name))
            return 0;
        texts[count++] = settings[i].text;
    }
    return count;
}

void ofi_settings_apply(const char *provider)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    /* What another thread may be reading for ever is no leak. */
    static char **copies[SETTINGS] __attribute__((used));
    static size_t copied;
    const char *texts[SETTINGS];
    size_t old = 0;

    pthread_mutex_lock(&lock);
    size_t more = choose(provider, texts);
    while (environ && environ[old])
        old++;
    char **longer = more > 0 && copied < SETTINGS ? calloc(old + more + 1, sizeof *longer) : NULL;
    if (longer) {
        if (old > 0)
            memcpy(longer, environ, old * sizeof *longer);
        for (size_t i = 0; i < more; i++)
            longer[old + i] = (char *)texts[i];
        __atomic_store_n(&environ, longer, __ATOMIC_RELEASE);
        copies[copied++] = longer;
    }
    pthread_mutex_unlock(&lock);
}
