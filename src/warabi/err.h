/*
 * Making public error objects (warabi/error.h) from the errors that flow inside, and mapping codes between the two.
 */
#ifndef DANGO_WARABI_ERR_H
#define DANGO_WARABI_ERR_H

#include <dango/error.h>
#include <mercury_types.h>
#include <warabi/error.h>

/* A new error object; never NULL, also when memory is short. */
warabi_err_t wb_err_new(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same from an internal error that is set. */
warabi_err_t wb_err_from(const struct dango_error *err);

/* The same from the result of a call to Margo: "DOING: HG_TIMEOUT". */
warabi_err_t wb_err_from_hg(hg_return_t status, const char *doing);

/* Internal code (enum dango_error_code) → public code (enum warabi_err_code). */
int wb_err_public_code(int code);

#endif
