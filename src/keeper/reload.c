/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the keeper does on SIGHUP.
 *
 * The store, the sockets and the housekeeping thread stay as they are: settings that only a restart
 * can take are named in the log.
 *
 * Invariant: a mistake in a file never leaves the keeper with less than it had.
 */

#include "keeper/reload.h"

#include "base/log.h"
#include "keeper/fingerprints.h"
#include "keeper/trail.h"

static void
reload_config(struct config **config, struct decide *decide)
{
	struct config *old = *config, *fresh;
	char restart[256] = "";
	struct err e = {0};

	if ((fresh = config_load(old->path, NULL, NULL, &e)) == NULL ||
	    decide_configure(decide, fresh, &e) != 0) {
		log_event(LOG_LVL_ERROR, "configuration_kept", "error", e.msg, NULL);
		config_free(fresh);
		return;
	}
	config_needs_restart(old, fresh, restart, sizeof(restart));
	log_set_level(fresh->log_level);
	*config = fresh;
	config_free(old);
	log_event(LOG_LVL_INFO, "configuration_loaded", "needs_restart", restart, NULL);
}

void
reload_all(
    struct config **config, struct store *store, struct peppers **peppers, struct decide *decide)
{
	struct peppers *fresh, *old = *peppers;
	struct err e = {0};

	reload_config(config, decide);
	if ((fresh = fingerprints_load(store, (*config)->pepper_file, &e)) == NULL) {
		log_event(LOG_LVL_ERROR, "peppers_kept", "error", e.msg, NULL);
		return;
	}
	*peppers = fresh;
	decide_set_peppers(decide, fresh);
	trail_peppers_changed(store, peppers);
	peppers_free(&old);
}
