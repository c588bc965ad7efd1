/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KEEPER_RELOAD_H_
#define KEEPER_RELOAD_H_

/* SIGHUP: configuration and peppers, read again.  What does not load is logged, and the old stays.
 */

#include "config/config.h"
#include "keeper/decide.h"
#include "keeper/peppers.h"

/* Replaces *config and *peppers, and frees what they were. */
void reload_all(struct config **config, struct store *, struct peppers **peppers, struct decide *);

#endif /* !KEEPER_RELOAD_H_ */
