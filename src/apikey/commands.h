/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_COMMANDS_H_
#define APIKEY_COMMANDS_H_

/* The functions behind the rows of command.c: each returns an exit status, or -1 and the error. */

#include "apikey/options.h"
#include "apikey/tool.h"
#include "base/err.h"

/* cmd_key.c */
int cmd_key_create(struct tool *, struct options *, struct err *);
int cmd_key_list(struct tool *, struct options *, struct err *);
int cmd_key_show(struct tool *, struct options *, struct err *);
int cmd_key_set(struct tool *, struct options *, struct err *);
int cmd_key_enable(struct tool *, struct options *, struct err *);
int cmd_key_revoke(struct tool *, struct options *, struct err *);
/*
 * What cannot be an id names no key: not found, like an id that nobody has, and no malformed value,
 * so that a script need not tell the two apart.  Not repeated: somebody may have pasted a key.
 */
int cmd_key_check_id(const struct options *, struct err *) __attribute__((warn_unused_result));
/* An operation on the key that changes nothing but its state, which is then ${now}. */
int cmd_key_change(struct tool *, const char *op, const char *now, struct options *, struct err *);

/* cmd_life.c */
int cmd_life_rotate(struct tool *, struct options *, struct err *);
int cmd_life_disable(struct tool *, struct options *, struct err *);
int cmd_life_purge(struct tool *, struct options *, struct err *);

/* cmd_check.c */
int cmd_check(struct tool *, struct options *, struct err *);

/* cmd_scan.c */
int cmd_scan(struct tool *, struct options *, struct err *);

/* cmd_plan.c */
int cmd_plan_set(struct tool *, struct options *, struct err *);
int cmd_plan_list(struct tool *, struct options *, struct err *);
int cmd_plan_show(struct tool *, struct options *, struct err *);
int cmd_plan_remove(struct tool *, struct options *, struct err *);

/* cmd_import.c */
int cmd_import(struct tool *, struct options *, struct err *);
int cmd_export(struct tool *, struct options *, struct err *);

/* cmd_owner.c */
int cmd_owner_list(struct tool *, struct options *, struct err *);
int cmd_owner_show(struct tool *, struct options *, struct err *);
int cmd_owner_disable(struct tool *, struct options *, struct err *);
int cmd_owner_enable(struct tool *, struct options *, struct err *);

/* cmd_pepper.c */
int cmd_pepper_add(struct tool *, struct options *, struct err *);
int cmd_pepper_list(struct tool *, struct options *, struct err *);
int cmd_pepper_retire(struct tool *, struct options *, struct err *);

/* cmd_audit.c */
int cmd_audit(struct tool *, struct options *, struct err *);

/* cmd_doctor.c */
int cmd_doctor(struct tool *, struct options *, struct err *);

/* cmd_db.c */
int cmd_db_stat(struct tool *, struct options *, struct err *);
int cmd_db_compact(struct tool *, struct options *, struct err *);

/* cmd_backup.c */
int cmd_db_backup(struct tool *, struct options *, struct err *);

/* cmd_restore.c */
int cmd_db_restore(struct tool *, struct options *, struct err *);

/* cmd_verify.c */
int cmd_db_verify(struct tool *, struct options *, struct err *);

/* cmd_dump.c */
int cmd_db_dump(struct tool *, struct options *, struct err *);

/* cmd_load.c */
int cmd_db_load(struct tool *, struct options *, struct err *);

/* cmd_help.c */
int cmd_help(struct tool *, struct options *, struct err *);

#endif /* !APIKEY_COMMANDS_H_ */
