/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * apikey doctor: is the gate in front of this URL closed, and whole?  Requests as anybody could
 * send them, each judged (judge.c), and for each failure the line of the web server's configuration
 * to look at (causes.c).  Here: the command line, the key, the order, the report.
 *
 * It needs neither configuration nor store: with --key-stdin or --no-key it runs anywhere.
 *
 * Invariants: a key comes from standard input or from the keeper, and what was made is taken back
 * however the run ends, by a signal too; exit 0 is given only when no probe failed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey/commands.h"
#include "apikey/doctor.h"
#include "apikey/output.h"
#include "base/json.h"
#include "base/text.h"
#include "config/config.h"

#define TIMEOUT_US (10 * CLOCK_SECOND)
#define TIMEOUT_MAX_S 600
#define NAME_WIDTH 22

/* ---- the command line ---- */

/* Credentials among them would be arguments, and meddle with the probes. */
static int
check_header(const char *line, struct err *e)
{
	static const char *const refused[] = {"Authorization", "X-API-Key", "Proxy-Authorization",
	    "Content-Length", "Transfer-Encoding", "Connection", "Expect"};
	struct span name = {line, strcspn(line, ":")};
	size_t i;

	if (line[name.len] == '\0' || name.len == 0 || memchr(name.p, ' ', name.len) != NULL)
		return err_set(
		    e, ERR_USAGE, "--header must be 'Name: value', like 'Host: api.example.com'");
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (span_ieq(name, span_of(refused[i])))
			return err_set(e, ERR_USAGE,
			    "--header %s: doctor sets this one itself; a key is read with "
			    "--key-stdin",
			    refused[i]);
	}
	return 0;
}

static int
read_headers(const struct options *o, struct probe_where *w, struct err *e)
{
	const cJSON *item;
	const char *line;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(o->local, "header"))
	{
		line = cJSON_GetStringValue(item);
		if (check_header(line, e) == -1)
			return -1;
		if (w->nheaders == PROBE_HEADERS_MAX)
			return err_set(
			    e, ERR_USAGE, "at most %d --header are possible", PROBE_HEADERS_MAX);
		w->headers[w->nheaders++] = line;
	}
	return 0;
}

/* Options of a temporary key where there is none. */
static int
check_key_options(const struct options *o, struct err *e)
{
	static const char *const temporary[] = {"plan", "scope", "limits"};
	const char *instead = options_local(o, "key-stdin") ? "key-stdin"
			      : options_local(o, "no-key")  ? "no-key"
							    : NULL;
	size_t i;

	if (options_local(o, "key-stdin") && options_local(o, "no-key"))
		return err_set(e, ERR_USAGE, "--key-stdin and --no-key exclude each other");
	for (i = 0; instead != NULL && i < sizeof(temporary) / sizeof(temporary[0]); i++) {
		if (options_local(o, temporary[i]))
			return err_set(e, ERR_USAGE,
			    "--%s is for the temporary key that doctor makes; it excludes --%s",
			    temporary[i], instead);
	}
	return 0;
}

static int
read_where(const struct options *o, struct probe_where *w, struct err *e)
{
	const cJSON *timeout = cJSON_GetObjectItemCaseSensitive(o->local, "timeout");

	*w = (struct probe_where){.url = json_str(o->request, "url", NULL),
	    .plain_url = options_local_text(o, "http-url"),
	    .cacert = options_local_text(o, "cacert"),
	    .insecure = options_local(o, "insecure"),
	    .timeout_us = TIMEOUT_US};
	if (timeout != NULL) {
		if (timeout->valuedouble < 1 || timeout->valuedouble > TIMEOUT_MAX_S)
			return err_set(e, ERR_USAGE, "--timeout must be 1s to %ds", TIMEOUT_MAX_S);
		w->timeout_us = (int64_t)timeout->valuedouble * CLOCK_SECOND;
	}
	if (check_key_options(o, e) == -1)
		return -1;
	return read_headers(o, w, e);
}

