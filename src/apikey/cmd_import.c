/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey import, export: keys as lines of JSON.
 *
 * Lines are read one after the other and handed to the keeper by batches, each of which it stores
 * whole or not at all; so a file may be of any length, and what was told as imported stays so,
 * whatever becomes of the rest.  What a line may say is the keeper's business.
 *
 * Invariants: a key that was made for a line is on standard output before the next batch is begun,
 * or is revoked again; memory is bounded by a batch; no message repeats the digest of a line, or
 * more of it than the name of a member, a plan or a scope.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apikey/commands.h"
#include "apikey/guard.h"
#include "apikey/keyshow.h"
#include "apikey/output.h"
#include "apikey/progress.h"
#include "base/json.h"
#include "base/secret.h"

#define LINE_MAX_BYTES 100000 /* of JSON; so that a message to the keeper holds it */
#define BUF_BYTES (LINE_MAX_BYTES + 2)
#define BATCH_BYTES 100000
#define BATCH_LINES 50
#define BATCH_LINES_MAX 100

/* What became of lines. */
struct tally {
	unsigned long imported, existing, refused, not_imported;
};

struct importing {
	struct tool *tool;
	const char *name; /* of the file, for people */
	int fd;
	int skip_existing, dry_run;
	unsigned lines_max;
	struct progress progress;
	struct tally all;
	unsigned long lineno; /* of the line read last */

	/* The batch. */
	cJSON *keys; /* an array */
	size_t n, bytes;
	unsigned long lines[BATCH_LINES_MAX]; /* number of each of its records */
	unsigned long first, last;	      /* lines of the batch, refused ones included */
	unsigned long bad, bad_records; /* lines in it that are refused; those that were sent */
	unsigned long bad_line;		/* the first of them */

	/*
	 * What was read and not taken yet.  No stdio: the child that works alone leaves by exit(3),
	 * which would set our place in the file back to where its copy of a stream is.
	 */
	char *buf; /* of BUF_BYTES */
	size_t at, end;
	int too_long; /* the rest of the line is skipped */
};

static int
no_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, "out of memory");
}

/* ---- what is told of a line ---- */

/* A refused line: one on standard error, or an object with --json. */
static int
tell_refused(
    struct importing *im, unsigned long line, const char *code, const char *message, struct err *e)
{
	cJSON *o;
	int rc;

	if (im->bad++ == 0)
		im->bad_line = line;
	im->all.refused++;
	progress_end(&im->progress);
	if (!im->tool->json) {
		fprintf(stderr, "%s:%lu: %s\n", im->name, line, message);
		return 0;
	}
	o = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(o, "line", (double)line) == NULL ||
	    cJSON_AddStringToObject(o, "error", code) == NULL ||
	    cJSON_AddStringToObject(o, "message", message) == NULL)
		rc = no_memory(e);
	else
		rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

/* One that is there, now or already.  ${item}: the keeper's, with "index", "id" and maybe "key". */
static int
tell_there(struct importing *im, cJSON *item, const char *what, struct err *e)
{
	int64_t at = json_int(item, "index", -1, 0, BATCH_LINES_MAX - 1, e);

	if (at < 0 || (size_t)at >= im->n)
		return err_set(e, ERR_INTERNAL, "the keeper tells of a line that it was not sent");
	cJSON_DeleteItemFromObjectCaseSensitive(item, "index");
	if (cJSON_AddNumberToObject(item, "line", (double)im->lines[at]) == NULL ||
	    cJSON_AddStringToObject(item, "result", what) == NULL)
		return no_memory(e);
	return output_json(item, e);
}

static int
tell_all(struct importing *im, const cJSON *list, const char *what, struct err *e)
{
	cJSON *item;

	cJSON_ArrayForEach(item, list)
	{
		if (tell_there(im, item, what, e) == -1)
			return -1;
	}
	return 0;
}

/* Which lines were not imported because of another; ${existing} of them were there. */
static int
tell_held_back(struct importing *im, unsigned long existing, struct err *e)
{
	unsigned long held = (unsigned long)im->n - im->bad_records - existing;
	cJSON *o;
	int rc;

	im->all.not_imported += held;
	if (held == 0)
		return 0;
	progress_end(&im->progress);
	if (!im->tool->json) {
		fprintf(stderr, "%s:%lu-%lu: %lu lines not imported because of line %lu\n",
		    im->name, im->first, im->last, held, im->bad_line);
		return 0;
	}
	o = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(o, "first", (double)im->first) == NULL ||
	    cJSON_AddNumberToObject(o, "last", (double)im->last) == NULL ||
	    cJSON_AddNumberToObject(o, "not_imported", (double)held) == NULL ||
	    cJSON_AddNumberToObject(o, "because_of", (double)im->bad_line) == NULL)
		rc = no_memory(e);
	else
		rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

