/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The table of the admin tool's subcommands, with their options, operands and help.  To add one: a
 * row here, its function in a cmd_*.c.  The manual's list is printed from the same table by
 * print_commands.c.
 *
 * No subcommand is implemented here, and none is known anywhere else by name.
 */

#include "apikey/command.h"
#include "apikey/commands.h"
#include "core/plan.h"
#include "core/rotation.h"

const struct option_def command_globals[] = {
    /* They stand before the command or after it. */
    {.name = "config",
	.letter = 'c',
	.kind = OPTION_PATH,
	.arg = "FILE",
	.help = "read this configuration"},
    {.name = "json", .kind = OPTION_FLAG, .help = "print one JSON object, or one a line for lists"},
    {.name = "help", .letter = 'h', .kind = OPTION_FLAG, .help = "say how the command is used"},
    {.name = "version", .letter = 'V', .kind = OPTION_FLAG, .help = "print the version"},
    {.name = NULL}};

/* What a key has, for create and set alike. */
#define KEY_FIELDS                                                                                 \
	{.name = "name",                                                                           \
	    .kind = OPTION_TEXT_OR_NONE,                                                           \
	    .member = "name",                                                                      \
	    .arg = "NAME",                                                                         \
	    .help = "what the key is called"},                                                     \
	    {.name = "member",                                                                     \
		.kind = OPTION_TEXT_OR_NONE,                                                       \
		.member = "member",                                                                \
		.arg = "WHO",                                                                      \
		.help = "person or service of the owner that holds it"},                           \
	    {.name = "plan",                                                                       \
		.kind = OPTION_TEXT,                                                               \
		.member = "plan",                                                                  \
		.arg = "PLAN",                                                                     \
		.help = "whose limits apply"},                                                     \
	    {.name = "scope",                                                                      \
		.kind = OPTION_SCOPES,                                                             \
		.member = "scopes",                                                                \
		.arg = "SCOPE",                                                                    \
		.help = "what it may do, like orders:read or orders:*"},                           \
	    {.name = "allow-ip",                                                                   \
		.kind = OPTION_NETWORKS,                                                           \
		.member = "allow_ips",                                                             \
		.arg = "CIDR",                                                                     \
		.help = "only from this address or network, or from those in @FILE, one a line"},  \
	    {.name = "referrer",                                                                   \
		.kind = OPTION_REFERRERS,                                                          \
		.member = "referrers",                                                             \
		.arg = "PATTERN",                                                                  \
		.help = "only from pages like https://app.example.com/path or *.example.com"},     \
	    {.name = "app",                                                                        \
		.kind = OPTION_TEXTS,                                                              \
		.member = "apps",                                                                  \
		.arg = "NAME",                                                                     \
		.help = "only from this application"},                                             \
	    {.name = "method",                                                                     \
		.kind = OPTION_METHODS,                                                            \
		.member = "methods",                                                               \
		.arg = "METHOD",                                                                   \
		.help = "only with this request method, like GET"},                                \
	    {.name = "browsers",                                                                   \
		.kind = OPTION_CHOICE,                                                             \
		.member = "browsers",                                                              \
		.arg = "WHAT",                                                                     \
		.choices = "off|flag|deny|default",                                                \
		.help = "when it comes from a browser: off, flag, deny, or default "               \
			"(reject_browsers)"},                                                      \
	    {.name = "expires",                                                                    \
		.kind = OPTION_UNTIL,                                                              \
		.member = "expires",                                                               \
		.arg = "WHEN",                                                                     \
		.help = "90d from now, through 2027-01-31, at 2027-01-31T12:00:00Z, or never"},    \
	    {.name = "not-before",                                                                 \
		.kind = OPTION_FROM,                                                               \
		.member = "not_before",                                                            \
		.arg = "WHEN",                                                                     \
		.help = "valid only from then on; now for at once"},                               \
	{                                                                                          \
		.name = "meta", .kind = OPTION_PAIRS, .member = "meta", .arg = "K=V",              \
		.help = "passed on to the API with every request"                                  \
	}

