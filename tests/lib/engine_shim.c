/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Who uses Berkeley DB?  With LD_PRELOAD each call that would make a handle of it appends a line to
 * the file that ENGINE_SHIM names (one that everybody may write to): what that process may, and
 * what it has of a terminal.
 *
 * ENGINE_STOP=N: the process stops itself at its Nth such call.  ENGINE_LINK=PATH: who is not root
 * and ends where a store's files are leaves a link to PATH there, under the name in ENGINE_NAME; a
 * hard one with ENGINE_HARD, a file of his own with ENGINE_PLAIN.
 *
 * ENGINE_SIGNAL=N: who is about to make or rename something whose name ends with ENGINE_AT, or to
 * remove something whose name ends with ENGINE_UNLINK, is sent that signal first.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
has_group(gid_t gid)
{
	gid_t groups[64];
	int n = getgroups(64, groups);

	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return 1;
	return n < 0;
}

static int
access_mode(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : flags & O_ACCMODE;
}

/* 2: it is in a filter of system calls. */
static int
seccomp_mode(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	int mode = -1;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	if (f != NULL)
		(void)fclose(f);
	return mode;
}

static void
tell(void)
{
	const char *path = getenv("ENGINE_SHIM"), *stop = getenv("ENGINE_STOP");
	static int calls;
	uid_t r, e, s;
	char line[256];
	int fd, tty, n;

	if (path == NULL || getresuid(&r, &e, &s) != 0)
		return;
	if ((tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0)
		close(tty);
	n = snprintf(line, sizeof(line),
	    "{\"uids\": [%u, %u, %u], \"root_group\": %d, \"nnp\": %d, \"dumpable\": %d, "
	    "\"leader\": %d, \"tty\": %d, \"seccomp\": %d, \"modes\": [%d, %d, %d]}\n",
	    r, e, s, has_group(0) || getegid() == 0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
	    prctl(PR_GET_DUMPABLE), getsid(0) == getpid(), tty >= 0, seccomp_mode(), access_mode(0),
	    access_mode(1), access_mode(2));
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
	if (stop != NULL && ++calls == atoi(stop))
		(void)raise(SIGSTOP);
}

int
db_env_create(void *env, uint32_t flags)
{
	int (*real)(void *, uint32_t) =
	    (int (*)(void *, uint32_t))(uintptr_t)dlsym(RTLD_NEXT, "db_env_create");

	tell();
	return real(env, flags);
}

int
db_create(void *db, void *env, uint32_t flags)
{
	int (*real)(void *, void *, uint32_t) =
	    (int (*)(void *, void *, uint32_t))(uintptr_t)dlsym(RTLD_NEXT, "db_create");

	tell();
	return real(db, env, flags);
}

static void
interrupt(const char *at, const char *name)
{
	const char *sig = getenv("ENGINE_SIGNAL"), *end = getenv(at);

	if (sig != NULL && end != NULL && strlen(name) >= strlen(end) &&
	    strcmp(name + strlen(name) - strlen(end), end) == 0)
		(void)raise(atoi(sig));
}

int
mkdir(const char *path, mode_t mode)
{
	interrupt("ENGINE_AT", path);
	return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	interrupt("ENGINE_AT", to);
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	interrupt("ENGINE_AT", to);
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int
unlinkat(int fd, const char *path, int flags)
{
	interrupt("ENGINE_UNLINK", path);
	return (int)syscall(SYS_unlinkat, fd, path, flags);
}

static void __attribute__((destructor)) leave_link(void)
{
	const char *path = getenv("ENGINE_LINK"), *name = getenv("ENGINE_NAME");
	int fd, failed;

	if (path == NULL || name == NULL || geteuid() == 0 || access("keys.db", F_OK) != 0)
		return;
	(void)unlink(name);
	if (getenv("ENGINE_PLAIN") != NULL)
		failed =
		    (fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0 || close(fd) != 0;
	else
		failed =
		    (getenv("ENGINE_HARD") != NULL ? link(path, name) : symlink(path, name)) != 0;
	if (failed)
		abort();
}