/* ---- a batch ---- */

static int
batch_begin(struct importing *im, struct err *e)
{
	cJSON_Delete(im->keys);
	im->n = im->bytes = 0;
	im->bad = im->bad_records = im->bad_line = im->first = im->last = 0;
	return (im->keys = cJSON_CreateArray()) != NULL ? 0 : no_memory(e);
}

/* Keys that were made and could not be shown must not stay valid. */
static void
take_back(struct importing *im, const cJSON *made, struct err *e)
{
	unsigned revoked = 0, left = 0;
	const cJSON *one;

	cJSON_ArrayForEach(one, made)
	{
		cJSON *request, *done;
		const char *id = json_str(one, "id", NULL);

		if (json_str(one, "key", NULL) == NULL || id == NULL)
			continue;
		request = cJSON_CreateObject();
		done = NULL;
		if (cJSON_AddStringToObject(request, "id", id) != NULL &&
		    cJSON_AddStringToObject(request, "reason", "could not be shown") != NULL)
			done = tool_change(im->tool, "key.revoke", request, NULL);
		if (done != NULL)
			revoked++;
		else
			left++;
		cJSON_Delete(request);
		cJSON_Delete(done);
	}
	if (left > 0)
		(void)err_wrap(e,
		    "%u keys of lines %lu to %lu were made and could not be shown; list them and "
		    "revoke them",
		    left, im->first, im->last);
	else if (revoked > 0)
		(void)err_wrap(e,
		    "the keys of lines %lu to %lu could not be shown, so all %u were revoked again",
		    im->first, im->last, revoked);
}

static cJSON *
member_of(cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

/* What the keeper says of the batch. */
static int
batch_tell(struct importing *im, cJSON *result, struct err *e)
{
	cJSON *refused, *made = member_of(result, "keys"),
			*existing = member_of(result, "existing");
	int64_t more = json_int(result, "more_refused", 0, 0, BATCH_LINES_MAX, e);

	cJSON_ArrayForEach(refused, member_of(result, "refused"))
	{
		int64_t at = json_int(refused, "index", -1, 0, BATCH_LINES_MAX - 1, e);
		const char *code = json_str(refused, "error", e);
		const char *message = json_str(refused, "message", e);

		if (at < 0 || (size_t)at >= im->n || code == NULL || message == NULL)
			return err_set(
			    e, ERR_INTERNAL, "the keeper tells of a line that it was not sent");
		im->bad_records++;
		if (tell_refused(im, im->lines[at], code, message, e) == -1)
			return -1;
	}
	im->all.refused += (unsigned long)more;
	im->bad += (unsigned long)more;
	im->bad_records += (unsigned long)more;
	im->all.existing += (unsigned long)cJSON_GetArraySize(existing);
	if (tell_all(im, existing, "existing", e) == -1)
		return -1;
	if (im->bad > 0)
		return tell_held_back(im, (unsigned long)cJSON_GetArraySize(existing), e);
	im->all.imported += (unsigned long)json_int(result, "imported", 0, 0, BATCH_LINES_MAX, e);
	if (tell_all(im, made, "imported", e) == -1) {
		take_back(im, made, e);
		return -1;
	}
	return 0;
}

/* Hand the batch over, if there is anything in it, and begin the next one. */
static int
batch_end(struct importing *im, struct err *e)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	sigset_t before;
	int rc = -1;

	if (im->n == 0) {
		cJSON_Delete(request);
		return im->bad > 0 ? batch_begin(im, e) : 0;
	}
	keyshow_hold(&before);
	/* With a line that is no record, the others are only looked at. */
	if (cJSON_AddStringToObject(request, "op", "key.import") == NULL ||
	    cJSON_AddBoolToObject(request, "skip_existing", im->skip_existing) == NULL ||
	    cJSON_AddBoolToObject(request, "dry_run", im->dry_run || im->bad > 0) == NULL ||
	    !cJSON_AddItemToObject(request, "keys", im->keys)) {
		(void)no_memory(e);
	} else {
		im->keys = NULL;
		result = session_call(im->tool->session, SESSION_CHANGES, request, e);
	}
	if (result != NULL)
		rc = batch_tell(im, result, e);
	else
		(void)err_wrap(e, "lines %lu to %lu", im->first, im->last);
	cJSON_Delete(request);
	cJSON_Delete(result);
	keyshow_release(&before);
	progress_at(&im->progress, "%lu lines, %lu imported", im->lineno, im->all.imported);
	return rc == 0 ? batch_begin(im, e) : -1;
}