/* ---- the key ---- */

/* One from standard input; a temporary one is made when it is needed. */
static int
read_key(struct doctor *d, const struct options *o, struct err *e)
{
	if (options_local(o, "no-key"))
		(void)snprintf(d->no_key_why, sizeof(d->no_key_why), "--no-key");
	if (!options_local(o, "key-stdin"))
		return 0;
	if (keyin_read(d->key.text, e) == -1)
		return -1;
	if (!text_header_safe(span_of(d->key.text)))
		return err_set(e, ERR_INPUT, "standard input holds characters that no key has");
	return 0;
}

/* Make the temporary key before the first probe that needs one. */
static void
make_key(struct doctor *d, const struct tool *t, const struct options *o)
{
	const char *plan = options_local_text(o, "plan");
	struct err why = {0};

	if (d->key.text[0] != '\0' || d->key.id[0] != '\0' || d->no_key_why[0] != '\0')
		return;
	if (d->key.session == NULL)
		(void)err_set(&why, ERR_UNAVAILABLE, "the configuration cannot be read");
	else if (doctor_key_make(&d->key, plan == NULL ? DOCTOR_KEY_PLAN : plan,
		     cJSON_GetObjectItemCaseSensitive(o->local, "scope"), t->now_us, &why) == 0)
		return;
	(void)snprintf(d->no_key_why, sizeof(d->no_key_why),
	    "no temporary key: %.180s; --key-stdin takes one of yours", why.msg);
}

/* May this probe be run?  1; 0 and the judgement. */
static int
may_run(const struct doctor *d, const struct doctor_probe *p, struct judgement *j)
{
	unsigned needs = p->needs;

	if ((needs & (DOCTOR_NEEDS_KEY | DOCTOR_NEEDS_TEMPORARY)) != 0 && d->no_key_why[0] != '\0')
		judge_skip(j, "%s", d->no_key_why);
	else if ((needs & DOCTOR_NEEDS_TEMPORARY) != 0 && d->key.id[0] == '\0')
		judge_skip(j, "only with a temporary key, which may be changed");
	else if ((needs & DOCTOR_NEEDS_LIMITS) != 0 && !d->with_limits)
		judge_skip(j, "only with --limits");
	else if ((needs & DOCTOR_NEEDS_CLOSED) != 0 && d->open)
		judge_skip(j, "open to everybody, so this tells nothing");
	else if ((needs & DOCTOR_NEEDS_HTTPS) != 0 && !prober_is_https(d->prober))
		judge_skip(j, "the URL is plain HTTP");
	else if (p->shape.query != DOCTOR_NOBODY && d->query_name == NULL)
		judge_skip(j, "query_parameters in apikeyd.conf is empty");
	else if ((needs & DOCTOR_NEEDS_PLAIN) != 0 && !prober_has_plain(d->prober))
		judge_skip(j, "%s",
		    prober_is_https(d->prober)
			? "the URL names a port; --http-url says where plain HTTP would be"
			: "the URL is plain HTTP itself");
	else
		return 1;
	return 0;
}

/* ---- the report ---- */

static int
report_json(
    const struct doctor *d, const struct doctor_probe *p, const struct judgement *j, struct err *e)
{
	const struct cause_info *cause = causes_info(j->cause);
	cJSON *o = cJSON_CreateObject(), *look;
	int rc, s;

	(void)cJSON_AddStringToObject(o, "probe", p->name);
	(void)cJSON_AddStringToObject(o, "result", judge_result_name(j->result));
	(void)cJSON_AddStringToObject(o, "detail", j->detail);
	if (j->result == JUDGE_FAIL) {
		(void)cJSON_AddStringToObject(o, "cause", cause->name);
		(void)cJSON_AddStringToObject(o, "meaning", cause->meaning);
		(void)cJSON_AddStringToObject(o, "server", causes_server_name(d->server));
		look = cJSON_AddObjectToObject(o, "look");
		for (s = CAUSES_ANY; s < CAUSES_SERVERS; s++) {
			if (cause->look[s] != NULL &&
			    (s == CAUSES_ANY || d->server == CAUSES_ANY || s == (int)d->server))
				(void)cJSON_AddStringToObject(look,
				    causes_server_name((enum causes_server)s), cause->look[s]);
		}
	}
	rc = output_json(o, e);
	cJSON_Delete(o);
	return rc;
}