static const struct option_def create_options[] = {
    /* What a key cannot do without, what it may have, how it is made. */
    {.name = "owner",
	.kind = OPTION_TEXT,
	.member = "owner",
	.arg = "OWNER",
	.required = 1,
	.help = "whose key it is"},
    KEY_FIELDS,
    {.name = "env",
	.kind = OPTION_CHOICE,
	.member = "env",
	.arg = "ENV",
	.choices = "live|test",
	.help = "live (the default) or test; part of the key's text"},
    {.name = "import-digest",
	.kind = OPTION_TEXT,
	.member = "digest",
	.arg = "DIGEST",
	.help = "sha256:HEX of a key that another system made; no key is made then"},
    {.name = "start",
	.kind = OPTION_TEXT,
	.member = "start",
	.arg = "TEXT",
	.help = "with it: how that key begins, as far as everybody may see it"},
    {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .help = "print the key and nothing else"},
    {.name = NULL}};

static const struct option_def set_options[] = {
    /* New values, then what takes old ones away. */
    {.name = "owner",
	.kind = OPTION_TEXT,
	.member = "owner",
	.arg = "OWNER",
	.help = "whose key it is"},
    KEY_FIELDS,
    {.name = "no-scopes",
	.kind = OPTION_NO_LIST,
	.member = "scopes",
	.help = "take all scopes away"},
    {.name = "no-allow-ip",
	.kind = OPTION_NO_LIST,
	.member = "allow_ips",
	.help = "from any address"},
    {.name = "no-referrer", .kind = OPTION_NO_LIST, .member = "referrers", .help = "from any page"},
    {.name = "no-app", .kind = OPTION_NO_LIST, .member = "apps", .help = "from any application"},
    {.name = "no-method",
	.kind = OPTION_NO_LIST,
	.member = "methods",
	.help = "with any request method"},
    {.name = "clear-exposed",
	.kind = OPTION_FLAG,
	.member = "clear_exposed",
	.help = "it was a false alarm: not exposed any more"},
    {.name = "no-meta", .kind = OPTION_NO_MAP, .member = "meta", .help = "without metadata"},
    {.name = "env",
	.kind = OPTION_REFUSED,
	.help = "live or test is part of the key's text; create a new key with it and revoke "
		"this one"},
    {.name = "quiet",
	.letter = 'q',
	.kind = OPTION_REFUSED,
	.help = "set prints no key; >/dev/null leaves out what it prints"},
    {.name = NULL}};

/* Which keys, for list and for a sweep alike: those that fit all that are given. */
#define KEY_FILTERS                                                                                \
	{.name = "unused",                                                                         \
	    .kind = OPTION_DURATION,                                                               \
	    .member = "unused",                                                                    \
	    .arg = "DURATION",                                                                     \
	    .help = "usable keys last used 90d ago or before, or never since they were made"},     \
	    {.name = "owner",                                                                      \
		.kind = OPTION_TEXT,                                                               \
		.member = "owner",                                                                 \
		.arg = "OWNER",                                                                    \
		.help = "keys of this owner"},                                                     \
	    {.name = "member",                                                                     \
		.kind = OPTION_TEXT,                                                               \
		.member = "member",                                                                \
		.arg = "WHO",                                                                      \
		.help = "keys that this one holds"},                                               \
	    {.name = "plan",                                                                       \
		.kind = OPTION_TEXT,                                                               \
		.member = "plan",                                                                  \
		.arg = "PLAN",                                                                     \
		.help = "keys with this plan"},                                                    \
	    {.name = "env",                                                                        \
		.kind = OPTION_CHOICE,                                                             \
		.member = "env",                                                                   \
		.arg = "ENV",                                                                      \
		.choices = "live|test",                                                            \
		.help = "live or test keys"},                                                      \
	    {.name = "expiring",                                                                   \
		.kind = OPTION_DURATION,                                                           \
		.member = "expiring",                                                              \
		.arg = "DURATION",                                                                 \
		.help = "usable keys that expire within 14d, say"},                                \
	    {.name = "never-expires",                                                              \
		.kind = OPTION_FLAG,                                                               \
		.member = "never_expires",                                                         \
		.help = "usable keys without an end"},                                             \
	    {.name = "due",                                                                        \
		.kind = OPTION_FLAG,                                                               \
		.member = "due",                                                                   \
		.help = "usable keys that the plan wants rotated within 14 days, or before now"},  \
	    {.name = "exposed",                                                                    \
		.kind = OPTION_FLAG,                                                               \
		.member = "exposed",                                                               \
		.help = "keys that were seen in a URL or over plain HTTP"},                        \
	{                                                                                          \
		.name = "pepper", .kind = OPTION_NUMBER, .member = "pepper", .arg = "VERSION",     \
		.max = UINT32_MAX, .help = "keys under this version of the pepper"                 \
	}

