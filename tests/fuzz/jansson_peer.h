/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson_peer.h - jansson's declarations beside ours: the few names that both use are changed for
 * the time of the include. The functions behind them must not be called; the Makefile keeps ours
 * out of the dynamic symbols, so that the library keeps calling its own.
 */
#pragma once

#define json_null   jansson_null
#define json_string jansson_string
#define JSON_NULL   JANSSON_NULL
#define JSON_STRING JANSSON_STRING
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_OBJECT JANSSON_OBJECT
#include <jansson.h>
#undef json_null
#undef json_string
#undef JSON_NULL
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT
