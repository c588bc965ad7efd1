/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_dir and state_dir, and running.conf.
 *
 * Children load running.conf, which the supervisor writes from the configuration that it has
 * accepted, not the admin's file: a worker that dies while that file is half edited is back at
 * once, with the same settings as its siblings, and a setting that only a restart can change stays
 * as it is for all of them until then.
 *
 * Before the privileges are dropped only directories are made; running.conf is written after.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikeyd/rundir.h"
#include "base/buf.h"

/* Parents of ${path} that are missing: root's or ours, 0755. */
static int
make_parents(const char *path, struct err *e)
{
	char dir[1100], *p;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return err_set(e, ERR_INPUT, "%s: the path is too long", path);
	for (p = strchr(dir + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0755) == -1 && errno != EEXIST)
			return err_sys(e, "cannot make the directory %s for %s", dir, path);
		*p = '/';
	}
	return 0;
}

/* A directory that was there is never given away, but what root puts into it the service must be
 * able to replace. */
static int
check_owner(
    const char *setting, const char *path, int fd, const struct privileges *P, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return err_sys(e, "%s %s", setting, path);
	if (!P->root || P->uid == 0 || st.st_uid == P->uid)
		return 0;
	return err_set(e, ERR_DENIED,
	    "%s %s belongs to user id %u, but the service runs as %s; run chown %s %s", setting,
	    path, (unsigned)st.st_uid, P->user, P->user, path);
}

static int
make_dir(
    const char *setting, const char *path, mode_t mode, const struct privileges *P, struct err *e)
{
	int fd, made, ret = -1;

	if (make_parents(path, e) == -1)
		return -1;
	if ((made = mkdir(path, mode) == 0) == 0 && errno != EEXIST)
		return err_sys(e, "cannot make the directory %s; set %s to one that can be made",
		    path, setting);
	if ((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return err_sys(e,
		    errno == EACCES ? "%s %s: run this as root or as the service user"
				    : "%s %s: set it to a directory",
		    setting, path);
	if (made && (fchmod(fd, mode) == -1 || (P->root && fchown(fd, P->uid, P->gid) == -1)))
		(void)err_sys(e, "%s %s", setting, path);
	else
		ret = check_owner(setting, path, fd, P, e);
	(void)close(fd);
	return ret;
}

int
rundir_make(const struct config *C, const struct privileges *P, struct err *e)
{
	if (make_dir("run_dir", C->run_dir, 0755, P, e) == -1)
		return -1;
	return make_dir("state_dir", C->state_dir, 0700, P, e);
}

int
rundir_path(const struct config *C, char path[RUNDIR_PATH_MAX], struct err *e)
{
	int n = snprintf(path, RUNDIR_PATH_MAX, "%s/running.conf", C->run_dir);

	if (n < 0 || n >= RUNDIR_PATH_MAX)
		return err_set(e, ERR_INPUT, "run_dir is too long");
	return 0;
}

static int
write_all(int fd, struct span s)
{
	ssize_t n;

	for (; s.len > 0; s.p += n, s.len -= (size_t)n)
		if ((n = write(fd, s.p, s.len)) <= 0)
			return -1;
	return 0;
}

int
rundir_write(const struct config *C, struct err *e)
{
	char path[RUNDIR_PATH_MAX], new[RUNDIR_PATH_MAX + 4];
	struct wbuf w;
	void *mem = NULL;
	int fd = -1, ret = -1;

	if (rundir_path(C, path, e) == -1)
		return -1;
	(void)snprintf(new, sizeof(new), "%s.new", path);
	if ((mem = malloc(CONFIG_TEXT_MAX)) == NULL)
		return err_sys(e, "%s", path);
	wbuf_init(&w, mem, CONFIG_TEXT_MAX);
	wbuf_printf(&w,
	    "# Written by apikeyd: the settings in force, read from %s. Changes here are lost.\n",
	    C->path != NULL ? C->path : "no file (all are defaults)");
	if (config_text(C, &w) == -1) {
		(void)err_set(e, ERR_INTERNAL, "the configuration does not fit into %s", path);
		goto out;
	}
	(void)unlink(new);
	if ((fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644)) == -1 ||
	    fchmod(fd, 0644) == -1 || write_all(fd, wbuf_view(&w)) == -1 ||
	    rename(new, path) == -1) {
		(void)err_sys(e,
		    "cannot write %s; run_dir must belong to the service user and have space",
		    path);
		goto out;
	}
	ret = 0;
out:
	if (fd != -1)
		(void)close(fd);
	free(mem);
	return ret;
}
