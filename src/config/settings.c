/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of settings.
 *
 * Adding a setting is one row here and one field in struct config: parsing, bounds, defaults, the
 * sample configuration, the manual, the reload and running.conf follow from the row.  How a value
 * of each kind is read and written is value.c's; nothing here reads files or knows of libConfuse.
 *
 * Invariants: every default passes its own parser (tested); a setting that a reload cannot take is
 * no list (value_copy).
 */

#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/netaddr.h"
#include "base/text.h"
#include "config/settings.h"

#define FIELD(f) offsetof(struct config, f)
#define SUN_PATH_MAX ((int64_t)(sizeof(((struct sockaddr_un *)0)->sun_path) - 1))
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define MS INT64_C(1000)
#define DAY (86400 * CLOCK_SECOND)

/* ---- what must hold of texts, beyond their length ---- */

static int
ok_listen(struct span s)
{
	const char *colon = memrchr(s.p, ':', s.len);
	struct span host, port;
	struct netaddr addr;
	unsigned long long n;

	if (memchr(s.p, '/', s.len) != NULL)
		return s.p[0] == '/' && text_printable(s);
	if (colon == NULL || colon == s.p)
		return 0;
	host = (struct span){s.p, (size_t)(colon - s.p)};
	port = (struct span){colon + 1, s.len - host.len - 1};
	if (span_u64(port, 65535, &n) == -1 || n == 0)
		return 0;
	if (host.p[0] == '[') {
		if (host.len < 3 || host.p[host.len - 1] != ']')
			return 0;
		host = (struct span){host.p + 1, host.len - 2};
		return memchr(host.p, ':', host.len) != NULL && netaddr_parse(host, &addr) == 0;
	}
	return text_identifier(host, 253);
}

static int
ok_path(struct span s)
{
	return s.p[0] == '/' && text_printable(s);
}

static int
ok_account(struct span s)
{
	return text_identifier(s, 32) ||
	       (s.p[0] == '_' && text_identifier((struct span){s.p + 1, s.len - 1}, 31));
}

static int
ok_realm(struct span s)
{
	return text_header_safe(s) && memchr(s.p, '"', s.len) == NULL &&
	       memchr(s.p, '\\', s.len) == NULL;
}

static int
ok_key_prefix(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(i > 0 && s.p[i] >= '0' && s.p[i] <= '9'))
			return 0;
	return 1;
}

static int
ok_name(struct span s)
{
	return text_identifier(s, 64);
}

