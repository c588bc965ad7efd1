/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Goal: the table of verdicts is the contract's (DESIGN.md, "Verdicts"), written down here a second
 * time by hand, and holds what RFC 9110, 6750 and 9457 ask of any such table.  Guards Invariant
 * 6: memory that nobody filled in is a denial, and only one verdict admits.
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/span.h"
#include "base/text.h"
#include "core/verdict.h"

#define TYPES "https://iana.org/assignments/http-problem-types#"

static const struct {
	enum verdict v;
	const char *code;
	int status;
	const char *title;
	enum verdict_challenge challenge;
	const char *type;
} contract[] = {
    {VERDICT_OK, "ok", 200, NULL, CHALLENGE_NONE, NULL},
    {VERDICT_REQUEST_INVALID, "request_invalid", 400, "Ambiguous credentials",
	CHALLENGE_INVALID_REQUEST, NULL},
    {VERDICT_KEY_IN_URL, "key_in_url", 400, "API key in URL", CHALLENGE_INVALID_REQUEST, NULL},
    {VERDICT_KEY_MISSING, "key_missing", 401, "API key is missing", CHALLENGE_PLAIN, NULL},
    {VERDICT_KEY_INVALID, "key_invalid", 401, "Invalid API key", CHALLENGE_INVALID_TOKEN, NULL},
    {VERDICT_KEY_EXPIRED, "key_expired", 401, "API key expired", CHALLENGE_INVALID_TOKEN, NULL},
    {VERDICT_KEY_REVOKED, "key_revoked", 401, "API key revoked", CHALLENGE_INVALID_TOKEN, NULL},
    {VERDICT_KEY_DISABLED, "key_disabled", 401, "API key disabled", CHALLENGE_INVALID_TOKEN, NULL},
    {VERDICT_HTTPS_REQUIRED, "https_required", 403, "HTTPS required", CHALLENGE_NONE, NULL},
    {VERDICT_IP_DENIED, "ip_denied", 403, "Address not allowed", CHALLENGE_NONE, NULL},
    {VERDICT_REFERRER_DENIED, "referrer_denied", 403, "Referrer not allowed", CHALLENGE_NONE, NULL},
    {VERDICT_APP_DENIED, "app_denied", 403, "Application not allowed", CHALLENGE_NONE, NULL},
    {VERDICT_METHOD_DENIED, "method_denied", 403, "Method not allowed", CHALLENGE_NONE, NULL},
    {VERDICT_BROWSER_DENIED, "browser_denied", 403, "Browser use not allowed", CHALLENGE_NONE,
	NULL},
    {VERDICT_SCOPE_INSUFFICIENT, "scope_insufficient", 403, "Insufficient scope",
	CHALLENGE_INSUFFICIENT_SCOPE, NULL},
    {VERDICT_RATE_LIMITED, "rate_limited", 429, "Rate limit exceeded", CHALLENGE_NONE,
	TYPES "quota-exceeded"},
    {VERDICT_CLIENT_BLOCKED, "client_blocked", 429, "Too many failed attempts", CHALLENGE_NONE,
	NULL},
    {VERDICT_UNAVAILABLE, "unavailable", 503, "Service unavailable", CHALLENGE_NONE,
	TYPES "temporary-reduced-capacity"},
    {VERDICT_MISCONFIGURED, "misconfigured", 500, "Gate misconfigured", CHALLENGE_NONE, NULL},
};

static void
is_the_contract(void **unused)
{
	(void)unused;
	assert_int_equal(sizeof(contract) / sizeof(contract[0]), VERDICTS);
	for (size_t i = 0; i < VERDICTS; i++) {
		const struct verdict_info *v = verdict_info(contract[i].v);

		assert_string_equal(v->code, contract[i].code);
		assert_int_equal(v->status, contract[i].status);
		assert_int_equal(v->challenge, contract[i].challenge);
		assert_true(span_eq(span_of(v->title), span_of(contract[i].title)));
		assert_true(span_eq(span_of(v->type), span_of(contract[i].type)));
		assert_int_equal(v->type == NULL, contract[i].type == NULL);
	}
}

