/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_PROGRESS_H_
#define APIKEY_PROGRESS_H_

/*
 * How far a long work is, for a person: one line on standard error that is written over a few times
 * a second and gone at the end.  Nothing when standard error is no terminal.
 */

#include <stdint.h>

struct progress {
	int shown;	 /* standard error is a terminal */
	int64_t next_us; /* CLOCK_MONOTONIC of the next time to write */
	unsigned width;	 /* of the line that stands there */
};

void progress_begin(struct progress *);
/* Cheap: call it as often as you like. */
void progress_at(struct progress *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the line away; before any message. */
void progress_end(struct progress *);

/* "12.3 MiB". */
#define PROGRESS_BYTES_MAX 32
const char *progress_bytes(uint64_t bytes, char[PROGRESS_BYTES_MAX]);

#endif /* !APIKEY_PROGRESS_H_ */
