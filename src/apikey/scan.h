/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_SCAN_H_
#define APIKEY_SCAN_H_

/*
 * Between the files of `apikey scan`: cmd_scan.c (command line), scan_files.c (what is searched),
 * scan_report.c (what is told), scan_known.c (what the store knows of it), scan_patch.c (where in a
 * patch).  Nobody else includes it.
 */

#include <stdint.h>

#include "apikey/progress.h"
#include "apikey/tool.h"
#include "base/err.h"
#include "core/finder.h"
#include "core/token.h"

#define SCAN_PATH_MAX 69632 /* bytes of the name of a file, from what was given on */
#define SCAN_COMMIT_MAX 64  /* a SHA-256 in hex */
#define SCAN_DEPTH_MAX 256  /* directories in directories: each takes a descriptor */
#define SCAN_STDIN "-"

/* Where a line of a patch comes from. */
struct scan_origin {
	enum scan_line { SCAN_NO_LINE, SCAN_ADDED, SCAN_REMOVED, SCAN_CONTEXT } kind;
	const char *commit; /* hex, or "" */
	const char *path;   /* as the patch has it; "" */
	uint64_t line;	    /* in the old file if it is removed, else in the new one; 0: none */
};

/* One key that was found, without the key. */
struct scan_finding {
	const char *file;      /* raw bytes, or SCAN_STDIN */
	uint64_t line, column; /* 0: in the file's name */
	uint64_t offset;
	enum token_env env;
	char start[TOKEN_START_MAX + 1];
	struct scan_origin origin;
};

/* What the store says of a key. */
struct scan_answer {
	enum scan_asked { SCAN_NOT_ASKED, SCAN_FAILED, SCAN_UNKNOWN, SCAN_KNOWN } asked;
	char id[TOKEN_ID_LEN + 1];
	char state[12];
	char until[24]; /* a replaced secret works until then, or "" */
};

struct scan_counts {
	uint64_t findings, files, files_with, bytes;
	uint64_t unread;  /* that could not be read, or only in part */
	uint64_t skipped; /* that are no files */
	uint64_t known, live, revoked;
};

struct scan_known;
struct scan_patch;

struct scan {
	struct tool *tool;
	struct finder *finder;
	struct scan_known *known; /* NULL: the store is not asked */
	struct scan_patch *patch; /* NULL: this is none */
	int only_added;
	const char *file; /* what is being searched */
	int in_name;	  /* its name, not what it holds */
	uint64_t file_findings;
	struct scan_counts counts;
	struct progress progress;
	/* Nothing more is searched: a signal came, or the error. */
	int stop;
	struct err error;
};

/* ---- scan_files.c ---- */

/*
 * Search what a word of the command line names: a file, all of a directory, standard input.  What
 * cannot be read is told and counted; with s->stop it ends early.
 */
void scan_files(struct scan *, const char *word);
/* From now on SIGINT and SIGTERM end the search, a second one the program. */
void scan_hold_signals(void);
/* The signal that came, or 0. */
int scan_signal(void);

/* ---- scan_report.c ---- */

/* What the finder found, into the report; the cookie is the scan. */
finder_fn scan_found;
/* One line, or one object. */
void scan_print(struct scan *, const struct scan_finding *, const struct scan_answer *);
/* A line on standard error about ${file}. */
void scan_note(struct scan *, const char *file, const char *what);
/* Draw the progress when it is time; erase it. */
void scan_tick(struct scan *);
void scan_clear(struct scan *);
void scan_summary(struct scan *);
/*
 * A name as it may be shown, in ${out} of ${cap} bytes: UTF-8, nothing that steers a terminal, no
 * key; of a longer one the end.
 */
void scan_shown(const char *name, char *out, size_t cap);

/* ---- scan_known.c ---- */

/* ${revoke}: act on what is live; ${sure}: without asking. */
struct scan_known *scan_known_new(struct scan *, int revoke, int sure, struct err *);
void scan_known_free(struct scan_known **);
/* A finding that is printed when the store has answered. */
void scan_known_add(struct scan_known *, const struct scan_finding *, struct span key);
/* Ask about what has waited for long enough; ${all}: about everything. */
void scan_known_flush(struct scan_known *, int all);
/* For how long a finding will still wait; -1: none does. */
int scan_known_patience_ms(const struct scan_known *);
/* At the end: act on what is left to be acted on. */
void scan_known_end(struct scan_known *);

/* ---- scan_patch.c ---- */

/* What follows a text whose first bytes are these, if it is a patch; else NULL. */
struct scan_patch *scan_patch_new(const char *, size_t);
void scan_patch_free(struct scan_patch **);
/* The next ${n} bytes, which stay where they are until all of them were stepped over. */
void scan_patch_feed(struct scan_patch *, const char *, size_t n);
/* Step over what comes before the line of the byte at ${offset}, or over all that was fed. */
void scan_patch_step(struct scan_patch *, uint64_t offset);
void scan_patch_rest(struct scan_patch *);
/* Where the line comes from; holds until the next step. */
struct scan_origin scan_patch_origin(const struct scan_patch *);

#endif /* !APIKEY_SCAN_H_ */