static const struct option_def list_options[] = {KEY_FILTERS,
    {.name = "state",
	.kind = OPTION_CHOICE,
	.member = "state",
	.arg = "STATE",
	.choices = "active|disabled|revoked|expired|pending",
	.help = "active, disabled, revoked, expired or pending"},
    {.name = NULL}};

static const struct option_def disable_options[] = {KEY_FILTERS,
    {.name = "dry-run",
	.kind = OPTION_FLAG,
	.member = "dry_run",
	.help = "list the keys that it would be, and disable none"},
    {.name = NULL}};

static const struct option_def rotate_options[] = {
    {.name = "grace",
	.kind = OPTION_DURATION,
	.member = "grace",
	.arg = "DURATION",
	.max = ROTATION_GRACE_MAX_US / 1000000,
	.help = "how long the old secret still works: 0 to 90d; 24h if not given"},
    {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .help = "print the key and nothing else"},
    {.name = NULL}};

static const struct option_def purge_options[] = {
    /* Which, and whether really. */
    {.name = "older-than",
	.kind = OPTION_DURATION,
	.member = "older_than",
	.arg = "DURATION",
	.help = "keys revoked so long ago; revoked_retention of the configuration if not given"},
    {.name = "dry-run",
	.kind = OPTION_FLAG,
	.member = "dry_run",
	.help = "list the keys that it would be, and remove none"},
    {.name = "yes", .kind = OPTION_FLAG, .help = "remove them: there is no way back"},
    {.name = NULL}};

static const struct option_def load_options[] = {
    {.name = "restart", .kind = OPTION_FLAG, .help = "forget an interrupted load"}, {.name = NULL}};

static const struct option_def restore_options[] = {
    {.name = "accept-log",
	.kind = OPTION_FLAG,
	.help = "believe a log that is cut, or that nothing says the length of"},
    {.name = NULL}};

static const struct option_def revoke_options[] = {
    {.name = "reason",
	.kind = OPTION_TEXT,
	.member = "reason",
	.arg = "TEXT",
	.help = "kept with the key and in the audit trail"},
    {.name = "old-secret",
	.kind = OPTION_FLAG,
	.help = "end the grace of the secret that rotate has replaced; the key stays"},
    {.name = NULL}};

static const struct option_def check_options[] = {
    {.name = "id",
	.kind = OPTION_TEXT,
	.member = "id",
	.arg = "ID",
	.help = "the key of this id, instead of the one on standard input"},
    {.name = "uri",
	.kind = OPTION_TEXT,
	.member = "uri",
	.arg = "URI",
	.help = "of the request; {key} in it stands for the key, which is then in no header"},
    {.name = "method",
	.kind = OPTION_TEXT,
	.member = "method",
	.arg = "METHOD",
	.help = "of the request"},
    {.name = "ip",
	.kind = OPTION_ADDRESS,
	.member = "ip",
	.arg = "ADDRESS",
	.help = "where it comes from"},
    {.name = "scope",
	.kind = OPTION_NEEDED,
	.member = "scopes",
	.arg = "SCOPE",
	.help = "what the route needs"},
    {.name = "cost",
	.kind = OPTION_NUMBER,
	.member = "cost",
	.arg = "N",
	.max = LIMIT_COST_MAX,
	.help = "units it takes from the limits; 1 if not given"},
    {.name = "referrer",
	.kind = OPTION_TEXT,
	.member = "referrer",
	.arg = "URL",
	.help = "page that it comes from"},
    {.name = "app",
	.kind = OPTION_TEXT,
	.member = "app",
	.arg = "NAME",
	.help = "application that it comes from"},
    {.name = "browser",
	.kind = OPTION_FLAG,
	.member = "browser",
	.help = "it comes from a browser (Origin, Sec-Fetch-*)"},
    {.name = "https", .kind = OPTION_FLAG, .help = "it comes over HTTPS (the default)"},
    {.name = "http", .kind = OPTION_FLAG, .help = "it comes over plain HTTP"}, {.name = NULL}};

