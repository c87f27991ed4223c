/*
 * Writing of reference pages, see reference_pages.h. Pages are built in memory and written whole; everything in them
 * comes from tables, so that they can be compared with what is committed.
 */
#include "bedrock/reference_pages.h"
#include "bedrock/config.h"
#include "margo/dango_margo.h"
#include "util/file.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_MAX_BYTES 4096

/* A page in memory: write to `out`, then save. */
struct page {
    char *text;
    size_t size;
    FILE *out;
};

static void page_open(struct page *page)
{
    *page = (struct page){0};
    page->out = open_memstream(&page->text, &page->size);
    if (!page->out)
        abort();
}

static int page_save(struct page *page, const char *directory, const char *name, struct dango_error *err)
{
    char path[PATH_MAX_BYTES];
    fclose(page->out);
    snprintf(path, sizeof path, "%s/%s.md", directory, name);
    int status = dango_file_write(path, page->text, page->size, err);
    free(page->text);
    return status;
}

static int write_document_page(const char *directory, struct dango_error *err)
{
    struct page page;
    page_open(&page);
    dango_options_document(bdk_config_options, "The configuration of a process", page.out);
    fputs("\nAny object may have a member `__if__`: `false`, or an expression such as `\"$MPI_COMM_WORLD.rank == 0\"` "
          "that is false,\nremoves the object it stands in. `{\"a.b\": 1}` means `{\"a\": {\"b\": 1}}`. `null` means "
          "absent.\n\n",
          page.out);
    fputs("#", page.out); /* a heading of the second level */
    dango_options_document(bdk_settings_options, "Section `bedrock`", page.out);
    fputs("\n#", page.out);
    dango_options_document(bdk_description_options, "An entry of `providers`", page.out);
    fputs("\nA reference in `dependencies` is the name or index of a pool or execution stream, the index of an engine, "
          "or a\nprovider: `name` or `type:id` for one that was created before in this process, followed by "
          "`@local` or `@address`\nfor a handle to one, as a client would use it.\n",
          page.out);
    return page_save(&page, directory, "bedrock", err);
}

static int write_margo_page(const char *directory, struct dango_error *err)
{
    struct page page;
    page_open(&page);
    dango_options_document(dango_margo_options, "Section `margo`", page.out);
    fputs("\n#", page.out);
    dango_options_document(dango_margo_pool_options, "An entry of `margo.argobots.pools`", page.out);
    fputs("\n#", page.out);
    dango_options_document(dango_margo_xstream_options, "An entry of `margo.argobots.xstreams`", page.out);
    return page_save(&page, directory, "margo", err);
}

static void write_dependencies(const struct bedrock_module *module, FILE *out)
{
    const struct bedrock_dependency_decl *decl = module->dependencies;
    if (!decl || !decl->name)
        return;
    fputs("\n## Dependencies\n\n| name | type | | meaning |\n|---|---|---|---|\n", out);
    for (; decl->name; decl++)
        fprintf(out, "| `%s` | %s | %s%s | %s |\n", decl->name, decl->type,
                decl->flags & BEDROCK_REQUIRED ? "required" : "optional",
                decl->flags & BEDROCK_ARRAY ? ", several" : "", decl->help ? decl->help : "");
}

static int write_module_page(const char *directory, const struct bedrock_module *module, struct dango_error *err)
{
    struct page page;
    page_open(&page);
    fprintf(page.out, "# Providers of type `%s`\n\n%s%s", module->type, module->summary ? module->summary : "",
            module->summary ? "\n" : "");
    write_dependencies(module, page.out);
    if (module->options) {
        fputs("\n#", page.out);
        dango_options_document(module->options, "Settings (`config`)", page.out);
    }
    for (const struct bedrock_option_page *extra = module->pages; extra && extra->title; extra++) {
        fputs("\n#", page.out);
        dango_options_document(extra->options, extra->title, page.out);
    }
    return page_save(&page, directory, module->type, err);
}

static int is_module_file(const struct dirent *entry)
{
    return fnmatch("lib*-bedrock-module.so", entry->d_name, 0) == 0;
}

/* All module libraries in the folder of libdango, in the order of their names. */
static int load_all(struct bdk_registry *registry, struct dango_error *err)
{
    Dl_info info;
    char folder[PATH_MAX_BYTES];
    struct dirent **entries;
    if (!dladdr((void *)(uintptr_t)&dango_bedrock_write_pages, &info) || !info.dli_fname)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "cannot find the folder of libdango");
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - info.dli_fname) : 1, slash ? info.dli_fname : ".");
    int count = scandir(folder, &entries, is_module_file, alphasort);
    if (count < 0)
        return dango_error_set_errno(err, errno, "%s", folder);
    int status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0)
            status = bdk_registry_load(registry, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

int dango_bedrock_write_pages(const char *directory, struct dango_error *err)
{
    if (mkdir(directory, 0777) < 0 && errno != EEXIST)
        return dango_error_set_errno(err, errno, "%s", directory);
    struct bdk_registry *registry = bdk_registry_create();
    if (!registry)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = load_all(registry, err);
    const struct bedrock_module *module;
    for (size_t i = 0; status == 0 && (module = bdk_registry_module(registry, i)); i++)
        status = write_module_page(directory, module, err);
    if (status == 0)
        status = write_document_page(directory, err);
    if (status == 0)
        status = write_margo_page(directory, err);
    bdk_registry_destroy(registry);
    return status;
}
