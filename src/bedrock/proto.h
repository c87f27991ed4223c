/*
 * What travels between clients and daemons: the management RPCs, all with the same input and output.
 *
 *     name                       first            second          number        →  value           id
 *     bedrock_get_config                                                           configuration
 *     bedrock_query_config       expression                                        result (JSON)
 *     bedrock_load_module        library
 *     bedrock_start_provider     description                                                       provider id
 *     bedrock_remove_provider    spec
 *     bedrock_update_provider    spec             configuration
 *     bedrock_lookup_provider    spec                             timeout (s)      "name type"     provider id
 *     bedrock_add_pool           JSON
 *     bedrock_remove_pool        name
 *     bedrock_add_xstream        JSON
 *     bedrock_remove_xstream     name
 *
 * `code` is 0 or a code of dango/error.h and then `value` the text of the error. Strings may be absent (NULL). Numbers
 * travel as their 64 bits.
 */
#ifndef DANGO_BEDROCK_PROTO_H
#define DANGO_BEDROCK_PROTO_H

#include <margo.h>
#include <mercury_macros.h>
#include <mercury_proc_string.h>

#define BDK_RPC_GET_CONFIG      "bedrock_get_config"
#define BDK_RPC_QUERY_CONFIG    "bedrock_query_config"
#define BDK_RPC_LOAD_MODULE     "bedrock_load_module"
#define BDK_RPC_START_PROVIDER  "bedrock_start_provider"
#define BDK_RPC_REMOVE_PROVIDER "bedrock_remove_provider"
#define BDK_RPC_UPDATE_PROVIDER "bedrock_update_provider"
#define BDK_RPC_LOOKUP_PROVIDER "bedrock_lookup_provider"
#define BDK_RPC_ADD_POOL        "bedrock_add_pool"
#define BDK_RPC_REMOVE_POOL     "bedrock_remove_pool"
#define BDK_RPC_ADD_XSTREAM     "bedrock_add_xstream"
#define BDK_RPC_REMOVE_XSTREAM  "bedrock_remove_xstream"

/* Of Margo itself, without a provider id: no input, output int32, 0 = accepted. */
#define BDK_RPC_SHUTDOWN "__shutdown__"

MERCURY_GEN_PROC(bdk_in_t, ((hg_const_string_t)(first))((hg_const_string_t)(second))((uint64_t)(number_bits)))
MERCURY_GEN_PROC(bdk_out_t, ((int32_t)(code))((hg_const_string_t)(value))((uint16_t)(provider_id)))

#endif
