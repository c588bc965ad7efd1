/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding keys in bytes, at the speed at which files are read.
 *
 * Run by `apikey scan` over whatever it is given, so every byte here is a stranger's.
 *
 * How.  The last TOKEN_RANDOM + TOKEN_CHECK characters of a key are base62, and the one before them
 * is not: a run of base62 characters begins there.  So runs of that length are looked for, from the
 * right: if a run began at s, all of s..s+37 would be base62; where one is not, say at i, nothing
 * before i + 1 begins a run.  In text a word ends every few bytes, so most bytes are never looked
 * at, for one prefix and for thirty alike.  Only a run behind "_live_" or "_test_" is held against
 * the prefixes, and what has one is what token_valid says.
 *
 * In UTF-16 such a run is bytes that are NUL and base62 in turn.  It begins with a NUL in both byte
 * orders (in little endian that of the '_'), and so both are looked for at once; only where there
 * is a NUL at all.
 *
 * Invariants: what is found does not depend on how the bytes were cut into pieces; a place is
 * looked at a bounded number of times, whatever the bytes; nothing is read outside of what was
 * given; copies of keys are wiped.
 */

#include <stdlib.h>
#include <string.h>

#include "core/finder.h"

#include "base/secret.h"

#define TAIL (TOKEN_RANDOM + TOKEN_CHECK) /* base62 characters at a key's end */
#define HEAD_MAX (TOKEN_MAX - TAIL)	  /* "<prefix>_live_" */
#define WIDTHS 2			  /* a character has 1 or 2 bytes */
#define ENV (HEAD_MAX - TOKEN_PREFIX_MAX) /* "_live_" */
#define RUN_MAX ((size_t)WIDTHS * TAIL)
#define BACK_MAX ((size_t)WIDTHS * HEAD_MAX)

#define BLOCK 262144 /* bytes that are read at once: they stay in the processor's cache */

enum kind { OTHER, NUL, BASE62 };

/* As far as lines have been counted. */
struct place {
	size_t at; /* in the block */
	uint64_t newlines;
	uint64_t line_start; /* offset of the first byte of the line */
};

struct finder {
	finder_fn *found;
	void *cookie;
	size_t nprefixes;
	char prefixes[FINDER_PREFIXES_MAX][TOKEN_PREFIX_MAX + 1];
	uint8_t kinds[256];
	uint64_t base;	     /* offset of block[0] */
	size_t len;	     /* bytes in the block */
	size_t next[WIDTHS]; /* no run of that width that is still to be found begins before it */
	struct place place;
	uint8_t block[RUN_MAX + BACK_MAX + BLOCK];
};

struct finder *
finder_new(const char *const *prefixes, size_t n, finder_fn *found, void *cookie, struct err *e)
{
	struct finder *f;

	if (n == 0 || n > FINDER_PREFIXES_MAX) {
		err_set(e, ERR_INPUT, "1 to %d prefixes can be looked for", FINDER_PREFIXES_MAX);
		return NULL;
	}
	if ((f = calloc(1, sizeof(*f))) == NULL) {
		err_set(e, ERR_SYSTEM, "out of memory");
		return NULL;
	}
	for (f->nprefixes = 0; f->nprefixes < n; f->nprefixes++) {
		struct span prefix = span_of(prefixes[f->nprefixes]);

		if (!token_prefix_ok(prefix) ||
		    span_copy(f->prefixes[f->nprefixes], TOKEN_PREFIX_MAX + 1, prefix) != 0) {
			err_set(e, ERR_INPUT, "no key begins with such a prefix");
			free(f);
			return NULL;
		}
	}
	for (int c = 0; c < 256; c++)
		f->kinds[c] = c == 0 ? NUL : token_char((char)c) ? BASE62 : OTHER;
	f->found = found;
	f->cookie = cookie;
	return f;
}

void
finder_free(struct finder **fp)
{
	struct finder *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	secret_wipe(f, sizeof(*f));
	free(f);
}

void
finder_begin(struct finder *f)
{
	f->base = 0;
	f->len = 0;
	memset(f->next, 0, sizeof(f->next));
	memset(&f->place, 0, sizeof(f->place));
}

/* ---- lines ---- */

/* 16 bytes at a time, where the compiler knows how; a sum of 255 such is the most that a byte
 * holds. */
typedef uint8_t lanes __attribute__((vector_size(16)));

static uint64_t
count_newlines(const uint8_t *p, size_t n)
{
	uint64_t count = 0;

	while (n >= sizeof(lanes)) {
		size_t rounds = n / sizeof(lanes) < 255 ? n / sizeof(lanes) : 255;
		lanes sum = {0}, at;

		for (size_t i = 0; i < rounds; i++, p += sizeof(lanes)) {
			memcpy(&at, p, sizeof(at));
			sum -= (lanes)(at == '\n');
		}
		for (size_t i = 0; i < sizeof(lanes); i++)
			count += sum[i];
		n -= rounds * sizeof(lanes);
	}
	while (n-- > 0)
		count += *p++ == '\n';
	return count;
}

/* Count up to ${at}; what lies behind it already, inside of a key, has no newline. */
static void
count_to(struct finder *f, size_t at)
{
	struct place *c = &f->place;
	const uint8_t *from = f->block + c->at, *newline;

	if (at <= c->at)
		return;
	if ((newline = memrchr(from, '\n', at - c->at)) != NULL) {
		c->newlines += count_newlines(from, at - c->at);
		c->line_start = f->base + (uint64_t)(newline - f->block) + 1;
	}
	c->at = at;
}

/* ---- keys ---- */