/* ${title} and the words of ${text} below the details, in lines that fit. */
static void
print_wrapped(const struct tool *t, const char *title, const char *text)
{
	unsigned width = t->term.columns == 0 || t->term.columns > 100 ? 100 : t->term.columns;
	unsigned column, start = NAME_WIDTH + 3;
	size_t n;

	column = (unsigned)printf("%*s%s", (int)start, "", title);
	while (*text != '\0') {
		n = strcspn(text, " ");
		if (column + 1 + n > width && column > start)
			column = (unsigned)printf("\n%*s", (int)start, "") - 1;
		else if (column > start)
			column += (unsigned)printf(" ");
		column += (unsigned)printf("%.*s", (int)n, text);
		text += n + (text[n] != '\0');
	}
	putchar('\n');
}

static void
report_cause(const struct tool *t, const struct doctor *d, const struct judgement *j)
{
	const struct cause_info *cause = causes_info(j->cause);
	char title[32];
	int s;

	print_wrapped(t, "", cause->meaning);
	for (s = CAUSES_SERVERS - 1; s > CAUSES_ANY; s--) {
		if (cause->look[s] == NULL || (d->server != CAUSES_ANY && s != (int)d->server))
			continue;
		(void)snprintf(
		    title, sizeof(title), "%s:", causes_server_name((enum causes_server)s));
		print_wrapped(t, title, cause->look[s]);
	}
	if (cause->look[CAUSES_ANY] != NULL)
		print_wrapped(t, "", cause->look[CAUSES_ANY]);
}

static int
report(const struct tool *t, struct doctor *d, const struct doctor_probe *p,
    const struct judgement *j, struct err *e)
{
	static const struct {
		const char *mark, *word;
		enum term_colour colour;
	} marks[] = {[JUDGE_PASS] = {"\342\234\223", "ok  ", TERM_GREEN},
	    [JUDGE_FAIL] = {"\342\234\227", "FAIL", TERM_RED},
	    [JUDGE_SKIP] = {"-", "-   ", TERM_DIM}};
	enum term_colour colour = marks[j->result].colour;

	if (t->json)
		return report_json(d, p, j, e);
	printf("%s%s%s %-*s %s%s\n", term_on(&t->term, colour),
	    t->term.utf8 ? marks[j->result].mark : marks[j->result].word,
	    term_off(&t->term, colour), NAME_WIDTH, p->name,
	    j->result == JUDGE_SKIP ? "skipped: " : "", j->detail);
	if (j->result == JUDGE_FAIL && d->told[j->cause] == NULL) {
		d->told[j->cause] = p->name;
		report_cause(t, d, j);
	} else if (j->result == JUDGE_FAIL) {
		printf("%*slike %s\n", NAME_WIDTH + 3, "", d->told[j->cause]);
	}
	/* Each line as it comes: a run takes seconds. */
	return fflush(stdout) == EOF ? err_sys(e, "cannot write to standard output") : 0;
}

/* ---- the run ---- */

/* Nothing is to be judged where nobody answers. */
static int
check_reached(const struct doctor *d, struct err *e)
{
	const struct answer *a = d->no_key;

	if (a->kind != ANSWER_GOT)
		return err_set(e, ERR_UNAVAILABLE, "%s cannot be reached: %s",
		    prober_origin(d->prober), a->why);
	if (!prober_is_https(d->prober) && judge_verdict_of(a) == VERDICT_HTTPS_REQUIRED)
		return err_set(e, ERR_USAGE,
		    "apikeyd refuses plain HTTP there, as it should: give the https URL");
	return 0;
}

