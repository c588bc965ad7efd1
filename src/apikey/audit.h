/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_AUDIT_H_
#define APIKEY_AUDIT_H_

/* The parts of `apikey audit`; each returns an exit status, or -1 and the error. */

#include "apikey/table.h"
#include "apikey/tool.h"

/* cmd_audit.c: an entry as a row of these columns, with its exact time. */
#define AUDIT_COLUMNS 7
extern const struct table_column audit_columns[AUDIT_COLUMNS];
void audit_row(struct table *, const cJSON *entry);

/* audit_verify.c: ${expect} NULL, or "SEQ:HASH". */
int audit_verify(struct tool *, const char *expect, struct err *);

/* The same for `apikey db verify`: only how many problems there are.  0 or -1. */
int audit_verify_count(struct tool *, double *found, struct err *)
    __attribute__((warn_unused_result));

/* audit_follow.c: ${filters}: the request of a list. */
int audit_follow(struct tool *, cJSON *filters, struct err *);

#endif /* !APIKEY_AUDIT_H_ */