static void
holds_together(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < VERDICTS; i++) {
		const struct verdict_info *v = verdict_info((enum verdict)i);
		size_t len = strlen(v->detail);

		assert_true(text_identifier(span_of(v->code), 32));
		assert_true(text_header_safe(span_of(v->detail)));
		assert_true(text_header_safe(span_of(v->when)));
		assert_int_equal(v->status == 200, i == VERDICT_OK);
		assert_int_equal(v->title == NULL, i == VERDICT_OK);
		if (i != VERDICT_OK)
			assert_int_equal(v->detail[len - 1], '.');
		/* RFC 9110 15.5.2: a 401 has a challenge; the others have one that fits their
		 * status. */
		if (v->status == 401)
			assert_true(v->challenge == CHALLENGE_PLAIN ||
				    v->challenge == CHALLENGE_INVALID_TOKEN);
		if (v->challenge == CHALLENGE_INVALID_REQUEST)
			assert_int_equal(v->status, 400);
		if (v->challenge == CHALLENGE_INSUFFICIENT_SCOPE)
			assert_int_equal(v->status, 403);
		/* RFC 6750 3: no quote and no backslash in error_description. */
		if (v->description != NULL) {
			assert_int_equal(v->challenge, CHALLENGE_INVALID_TOKEN);
			assert_null(strpbrk(v->description, "\"\\"));
			assert_true(text_header_safe(span_of(v->description)));
		}
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(v->code, verdict_info((enum verdict)j)->code);
	}
}

static void
descriptions_say_which(void **unused)
{
	(void)unused;
	/* The contract's row for key_invalid has no description: nothing to tell apart. */
	assert_null(verdict_info(VERDICT_KEY_INVALID)->description);
	assert_string_equal(
	    verdict_info(VERDICT_KEY_EXPIRED)->description, "The API key has expired");
	assert_string_equal(
	    verdict_info(VERDICT_KEY_REVOKED)->description, "The API key has been revoked");
	assert_string_equal(
	    verdict_info(VERDICT_KEY_DISABLED)->description, "The API key is disabled");
	/* RFC 6750 3.1: nothing but the realm when no credential was sent. */
	assert_null(verdict_info(VERDICT_KEY_MISSING)->description);
}

static void
whatever_is_unknown_denies(void **unused)
{
	enum verdict zeroed;

	(void)unused;
	memset(&zeroed, 0, sizeof(zeroed));
	assert_int_equal(verdict_info(zeroed)->status, 503);
	assert_string_equal(verdict_info(VERDICTS)->code, "misconfigured");
	assert_string_equal(verdict_info((enum verdict) - 1)->code, "misconfigured");
	assert_string_equal(verdict_info((enum verdict)1000)->code, "misconfigured");

	for (unsigned i = 0; i < VERDICTS; i++)
		assert_int_equal(verdict_from_wire(i), i);
	assert_int_equal(verdict_from_wire(VERDICTS), -1);
	assert_int_equal(verdict_from_wire(255), -1);
	assert_int_equal(verdict_from_wire(UINT32_MAX), -1);
}

static void
wire_numbers_stay(void **unused)
{
	(void)unused;
	/* They are in messages between programs of different releases. */
	assert_int_equal(VERDICT_UNAVAILABLE, 0);
	assert_int_equal(VERDICT_OK, 1);
	assert_int_equal(VERDICT_KEY_INVALID, 5);
	assert_int_equal(VERDICT_SCOPE_INSUFFICIENT, 13);
	assert_int_equal(VERDICT_RATE_LIMITED, 14);
	assert_int_equal(VERDICT_MISCONFIGURED, 16);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(is_the_contract),
	    cmocka_unit_test(holds_together),
	    cmocka_unit_test(descriptions_say_which),
	    cmocka_unit_test(whatever_is_unknown_denies),
	    cmocka_unit_test(wire_numbers_stay),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
