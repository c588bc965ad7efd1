/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The text of API keys and of their public ids: making them, and telling one of ours from junk.
 *
 * Not here: whether a key is known (that is the store's digest of it).  A valid checksum proves
 * nothing but that the text was not mistyped or made up by somebody who did not look.
 *
 * The workers check credentials with it before they bother the keeper, `apikey create` and the
 * keeper make keys with it, `apikey scan` finds leaked ones with it.
 *
 * Invariants: a generated key is valid under its own prefix; since CRC-32 detects every burst of
 * up to 32 bits, no key with a single changed character is valid; the text of a key is written into
 * the caller's memory alone.
 */

#include <stdint.h>
#include <string.h>

#include "core/token.h"

#include "base/digest.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/text.h"

#define ENV_TEXT_LEN 6 /* "_live_" */

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const char *const env_names[] = {[TOKEN_LIVE] = "live", [TOKEN_TEST] = "test"};

#define ENVS ((int)(sizeof(env_names) / sizeof(env_names[0])))

/* Ranges instead of isalnum(): the locale has no say in what a key is. */
int
token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The TOKEN_CHECK characters that belong behind these ${n} bytes; no NUL.  62^6 > 2^32: they hold
 * any CRC. */
static void
check_text(const char *p, size_t n, char out[TOKEN_CHECK])
{
	uint32_t crc = digest_crc32(p, n);

	for (int i = TOKEN_CHECK - 1; i >= 0; i--) {
		out[i] = base62[crc % 62];
		crc /= 62;
	}
}

const char *
token_env_name(enum token_env env)
{
	return (unsigned)env < (unsigned)ENVS ? env_names[env] : "unknown";
}

int
token_env_parse(struct span s)
{
	for (int i = 0; i < ENVS; i++)
		if (span_is(s, env_names[i]))
			return i;
	return -1;
}

int
token_prefix_ok(struct span prefix)
{
	if (prefix.len == 0 || prefix.len > TOKEN_PREFIX_MAX)
		return 0;
	for (size_t i = 0; i < prefix.len; i++) {
		char c = prefix.p[i];

		if ((c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9'))
			return 0;
	}
	return 1;
}

int
token_generate(const char *prefix, enum token_env env, char out[TOKEN_MAX + 1], struct err *e)
{
	struct span pre = span_of(prefix);
	size_t n = 0;

	memset(out, 0, TOKEN_MAX + 1);
	if (!token_prefix_ok(pre))
		return err_set(e, ERR_INPUT,
		    "key prefix: 1 to %d characters of a-z and 0-9, beginning with a letter",
		    TOKEN_PREFIX_MAX);
	if ((unsigned)env >= (unsigned)ENVS)
		return err_set(e, ERR_INTERNAL, "key environment %d does not exist", (int)env);

	memcpy(out, pre.p, pre.len);
	n = pre.len;
	out[n++] = '_';
	memcpy(out + n, env_names[env], ENV_TEXT_LEN - 2);
	n += ENV_TEXT_LEN - 2;
	out[n++] = '_';
	if (random_base62(out + n, TOKEN_RANDOM, e) < 0) {
		secret_wipe(out, TOKEN_MAX + 1);
		return -1;
	}
	n += TOKEN_RANDOM;
	check_text(out, n, out + n);
	out[n + TOKEN_CHECK] = '\0';
	return 0;
}

int
token_has_form(struct span s, struct span prefix)
{
	const char *p = s.p;

	if (!token_prefix_ok(prefix) ||
	    s.len != prefix.len + ENV_TEXT_LEN + TOKEN_RANDOM + TOKEN_CHECK)
		return 0;
	if (memcmp(p, prefix.p, prefix.len) != 0)
		return 0;
	p += prefix.len;
	if (p[0] != '_' || p[ENV_TEXT_LEN - 1] != '_' ||
	    token_env_parse((struct span){p + 1, ENV_TEXT_LEN - 2}) < 0)
		return 0;
	return text_alnum((struct span){p + ENV_TEXT_LEN, TOKEN_RANDOM + TOKEN_CHECK});
}

int
token_valid(struct span s, struct span prefix)
{
	char want[TOKEN_CHECK];
	const char *got;
	unsigned diff = 0;

	if (!token_has_form(s, prefix))
		return 0;
	got = s.p + s.len - TOKEN_CHECK;
	check_text(s.p, s.len - TOKEN_CHECK, want);
	/* All six are looked at, so that the time tells nothing of where they differ. */
	for (size_t i = 0; i < TOKEN_CHECK; i++)
		diff |= (unsigned char)(got[i] ^ want[i]);
	return diff == 0;
}

int
token_foreign_ok(struct span s)
{
	if (s.len == 0 || s.len > TOKEN_FOREIGN_MAX)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return 0;
	return 1;
}

int
token_within(struct span text, struct span prefix)
{
	size_t len = prefix.len + ENV_TEXT_LEN + TOKEN_RANDOM + TOKEN_CHECK;
	const char *at, *end;

	/* One without any bytes may be at no place at all. */
	if (text.len < len || !token_prefix_ok(prefix))
		return 0;
	at = text.p;
	end = text.p + text.len;
	while ((size_t)(end - at) >= len &&
	       (at = memmem(at, (size_t)(end - at), prefix.p, prefix.len)) != NULL) {
		if ((size_t)(end - at) >= len && token_valid((struct span){at, len}, prefix))
			return 1;
		at++;
	}
	return 0;
}

void
token_start(struct span s, char out[TOKEN_START_MAX + 1])
{
	const size_t hidden = TOKEN_RANDOM + TOKEN_CHECK - TOKEN_SHOWN;

	memset(out, 0, TOKEN_START_MAX + 1);
	/* Text of any other length is not a key: nothing of it may be shown. */
	if (s.len <= hidden || s.len > TOKEN_MAX)
		return;
	memcpy(out, s.p, s.len - hidden);
}

int
token_id_generate(char out[TOKEN_ID_LEN + 1], struct err *e)
{
	memset(out, 0, TOKEN_ID_LEN + 1);
	if (random_base62(out + 4, TOKEN_ID_LEN - 4, e) < 0) {
		memset(out, 0, TOKEN_ID_LEN + 1);
		return -1;
	}
	memcpy(out, "key_", 4);
	return 0;
}

int
token_id_ok(struct span s)
{
	return s.len == TOKEN_ID_LEN && memcmp(s.p, "key_", 4) == 0 &&
	       text_alnum((struct span){s.p + 4, TOKEN_ID_LEN - 4});
}