static const struct option_def plan_set_options[] = {
    {.name = "limit",
	.kind = OPTION_LIMITS,
	.member = "limits",
	.arg = "NAME=N/WINDOW",
	.help = "at most N units in any WINDOW, like minute=100/60s"},
    {.name = "no-limits",
	.kind = OPTION_NO_LIST,
	.member = "limits",
	.help = "a plan that limits nothing"},
    {.name = "scope",
	.kind = OPTION_SCOPES,
	.member = "scopes",
	.arg = "SCOPE",
	.help = "held by keys of the plan that have no scopes of their own"},
    {.name = "per",
	.kind = OPTION_CHOICE,
	.member = "per",
	.arg = "WHAT",
	.choices = "key|owner",
	.help = "count per key (the default), or all keys of an owner together"},
    {.name = "dry-run",
	.kind = OPTION_FLAG,
	.member = "dry_run",
	.help = "count and report, but refuse nobody"},
    {.name = "max-age",
	.kind = OPTION_DURATION,
	.member = "max_age",
	.arg = "DURATION",
	.help = "how old a key's secret may become, like 90d; holders are told 14 days before"},
    {.name = "max-age-deny",
	.kind = OPTION_FLAG,
	.member = "max_age_deny",
	.help = "refuse a secret that is older"},
    {.name = "rename",
	.kind = OPTION_PAIRS,
	.member = "rename",
	.arg = "OLD=NEW",
	.help = "the limit NEW goes on with what OLD has counted"},
    {.name = NULL}};

static const struct option_def audit_options[] = {
    /* Filters. */
    {.name = "key",
	.kind = OPTION_TEXT,
	.member = "key",
	.arg = "ID",
	.help = "what happened to this key"},
    {.name = "since",
	.kind = OPTION_SINCE,
	.member = "since",
	.arg = "WHEN",
	.help = "2h ago, since 2026-11-21, or a time of RFC 3339"},
    /* What to do with it. */
    {.name = "follow", .kind = OPTION_FLAG, .help = "wait for more, and print it as it comes"},
    {.name = "verify",
	.kind = OPTION_FLAG,
	.help = "is the trail what was written? names each record that is not"},
    {.name = "expect",
	.kind = OPTION_TEXT,
	.arg = "SEQ:HASH",
	.help = "with --verify: a record that was written down elsewhere"},
    {.name = NULL}};

static const struct option_def doctor_options[] = {
    /* The key, where to, what more. */
    {.name = "key-stdin",
	.kind = OPTION_FLAG,
	.help = "show the key on standard input instead of a temporary one"},
    {.name = "no-key", .kind = OPTION_FLAG, .help = "only what needs no valid key"},
    {.name = "plan",
	.kind = OPTION_TEXT,
	.arg = "PLAN",
	.help = "of the temporary key; default if not given"},
    {.name = "scope",
	.kind = OPTION_SCOPES,
	.arg = "SCOPE",
	.help = "of the temporary key; what the URL needs"},
    {.name = "limits",
	.kind = OPTION_FLAG,
	.help = "make a temporary plan of 2 units an hour too, and use it up"},
    {.name = "http-url",
	.kind = OPTION_TEXT,
	.arg = "URL",
	.help = "where the same server takes plain HTTP, if not on port 80"},
    {.name = "header",
	.kind = OPTION_TEXTS,
	.arg = "LINE",
	.help = "send this with every request, like 'Host: api.example.com'"},
    {.name = "server",
	.kind = OPTION_CHOICE,
	.arg = "NAME",
	.choices = "nginx|apache|lighttpd|caddy|haproxy",
	.help = "which web server it is, if that cannot be told from outside"},
    {.name = "cacert",
	.kind = OPTION_PATH,
	.arg = "FILE",
	.help = "trust the certificates that these authorities (PEM) signed"},
    {.name = "insecure", .kind = OPTION_FLAG, .help = "trust any certificate"},
    {.name = "timeout",
	.kind = OPTION_DURATION,
	.arg = "DURATION",
	.help = "of each request; 10s if not given"},
    {.name = NULL}};

static const struct option_def import_options[] = {
    {.name = "batch",
	.kind = OPTION_NUMBER,
	.arg = "N",
	.max = 100,
	.help = "lines that are imported all or none, at most; 50 if not given"},
    {.name = "skip-existing",
	.kind = OPTION_FLAG,
	.help = "pass over what is there already: to go on with a file"},
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "look at all lines, import none"},
    {.name = NULL}};