static void
report(struct finder *f, struct span key, enum token_env env, size_t at)
{
	struct finder_hit hit = {.key = key, .env = env, .offset = f->base + at};

	count_to(f, at);
	hit.line = f->place.newlines + 1;
	hit.column = hit.offset - f->place.line_start + 1;
	f->found(f->cookie, &hit);
}

/*
 * The text around ${first}, the first character behind the '_': HEAD_MAX characters before it and
 * TAIL from it on.  Returns how many there are before it.
 */
static size_t
gather(const struct finder *f, size_t first, size_t width, char text[TOKEN_MAX])
{
	size_t n = 0, at = first;

	for (size_t i = 0; i < TAIL; i++)
		text[HEAD_MAX + i] = (char)f->block[first + width * i];
	while (n < HEAD_MAX && at >= width) {
		if (width == 2 && f->block[at - 1] != 0)
			break;
		at -= width;
		text[HEAD_MAX - 1 - n++] = (char)f->block[at];
	}
	return n;
}

/* Does a key end with the run that begins at ${run}?  All of its TAIL characters are base62. */
static void
look(struct finder *f, size_t run, size_t width)
{
	size_t first = run + width - 1, n;
	const uint8_t *p = f->block + first;
	char text[TOKEN_MAX];

	if (first < width * (ENV + 1) || p[-(ptrdiff_t)width] != '_' ||
	    p[-(ptrdiff_t)(width * ENV)] != '_' || (width == 2 && f->block[run] != 0))
		return;
	n = gather(f, first, width, text);
	for (size_t i = 0; i < f->nprefixes; i++) {
		struct span prefix = span_of(f->prefixes[i]), key;
		size_t head = prefix.len + ENV;
		int which;

		key = (struct span){text + HEAD_MAX - head, head + TAIL};
		if (n < head || !token_valid(key, prefix))
			continue;
		which = token_env_parse((struct span){key.p + prefix.len + 1, ENV - 2});
		report(f, key, (enum token_env)which, first - width * head);
		break;
	}
	secret_wipe(text, sizeof(text));
}

/* Runs of single bytes: 1 when one was found, 0 when there are too few bytes for another. */
static int
next_narrow(struct finder *f)
{
	const uint8_t *p = f->block;
	size_t s = f->next[0], i;

	while (f->len - s >= TAIL) {
		for (i = s + TAIL; i > s && f->kinds[p[i - 1]] == BASE62; i--)
			;
		if (i == s)
			break;
		s = i;
	}
	f->next[0] = s;
	return f->len - s >= TAIL;
}

/* Runs of bytes that are NUL and base62 in turn. */
static int
next_wide(struct finder *f)
{
	const uint8_t *p = f->block;
	size_t s = f->next[1], i;

	while (f->len - s >= RUN_MAX) {
		i = s + RUN_MAX - 1;
		if (f->kinds[p[i]] == OTHER) {
			s = i + 1;
			continue;
		}
		/* The sum tells a NUL beside a base62 character from all other pairs. */
		while (i > s && f->kinds[p[i - 1]] + f->kinds[p[i]] == NUL + BASE62)
			i--;
		if (i == s)
			break;
		s = i;
	}
	f->next[1] = s;
	return f->len - s >= RUN_MAX;
}

/*
 * All runs of the block, in order.  Behind a run of full length the search goes on right at its
 * end: if it goes on, too, what is found there has no '_' before it.
 */
static void
search(struct finder *f)
{
	int narrow, wide;

	/* A wide run begins with a NUL, and text has none. */
	if (memchr(f->block + f->next[1], 0, f->len - f->next[1]) == NULL)
		f->next[1] = f->len;
	for (;;) {
		narrow = next_narrow(f);
		wide = next_wide(f);
		if (!narrow && !wide)
			return;
		if (narrow && (!wide || f->next[0] < f->next[1])) {
			look(f, f->next[0], 1);
			f->next[0] += TAIL;
		} else {
			look(f, f->next[1], 2);
			f->next[1] += RUN_MAX;
		}
	}
}

/* Keep what the next piece may complete, at the front. */
static void
keep_rest(struct finder *f)
{
	size_t from = f->next[0] < f->next[1] ? f->next[0] : f->next[1];

	count_to(f, f->len);
	from = from > BACK_MAX ? from - BACK_MAX : 0;
	memmove(f->block, f->block + from, f->len - from);
	f->base += from;
	f->len -= from;
	f->next[0] -= from;
	f->next[1] -= from;
	f->place.at -= from;
}

char *
finder_room(struct finder *f, size_t *cap)
{
	*cap = sizeof(f->block) - f->len;
	return (char *)f->block + f->len;
}

void
finder_take(struct finder *f, size_t n)
{
	f->len += n;
	search(f);
	keep_rest(f);
}

void
finder_feed(struct finder *f, const void *p, size_t n)
{
	const char *from = p;
	size_t cap;

	while (n > 0) {
		char *room = finder_room(f, &cap);

		cap = cap < n ? cap : n;
		memcpy(room, from, cap);
		finder_take(f, cap);
		from += cap;
		n -= cap;
	}
}

void
finder_skip(struct finder *f, uint64_t n)
{
	static const char nuls[RUN_MAX + BACK_MAX] = {0};

	/* Any key that has begun ends in the first few of them. */
	finder_feed(f, nuls, n < sizeof(nuls) ? (size_t)n : sizeof(nuls));
	if (n <= sizeof(nuls))
		return;
	f->base += f->len + (n - sizeof(nuls));
	f->len = 0;
	memset(f->next, 0, sizeof(f->next));
	f->place.at = 0;
}
