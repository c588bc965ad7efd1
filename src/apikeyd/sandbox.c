/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entering a sandbox: makes what a role's table says (sandbox_worker.c, sandbox_keeper.c,
 * sandbox_launcher.c) the rule of this process and of all that it starts.
 *
 * It is not the privileges of a user (privileges.c), and not the units' (conf/systemd), which do
 * much of the same for those who use them: this holds however apikeyd was started.
 *
 * Invariants: what the kernel has is used, or the process does not go on; what it does not have is
 * said once and changes nothing else; there is no way back and no way around by the environment.
 */

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apikeyd/landlock.h"
#include "apikeyd/sandbox.h"
#include "base/log.h"
#include "base/secret.h"

/*
 * A sanitizer or gcov runs in such a build, and opens, maps and starts what it likes: there only
 * those rows hold that it does not break.  Decided by ./configure, never while running.
 */
#ifdef INSTRUMENTED
#define OTHERWISE SCMP_ACT_ALLOW
#else
#define OTHERWISE SCMP_ACT_ERRNO(EPERM)
#endif

static const struct sandbox_policy *const policies[SANDBOX_ROLES] = {
    [SANDBOX_WORKER] = &sandbox_worker,
    [SANDBOX_KEEPER] = &sandbox_keeper,
    [SANDBOX_LAUNCHER] = &sandbox_launcher,
};

static uint32_t
action_of(const struct sandbox_rule *r)
{
	switch (r->action) {
	case SANDBOX_ALLOW:
		return SCMP_ACT_ALLOW;
	case SANDBOX_ABSENT:
		return SCMP_ACT_ERRNO(ENOSYS);
	default:
		return SCMP_ACT_KILL_PROCESS;
	}
}

static int
add_rule(scmp_filter_ctx ctx, const struct sandbox_rule *r)
{
	struct scmp_arg_cmp arg[SANDBOX_ARGS_MAX + 1];
	unsigned n = r->narg;

	/* libseccomp takes no row that says what holds anyway. */
	if (action_of(r) == OTHERWISE)
		return 0;
#ifdef INSTRUMENTED
	if (r->tools)
		return 0;
#endif
	memcpy(arg, r->arg, sizeof(r->arg));
	if (r->own_pid)
		arg[n++] = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
	return seccomp_rule_add_array(ctx, action_of(r), r->call, n, arg);
}

static int
add_rules(scmp_filter_ctx ctx, const struct sandbox_policy *p)
{
	const struct sandbox_rule *const *table, *r;
	int rc;

	for (table = p->rules; *table != NULL; table++)
		for (r = *table; r->action != SANDBOX_END; r++)
			if ((rc = add_rule(ctx, r)) != 0)
				return rc;
	return 0;
}

static int
filter_calls(const struct sandbox_policy *p, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(OTHERWISE);
	int rc = -ENOMEM;

	if (ctx == NULL)
		goto out;
	/* Calls of another architecture's numbers, where the names of the table mean others. */
	if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) != 0)
		goto out;
	/* A binary tree: the cost of a call does not depend on its place in the tables. */
	if ((rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) != 0 ||
	    (rc = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1)) != 0)
		goto out;
	if ((rc = add_rules(ctx, p)) == 0)
		rc = seccomp_load(ctx);
out:
	seccomp_release(ctx);
	if (rc == 0)
		return 0;
	errno = -rc;
	return err_sys(e, "cannot enter the sandbox of a %s", p->role);
}

static int
kernel_filters(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* What needs no kernel feature.  None of them can fail: they lower what is there. */
static void
lower_limits(const struct sandbox_policy *p)
{
	static const struct rlimit none = {0, 0};
	struct rlimit files;

	(void)setrlimit(RLIMIT_MSGQUEUE, &none);
	if (p->threads)
		return;
	(void)setrlimit(RLIMIT_NPROC, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_max = files.rlim_cur;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static void
missing(const struct sandbox_policy *p, const char *what, const char *then)
{
	/* Workers are many, and who starts them has said it. */
	log_event(p == &sandbox_worker ? LOG_LVL_DEBUG : LOG_LVL_WARNING, "sandbox_incomplete",
	    "kernel_without", what, "then", then, NULL);
}

int
sandbox_enter(enum sandbox_role role, const struct config *C, struct err *e)
{
	const struct sandbox_policy *p = policies[role];
	int confined;

	/* Again: another user's id may have made it dumpable (proc(5), suid_dumpable). */
	secret_no_core();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return err_sys(e, "no_new_privs");
	lower_limits(p);
	if (!C->sandbox) {
		log_event(LOG_LVL_WARNING, "sandbox_off", "mend", "set sandbox = true", NULL);
		return 0;
	}
#ifndef INSTRUMENTED
	if ((confined = landlock_enter(p, C, e)) == -1)
		return -1;
	if (!confined)
		missing(p, "landlock", "files as the modes of the file system have them");
#else
	(void)confined;
#endif
	if (kernel_filters())
		return filter_calls(p, e);
	missing(p, "seccomp filters", "any system call may be made");
	return 0;
}
