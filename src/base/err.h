/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_ERR_H_
#define BASE_ERR_H_

/*
 * The error object: what went wrong, in one line that a person can act on.
 * A fallible function returns 0/-1 (or 1/0/-1: yes, no, error) and fills the
 * caller's struct err.  A refusal of a request is a verdict, never an err.
 */

enum err_code {
	ERR_NONE = 0,
	ERR_USAGE,	 /* the caller's words are off */
	ERR_INPUT,	 /* a value, file or message is malformed */
	ERR_NOT_FOUND,	 /* no such key, plan, ... */
	ERR_CONFLICT,	 /* exists already, is still in use, is final */
	ERR_DENIED,	 /* the peer may not do this */
	ERR_BUSY,	 /* another process owns it */
	ERR_UNAVAILABLE, /* the keeper or the store cannot answer now */
	ERR_FULL,	 /* no space left on the device */
	ERR_CORRUPT,	 /* stored bytes do not decode */
	ERR_VERSION,	 /* stored by a newer release */
	ERR_SYSTEM,	 /* a system call or library call failed */
	ERR_INTERNAL,	 /* our own bug */
	ERR_CODES	 /* (count) */
};

struct err {
	enum err_code code;
	char msg[480]; /* no newline, no secret; names the mend where there is one */
};

/* Fill ${e} (may be NULL) and return -1, so that `return err_set(...)` reads well. */
int err_set(struct err *, enum err_code, const char *, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errno)" appended; the code is ERR_FULL for ENOSPC/EDQUOT. */
int err_sys(struct err *, const char *, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " before the message that is there. */
int err_wrap(struct err *, const char *, ...) __attribute__((format(printf, 2, 3)));

/* "not_found", ...: the name of a code in JSON; and back (ERR_INTERNAL for an unknown name). */
const char *err_name(enum err_code);
enum err_code err_from_name(const char *);

#endif /* !BASE_ERR_H_ */
