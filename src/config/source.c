/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a configuration file before libConfuse does.
 *
 * libConfuse 3.3 parses the language, but four of its habits would make a typing error a silent
 * change of a security setting, or lead the reader astray:
 *   - each comment makes its line numbers two too large: comments are blanked here, line breaks
 * kept;
 *   - ${NAME} outside single quotes is replaced from the environment (by nothing when it is not
 * set);
 *   - characters that fit nowhere ('*', a lone '+', control characters) are dropped;
 *   - it stops at the first unknown setting: names are looked up here, so that all are told.
 * A string must end on its line: a forgotten quote is told where it is, not at the end of the file.
 *
 * The rules for where a comment and a word begin and end are libConfuse's own (its lexer.l).
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/settings.h"
#include "config/source.h"

/* The place of the scan. */
struct scan {
	struct source *S;
	struct problems *P;
	char *p; /* next character */
	int line;
	struct span word; /* the word or string just passed, until an operator or the next one */
	int word_line;
	int word_quoted;
	int word_is_value; /* it follows = { or , */
	int value_is_next; /* those were just passed */
	int out_of_memory;
};

int
source_read(const char *path, struct source *S, struct err *e)
{
	struct stat st;
	size_t cap;
	ssize_t n = 0;
	int fd;

	memset(S, 0, sizeof(*S));
	/* Non-blocking: a FIFO in the file's place must not hang us before it is refused. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) == -1) {
		if (errno == ENOENT)
			return 0;
		return err_sys(e, "%s: cannot read the configuration", path);
	}
	if (fstat(fd, &st) == -1) {
		(void)err_sys(e, "%s", path);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)err_set(
		    e, ERR_INPUT, "%s: is not a regular file; name a configuration file", path);
		goto fail;
	}
	if (st.st_size > SOURCE_MAX) {
		(void)err_set(e, ERR_INPUT,
		    "%s: is larger than %d KiB; this is no configuration of apikeyd", path,
		    SOURCE_MAX / 1024);
		goto fail;
	}
	cap = (size_t)st.st_size;
	if ((S->text = malloc(cap + 1)) == NULL) {
		(void)err_sys(e, "%s", path);
		goto fail;
	}
	while (S->len < cap && (n = read(fd, S->text + S->len, cap - S->len)) > 0)
		S->len += (size_t)n;
	if (n == -1) {
		(void)err_sys(e, "%s: cannot read the configuration", path);
		goto fail;
	}
	S->text[S->len] = '\0';
	(void)close(fd);
	return 1;
fail:
	(void)close(fd);
	source_release(S);
	return -1;
}

static void
blank(char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != '\n')
			*from = ' ';
}

/* What follows can no longer be told apart: end the text here. */
static void
cut(struct scan *s, char *at)
{
	*at = '\0';
	s->S->len = (size_t)(at - s->S->text);
	s->p = at;
}

static void
skip_line_comment(struct scan *s)
{
	char *end = strchrnul(s->p, '\n');

	blank(s->p, end);
	s->p = end;
}

static void
skip_block_comment(struct scan *s)
{
	char *end = strstr(s->p + 2, "*/");
	char *q;

	if (end == NULL) {
		problems_add(s->P, s->line, "the comment that begins here has no end; add */");
		cut(s, s->p);
		return;
	}
	for (q = s->p; q < end; q++)
		s->line += *q == '\n';
	blank(s->p, end + 2);
	s->p = end + 2;
}

static void
refuse_variable(struct scan *s, int line)
{
	problems_add(s->P, line,
	    "variables of the environment are not expanded; write the value itself, or '${...}' in "
	    "single quotes for these very characters");
}

static void
begin_word(struct scan *s, struct span word, int quoted)
{
	s->word = word;
	s->word_line = s->line;
	s->word_quoted = quoted;
	s->word_is_value = s->value_is_next;
	s->value_is_next = 0;
}

/* A string in either quotes; only in double ones is ${NAME} expanded, unless a backslash precedes
 * it. */
static void
pass_string(struct scan *s)
{
	char quote = *s->p, *begin = s->p, *q;

	for (q = s->p + 1; *q != quote; q++) {
		if (*q == '\\' && q[1] != '\n' && q[1] != '\0') {
			q++;
			continue;
		}
		if (*q == '\n' || *q == '\0' || *q == '\\') {
			problems_add(s->P, s->line,
			    "the string that begins here does not end on its line; add %c", quote);
			cut(s, begin);
			return;
		}
		if (quote == '"' && q[0] == '$' && q[1] == '{') {
			refuse_variable(s, s->line);
			*q = '_';
		}
	}
	begin_word(s, (struct span){begin + 1, (size_t)(q - begin - 1)}, 1);
	s->p = q + 1;
}

/* A word without quotes.  '/' may be anywhere in it, but "//" and "/ *" at its start are comments.
 */
static void
pass_word(struct scan *s)
{
	size_t n = strcspn(s->p, " #\"'\t\n\r={}()+,*");

	begin_word(s, (struct span){s->p, n}, 0);
	s->p += n;
}

static void
remember_unknown(struct scan *s, struct span name)
{
	struct source *S = s->S;

	if (S->nunknown == SOURCE_NAMES_MAX)
		return;
	if ((S->unknown[S->nunknown] = strndup(name.p, name.len)) == NULL)
		s->out_of_memory = 1;
	else
		S->nunknown++;
}

/* What stands before = or += is a name. */
static void
end_name(struct scan *s)
{
	const struct setting *near;
	struct span name = s->word;

	s->word = (struct span){NULL, 0};
	if (name.p == NULL)
		return; /* libConfuse tells that a name is missing */
	if (s->word_quoted) {
		problems_add(s->P, s->word_line, "the name of a setting is written without quotes");
		return;
	}
	if (settings_find(name) != NULL)
		return;
	near = settings_nearest(name);
	if (near != NULL)
		problems_add(s->P, s->word_line, "unknown setting '%.*s'; did you mean '%s'?",
		    (int)(name.len > 64 ? 64 : name.len), name.p, near->name);
	else
		problems_add(s->P, s->word_line,
		    "unknown setting '%.*s'; apikeyd.conf(5) lists all settings",
		    (int)(name.len > 64 ? 64 : name.len), name.p);
	remember_unknown(s, name);
}

/*
 * A name with { behind it begins a section, which no configuration of ours has, or lacks its =.
 * What is wrong is that name: what is in the braces is not looked at, nor what follows them.
 */
static void
refuse_section(struct scan *s)
{
	struct span name = s->word;
	char *at = s->S->text + (name.p - s->S->text);

	if (settings_find(name) == NULL)
		end_name(s);
	else
		problems_add(s->P, s->word_line,
		    "missing = after '%.*s'; a setting is written name = value, a list name = "
		    "{value, value}",
		    (int)name.len, name.p);
	cut(s, at);
}

/* One character that is neither space, comment, string nor word. */
static void
pass_mark(struct scan *s)
{
	char c = *s->p;

	if (c == '=' || (c == '+' && s->p[1] == '=')) {
		end_name(s);
		s->value_is_next = 1;
		s->p += c == '+' ? 2 : 1;
		return;
	}
	if (c == '{' && s->word.p != NULL && !s->word_quoted && !s->word_is_value) {
		refuse_section(s);
		return;
	}
	s->word = (struct span){NULL, 0};
	s->value_is_next = c == '{' || c == ',';
	if (c == '*' || c == '+') {
		problems_add(
		    s->P, s->line, "'%c' fits nowhere here; put the value in double quotes", c);
		*s->p = ' ';
	}
	s->p++;
}

/* libConfuse would drop these silently. */
static int
refuse_control(struct scan *s)
{
	unsigned char c = (unsigned char)*s->p;

	if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t' || c == '\r')
		return 0;
	problems_add(s->P, s->line, "a control character (0x%02x); remove it", c);
	*s->p = ' ';
	return 1;
}

/* Control characters anywhere, and the NUL that would end the text early. */
static void
clean_controls(struct scan *s)
{
	char *end = s->S->text + s->S->len;

	for (s->p = s->S->text, s->line = 1; s->p < end; s->p++) {
		(void)refuse_control(s);
		s->line += *s->p == '\n';
	}
}

int
source_clean(struct source *S, struct problems *P)
{
	struct scan s = {.S = S, .P = P};

	clean_controls(&s);
	for (s.p = S->text, s.line = 1; *s.p != '\0';) {
		if (*s.p == '\n') {
			s.line++;
			s.p++;
		} else if (*s.p == ' ' || *s.p == '\t' || *s.p == '\r') {
			s.p++;
		} else if (*s.p == '#' || strncmp(s.p, "//", 2) == 0) {
			skip_line_comment(&s);
		} else if (strncmp(s.p, "/*", 2) == 0) {
			skip_block_comment(&s);
		} else if (strncmp(s.p, "${", 2) == 0) {
			refuse_variable(&s, s.line);
			memcpy(s.p, "__", 2);
			s.p += strcspn(s.p, "}\n");
			if (*s.p == '}')
				*s.p++ = '_';
		} else if (*s.p == '"' || *s.p == '\'') {
			pass_string(&s);
		} else if (strchr("={}()+,*", *s.p) != NULL) {
			pass_mark(&s);
		} else {
			pass_word(&s);
		}
	}
	/* What is missing at the end is then told with the line of the last word. */
	while (S->len > 0 && strchr(" \t\r\n", S->text[S->len - 1]) != NULL)
		S->text[--S->len] = '\0';
	return s.out_of_memory ? -1 : 0;
}

void
source_release(struct source *S)
{
	size_t i;

	for (i = 0; i < S->nunknown; i++)
		free(S->unknown[i]);
	free(S->text);
	memset(S, 0, sizeof(*S));
}
