/*
 * The reference pages of docs/config, written from the option tables that also parse the configurations: a page for
 * the document as a whole, one for "margo", and one for each type of provider of the modules beside libdango.
 */
#ifndef DANGO_BEDROCK_REFERENCE_PAGES_H
#define DANGO_BEDROCK_REFERENCE_PAGES_H

#include <dango/error.h>

/* Creates the directory if need be and replaces the pages in it. */
int dango_bedrock_write_pages(const char *directory, struct dango_error *err);

#endif
