/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_KEYSHOW_H_
#define APIKEY_KEYSHOW_H_

/* Showing keys: records, and the key itself when it is made. */

#include <signal.h>

#include <cjson/cJSON.h>

#include "apikey/tool.h"

/* Was it seen where it must not be? */
int keyshow_exposed(const cJSON *record);
/* Of the state in a list. */
enum term_colour keyshow_colour(const cJSON *record);
/* Everything that is known of a key. */
int keyshow_record(const struct tool *, const cJSON *record, struct err *)
    __attribute__((warn_unused_result));

/* The key on a line of its own, and that it is the only time (not with ${quiet}). */
int keyshow_key(const struct tool *, const char *key, int quiet, struct err *)
    __attribute__((warn_unused_result));

/* The key in the record of one that was made: as keyshow_key, or the record with --json.  0 or -1.
 */
int keyshow_made(const struct tool *, const cJSON *record, int quiet, struct err *)
    __attribute__((warn_unused_result));

/*
 * A key that is made and not shown is lost.  So between the two this process cannot be interrupted:
 * a signal takes effect when the key is on standard output, and a pipe that nobody reads is an
 * error and no end.  The child that works alone inherits it.
 */
void keyshow_hold(sigset_t *before);
void keyshow_release(const sigset_t *before);

#endif /* !APIKEY_KEYSHOW_H_ */
