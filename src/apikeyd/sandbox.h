/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEYD_SANDBOX_H_
#define APIKEYD_SANDBOX_H_

/*
 * What a process may still do once it has everything that it needs: system calls (seccomp), files
 * (landlock), limits.  One table a role: sandbox_worker.c, sandbox_keeper.c, sandbox_launcher.c;
 * sandbox.c applies them and decides nothing.
 */

#include <stddef.h>

#include <seccomp.h>

#include "base/err.h"
#include "config/config.h"

enum sandbox_role { SANDBOX_WORKER, SANDBOX_KEEPER, SANDBOX_LAUNCHER, SANDBOX_ROLES };

/*
 * After the privileges are dropped, before a thread is made or a stranger's byte is read.  There is
 * no way back.  What this kernel cannot do is logged once and left out; with `sandbox = false`
 * nothing is done but a warning.  -1: it could, and failed; the process must not go on.
 */
int sandbox_enter(enum sandbox_role, const struct config *, struct err *)
    __attribute__((warn_unused_result));

/* ---- the tables ---- */

/*
 * Calls that are in no row fail with EPERM: libraries probe for things that they can do without,
 * and another version of libc may have a new way to ask.  SANDBOX_KILL is for what no library ever
 * tries by itself: it ends the process (SIGSYS), and the supervisor reports that.
 */
enum sandbox_action {
	SANDBOX_END, /* of a table */
	SANDBOX_ALLOW,
	SANDBOX_KILL,
	SANDBOX_ABSENT /* ENOSYS: libc then takes an older call, whose arguments can be seen */
};

#define SANDBOX_ARGS_MAX 2

/* Rows without conditions. */
#define SANDBOX_MAY(name)                                                                          \
	{                                                                                          \
		.action = SANDBOX_ALLOW, .call = SCMP_SYS(name)                                    \
	}
#define SANDBOX_DIES(name)                                                                         \
	{                                                                                          \
		.action = SANDBOX_KILL, .call = SCMP_SYS(name)                                     \
	}

/* With one argument of this value, or two. */
#define SANDBOX_IF(name, nth, value)                                                               \
	{                                                                                          \
		.action = SANDBOX_ALLOW, .call = SCMP_SYS(name), .narg = 1,                        \
		.arg = { {(nth), SCMP_CMP_EQ, (value), 0} }                                        \
	}
#define SANDBOX_IF_BOTH(name, nth, value, other, also)                                             \
	{                                                                                          \
		.action = SANDBOX_ALLOW, .call = SCMP_SYS(name), .narg = 2,                        \
		.arg = { {(nth), SCMP_CMP_EQ, (value), 0},                                         \
			{(other), SCMP_CMP_EQ, (also), 0} }                                        \
	}
/* fcntl(F_SETFL), but no signals by descriptor. */
#define SANDBOX_MAY_SET_FLAGS                                                                      \
	{                                                                                          \
		.action = SANDBOX_ALLOW, .call = SCMP_SYS(fcntl), .narg = 2,                       \
		.arg = { {1, SCMP_CMP_EQ, F_SETFL, 0},                                             \
			{2, SCMP_CMP_MASKED_EQ, O_ASYNC, 0} }                                      \
	}

/* Flags of clone() that nobody here ever needs. */
#define SANDBOX_NAMESPACES                                                                         \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	    CLONE_NEWPID | CLONE_NEWNET)

struct sandbox_rule {
	enum sandbox_action action;
	int call;      /* SCMP_SYS() */
	unsigned narg; /* conditions, all of which must hold; 0: any arguments */
	struct scmp_arg_cmp arg[SANDBOX_ARGS_MAX];
	int own_pid; /* and its first argument must be this process */
	int tools;   /* not in instrumented builds: sanitizers and gcov do this themselves */
};

/* What may be done to the files below a directory. */
enum sandbox_access { SANDBOX_READ, SANDBOX_WRITE };

struct sandbox_files {
	enum sandbox_access access;
	/* Writes the directory's path; 0: this configuration has none. */
	int (*path)(const struct config *, char *, size_t);
};

struct sandbox_policy {
	const char *role;
	const struct sandbox_rule *const *rules; /* tables, NULL behind the last */
	/* Files; ${nfiles} 0: none at all.  NULL: as the file system's modes have it. */
	const struct sandbox_files *files;
	size_t nfiles;
	int threads; /* needs to make some; else the number of its processes is limited to those
			there are */
};

extern const struct sandbox_policy sandbox_worker, sandbox_keeper, sandbox_launcher;

/* Rows that several roles have in common: sandbox_common.c. */
extern const struct sandbox_rule sandbox_running[];    /* memory, time, its own signals, its end */
extern const struct sandbox_rule sandbox_talking[];    /* descriptors that are open */
extern const struct sandbox_rule sandbox_filing[];     /* files */
extern const struct sandbox_rule sandbox_never[];      /* nobody, ever */
extern const struct sandbox_rule sandbox_no_program[]; /* no other program, process or user */
extern const struct sandbox_rule sandbox_no_code[];    /* no new machine code */

#endif /* !APIKEYD_SANDBOX_H_ */