static int
ok_header_name(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= 'A' && s.p[i] <= 'Z') &&
		    !(i > 0 && ((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-')))
			return 0;
	return 1;
}

static const char *const ratelimit_words[] = {"draft", "legacy", "both", "off", NULL};
static const char *const browsers_words[] = {"off", "flag", "deny", NULL};
static const char *const exposure_words[] = {"flag", "disable", "revoke", NULL};
static const char *const log_words[] = {"stderr", "syslog", NULL};
static const char *const level_words[] = {"error", "warning", "info", "debug", NULL};

#define EXPECTS_PATH "an absolute path"
#define EXPECTS_ACCOUNT "the name of an account: letters, digits, '_', '-', '.'"

static const struct setting table[] = {
    {.name = "listen",
	.kind = SETTING_STRING,
	.offset = FIELD(listen),
	.def = RUNSTATEDIR "/apikeyd/fcgi.sock",
	.min = 3,
	.max = SUN_PATH_MAX,
	.ok = ok_listen,
	.expects = "the absolute path of a unix socket, or host:port ([address]:port for IPv6)",
	.restart = 1,
	.doc = "Where the web server reaches the gate: the absolute path of a unix socket, or "
	       "`host:port` "
	       "for TCP (`127.0.0.1:9000`, `[::1]:9000`), which Apache's mod_authnz_fcgi needs. "
	       "Nothing protects a TCP port: keep it on the loopback address. "
	       "With systemd's socket activation the inherited socket is taken instead."},
    {.name = "listen_mode",
	.kind = SETTING_MODE,
	.offset = FIELD(listen_mode),
	.def = "0660",
	.min = 0,
	.max = 0777,
	.restart = 1,
	.doc = "Permissions of the unix socket. It belongs to `user` and `group`: the web server "
	       "must be a member of that group."},
    {.name = "user",
	.kind = SETTING_STRING,
	.offset = FIELD(user),
	.def = "apikeyd",
	.min = 1,
	.max = 32,
	.ok = ok_account,
	.expects = EXPECTS_ACCOUNT,
	.restart = 1,
	.doc =
	    "The service user. Started as root, apikeyd opens its socket and then becomes this "
	    "user for good; "
	    "`root` is allowed, with a warning. Started by anyone else, the setting is ignored."},
    {.name = "group",
	.kind = SETTING_STRING,
	.offset = FIELD(group),
	.def = "apikeyd",
	.min = 1,
	.max = 32,
	.ok = ok_account,
	.expects = EXPECTS_ACCOUNT,
	.restart = 1,
	.doc = "The group of the service, likewise."},
    {.name = "workers",
	.kind = SETTING_INT,
	.offset = FIELD(workers),
	.def = "0",
	.min = 0,
	.max = 256,
	.doc = "How many worker processes answer requests. 0 is one for each processor core."},
    {.name = "max_connections",
	.kind = SETTING_INT,
	.offset = FIELD(max_connections),
	.def = "1024",
	.min = 16,
	.max = 65536,
	.doc = "How many FastCGI connections one worker keeps open. Beyond that the longest idle "
	       "one is "
	       "closed for a new one, if it has been idle for a quarter of a second; else new ones "
	       "wait in the queue of the socket."},
    {.name = "state_dir",
	.kind = SETTING_PATH,
	.offset = FIELD(state_dir),
	.def = LOCALSTATEDIR "/lib/apikeyd",
	.min = 2,
	.max = 1024,
	.ok = ok_path,
	.expects = EXPECTS_PATH,
	.restart = 1,
	.doc = "The directory of the store: keys, plans, limits, audit. Mode 0700, owned by the "
	       "service user; "
	       "made when missing."},
    {.name = "run_dir",
	.kind = SETTING_PATH,
	.offset = FIELD(run_dir),
	.def = RUNSTATEDIR "/apikeyd",
	.min = 2,
	.max = SUN_PATH_MAX - 16, /* "/keeper.sock" must fit into sun_path behind it */
	.ok = ok_path,
	.expects = EXPECTS_PATH,
	.restart = 1,
	.doc = "The directory of the keeper's socket, the pid file and `running.conf` (the "
	       "settings in force). "
	       "Made when missing."},
    {.name = "pepper_file",
	.kind = SETTING_PATH,
	.offset = FIELD(pepper_file),
	.def = SYSCONFDIR "/apikeyd/peppers",
	.min = 2,
	.max = 1024,
	.ok = ok_path,
	.expects = EXPECTS_PATH,
	.restart = 1, /* the keeper can read its directory, and no other any more */
	.doc = "The file of the peppers, the secrets that stored digests are made with: mode 0400, "
	       "owned by root or "
	       "the service user. `apikey pepper add` makes it. The systemd credential `peppers` "
	       "is taken "
	       "before it."},
    {.name = "cache_size",
	.kind = SETTING_SIZE,
	.offset = FIELD(cache_bytes),
	.def = "64M",
	.min = MIB,
	.max = 1024 * 1024 * MIB,
	.restart = 1,
	.doc = "Memory for the store's cache: three quarters for pages of the databases, one for "
	       "limits "
	       "in use. A store that fits into it is read from the disk only once."},
    {.name = "encrypt_store",
	.kind = SETTING_BOOL,
	.offset = FIELD(encrypt_store),
	.def = "false",
	.restart = 1,
	.doc = "Encrypt the store's files with AES. The key is a line of the pepper file that "
	       "`apikey pepper add` makes; without it neither the store nor a backup of it can be "
	       "read. A check that finds its pages in the cache costs the same; what is written "
	       "and read costs up to four times as much. A store that is there already: "
	       "`apikey db dump`, stop, change the setting, `apikey db load`."},
    {.name = "min_free_space",
	.kind = SETTING_SIZE,
	.offset = FIELD(min_free_bytes),
	.def = "16M",
	.min = 0,
	.max = 1024 * 1024 * MIB,
	.restart = 1,
	.doc = "When the store's file system has less free space than this, requests that would "
	       "have to be "
	       "counted are answered with 503, so that room is left to revoke a key."},
    {.name = "log_retention",
	.kind = SETTING_DURATION,
	.offset = FIELD(log_retention_us),
	.def = "5m",
	.min = 0,
	.max = 366 * DAY,
	.doc = "How long the log of a limit that nobody uses is kept in the store after its window "
	       "has passed."},
    {.name = "revoked_retention",
	.kind = SETTING_DURATION,
	.offset = FIELD(revoked_retention_us),
	.def = "90d",
	.min = 0,
	.max = 3660 * DAY,
	.doc = "How long a revoked key is remembered before apikey purge removes it, so that its "
	       "holder is told "
	       "that it was revoked and admins see whose it was."},
    {.name = "audit_retention",
	.kind = SETTING_DURATION,
	.offset = FIELD(audit_retention_us),
	.def = "0",
	.min = 0,
	.max = 100 * 366 * DAY,
	.doc =
	    "How long entries of the audit trail are kept. Older ones are removed by the keeper, "
	    "which tells of it "
	    "in the trail; what is left can still be verified. 0: for ever."},
    {.name = "realm",
	.kind = SETTING_STRING,
	.offset = FIELD(realm),
	.def = "api",
	.min = 1,
	.max = 64,
	.ok = ok_realm,
	.expects = "printable ASCII without quotes and backslashes",
	.doc = "The realm in the WWW-Authenticate challenge of a 401."},
    {.name = "key_prefix",
	.kind = SETTING_STRING,
	.offset = FIELD(key_prefix),
	.def = "ak",
	.min = 1,
	.max = 16,
	.ok = ok_key_prefix,
	.expects = "a lower-case letter, then lower-case letters and digits",
	.doc = "What every key begins with (`ak_live_...`). Keys of another prefix are no longer "
	       "accepted after "
	       "a change."},
    {.name = "require_https",
	.kind = SETTING_BOOL,
	.offset = FIELD(require_https),
	.def = "true",
	.doc = "Refuse a key that arrives over plain HTTP with 403 `https_required`, and mark it "
	       "exposed."},
    {.name = "trusted_proxies",
	.kind = SETTING_NETWORKS,
	.offset = FIELD(trusted_proxies),
	.count_offset = FIELD(ntrusted_proxies),
	.def = "",
	.doc = "Networks of proxies in front of the web server. Only from these are "
	       "X-Forwarded-For and "
	       "X-Forwarded-Proto believed. An address alone is a network of one."},
    {.name = "query_parameters",
	.kind = SETTING_STRINGS,
	.offset = FIELD(query_parameters),
	.count_offset = FIELD(nquery_parameters),
	.def = "api_key apikey key access_token",
	.min = 1,
	.max = 64,
	.ok = ok_name,
	.expects = "a letter or digit, then letters, digits, '_', '.', '-'",
	.doc = "Names of query parameters in which a key is looked for."},
    {.name = "allow_query_keys",
	.kind = SETTING_BOOL,
	.offset = FIELD(allow_query_keys),
	.def = "false",
	.doc = "Accept a key in the query string. For migrations only: such keys end up in logs, "
	       "histories "
	       "and Referer headers. When false they are refused with 400 `key_in_url` and marked "
	       "exposed."},
    {.name = "accept_foreign_keys",
	.kind = SETTING_BOOL,
	.offset = FIELD(accept_foreign_keys),
	.def = "false",
	.doc =
	    "Whether keys that another system made are looked up, whatever their form: up to 512 "
	    "visible ASCII characters without a comma. They are brought in by their SHA-256, with "
	    "`apikey create --import-digest` or `apikey import`; those that have the form and the "
	    "checksum of this gate's own keys work without this. When true, nothing is refused by "
	    "its form alone, and a value of 16 and more such characters under one of the "
	    "`query_parameters` counts as a key in the URL: leave names out of that list which "
	    "are used for something else."},
    {.name = "strict_paths",
	.kind = SETTING_BOOL,
	.offset = FIELD(strict_paths),
	.def = "true",
	.doc =
	    "Refuse with 400 `request_invalid` a path that web server and backend may take for "
	    "different "
	    "ones: with `.` or `..` as a segment, `//`, `;` or a backslash in it, encoded or not, "
	    "or "
	    "with UTF-8 that is longer than needed. "
	    "When false, a "
	    "key may reach a route that needs a scope by a spelling that the web server takes for "
	    "another."},
    {.name = "reject_browsers",
	.kind = SETTING_ENUM,
	.offset = FIELD(reject_browsers),
	.def = "off",
	.words = browsers_words,
	.doc = "What to do with a key in a request that comes from a browser, which is one with an "
	       "`Origin` or a `Sec-Fetch-*` header: a key in client-side code can be read by "
	       "everybody. "
	       "`off` does nothing, `flag` marks the key as exposed, `deny` refuses the request "
	       "with 403 "
	       "`browser_denied` too. `apikey set ID --browsers` says otherwise for one key. Other "
	       "clients send such headers as well (Node.js's fetch: `Sec-Fetch-Mode`), and a "
	       "browser's code that is "
	       "no browser's sends none: this finds mistakes, not attacks."},
    {.name = "on_exposure",
	.kind = SETTING_ENUM,
	.offset = FIELD(on_exposure),
	.def = "flag",
	.words = exposure_words,
	.doc = "What becomes of a key that is seen in a URL, over plain HTTP, or (see "
	       "`reject_browsers`) in a "
	       "browser, beyond the mark that it gets: `flag` nothing, `disable` it is disabled, "
	       "`revoke` it is "
	       "revoked for good. The key's reason and the audit trail say why. Of a secret that "
	       "`apikey rotate` has replaced the grace ends instead, and the key stays. Anybody "
	       "who has "
	       "the key can bring that about, but who has it can do more."},
    {.name = "default_plan",
	.kind = SETTING_STRING,
	.offset = FIELD(default_plan),
	.def = "default",
	.min = 1,
	.max = 64,
	.ok = ok_name,
	.expects = "the name of a plan: a letter or digit, then letters, digits, '_', '.', '-'",
	.doc =
	    "The plan of a key that is created without one. The plan `default` has no limits until "
	    "`apikey plan set default` gives it some."},
    {.name = "app_header",
	.kind = SETTING_STRING,
	.offset = FIELD(app_header),
	.def = "X-App-Id",
	.min = 1,
	.max = 64,
	.ok = ok_header_name,
	.expects = "the name of a header: a letter, then letters, digits, '-'",
	.doc = "The request header that names the calling application, for keys that are "
	       "restricted to some."},
    {.name = "ratelimit_headers",
	.kind = SETTING_ENUM,
	.offset = FIELD(ratelimit_headers),
	.def = "draft",
	.words = ratelimit_words,
	.doc = "Which headers tell clients of their limits: `draft` (RateLimit and "
	       "RateLimit-Policy of "
	       "draft-ietf-httpapi-ratelimit-headers), `legacy` (X-RateLimit-Limit, -Remaining, "
	       "-Reset), `both` or `off`. "
	       "Retry-After is sent whatever is said here."},
    {.name = "failed_attempts",
	.kind = SETTING_INT,
	.offset = FIELD(failed_attempts),
	.def = "20",
	.min = 0,
	.max = 1000,
	.doc =
	    "How many failed attempts (a 401 to a request with a key) of one client, which is an "
	    "IPv4 address or the /64 network of an IPv6 one, are let pass within `failed_window` "
	    "of "
	    "the first of them. Then the client is blocked: for `block_time` each further 401 is a "
	    "429 `client_blocked`. A valid key gets its own answer all the same. 0 blocks nobody."},
    {.name = "failed_window",
	.kind = SETTING_DURATION,
	.offset = FIELD(failed_window_us),
	.def = "5m",
	.min = CLOCK_SECOND,
	.max = DAY,
	.doc = "In which time `failed_attempts` have to come. It begins with a client's first "
	       "failed attempt, and anew with the first one after its end."},
    {.name = "block_time",
	.kind = SETTING_DURATION,
	.offset = FIELD(block_time_us),
	.def = "5m",
	.min = CLOCK_SECOND,
	.max = DAY,
	.doc = "How long a client is blocked. Attempts meanwhile do not prolong it."},
    {.name = "block_exempt",
	.kind = SETTING_NETWORKS,
	.offset = FIELD(block_exempt),
	.count_offset = FIELD(nblock_exempt),
	.def = "",
	.doc = "Networks of clients that are never blocked: monitoring, a gateway that many "
	       "clients share. The addresses of `trusted_proxies` are never blocked either."},
    {.name = "keeper_timeout",
	.kind = SETTING_DURATION,
	.offset = FIELD(keeper_timeout_us),
	.def = "1s",
	.min = 10 * MS,
	.max = 60 * CLOCK_SECOND,
	.doc =
	    "How long a request waits for the keeper before it is answered with 503 `unavailable`. "
	    "A keeper that died is back well within the default."},
    {.name = "log",
	.kind = SETTING_ENUM,
	.offset = FIELD(log),
	.def = "stderr",
	.words = log_words,
	.doc = "Where events are logged: `stderr` or `syslog`. A daemon without `-f` has no stderr "
	       "and logs to "
	       "syslog."},
    {.name = "log_level",
	.kind = SETTING_ENUM,
	.offset = FIELD(log_level),
	.def = "info",
	.words = level_words,
	.doc =
	    "The least important events that are logged: `error`, `warning`, `info` or `debug`."},
    {.name = "sandbox",
	.kind = SETTING_BOOL,
	.offset = FIELD(sandbox),
	.def = "true",
	.restart = 1,
	.doc = "Each process gives up, before it reads anything of others, the system calls and "
	       "files that its work does not need; one that then tries what it never should is "
	       "killed, started again and reported. What the kernel cannot do is left out, and the "
	       "log says so. `false` is for finding out whether a fault comes from this."},
};

/* Enumerations are stored through int pointers. */
_Static_assert(sizeof(enum config_ratelimit) == sizeof(int), "ratelimit_headers is not an int");
_Static_assert(sizeof(enum config_browsers) == sizeof(int), "reject_browsers is not an int");
_Static_assert(sizeof(enum config_exposure) == sizeof(int), "on_exposure is not an int");
_Static_assert(sizeof(enum log_level) == sizeof(int), "log_level is not an int");

size_t
settings_count(void)
{
	return sizeof(table) / sizeof(table[0]);
}

const struct setting *
settings_at(size_t i)
{
	return i < settings_count() ? &table[i] : NULL;
}

const struct setting *
settings_find(struct span name)
{
	size_t i;

	for (i = 0; i < settings_count(); i++)
		if (span_is(name, table[i].name))
			return &table[i];
	return NULL;
}

/* Levenshtein's distance; ${b} is one of our names, shorter than 32. */
static size_t
distance(struct span a, struct span b)
{
	size_t row[32], i, j, diagonal, up, best;

	for (j = 0; j <= b.len; j++)
		row[j] = j;
	for (i = 1; i <= a.len; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= b.len; j++) {
			up = row[j];
			best = diagonal + (a.p[i - 1] != b.p[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = up;
			row[j] = best;
		}
	}
	return row[b.len];
}

const struct setting *
settings_nearest(struct span name)
{
	const struct setting *nearest = NULL;
	/* Three slips, but no more than half of the letters, still look like the same word. */
	size_t i, d, best = 4;

	if (name.len > 31)
		return NULL;
	for (i = 0; i < settings_count(); i++) {
		d = distance(name, span_of(table[i].name));
		if (d < best && 2 * d <= name.len) {
			best = d;
			nearest = &table[i];
		}
	}
	return nearest;
}