/* ---- lines ---- */

/* Takes ${record}.  Where there is no room for it in a message, the batch before it goes first. */
static int
batch_add(struct importing *im, cJSON *record, size_t len, struct err *e)
{
	if (im->n > 0 && im->bytes + len > BATCH_BYTES && batch_end(im, e) == -1) {
		cJSON_Delete(record);
		return -1;
	}
	if (!cJSON_AddItemToArray(im->keys, record)) {
		cJSON_Delete(record);
		return no_memory(e);
	}
	im->bytes += len + 1;
	im->lines[im->n++] = im->lineno;
	return 0;
}

static int
is_blank(struct span line)
{
	for (size_t i = 0; i < line.len; i++)
		if (strchr(" \t\r\n", line.p[i]) == NULL)
			return 0;
	return 1;
}

/* What stands in a line is stored, listed and told in the audit trail. */
static int
has_key(struct span line)
{
	char *text = strndup(line.p, line.len);
	int has = text == NULL || guard_has_key(text);

	if (text != NULL)
		secret_wipe(text, line.len);
	free(text);
	return has;
}

static int
take_line(struct importing *im, struct span line, struct err *e)
{
	struct err why = {0};
	cJSON *record;

	im->lineno++;
	if (is_blank(line))
		return 0;
	if (im->n + im->bad >= im->lines_max && batch_end(im, e) == -1)
		return -1;
	if (im->too_long)
		(void)err_set(&why, ERR_INPUT, "longer than %d bytes", LINE_MAX_BYTES);
	else if (has_key(line))
		(void)err_set(&why, ERR_INPUT,
		    "there is an API key in it, where none belongs; a key of another system comes "
		    "as \"digest\"");
	else if ((record = json_parse_object(line, &why)) != NULL &&
		 batch_add(im, record, line.len, e) == -1)
		return -1;
	if (im->first == 0)
		im->first = im->lineno;
	im->last = im->lineno;
	return why.code == ERR_NONE ? 0
				    : tell_refused(im, im->lineno, err_name(why.code), why.msg, e);
}

