/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFIG_CONFIG_H_
#define CONFIG_CONFIG_H_

/*
 * The settings.  config/settings.c holds the one table (name, type, default, bounds,
 * documentation); the parser, the manual page and the sample configuration come from it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/netaddr.h"

#define CONFIG_LIST_MAX 64

/* In run_dir; locked for writing as long as a supervisor runs. */
#define CONFIG_PID_FILE "apikeyd.pid"

enum config_ratelimit { RATELIMIT_DRAFT, RATELIMIT_LEGACY, RATELIMIT_BOTH, RATELIMIT_OFF };

/* What is done with a key that is in client-side code, and with one that was seen in the open. */
enum config_browsers { BROWSERS_OFF, BROWSERS_FLAG, BROWSERS_DENY };
enum config_exposure { EXPOSURE_FLAG, EXPOSURE_DISABLE, EXPOSURE_REVOKE };

/* One loaded configuration; all strings are owned by it.  Read-only after loading, passed
 * explicitly. */
struct config {
	char *path; /* file it came from; NULL: defaults only */
	char *listen;
	unsigned listen_mode;
	char *user, *group;
	unsigned workers; /* 0 was "auto": number of cores is filled in */
	char *state_dir, *run_dir;
	char *pepper_file;
	char *realm, *key_prefix;
	int require_https;
	size_t ntrusted_proxies;
	struct netaddr_net trusted_proxies[CONFIG_LIST_MAX];
	size_t nquery_parameters;
	char *query_parameters[CONFIG_LIST_MAX];
	int allow_query_keys;
	int accept_foreign_keys;
	int strict_paths;
	int encrypt_store;
	enum config_browsers reject_browsers;
	enum config_exposure on_exposure;
	char *default_plan;
	char *app_header; /* "X-App-Id" */
	enum config_ratelimit ratelimit_headers;
	unsigned failed_attempts; /* 0: failed attempts are not counted */
	int64_t failed_window_us, block_time_us;
	size_t nblock_exempt;
	struct netaddr_net block_exempt[CONFIG_LIST_MAX];
	int64_t keeper_timeout_us;
	uint64_t cache_bytes, min_free_bytes;
	int64_t log_retention_us;     /* how long an idle limit log is kept after its window */
	int64_t audit_retention_us;   /* how long audit entries are kept; 0: for ever */
	int64_t revoked_retention_us; /* how long a revoked key is kept, unless purge is told */
	unsigned max_connections;     /* open FastCGI connections of one worker */
	int log;		      /* 0 stderr, 1 syslog */
	enum log_level log_level;
	int sandbox;
};

/* Where the configuration is when neither -c nor the environment's APIKEYD_CONF names it. */
#define CONFIG_DEFAULT_PATH SYSCONFDIR "/apikeyd/apikeyd.conf"

/*
 * config_load(path, report, cookie, e): NULL path: the environment's APIKEYD_CONF, else
 * CONFIG_DEFAULT_PATH. A missing default file means defaults; a missing file that was named is an
 * error.  Errors read "file:line: what; mend".  All errors of the file are handed to ${report} (may
 * be NULL), the first is in ${e}. Free with config_free (harmless on NULL).
 */
struct config *config_load(
    const char *path, void (*report)(void *, const char *), void *cookie, struct err *);
void config_free(struct config *);

/* Differences that a reload cannot take: names of those settings, space separated, or "". */
void config_needs_restart(const struct config *, const struct config *, char *, size_t);
/* config_keep(new, old): give ${new} those settings of ${old}: what is then in force.  0, or -1 for
 * want of memory. */
int config_keep(struct config *, const struct config *) __attribute__((warn_unused_result));

/*
 * Every setting with its value, as a configuration file that loads to the same.  -1 when it does
 * not fit (CONFIG_TEXT_MAX always does).
 */
#define CONFIG_TEXT_MAX 65536
int config_text(const struct config *, struct wbuf *) __attribute__((warn_unused_result));

#endif /* !CONFIG_CONFIG_H_ */