static int
run_probes(struct tool *t, struct options *o, struct doctor *d, unsigned counts[3], struct err *e)
{
	const struct doctor_probe *p;
	struct judgement j;
	size_t i;

	if (doctor_look_around(d, e) == -1 || check_reached(d, e) == -1)
		return -1;
	for (i = 0; (p = doctor_probe_at(i)) != NULL; i++) {
		if ((p->needs & (DOCTOR_NEEDS_KEY | DOCTOR_NEEDS_TEMPORARY)) != 0)
			make_key(d, t, o);
		if (may_run(d, p, &j) && p->run(d, p, &j, e) == -1)
			return -1;
		counts[j.result]++;
		if (report(t, d, p, &j, e) == -1)
			return -1;
	}
	return 0;
}

static void
summarize(const struct tool *t, const struct doctor *d, const unsigned counts[3])
{
	if (t->json)
		return;
	printf("\n%u passed, %u failed, %u skipped", counts[JUDGE_PASS], counts[JUDGE_FAIL],
	    counts[JUDGE_SKIP]);
	if (d->server != CAUSES_ANY)
		printf("; the server is %s", causes_server_name(d->server));
	else
		fputs("; which server it is cannot be told, --server names it", stdout);
	putchar('\n');
}

/* With everything open that is needed: an exit status, or -1. */
static int
examine(struct tool *t, struct options *o, struct doctor *d, struct err *e)
{
	unsigned counts[3] = {0, 0, 0};
	struct err left = {0};
	int rc = run_probes(t, o, d, counts, e);

	if (doctor_key_end(&d->key, &left) == -1) {
		if (rc == 0)
			*e = left;
		else
			(void)err_wrap(e, "%.300s; and", left.msg);
		rc = -1;
	}
	if (rc == 0)
		summarize(t, d, counts);
	if (rc == 0)
		rc = counts[JUDGE_FAIL] > 0 ? TOOL_REFUSED : TOOL_DONE;
	return rc;
}

/* The configuration, if there is one; it is needed for making a key alone. */
static int
open_session(struct tool *t, const struct options *o, struct config **config, struct err *e)
{
	struct err why = {0};
	const char *path = options_local_text(o, "config");

	*config = config_load(path, NULL, NULL, &why);
	if (*config == NULL && path != NULL) {
		*e = why;
		e->code = ERR_USAGE;
		return -1;
	}
	if (*config != NULL && (t->session = session_new(*config, e)) == NULL)
		return -1;
	t->config = *config;
	return 0;
}

/* What a gate with the configuration of this machine answers; that of others has the defaults. */
static void
heed_config(struct doctor *d, const struct config *config)
{
	d->query_name = "api_key";
	if (config == NULL)
		return;
	d->query_name = config->nquery_parameters == 0 ? NULL : config->query_parameters[0];
	d->ratelimit_off = config->ratelimit_headers == RATELIMIT_OFF;
}

int
cmd_doctor(struct tool *t, struct options *o, struct err *e)
{
	struct config *config = NULL;
	struct probe_where where;
	struct doctor *d = calloc(1, sizeof(*d));
	int rc = -1;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (read_where(o, &where, e) == -1 || open_session(t, o, &config, e) == -1 ||
	    doctor_init(d, config == NULL ? "ak" : config->key_prefix, e) == -1 ||
	    read_key(d, o, e) == -1)
		goto out;
	d->key.session = t->session;
	d->with_limits = options_local(o, "limits");
	heed_config(d, config);
	d->server = causes_server_parse(options_local_text(o, "server"));
	if ((d->prober = prober_new(&where, e)) == NULL)
		goto out;
	rc = examine(t, o, d, e);
	/* What was printed is out before a signal that was held takes effect. */
	(void)fflush(stdout);
	prober_free(&d->prober);
out:
	doctor_release(d);
	free(d);
	session_close(&t->session);
	config_free(config);
	return rc;
}
