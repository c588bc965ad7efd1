/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Pages that are missing, or not what was written.
 *
 * Berkeley DB's checksums find pages that have changed, and it stops for good when one does: a
 * single damaged page, met again and again by whoever needs it, would keep everybody from being
 * served.  And they do not find what is not there: a page of zeros is taken for one that was never
 * written, and passes without a checksum.  In a hash, which is what keys are in, that is an empty
 * bucket: key_invalid for every key that was in it.  In a tree it is an empty leaf, or a walk
 * without an end.
 *
 * So (1) at opening, a file must be as long as its first page says; (2) while an access method
 * works, a page that comes from the disk is looked at before Berkeley DB does: when it is of zeros,
 * or its checksum does not fit, it is a page that cannot be read, which is an error of that call
 * and of nothing else.
 *
 * Runs in the owner's main thread.  Recovery is left alone: what was allocated and not written yet
 * is a page of zeros rightly there, and its checkpoint writes them all; damage that it meets keeps
 * the store shut.
 *
 * Invariant: one page alone may be of zeros afterwards: that of the hash's next bucket, which is
 * allocated with many others and written when the table grows into it.  (The first two buckets,
 * which Berkeley DB leaves unwritten as well, are written when a store is made.)
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/internal.h"

/* Of a database's first page, in memory: host order, whatever the file's. */
#define META_LAST_PAGE 32
#define META_MAX_BUCKET 72
#define META_SPARES                                                                                \
	96 /* a u32 for each doubling: pages that lie before that generation's buckets */
#define META_SPARES_N 32

#define NO_PAGE UINT32_MAX
#define BUCKET_PROBES 64

/* The call that runs in this thread: how long its pages are (0: none does), how they are checked,
 * which may be of zeros; and the page that could not be read. */
static _Thread_local struct {
	uint32_t page_bytes, may_lack, bad_page;
	const struct store_sums *sums;
	int bad;
} running;

int
store_is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

ssize_t
store_pages_pread(int fd, void *buf, size_t n, off_t at)
{
	uint64_t page;
	ssize_t got;

	do {
		got = pread(fd, buf, n, at);
	} while (got == -1 && errno == EINTR);
	if (running.page_bytes == 0 || n != running.page_bytes || got != (ssize_t)n)
		return got;
	page = (uint64_t)at / n;
	if (store_is_zero(buf, n) ? page == running.may_lack : store_sums_fit(running.sums, buf, n))
		return got;
	running.bad = 1;
	running.bad_page = (uint32_t)page;
	errno = EIO;
	return -1;
}

/* What Berkeley DB does when reading a page did not work is to try it another way, which begins
 * with this.  0 or an errno. */
int
store_pages_seek(int fd, off_t at, int whence)
{
	if (running.page_bytes != 0 && running.bad)
		return EIO;
	return lseek(fd, at, whence) == -1 ? errno : 0;
}

int
store_pages_bad(uint32_t *page)
{
	*page = running.bad_page;
	return running.bad;
}

static uint32_t
u32_at(const uint8_t *page, size_t at)
{
	uint32_t n;

	memcpy(&n, page + at, sizeof(n));
	return n;
}

/* A database's first page; given back with page_put. */
static int
page_get(struct store *s, enum store_db which, const uint8_t **page, struct err *e)
{
	DB_MPOOLFILE *file = s->dbs[which]->get_mpf(s->dbs[which]);
	db_pgno_t first = 0;
	void *mem;
	int ret;

	if ((ret = file->get(file, &first, s->txn, 0, &mem)) != 0)
		return store_fail(s, ret, store_db_specs[which].file, e);
	*page = mem;
	return 0;
}

static int
page_put(struct store *s, enum store_db which, const uint8_t *page, struct err *e)
{
	DB_MPOOLFILE *file = s->dbs[which]->get_mpf(s->dbs[which]);
	int ret = file->put(file, (void *)(uintptr_t)page, DB_PRIORITY_UNCHANGED, 0);

	return ret == 0 ? 0 : store_fail(s, ret, store_db_specs[which].file, e);
}