/* More bytes behind those that are there: 1, 0 at the end, -1. */
static int
fill(struct importing *im, struct err *e)
{
	ssize_t n;

	if (im->at > 0) {
		memmove(im->buf, im->buf + im->at, im->end - im->at);
		im->end -= im->at;
		im->at = 0;
	}
	do {
		n = read(im->fd, im->buf + im->end, BUF_BYTES - im->end);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return err_sys(e, "cannot read %s", im->name);
	im->end += (size_t)n;
	return n > 0;
}

/* The next line, without its end: 1, 0 there is none, -1.  Of one that is too long, its beginning.
 */
static int
next_line(struct importing *im, struct span *line, struct err *e)
{
	char *nl;
	int more = 1;

	im->too_long = 0;
	while ((nl = memchr(im->buf + im->at, '\n', im->end - im->at)) == NULL && more == 1) {
		if (im->at == 0 && im->end == BUF_BYTES) {
			im->too_long = 1;
			im->end = 1; /* not blank */
		}
		if ((more = fill(im, e)) == -1)
			return -1;
	}
	*line = (struct span){
	    im->buf + im->at, (size_t)((nl != NULL ? nl : im->buf + im->end) - (im->buf + im->at))};
	im->at += line->len + (nl != NULL);
	return nl != NULL || line->len > 0;
}

static int
take_file(struct importing *im, struct err *e)
{
	struct span line;
	int rc;

	if ((im->buf = malloc(BUF_BYTES)) == NULL)
		return no_memory(e);
	if (batch_begin(im, e) == -1)
		return -1;
	while ((rc = next_line(im, &line, e)) == 1) {
		if (take_line(im, line, e) == -1)
			return -1;
	}
	return rc == 0 ? batch_end(im, e) : -1;
}

/* ---- the whole ---- */

static int
tell_sum(const struct importing *im, struct err *e)
{
	const struct tally *n = &im->all;
	cJSON *o;
	int rc;

	if (!im->tool->json) {
		fprintf(stderr,
		    "%lu %s, %lu there already, %lu refused, %lu not imported with them\n",
		    n->imported, im->dry_run ? "could be imported" : "imported", n->existing,
		    n->refused, n->not_imported);
		return 0;
	}
	o = cJSON_CreateObject();
	if (cJSON_AddNumberToObject(o, "imported", (double)n->imported) == NULL ||
	    cJSON_AddNumberToObject(o, "existing", (double)n->existing) == NULL ||
	    cJSON_AddNumberToObject(o, "refused", (double)n->refused) == NULL ||
	    cJSON_AddNumberToObject(o, "not_imported", (double)n->not_imported) == NULL)
		rc = no_memory(e);
	else
		rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

int
cmd_import(struct tool *t, struct options *o, struct err *e)
{
	const char *file = json_str(o->request, "file", NULL);
	const cJSON *batch = cJSON_GetObjectItemCaseSensitive(o->local, "batch");
	struct importing im = {.tool = t,
	    .name = file == NULL || strcmp(file, "-") == 0 ? "standard input" : file,
	    .skip_existing = options_local(o, "skip-existing"),
	    .dry_run = options_local(o, "dry-run"),
	    .lines_max = batch != NULL ? (unsigned)batch->valuedouble : BATCH_LINES};
	int rc;

	if (im.lines_max == 0)
		return err_set(e, ERR_USAGE, "--batch 0: must be from 1 to %d", BATCH_LINES_MAX);
	im.fd = file == NULL || strcmp(file, "-") == 0 ? STDIN_FILENO
						       : open(file, O_RDONLY | O_CLOEXEC);
	if (im.fd == -1) {
		(void)err_sys(e, "cannot read %s", file);
		if (e != NULL)
			e->code = ERR_USAGE;
		return -1;
	}
	progress_begin(&im.progress);
	rc = take_file(&im, e);
	progress_end(&im.progress);
	session_rest(t->session);
	if (tell_sum(&im, rc == 0 ? e : NULL) == -1)
		rc = -1;
	if (im.fd != STDIN_FILENO)
		close(im.fd);
	cJSON_Delete(im.keys);
	if (im.buf != NULL)
		secret_wipe(im.buf, BUF_BYTES);
	free(im.buf);
	if (rc == -1)
		return -1;
	return im.all.refused + im.all.not_imported > 0 ? TOOL_REFUSED : TOOL_DONE;
}

/* ---- export ---- */

/* One page: 1 when there are more, 0, -1. */
static int
export_page(struct tool *t, cJSON *request, unsigned long *n, struct err *e)
{
	cJSON *result = session_call(t->session, SESSION_READS, request, e), *next;
	const cJSON *record;
	int more = 0;

	if (result == NULL)
		return -1;
	cJSON_ArrayForEach(record, member_of(result, "keys"))
	{
		if (output_json_stream(stdout, record, e) == -1) {
			more = -1;
			break;
		}
		++*n;
	}
	next = cJSON_DetachItemFromObjectCaseSensitive(result, "next");
	cJSON_DeleteItemFromObjectCaseSensitive(request, "after");
	if (more == 0 && cJSON_IsString(next)) {
		more = cJSON_AddItemToObject(request, "after", next) ? 1 : no_memory(e);
		next = more == 1 ? NULL : next;
	}
	cJSON_Delete(next);
	cJSON_Delete(result);
	if (ferror(stdout) && more != -1)
		more = err_sys(e, "cannot write to standard output");
	return more;
}

int
cmd_export(struct tool *t, struct options *o, struct err *e)
{
	struct progress progress;
	unsigned long n = 0;
	int more = 1;

	if (cJSON_AddStringToObject(o->request, "op", "key.list") == NULL)
		return no_memory(e);
	progress_begin(&progress);
	while (more == 1) {
		more = export_page(t, o->request, &n, e);
		progress_at(&progress, "%lu keys", n);
	}
	progress_end(&progress);
	if (more == 0 && fflush(stdout) == EOF)
		more = err_sys(e, "cannot write to standard output");
	return more == 0 ? TOOL_DONE : -1;
}
