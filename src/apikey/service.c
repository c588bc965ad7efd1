/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Acting in the service user's name: who it is, directories that belong to it, and becoming it.
 * Used by the admin tool when it runs as root; for anyone else all of it is a no-op, because an
 * ordinary user can give nothing away.
 *
 * Invariants: service_become leaves no id that leads back to root, and nothing of root's terminal
 * but a place to write to; a directory that exists is never given to somebody else.
 */

#include <sys/prctl.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apikey/service.h"

#include "base/secret.h"

int
service_find(const struct config *config, struct service *s, struct err *e)
{
	const char *file = config->path != NULL ? config->path : SYSCONFDIR "/apikeyd/apikeyd.conf";
	const struct passwd *pw;
	const struct group *gr;

	memset(s, 0, sizeof(*s));
	s->uid = (uid_t)-1;
	s->gid = (gid_t)-1;
	if (geteuid() != 0 || strcmp(config->user, "root") == 0)
		return 0;
	errno = 0;
	if ((pw = getpwnam(config->user)) == NULL)
		return err_set(e, ERR_UNAVAILABLE,
		    "the service user %s does not exist; run `adduser --system --group %s`, or set "
		    "user in %s",
		    config->user, config->user, file);
	s->uid = pw->pw_uid;
	if ((gr = getgrnam(config->group)) == NULL)
		return err_set(e, ERR_UNAVAILABLE,
		    "the service group %s does not exist; run `addgroup --system %s`, or set group "
		    "in %s",
		    config->group, config->group, file);
	s->gid = gr->gr_gid;
	s->user = config->user;
	s->change = s->uid != 0;
	return 0;
}

int
service_runs(const struct config *config)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/" CONFIG_PID_FILE, config->run_dir), fd, runs;

	if (n < 0 || (size_t)n >= sizeof(path))
		return 0;
	/* Root's, to the service user: it runs, or was killed. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) == -1)
		return errno == EACCES;
	runs = fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type == F_WRLCK;
	close(fd);
	return runs;
}

/* mkdir ${path} and what is missing above it; 1 when ${path} was made, 0 when it was there, -1. */
static int
make_path(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t i, len = strlen(path);

	if (len == 0 || len >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(part, path, len + 1);
	for (i = 1; i < len; i++) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0755) == -1 && errno != EEXIST)
			return -1;
		part[i] = '/';
	}
	if (mkdir(part, mode) == 0)
		return 1;
	return errno == EEXIST ? 0 : -1;
}

int
service_make_dir(const struct service *s, const char *path, mode_t mode, int own, struct err *e)
{
	mode_t old = umask(022);
	int made = make_path(path, mode);

	(void)umask(old);
	if (made == -1)
		return err_sys(e, "cannot make the directory %s", path);
	if (made == 1 && own && s->change && lchown(path, s->uid, s->gid) == -1)
		return err_sys(e, "cannot give %s to the service user", path);
	return 0;
}

/*
 * Whoever shares root's terminal could read what root types, and type in root's name.  Where there
 * is no /proc to open it anew by, it stays as it is: leaving its session (apart.c) forbids the
 * worse of the two.
 */
static int
leave_terminal(struct err *e)
{
	static const char *const paths[] = {"/dev/null", "/proc/self/fd/1", "/proc/self/fd/2"};
	int fd, rc;

	for (int i = 0; i <= STDERR_FILENO; i++) {
		if (i != STDIN_FILENO && !isatty(i))
			continue;
		fd = open(
		    paths[i], (i == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 && i != STDIN_FILENO)
			continue;
		if (fd < 0)
			return err_sys(e, "%s", paths[i]);
		rc = dup2(fd, i);
		close(fd);
		if (rc < 0)
			return err_sys(e, "%s", paths[i]);
	}
	return 0;
}

/* Is it true, and is there no way back? */
static int
is_it(const struct service *s)
{
	uid_t r, eff, saved;
	gid_t gr, geff, gsaved;

	if (getresuid(&r, &eff, &saved) == -1 || getresgid(&gr, &geff, &gsaved) == -1)
		return 0;
	return r == s->uid && eff == s->uid && saved == s->uid && gr == s->gid && geff == s->gid &&
	       gsaved == s->gid && setresuid(0, 0, 0) == -1;
}

int
service_become(const struct service *s, struct err *e)
{
	if (!s->change)
		return 0;
	if (leave_terminal(e) == -1)
		return -1;
	if (initgroups(s->user, s->gid) == -1 || setresgid(s->gid, s->gid, s->gid) == -1 ||
	    setresuid(s->uid, s->uid, s->uid) == -1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return err_sys(e, "cannot become the service user");
	if (!is_it(s))
		return err_set(e, ERR_INTERNAL, "still root after becoming the service user");
	/* The change of user resets what keeps core dumps away, and debuggers of that user. */
	secret_no_core();
	return 0;
}