/* No kill and no power cut leaves half a page at a file's end, and recovery would pass over it. */
int
store_pages_whole(struct store *s, struct err *e)
{
	const struct store_db_spec *spec;
	struct stat st;

	for (spec = store_db_specs; spec < store_db_specs + STORE_DBS; spec++) {
		if (fstatat(s->dir_fd, spec->file, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (errno == ENOENT)
				continue;
			return err_sys(e, "%s/%s", s->dir, spec->file);
		}
		if (st.st_size % spec->page_bytes != 0)
			return err_set(e, ERR_CORRUPT,
			    "%s/%s: cut short (in the middle of a page): restore a backup", s->dir,
			    spec->file);
	}
	return 0;
}

int
store_pages_check(struct store *s, enum store_db which, struct err *e)
{
	const struct store_db_spec *spec = &store_db_specs[which];
	const uint8_t *page;
	uint64_t there, said;
	struct stat st;

	if (fstatat(s->dir_fd, spec->file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_sys(e, "%s/%s", s->dir, spec->file);
	if (page_get(s, which, &page, e) != 0)
		return -1;
	there = (uint64_t)st.st_size / spec->page_bytes;
	said = (uint64_t)u32_at(page, META_LAST_PAGE) + 1;
	if (page_put(s, which, page, e) != 0)
		return -1;
	if (said <= there)
		return 0;
	return err_set(e, ERR_CORRUPT,
	    "%s/%s: cut short (%llu of %llu pages are there): restore a backup", s->dir, spec->file,
	    (unsigned long long)there, (unsigned long long)said);
}

/* The page of the bucket that a hash grows into next: it is allocated already, or comes behind the
 * last. */
static uint32_t
next_bucket(const uint8_t *meta)
{
	uint32_t bucket = u32_at(meta, META_MAX_BUCKET) + 1, spare;
	unsigned generation = 0;

	while (generation < 32 && (UINT64_C(1) << generation) < (uint64_t)bucket + 1)
		generation++;
	if (generation >= META_SPARES_N)
		return NO_PAGE;
	spare = u32_at(meta, META_SPARES + (size_t)generation * 4);
	return spare != 0 ? bucket + spare : u32_at(meta, META_LAST_PAGE) + 1;
}

int
store_pages_begin(struct store *s, enum store_db which, int writes, struct err *e)
{
	const struct store_db_spec *spec = &store_db_specs[which];
	const uint8_t *meta;

	running.may_lack = NO_PAGE;
	running.bad = 0;
	running.sums = &s->sums;
	if (writes && spec->type == DB_HASH) {
		if (page_get(s, which, &meta, e) != 0)
			return -1;
		running.may_lack = next_bucket(meta);
		if (page_put(s, which, meta, e) != 0)
			return -1;
	}
	running.page_bytes = s->new_store ? 0 : spec->page_bytes;
	return 0;
}

void
store_pages_alone(const struct store *s, uint32_t page_bytes)
{
	running.may_lack = NO_PAGE;
	running.bad = 0;
	running.sums = &s->sums;
	running.page_bytes = page_bytes;
}

void
store_pages_end(void)
{
	running.page_bytes = 0;
}

/* Keys that nobody has, so many that none of the first two buckets is left out, and away again. */
int
store_pages_first(struct store *s, struct err *e)
{
	uint8_t key[STORE_DIGEST_LEN] = {0};

	for (unsigned i = 0; i < 2 * BUCKET_PROBES; i++) {
		key[0] = (uint8_t)(i % BUCKET_PROBES);
		if (i < BUCKET_PROBES) {
			if (store_db_put(s, STORE_DB_KEYS, store_span(key, sizeof(key)),
				span_of(""), e) != 0)
				return -1;
		} else if (store_db_del(s, STORE_DB_KEYS, store_span(key, sizeof(key)), e) != 1) {
			return -1;
		}
	}
	return 0;
}
