/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * backup.json, the file that makes a copy of a store a backup: of which form it is, when and by
 * which release it was made.  Written and read through descriptors, because who reads it may not be
 * who may open it.
 *
 * Invariant: what is longer or of another form than this release writes is refused.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apikey/manifest.h"

#include "apikey/snapshot.h"
#include "base/clock.h"
#include "base/json.h"

#define FORM 1
#define BYTES_MAX 4096

int
manifest_write(int dir_fd, const char *dir, int64_t made_us, struct err *e)
{
	char text[MANIFEST_TIME], line[BYTES_MAX + 1];
	cJSON *o = cJSON_CreateObject();
	size_t len;
	int fd, rc = 0;

	clock_rfc3339(made_us, text);
	cJSON_AddNumberToObject(o, "apikeyd_backup", FORM);
	cJSON_AddStringToObject(o, "made", text);
	cJSON_AddStringToObject(o, "release", PACKAGE_VERSION);
	len = json_print(o, line, BYTES_MAX);
	cJSON_Delete(o);
	if (json_lost() > 0 || len == 0)
		return err_set(e, ERR_SYSTEM, "out of memory");
	line[len++] = '\n';
	fd = openat(
	    dir_fd, SNAPSHOT_MANIFEST, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, "%s/" SNAPSHOT_MANIFEST ": cannot make it", dir);
	if (write(fd, line, len) != (ssize_t)len || fsync(fd) != 0)
		rc = err_sys(e, "%s/" SNAPSHOT_MANIFEST ": cannot write", dir);
	if (close(fd) != 0 && rc == 0)
		rc = err_sys(e, "%s/" SNAPSHOT_MANIFEST ": cannot write", dir);
	return rc;
}

int
manifest_read(int fd, const char *dir, char made[MANIFEST_TIME], struct err *e)
{
	char text[BYTES_MAX];
	const char *when;
	int64_t made_us;
	ssize_t n;
	cJSON *o;
	int rc = 0;

	made[0] = '\0';
	if ((n = pread(fd, text, sizeof(text), 0)) < 0)
		return err_sys(e, "%s/" SNAPSHOT_MANIFEST, dir);
	o = json_parse_object((struct span){text, (size_t)n}, NULL);
	when = o == NULL ? NULL : json_str(o, "made", NULL);
	/* Not as it stands there: it is shown on terminals. */
	if (when != NULL && clock_rfc3339_parse(when, &made_us) == 0 &&
	    json_int(o, "apikeyd_backup", 0, 0, FORM, NULL) == FORM)
		clock_rfc3339(made_us, made);
	else
		rc = err_set(e, ERR_VERSION,
		    "%s/" SNAPSHOT_MANIFEST
		    ": not of a backup that this release can read: is it damaged, or of a newer "
		    "release?",
		    dir);
	cJSON_Delete(o);
	return rc;
}
