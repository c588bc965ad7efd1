/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_GUARD_H_
#define APIKEY_GUARD_H_

/*
 * Does the text hold, anywhere, something of the form of a key, whatever its prefix?  An argument
 * is visible to every user of the machine and stays in the shell's history.
 */
int guard_has_key(const char *);
/* Overwrite all but the visible start of each. */
void guard_mask_keys(char *);

#endif /* !APIKEY_GUARD_H_ */
