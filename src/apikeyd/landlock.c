/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * landlock(7) by system call: libc has no names for it in Debian 12.
 *
 * Everything that this kernel's landlock can forbid about files is forbidden, then the policy's
 * directories are taken out.  It says nothing about descriptors that are open, about sockets (those
 * are seccomp's) and about looking at the attributes of a file.
 *
 * Invariants: a directory that is not there is left out, which forbids more, not less; a right that
 * this kernel does not know is not asked for.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apikeyd/landlock.h"

/* Newer than Debian 12's header. */
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)

#define FS_READ ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define FS_WRITE                                                                                   \
	((uint64_t)(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                \
		    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                 \
		    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK) |                  \
	    FS_TRUNCATE)
/* Of the first version: programs and special files, which nobody here needs. */
#define FS_OTHER                                                                                   \
	((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                    \
		    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                 \
		    LANDLOCK_ACCESS_FS_MAKE_SYM))

static uint64_t
known(long version)
{
	uint64_t all = FS_READ | FS_WRITE | FS_OTHER | FS_IOCTL_DEV;

	if (version < 3)
		all &= ~FS_TRUNCATE;
	if (version < 5)
		all &= ~FS_IOCTL_DEV;
	return all;
}

static int
take_out(int ruleset, const char *path, uint64_t access, struct err *e)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	long rc;

	if ((rule.parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) == -1)
		return 0;
	rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	if (rc == -1)
		(void)err_sys(e, "landlock: %s", path);
	(void)close(rule.parent_fd);
	return rc == -1 ? -1 : 0;
}

int
landlock_enter(const struct sandbox_policy *p, const struct config *C, struct err *e)
{
	struct landlock_ruleset_attr all;
	char path[PATH_MAX];
	long version =
	    syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
	int ruleset, ret = -1;
	size_t i;

	/* Not built in, not switched on, or not let through by a container: all the same. */
	if (version < 1)
		return 0;
	if (p->files == NULL)
		return 1;
	all = (struct landlock_ruleset_attr){.handled_access_fs = known(version)};
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (ruleset == -1)
		return err_sys(e, "landlock");
	for (i = 0; i < p->nfiles; i++)
		if (p->files[i].path(C, path, sizeof(path)) &&
		    take_out(ruleset, path,
			(p->files[i].access == SANDBOX_WRITE ? FS_READ | FS_WRITE : FS_READ) &
			    all.handled_access_fs,
			e) == -1)
			goto out;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) == -1)
		(void)err_sys(e, "landlock");
	else
		ret = 1;
out:
	(void)close(ruleset);
	return ret;
}
