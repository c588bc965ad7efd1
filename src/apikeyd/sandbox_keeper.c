/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox of the keeper, which owns the store and the peppers.
 *
 * It enters before it opens either.  Files: the store's directory and the run directory, and to
 * read those of the pepper file and of the configuration, which a reload reads again, and two of
 * the kernel's. (Where the kernel has landlock; elsewhere what the service user may.)  Sockets: of
 * this machine alone, so that nothing that it knows leaves by itself.  Its one thread is made
 * behind the filter; no other program, ever.
 */

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "apikeyd/sandbox.h"
#include "base/span.h"

static const struct sandbox_rule own[] = {
    /* keeper.sock, check.sock, /dev/log */
    SANDBOX_IF(socket, 0, AF_UNIX),
    {.action = SANDBOX_KILL,
	.call = SCMP_SYS(socket),
	.narg = 1,
	.arg = {{0, SCMP_CMP_NE, AF_UNIX, 0}}},
    SANDBOX_MAY(bind),
    SANDBOX_MAY(listen),
    SANDBOX_MAY(connect),
    SANDBOX_MAY(sendto),
    SANDBOX_MAY(sendmsg),
    SANDBOX_MAY(shutdown),
    /* room and patience; no program for the kernel (SO_ATTACH_FILTER) */
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_SNDBUF),
    SANDBOX_IF_BOTH(setsockopt, 1, SOL_SOCKET, 2, SO_SNDTIMEO),
    SANDBOX_MAY(epoll_create1),
    SANDBOX_MAY(eventfd2),
    SANDBOX_MAY(signalfd4),
    SANDBOX_MAY(timerfd_create),
    SANDBOX_MAY(timerfd_settime),
    SANDBOX_MAY(pipe2),
    /* the store's lock; flags */
    SANDBOX_IF(fcntl, 1, F_OFD_SETLK),
    SANDBOX_IF(fcntl, 1, F_GETFD),
    SANDBOX_IF(fcntl, 1, F_SETFD),
    SANDBOX_IF(fcntl, 1, F_GETFL),
    SANDBOX_MAY_SET_FLAGS,
    /* libconfuse wants to know whether the configuration is a terminal */
    SANDBOX_IF(ioctl, 1, TCGETS),
    /* the housekeeping thread; clone3 hides its flags behind a pointer */
    {.action = SANDBOX_ALLOW,
	.call = SCMP_SYS(clone),
	.narg = 1,
	.arg = {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | SANDBOX_NAMESPACES, CLONE_THREAD}}},
    {.action = SANDBOX_ABSENT, .call = SCMP_SYS(clone3)},
    {.action = SANDBOX_END},
};

static const struct sandbox_rule *const rules[] = {sandbox_running, sandbox_talking, sandbox_filing,
    own, sandbox_no_code, sandbox_no_program, sandbox_never, NULL};

static int
copy(const char *path, char *out, size_t cap)
{
	return path != NULL && span_copy(out, cap, span_of(path)) == 0;
}

static int
state_dir(const struct config *C, char *out, size_t cap)
{
	return copy(C->state_dir, out, cap);
}

static int
run_dir(const struct config *C, char *out, size_t cap)
{
	return copy(C->run_dir, out, cap);
}

/* Directories rather than files: both are replaced, not rewritten. */
static int
directory_of(const char *path, char *out, size_t cap)
{
	char mem[PATH_MAX];

	return copy(path, mem, sizeof(mem)) && copy(dirname(mem), out, cap);
}

/* Where a symbolic link leads. */
static int
directory_behind(const char *path, char *out, size_t cap)
{
	char *real = path != NULL ? realpath(path, NULL) : NULL;
	int got = real != NULL && directory_of(real, out, cap);

	free(real);
	return got;
}

static int
pepper_dir(const struct config *C, char *out, size_t cap)
{
	return directory_of(C->pepper_file, out, cap);
}

static int
pepper_behind(const struct config *C, char *out, size_t cap)
{
	return directory_behind(C->pepper_file, out, cap);
}

static int
credentials_dir(const struct config *C, char *out, size_t cap)
{
	(void)C;
	return copy(getenv("CREDENTIALS_DIRECTORY"), out, cap);
}

static int
config_dir(const struct config *C, char *out, size_t cap)
{
	return directory_of(C->path != NULL ? C->path : CONFIG_DEFAULT_PATH, out, cap);
}

static int
config_behind(const struct config *C, char *out, size_t cap)
{
	return directory_behind(C->path, out, cap);
}

/* Which boot this is: base/clock.h. */
static int
boot_id(const struct config *C, char *out, size_t cap)
{
	(void)C;
	return copy("/proc/sys/kernel/random", out, cap);
}

/* How many processors: Berkeley DB and malloc ask. */
static int
processors(const struct config *C, char *out, size_t cap)
{
	(void)C;
	return copy("/sys/devices/system/cpu", out, cap);
}

static const struct sandbox_files files[] = {
    {SANDBOX_WRITE, state_dir},
    {SANDBOX_WRITE, run_dir},
    {SANDBOX_READ, pepper_dir},
    {SANDBOX_READ, pepper_behind},
    {SANDBOX_READ, credentials_dir},
    {SANDBOX_READ, config_dir},
    {SANDBOX_READ, config_behind},
    {SANDBOX_READ, boot_id},
    {SANDBOX_READ, processors},
};

const struct sandbox_policy sandbox_keeper = {.role = "keeper",
    .rules = rules,
    .files = files,
    .nfiles = sizeof(files) / sizeof(files[0]),
    .threads = 1};
