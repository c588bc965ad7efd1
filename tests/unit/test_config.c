/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: whatever is wrong in a configuration file is told, all of it, with the right file and line
 * and what was expected; and what is taken is what was meant: defaults, every kind of value, the
 * running configuration.
 *
 * Guards invariant 6: a typing error in a security setting never loads as something else (no value
 * is dropped, expanded from the environment or cut), because a configuration is taken whole or not
 * at all.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/settings.h"
#include "config/value.h"

struct fixture {
	char dir[200], file[240];
	char told[16384]; /* what was reported, a line each */
	struct config *C;
	struct err e;
};

static void
tell(void *cookie, const char *text)
{
	struct fixture *F = cookie;
	size_t n = strlen(F->told);

	assert_true(
	    snprintf(F->told + n, sizeof(F->told) - n, "%s\n", text) < (int)(sizeof(F->told) - n));
}

static int
setup(void **state)
{
	struct fixture *F = calloc(1, sizeof(*F));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(F);
	(void)snprintf(F->dir, sizeof(F->dir), "%s/test_config.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(F->dir));
	(void)snprintf(F->file, sizeof(F->file), "%s/a.conf", F->dir);
	assert_int_equal(unsetenv("APIKEYD_CONF"), 0);
	*state = F;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *F = *state;

	config_free(F->C);
	(void)unlink(F->file);
	(void)rmdir(F->dir);
	free(F);
	return 0;
}

static void
write_bytes(struct fixture *F, const char *text, size_t n)
{
	FILE *fp = fopen(F->file, "w");

	assert_non_null(fp);
	assert_int_equal(fwrite(text, 1, n, fp), n);
	assert_int_equal(fclose(fp), 0);
}

static struct config *
load_bytes(struct fixture *F, const char *text, size_t n)
{
	write_bytes(F, text, n);
	config_free(F->C);
	F->told[0] = '\0';
	memset(&F->e, 0, sizeof(F->e));
	F->C = config_load(F->file, tell, F, &F->e);
	return F->C;
}

static struct config *
load(struct fixture *F, const char *text)
{
	return load_bytes(F, text, strlen(text));
}

/* The n-th line that was told is "FILE:line: ...needle...". */
static void
assert_told(struct fixture *F, size_t n, int line, const char *needle)
{
	char want[300], one[600];
	const char *p = F->told;
	size_t i, len;

	for (i = 0; i < n; i++) {
		p = strchr(p, '\n');
		assert_non_null(p);
		p++;
	}
	len = strcspn(p, "\n");
	assert_true(len < sizeof(one));
	memcpy(one, p, len);
	one[len] = '\0';
	(void)snprintf(want, sizeof(want), "%s:%d: ", F->file, line);
	if (strncmp(one, want, strlen(want)) != 0 || strstr(one, needle) == NULL)
		fail_msg("told \"%s\", wanted line %d and \"%s\"", one, line, needle);
}

static size_t
count_told(const struct fixture *F)
{
	size_t n = 0;
	const char *p;

	for (p = F->told; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

static void
text_of(const struct config *C, char *text, size_t cap)
{
	struct wbuf w;

	wbuf_init(&w, text, cap);
	assert_int_equal(config_text(C, &w), 0);
	assert_non_null(wbuf_cstr(&w));
}

static void
test_defaults(void **state)
{
	struct fixture *F = *state;
	struct config *C = load(F, "");

	assert_non_null(C);
	assert_string_equal(C->path, F->file);
	assert_string_equal(C->listen, RUNSTATEDIR "/apikeyd/fcgi.sock");
	assert_int_equal(C->listen_mode, 0660);
	assert_string_equal(C->user, "apikeyd");
	assert_string_equal(C->group, "apikeyd");
	assert_true(C->workers >= 1);
	assert_string_equal(C->state_dir, LOCALSTATEDIR "/lib/apikeyd");
	assert_string_equal(C->run_dir, RUNSTATEDIR "/apikeyd");
	assert_string_equal(C->pepper_file, SYSCONFDIR "/apikeyd/peppers");
	assert_string_equal(C->realm, "api");
	assert_string_equal(C->key_prefix, "ak");
	assert_int_equal(C->require_https, 1);
	assert_int_equal(C->ntrusted_proxies, 0);
	assert_int_equal(C->nquery_parameters, 4);
	assert_string_equal(C->query_parameters[0], "api_key");
	assert_string_equal(C->query_parameters[3], "access_token");
	assert_int_equal(C->allow_query_keys, 0);
	assert_string_equal(C->default_plan, "default");
	assert_string_equal(C->app_header, "X-App-Id");
	assert_int_equal(C->ratelimit_headers, RATELIMIT_DRAFT);
	assert_int_equal(C->keeper_timeout_us, 1000000);
	assert_int_equal(C->cache_bytes, 64 << 20);
	assert_int_equal(C->min_free_bytes, 16 << 20);
	assert_int_equal(C->log_retention_us, 300000000);
	assert_int_equal(C->max_connections, 1024);
	assert_int_equal(C->log, 0);
	assert_int_equal(C->log_level, LOG_LVL_INFO);
}

static void
test_every_kind_of_value(void **state)
{
	struct fixture *F = *state;
	struct config *C =
	    load(F, "# a comment\n"
		    "listen = \"[::1]:9000\" // another\n"
		    "listen_mode = 600 /* and\n one more */ workers = 3\n"
		    "realm = 'it''s'\n"); /* two strings in a row are no libConfuse string */

	assert_null(C);
	assert_told(F, 0, 5, "a setting is written name = value");
	C = load(F,
	    "listen = 127.0.0.1:9000\nlisten_mode = 0600\nworkers = \"3\"\n"
	    "realm = '${HOME} it\\'s'\nkey_prefix=k2\nrequire_https = no\nallow_query_keys=on\n"
	    "trusted_proxies = {10.0.0.0/8, \"2001:db8::/32\",\n 192.0.2.7}\n"
	    "query_parameters = {}\nquery_parameters += {k}\nquery_parameters += {\"t.x\"}\n"
	    "keeper_timeout = 250ms\nlog_retention = 2h\ncache_size = 1G\nmin_free_space = 0\n"
	    "ratelimit_headers = both\nlog = syslog\nlog_level = debug\r\nstate_dir = /a\"\"\n");
	assert_null(C); /* a word and a string in a row, likewise */
	C = load(F,
	    "listen = 127.0.0.1:9000\nlisten_mode = 0600\nworkers = \"3\"\n"
	    "realm = '${HOME} it\\'s'\nkey_prefix=k2\nrequire_https = no\nallow_query_keys=on\n"
	    "trusted_proxies = {10.0.0.0/8, \"2001:db8::/32\",\n 192.0.2.7}\n"
	    "query_parameters = {}\nquery_parameters += {k}\nquery_parameters += {\"t.x\"}\n"
	    "keeper_timeout = 250ms\nlog_retention = 2h\ncache_size = 1G\nmin_free_space = 0\n"
	    "ratelimit_headers = both\nlog = syslog\nlog_level = debug\r\nstate_dir = \"/a b\"\n");
	if (C == NULL)
		fail_msg("%s", F->told);
	assert_string_equal(C->listen, "127.0.0.1:9000");
	assert_int_equal(C->listen_mode, 0600);
	assert_int_equal(C->workers, 3);
	assert_string_equal(C->realm, "${HOME} it's");
	assert_string_equal(C->key_prefix, "k2");
	assert_int_equal(C->require_https, 0);
	assert_int_equal(C->allow_query_keys, 1);
	assert_int_equal(C->ntrusted_proxies, 3);
	assert_int_equal(C->trusted_proxies[0].bits, 104);
	assert_int_equal(C->trusted_proxies[1].bits, 32);
	assert_int_equal(C->trusted_proxies[2].bits, 128);
	assert_int_equal(C->nquery_parameters, 2);
	assert_string_equal(C->query_parameters[1], "t.x");
	assert_int_equal(C->keeper_timeout_us, 250000);
	assert_int_equal(C->log_retention_us, 7200000000);
	assert_int_equal(C->cache_bytes, 1 << 30);
	assert_int_equal(C->min_free_bytes, 0);
	assert_int_equal(C->ratelimit_headers, RATELIMIT_BOTH);
	assert_int_equal(C->log, 1);
	assert_int_equal(C->log_level, LOG_LVL_DEBUG);
	assert_string_equal(C->state_dir, "/a b");
}

static void
test_last_of_two_counts(void **state)
{
	struct fixture *F = *state;

	assert_non_null(load(F, "realm = a\nrealm = b\n"));
	assert_string_equal(F->C->realm, "b");
}

/* Each alone, below a comment and a blank line: told with line 4. */
static void
test_each_bad_value(void **state)
{
	static const struct {
		const char *line, *needle;
	} bad[] = {
	    {"listen = relative.sock", "listen: 'relative.sock' is not the absolute path"},
	    {"listen = a/relative.sock", "listen"},
	    {"listen = \":9000\"", "host:port"},
	    {"listen = \"127.0.0.1:\"", "host:port"},
	    {"listen = \"127.0.0.1:0\"", "host:port"},
	    {"listen = \"127.0.0.1:65536\"", "host:port"},
	    {"listen = \"127.0.0.1:http\"", "host:port"},
	    {"listen = \"::1:9000\"", "[address]:port"},
	    {"listen = \"[::1:9000\"", "[address]:port"},
	    {"listen = \"[127.0.0.1]:9000\"", "[address]:port"},
	    {"listen = \"[]:9000\"", "[address]:port"},
	    {"listen = "
	     "\"/"
	     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
		"this value is not"},
	    {"listen_mode = 0888", "octal mode, from 0000 to 0777"},
	    {"listen_mode = 1777", "octal mode"},
	    {"listen_mode = rw", "octal mode"},
	    {"listen_mode = 06600000", "octal mode"},
	    {"user = \"a b\"", "account"},
	    {"group = \"\"", "account"},
	    {"workers = four", "workers: 'four' is not a number, from 0 to 256"},
	    {"workers = -1", "a number"},
	    {"workers = 257", "a number"},
	    {"workers = 1.5", "a number"},
	    {"workers = 99999999999999999999", "a number"},
	    {"max_connections = 1", "from 16"},
	    {"state_dir = var/lib", "absolute path"},
	    {"run_dir = \"/a\\nb\"", "absolute path"},
	    {"pepper_file = \"\"", "absolute path"},
	    {"cache_size = 64MB", "64M"},
	    {"cache_size = 1K", "from 1M to 1T"},
	    {"cache_size = M", "64M"},
	    {"cache_size = 99999999T", "64M"},
	    {"log_retention = 5", "500ms, 1s"},
	    {"log_retention = -5m", "500ms, 1s"},
	    {"realm = \"a\\\"b\"", "quotes"},
	    {"realm = \"a\\\\b\"", "backslashes"},
	    {"realm = \"a\\x07\"", "printable ASCII"},
	    {"realm = \"\"", "1 to 64 characters"},
	    {"key_prefix = AK", "lower-case"},
	    {"key_prefix = 2a", "lower-case"},
	    {"key_prefix = a_b", "lower-case"},
	    {"key_prefix = abcdefghijklmnopq", "1 to 16"},
	    {"require_https = maybe", "true or false"},
	    {"require_https = 1", "true or false"},
	    {"trusted_proxies = {10.0.0.1/8}", "without host bits"},
	    {"trusted_proxies = 10.0.0.0/33", "a network"},
	    {"trusted_proxies = {localhost}", "a network"},
	    {"query_parameters = {\"a=b\"}", "a letter or digit"},
	    {"default_plan = \"a b\"", "the name of a plan"},
	    {"app_header = \"X App\"", "a header"},
	    {"app_header = \"1X\"", "a header"},
	    {"ratelimit_headers = all", "one of draft, legacy, both, off"},
	    {"keeper_timeout = 1ms", "from 10ms to 1m"},
	    {"keeper_timeout = ms", "500ms, 1s"},
	    {"keeper_timeout = 2m", "from 10ms to 1m"},
	    {"log = file", "one of stderr, syslog"},
	    {"log_level = chatty", "one of error, warning, info, debug"},
	    /* names */
	    {"worker = 4", "unknown setting 'worker'; did you mean 'workers'?"},
	    {"require_htps = false", "did you mean 'require_https'?"},
	    {"zzz = {a, b}", "unknown setting 'zzz'; apikeyd.conf(5) lists all settings"},
	    {"Realm = x", "did you mean 'realm'?"},
	    {"\"realm\" = x", "without quotes"},
	    {"' load' = 3", "without quotes"},
	    /* what libConfuse would take silently for something else */
	    {"realm = \"${HOME}\"", "not expanded"},
	    {"realm = ${HOME}", "not expanded"},
	    {"realm = \"x${NOT_SET:-y}\"", "not expanded"},
	    {"realm = ap*i", "'*' fits nowhere"},
	    {"realm = a +", "'+' fits nowhere"},
	    {"realm = a\x01", "control character (0x01)"},
	    /* syntax */
	    {"realm = \"api", "does not end on its line; add \""},
	    {"realm = 'api\\", "does not end on its line; add '"},
	    {"realm", "premature end"},
	    {"realm =\n\n# and then nothing\n", "premature end"},
	    {"realm api", "missing equal sign"},
	    {"realm = = api", "unexpected token"},
	    {"= api", "unexpected token"},
	    {"realm = {api}", "unexpected token"},
	    {"realm = }", "unexpected token"},
	    {"realm += api", "non-list"},
	    {"trusted_proxies = {10.0.0.0/8 ::1}", "unexpected token"},
	    {"foo bar", "no such option 'foo'"},
	    /* A section is named by its name, not by what is in it. */
	    {"foo { a = 1 }", "unknown setting 'foo'; apikeyd.conf(5) lists all settings"},
	    {"foo {\n a = 1\n}\nb = 2", "unknown setting 'foo'"},
	    {"worker { a = 1 }", "did you mean 'workers'?"},
	    {"workers { a = 1 }", "missing = after 'workers'"},
	    {"realm = api foo { a = 1 }", "unknown setting 'foo'"},
	    {"trusted_proxies {::1}", "missing = after 'trusted_proxies'"},
	    {"realm = api {", "unexpected token"},
	    {"include(\"x\")", "no such option 'include'"},
	    {"realm = \"\\999\"", "escape"},
	};
	struct fixture *F = *state;
	char text[512];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(
		    text, sizeof(text), "# a comment\n/* and\n another */\n%s", bad[i].line);
		if (load(F, text) != NULL)
			fail_msg("taken: %s", bad[i].line);
		assert_told(F, 0, 4, bad[i].needle);
		assert_int_equal(count_told(F), 1);
		assert_int_equal(F->e.code, ERR_INPUT);
		assert_int_equal(strncmp(F->told, F->e.msg, strlen(F->e.msg)), 0);
		/* Also with nobody listening. */
		assert_null(config_load(F->file, NULL, NULL, NULL));
	}
}

static void
test_all_errors_in_order(void **state)
{
	struct fixture *F = *state;

	assert_null(load(F, "workers = many\n"
			    "# fine\n"
			    "unknown_one = 1\n"
			    "realm = \"${X}\"\n"
			    "realm = ok\n"
			    "trusted_proxies = {10.0.0.0/8,\n"
			    "    nonsense,\n"
			    "    10.0.0.1/8}\n"
			    "another = {1, 2}\n"
			    "log = \"open\n"
			    "workers = unseen\n"));
	assert_told(F, 0, 1, "workers");
	assert_told(F, 1, 3, "unknown_one");
	assert_told(F, 2, 4, "not expanded");
	assert_told(F, 3, 7, "nonsense");
	assert_told(F, 4, 8, "10.0.0.1/8");
	assert_told(F, 5, 9, "another");
	assert_told(F, 6, 10, "add \"");
	assert_int_equal(count_told(F), 7);
	assert_non_null(strstr(F->e.msg, ":1: workers"));
}

static void
test_many_errors_are_bounded(void **state)
{
	struct fixture *F = *state;
	char *text = malloc(200 * 20 + 1);
	size_t n = 0, i;

	assert_non_null(text);
	for (i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, 21, "zq%03zu = %03zu\n", i, i);
	assert_null(load(F, text));
	assert_int_equal(count_told(F), 51);
	assert_non_null(strstr(F->told, "there are more"));
	free(text);
}

static void
test_list_is_bounded(void **state)
{
	struct fixture *F = *state;
	char text[4096];
	int n, i;

	n = snprintf(text, sizeof(text), "query_parameters = {p");
	for (i = 1; i < CONFIG_LIST_MAX; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ",p%d", i);
	(void)snprintf(text + n, sizeof(text) - (size_t)n, "}\n");
	assert_non_null(load(F, text));
	assert_int_equal(F->C->nquery_parameters, CONFIG_LIST_MAX);
	(void)snprintf(text + n, sizeof(text) - (size_t)n, ",one_more}\n");
	assert_null(load(F, text));
	assert_told(F, 0, 1, "more than 64");
}

static void
test_odd_files(void **state)
{
	struct fixture *F = *state;
	char *big;

	assert_null(load_bytes(F, "realm = x\nrealm\0 = y\n", 21));
	assert_told(F, 0, 2, "0x00");
	assert_null(load(F, "realm = x\n/* never closed\n\n"));
	assert_told(F, 0, 2, "*/");
	assert_non_null(load(F, "\n\n  # only a comment"));
	assert_non_null(load(F, "realm = x # at the end, no newline"));

	big = malloc(300 * 1024);
	assert_non_null(big);
	memset(big, '\n', 300 * 1024);
	assert_null(load_bytes(F, big, 300 * 1024));
	assert_non_null(strstr(F->told, "larger than 256 KiB"));
	free(big);

	F->told[0] = '\0';
	assert_null(config_load(F->dir, tell, F, &F->e));
	assert_non_null(strstr(F->told, "not a regular file"));
	assert_int_equal(unlink(F->file), 0);
	assert_int_equal(mkfifo(F->file, 0600), 0);
	assert_null(config_load(F->file, tell, F, &F->e)); /* and does not hang */
}

static void
test_which_file(void **state)
{
	struct fixture *F = *state;
	struct config *C;
	char missing[300];

	(void)snprintf(missing, sizeof(missing), "%s/none.conf", F->dir);
	assert_null(config_load(missing, tell, F, &F->e));
	assert_int_equal(F->e.code, ERR_NOT_FOUND);
	assert_non_null(strstr(F->told, "none.conf: there is no such configuration file"));

	/* The environment names a file when the caller does not, and then it must be there. */
	assert_int_equal(setenv("APIKEYD_CONF", missing, 1), 0);
	assert_null(config_load(NULL, NULL, NULL, &F->e));
	assert_int_equal(F->e.code, ERR_NOT_FOUND);
	assert_non_null(load(F, "realm = named\n"));
	assert_int_equal(setenv("APIKEYD_CONF", F->file, 1), 0);
	C = config_load(NULL, NULL, NULL, &F->e);
	assert_non_null(C);
	assert_string_equal(C->realm, "named");
	config_free(C);
	assert_int_equal(unsetenv("APIKEYD_CONF"), 0);

	/* A missing default file means defaults. */
	if (access(CONFIG_DEFAULT_PATH, F_OK) == -1) {
		C = config_load(NULL, NULL, NULL, &F->e);
		assert_non_null(C);
		assert_null(C->path);
		assert_string_equal(C->realm, "api");
		config_free(C);
	}
	config_free(NULL);
}

static void
test_running_text_reads_back(void **state)
{
	struct fixture *F = *state;
	char *first = malloc(CONFIG_TEXT_MAX), *second = malloc(CONFIG_TEXT_MAX);
	struct wbuf w;

	assert_non_null(first);
	assert_non_null(second);
	assert_non_null(load(F,
	    "realm = '$\\'x'\ntrusted_proxies = {10.0.0.0/8, ::1}\nkeeper_timeout = 1500ms\n"
	    "query_parameters = {}\nlisten_mode = 0\ncache_size = 1048577\nlog = syslog\n"));
	text_of(F->C, first, CONFIG_TEXT_MAX);
	assert_non_null(strstr(first, "realm = '$\\'x'\n"));
	assert_non_null(strstr(first, "keeper_timeout = 1500ms\n"));
	assert_non_null(strstr(first, "cache_size = 1048577\n"));
	assert_non_null(strstr(first, "trusted_proxies = {\"10.0.0.0/8\", \"::1"));
	assert_non_null(strstr(first, "query_parameters = {}\n"));
	if (load(F, first) == NULL)
		fail_msg("%s", F->told);
	text_of(F->C, second, CONFIG_TEXT_MAX);
	assert_string_equal(first, second);
	wbuf_init(&w, first, 16);
	assert_int_equal(config_text(F->C, &w), -1);
	free(first);
	free(second);
}

static void
test_reload_keeps_what_needs_a_restart(void **state)
{
	struct fixture *F = *state;
	struct config *old;
	char names[256];

	old = load(F, "state_dir = /old\nrealm = old\ncache_size = 2M\n");
	assert_non_null(old);
	F->C = NULL;
	assert_non_null(
	    load(F, "state_dir = /new\nrealm = new\ncache_size = 3M\nlisten_mode = 0666\n"));
	config_needs_restart(old, F->C, names, sizeof(names));
	assert_string_equal(names, "listen_mode state_dir cache_size");
	assert_int_equal(config_keep(F->C, old), 0);
	assert_string_equal(F->C->state_dir, "/old");
	assert_string_equal(F->C->realm, "new");
	assert_int_equal(F->C->cache_bytes, 2 << 20);
	assert_int_equal(F->C->listen_mode, 0660);
	config_needs_restart(old, F->C, names, sizeof(names));
	assert_string_equal(names, "");
	config_free(old);
}

/* A row that needs a restart must be copyable; every row is documented and its default is its own.
 */
static void
test_table(void **state)
{
	struct fixture *F = *state;
	struct config *other;
	const struct setting *s;
	size_t i;

	other = load(F, "realm = other\nlog = syslog\nrequire_https=off");
	assert_non_null(other);
	F->C = NULL;
	assert_non_null(load(F, ""));
	for (i = 0; (s = settings_at(i)) != NULL; i++) {
		assert_ptr_equal(settings_find(span_of(s->name)), s);
		assert_true(strlen(s->name) < 32); /* settings_nearest's row */
		assert_true(strlen(s->doc) > 20);
		assert_int_equal(s->doc[strlen(s->doc) - 1], '.');
		assert_true(strlen(value_kind_name(s)) > 0);
		assert_int_equal(value_copy(s, other, F->C), value_is_list(s) ? -1 : 0);
	}
	assert_int_equal(i, settings_count());
	assert_string_equal(other->realm, "api");
	assert_int_equal(other->log, 0);
	assert_int_equal(other->require_https, 1);
	assert_null(settings_nearest(span_of("a_name_that_is_longer_than_any_that_we_have")));
	config_free(other);
}

/* The sample that is installed: as it stands, and with every default uncommented, it means the
 * defaults. */
static void
test_sample(void **state)
{
	struct fixture *F = *state;
	const char *printer = getenv("PRINT_SETTINGS");
	char command[512], line[1024];
	char *want = malloc(CONFIG_TEXT_MAX), *got = malloc(CONFIG_TEXT_MAX);
	char *text = calloc(1, 65536), *bare = calloc(1, 65536);
	FILE *fp;

	if (printer == NULL) {
		free(want), free(got), free(text), free(bare);
		skip();
	}
	assert_non_null(load(F, ""));
	text_of(F->C, want, CONFIG_TEXT_MAX);
	(void)snprintf(command, sizeof(command), "'%s' --sample", printer);
	fp = popen(command, "r");
	assert_non_null(fp);
	while (fgets(line, sizeof(line), fp) != NULL) {
		const char *plain = line[0] == '#' && line[1] != ' ' ? line + 1 : line;

		assert_true(strlen(text) + strlen(line) < 65536);
		memcpy(text + strlen(text), line, strlen(line) + 1);
		memcpy(bare + strlen(bare), plain, strlen(plain) + 1);
	}
	assert_int_equal(pclose(fp), 0);
	assert_non_null(load(F, text));
	text_of(F->C, got, CONFIG_TEXT_MAX);
	assert_string_equal(got, want);
	assert_non_null(strstr(bare, "\nlisten_mode = 0660\n"));
	if (load(F, bare) == NULL)
		fail_msg("%s", F->told);
	text_of(F->C, got, CONFIG_TEXT_MAX);
	assert_string_equal(got, want);
	free(want), free(got), free(text), free(bare);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_every_kind_of_value, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_last_of_two_counts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_each_bad_value, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_all_errors_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_errors_are_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_list_is_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_odd_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_which_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_running_text_reads_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		test_reload_keeps_what_needs_a_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_table, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sample, setup, teardown),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