static const struct option_operand file_operand[] = {{"FILE", "file", 1, 0}, {NULL, NULL, 0, 0}};

static const struct option_def owner_list_options[] = {
    {.name = "disabled",
	.kind = OPTION_FLAG,
	.member = "disabled",
	.help = "only owners that are switched off"},
    {.name = NULL}};

static const struct option_def owner_disable_options[] = {
    {.name = "reason",
	.kind = OPTION_TEXT,
	.member = "reason",
	.arg = "TEXT",
	.help = "kept as long as the owner is off, and in the audit trail"},
    {.name = NULL}};

static const struct option_operand owner_operand[] = {{"OWNER", "owner", 0, 0}, {NULL, NULL, 0, 0}};

static const struct option_def retire_options[] = {
    {.name = "force",
	.kind = OPTION_FLAG,
	.member = "force",
	.help = "also when keys need it: they are lost for good"},
    {.name = NULL}};

static const struct option_operand version_operand[] = {
    {"VERSION", "version", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_def scan_options[] = {
    /* What to look for, what to ask, what to do. */
    {.name = "prefix",
	.kind = OPTION_TEXTS,
	.arg = "PREFIX",
	.help = "look for keys that begin with it, instead of the configuration's key_prefix"},
    {.name = "added",
	.kind = OPTION_FLAG,
	.help = "of patches on standard input, only what they add"},
    {.name = "lookup",
	.kind = OPTION_FLAG,
	.help = "ask the store which of them are known: id and state"},
    {.name = "revoke",
	.kind = OPTION_FLAG,
	.help = "revoke what is known and neither expired nor revoked (of a replaced secret, end "
		"its grace); asks first on a terminal"},
    {.name = "yes", .letter = 'y', .kind = OPTION_FLAG, .help = "do not ask first"},
    {.name = NULL}};

static const struct option_operand files_operand[] = {
    {"FILE", "files", 1, OPTION_REST_PATHS}, {NULL, NULL, 0, 0}};
static const struct option_operand url_operand[] = {{"URL", "url", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand maybe_id_operand[] = {{"ID", "id", 1, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand id_operand[] = {{"ID", "id", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand plan_operand[] = {{"NAME", "name", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand dir_operand[] = {{"DIR", "dir", 0, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand dir_operand_optional[] = {
    {"DIR", "dir", 1, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand dump_operand[] = {{"FILE", "file", 1, 0}, {NULL, NULL, 0, 0}};
static const struct option_operand help_operand[] = {
    {"COMMAND", "command", 1, 1}, {NULL, NULL, 0, 0}};

static const struct command commands[] = {
    {"create", NULL, cmd_key_create, create_options, NULL, 0, "make a key and show it once",
	"The key is printed once and kept nowhere; only a keyed digest of it is stored.\n"
	"With --quiet the key alone is printed, for scripts.\n"},
    {"list", NULL, cmd_key_list, list_options, NULL, 0, "list keys",
	"Without options all keys; with several, those that fit all of them.\n"},
    {"show", NULL, cmd_key_show, NULL, id_operand, 0, "show one key and what is left of its limits",
	NULL},
    {"set", NULL, cmd_key_set, set_options, id_operand, 0, "change what is known of a key",
	"What is given replaces what was there: scopes, networks, referrers, applications\n"
	"and metadata as a whole. An empty --name or --member clears it.\n"},
    {"rotate", NULL, cmd_life_rotate, rotate_options, id_operand, 0,
	"give a key a new secret and show it once",
	"Id, owner, plan, what is used of the limits and all else stay; only the text of the key\n"
	"is another one. The old one works until its grace has ended, or the key is rotated "
	"again;\n"
	"then it is refused with key_expired. With --grace 0 that is when the command ends.\n"
	"A mark of exposure was of the old secret and goes; the audit trail keeps it.\n"},
    {"disable", NULL, cmd_life_disable, disable_options, maybe_id_operand, 0,
	"refuse a key, or all that nobody uses, until it is enabled again",
	"With --unused instead of an ID: every active key that fits that and the other filters.\n"
	"A key that was never used is unused since it was made. Keys are disabled as they are\n"
	"found; one that is used meanwhile is passed over. --dry-run first is a good idea.\n"},
    {"purge", NULL, cmd_life_purge, purge_options, NULL, 0,
	"remove keys that were revoked long ago",
	"A revoked key is kept so that its holder is told so, and you whose it was. A purged key "
	"is\n"
	"unknown, and the audit trail alone still tells of it. Without --yes nothing is "
	"removed.\n"},
    {"enable", NULL, cmd_key_enable, NULL, id_operand, 0, "admit a disabled key again", NULL},
    {"revoke", NULL, cmd_key_revoke, revoke_options, id_operand, 0, "refuse a key for good",
	"When the command ends, no request that starts later is admitted with the key.\n"
	"With --old-secret that goes for the secret that was replaced alone.\n"},
    {"check", NULL, cmd_check, check_options, NULL, 0, "explain what would be decided of a request",
	"The key is read from standard input, one line, or named with --id. Each step of the\n"
	"decision is told with what it was given and what it was held against, up to the one that\n"
	"refuses: those of a worker, then those of the keeper, by the code that decides requests.\n"
	"Nothing is counted, marked or changed.\n"
	"The exit status is 0 when the request would be admitted, 1 when it would not.\n"},
    {"doctor", NULL, cmd_doctor, doctor_options, url_operand, 1,
	"prove from outside that a mount is closed and whole",
	"Requests as anybody could send them, without a key and with one, each judged; for each\n"
	"failure the line of the web server's configuration to look at. Give a URL that answers\n"
	"2xx to a GET with a key. The key is a temporary one, made by the keeper that runs here\n"
	"and revoked at the end, or is read from standard input with --key-stdin.\n"
	"The exit status is 0 when nothing failed, 1 when something did, 3 when the URL cannot be\n"
	"reached. With --json each probe is an object on a line of its own.\n"},
    {"scan", NULL, cmd_scan, scan_options, files_operand, 1,
	"find keys in files, directories and standard input",
	"Whatever the files hold: text, binaries, UTF-16. A directory is searched with all below\n"
	"it, symbolic links are not followed; - is standard input, as is no FILE at all.\n"
	"Prints where a key begins, FILE:LINE, and its visible start, never the whole.\n"
	"The exit status is 1 when one was found, else 0; 2 when something could not be read;\n"
	"3 when the store that --lookup asks is unavailable.\n"},
    {"plan", "set", cmd_plan_set, plan_set_options, plan_operand, 0, "make or replace a plan",
	"A plan is a set of limits. Each admits at most N units in any window of its length,\n"
	"wherever the window is placed. What was used already still counts after a change.\n"
	"A limit that is gone and one that came with the same N and WINDOW are taken for one\n"
	"that was renamed; where that is not so plain, --rename says it.\n"
	"What is not given is gone: a plan that is set without --scope or --max-age has none.\n"},
    {"plan", "list", cmd_plan_list, NULL, NULL, 0, "list plans", NULL},
    {"plan", "show", cmd_plan_show, NULL, plan_operand, 0, "show one plan", NULL},
    {"plan", "remove", cmd_plan_remove, NULL, plan_operand, 0, "remove a plan that no key names",
	NULL},
    {"import", NULL, cmd_import, import_options, file_operand, 0,
	"import keys, a JSON object on each line",
	"FILE, or - or nothing for standard input. Members are those that list --json prints, and\n"
	"\"digest\", sha256: and the hash in hex of a key that another system made. A line "
	"without\n"
	"it gets a new key. Each batch is imported whole or not at all: a line that is refused is\n"
	"told with its reason, and the others of its batch are not imported with it.\n"
	"Prints an object for each line: its number, the id, and the key if one was made, which "
	"is\n"
	"shown this once. The exit status is 1 when any line was not imported.\n"},
    {"export", NULL, cmd_export, list_options, NULL, 0,
	"print keys as import takes them, without secrets",
	"An object on each line, as list --json. The keys themselves are kept nowhere, and their\n"
	"digests are of no use without the pepper: importing such lines makes new keys.\n"},
    {"owner", "list", cmd_owner_list, owner_list_options, NULL, 0,
	"list owners, and how many keys each has", NULL},
    {"owner", "show", cmd_owner_show, NULL, owner_operand, 0,
	"show an owner: its keys by state, its members", NULL},
    {"owner", "disable", cmd_owner_disable, owner_disable_options, owner_operand, 0,
	"refuse all keys of an owner until it is enabled again",
	"When the command ends, no request that starts later is admitted with any of its keys,\n"
	"of those made later neither. The keys' own states stay as they are.\n"},
    {"owner", "enable", cmd_owner_enable, NULL, owner_operand, 0,
	"end that: each key is again what its own state says", NULL},
    {"audit", NULL, cmd_audit, audit_options, NULL, 0, "list who changed what, and when",
	"Every change with who made it, from where, and what was before and after; requests\n"
	"that were refused; and what the gate has to tell. With --verify the exit status is 1\n"
	"when a record was changed, removed, moved or added.\n"},
    {"pepper", "add", cmd_pepper_add, NULL, NULL, 0, "make a new pepper, for keys made from now on",
	"Appends a random pepper to the pepper file; a running keeper takes it up at once.\n"
	"Keys that exist stay valid, and move to the new pepper when they are next used.\n"
	"Back the file up apart from the store: without it no key can be recognised again.\n"},
    {"pepper", "list", cmd_pepper_list, NULL, NULL, 0,
	"list versions of the pepper, and the keys under each",
	"Keys that are not revoked, old secrets of rotated keys (in grace or not) and revoked\n"
	"keys. Keys move to the newest when they are next admitted; one that needs a version\n"
	"which is gone answers key_invalid.\n"},
    {"pepper", "retire", cmd_pepper_retire, retire_options, version_operand, 0,
	"do away with a pepper that no key needs any more",
	"It is refused while keys need it that are not revoked (the newest is always needed).\n"
	"Its line is taken out of the pepper file; a revoked key under it answers key_invalid\n"
	"from then on. Keep the backups of the file as long as backups of the store that need "
	"it.\n"},
    {"db", "stat", cmd_db_stat, NULL, NULL, 0, "print figures of the store", NULL},
    {"db", "verify", cmd_db_verify, NULL, dir_operand_optional, 0,
	"look for damage in the store, or in a backup",
	"Works on a copy (in TMPDIR, or /var/tmp), so that apikeyd may go on: every page and its\n"
	"checksum, every index against its records, every limit's log, all counts, and of the "
	"store\n"
	"in service the audit trail. One line a finding. The exit status is 0 when it is whole, 1 "
	"when not.\n"},
    {"db", "backup", cmd_db_backup, NULL, dir_operand, 0,
	"copy the store to a directory while it is in use",
	"A consistent copy as of one moment, recovered and verified, becomes DIR when it is "
	"whole;\n"
	"a backup that is there is replaced then, and not before. Keys can only be recognised "
	"with\n"
	"the pepper file: back that up, too, to another place.\n"
	"Copying may take 30 minutes beside a running apikeyd, which takes no checkpoint "
	"meanwhile;\n"
	"what takes longer is for one that is stopped.\n"},
    {"db", "restore", cmd_db_restore, restore_options, dir_operand, 0, "make a backup the store",
	"Refused while apikeyd runs. A copy of the backup is opened and verified; then the store "
	"that\n"
	"is there is moved aside, into a directory of its own. Keys revoked, disabled or rotated\n"
	"since the backup are as they were before.\n"
	"With --accept-log DIR may be any directory with a store's files, the store's own too, "
	"and\n"
	"its log is taken for whole, wherever it ends: for one that was copied without its file\n"
	"flushed, or whose log is damaged and of which there is no backup. What was changed last\n"
	"may be missing then: a revoked key may be valid again.\n"},
    {"db", "dump", cmd_db_dump, NULL, NULL, 0, "print the store as lines of JSON",
	"Every record as of one moment, in a form that outlives releases and machines, and a hash\n"
	"of all at the end. No key and no pepper is in it. apikeyd may go on meanwhile.\n"},
    {"db", "load", cmd_db_load, load_options, dump_operand, 0, "make a dump the store",
	"Refused while apikeyd runs. All of it or nothing: the new store is made beside the one\n"
	"there is, verified, and only then takes its place; what was there is moved aside. One "
	"that\n"
	"was interrupted goes on where it was.\n"},
    {"db", "compact", cmd_db_compact, NULL, NULL, 0,
	"give back space that deleted records have left",
	"In small slices, while apikeyd works.\n"},
    {"help", NULL, cmd_help, NULL, help_operand, 1, "say how a command is used", NULL},
};

const struct command *
command_at(size_t i)
{
	return i < sizeof(commands) / sizeof(commands[0]) ? &commands[i] : NULL;
}
