/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of verdicts: every fact about an answer, once.
 *
 * Bodies, challenges, headers, log lines and the manual take what they say of a verdict from here.
 * Not here: how an answer is rendered in a mode (http/, gate/).  Workers, keeper and the tool
 * share it; it is constant data.
 *
 * Invariants: only VERDICT_OK has a 2xx status; every 401 has a challenge (RFC 9110 15.5.2); no
 * sentence names an owner or a plan, and an unknown key and a bad checksum are one
 * verdict, so that nobody can learn from an answer whether a key resembles a real one.
 */

#include <stddef.h>

#include "core/verdict.h"

/* Registered with IANA under "HTTP Problem Types". */
#define IANA_TYPE "https://iana.org/assignments/http-problem-types#"

static const struct verdict_info table[VERDICTS] = {
    [VERDICT_UNAVAILABLE] = {.code = "unavailable",
	.status = 503,
	.title = "Service unavailable",
	.detail = "The API key cannot be checked right now; send the request again in a moment.",
	.type = IANA_TYPE "temporary-reduced-capacity",
	.when = "the keeper cannot answer in time"},
    [VERDICT_OK] = {.code = "ok",
	.status = 200,
	.detail = "Access granted",
	.when = "the request is admitted"},
    [VERDICT_REQUEST_INVALID] = {.code = "request_invalid",
	.status = 400,
	.title = "Ambiguous credentials",
	.detail = "Send exactly one API key, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY', "
		  "within the size limits of a request, to a path without dot segments, '//', ';' "
		  "and backslashes.",
	.challenge = CHALLENGE_INVALID_REQUEST,
	.when = "credentials or path are ambiguous or malformed, or the input is oversized"},
    [VERDICT_KEY_IN_URL] = {.code = "key_in_url",
	.status = 400,
	.title = "API key in URL",
	.detail = "Send the API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY' instead of "
		  "in the URL, and replace it: URLs end up in logs.",
	.challenge = CHALLENGE_INVALID_REQUEST,
	.when = "an API key is in the query string"},
    [VERDICT_KEY_MISSING] = {.code = "key_missing",
	.status = 401,
	.title = "API key is missing",
	.detail = "Send the API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
	.challenge = CHALLENGE_PLAIN,
	.when = "no credential was sent"},
    [VERDICT_KEY_INVALID] = {.code = "key_invalid",
	.status = 401,
	.title = "Invalid API key",
	.detail = "The API key is not valid; check that it was copied whole.",
	.challenge = CHALLENGE_INVALID_TOKEN,
	.when = "the key is unknown or its checksum is wrong"},
    [VERDICT_KEY_EXPIRED] = {.code = "key_expired",
	.status = 401,
	.title = "API key expired",
	.detail = "The API key has expired; ask its issuer for a new one.",
	.secret_detail = "The API key was rotated, or has to be; use the new one, or ask its "
			 "issuer for it.",
	.challenge = CHALLENGE_INVALID_TOKEN,
	.description = "The API key has expired",
	.when = "the time of the key is over, or that of the secret since its rotation"},
    [VERDICT_KEY_REVOKED] = {.code = "key_revoked",
	.status = 401,
	.title = "API key revoked",
	.detail = "The API key has been revoked; ask its issuer for a new one.",
	.challenge = CHALLENGE_INVALID_TOKEN,
	.description = "The API key has been revoked",
	.when = "the key was revoked"},
    [VERDICT_KEY_DISABLED] = {.code = "key_disabled",
	.status = 401,
	.title = "API key disabled",
	.detail = "The API key is disabled or not valid yet; ask its issuer to enable it.",
	.challenge = CHALLENGE_INVALID_TOKEN,
	.description = "The API key is disabled",
	.when = "the key is disabled, or its time has not begun"},
    [VERDICT_HTTPS_REQUIRED] = {.code = "https_required",
	.status = 403,
	.title = "HTTPS required",
	.detail = "Send the request over HTTPS, and replace the API key if one was sent: it "
		  "travelled in the clear.",
	.when = "the request came over plain HTTP"},
    [VERDICT_IP_DENIED] = {.code = "ip_denied",
	.status = 403,
	.title = "Address not allowed",
	.detail = "The API key may not be used from this address; send the request from one of "
		  "those allowed for the key.",
	.when = "the client's address is in none of the key's networks"},
    [VERDICT_REFERRER_DENIED] = {.code = "referrer_denied",
	.status = 403,
	.title = "Referrer not allowed",
	.detail = "The API key may not be used from this page; send a Referer that is allowed for "
		  "the key.",
	.when = "the Referer matches none of the key's patterns"},
    [VERDICT_APP_DENIED] = {.code = "app_denied",
	.status = 403,
	.title = "Application not allowed",
	.detail = "The API key may not be used by this application; name one that is allowed for "
		  "the key.",
	.when = "the application is none of the key's"},
    [VERDICT_METHOD_DENIED] = {.code = "method_denied",
	.status = 403,
	.title = "Method not allowed",
	.detail = "The API key may not be used with this request method; send the request with one "
		  "that is allowed for the key.",
	.when = "the request's method is none of the key's"},
    [VERDICT_BROWSER_DENIED] = {.code = "browser_denied",
	.status = 403,
	.title = "Browser use not allowed",
	.detail = "The API key may not be used by code that runs in a browser, where everybody can "
		  "read it; send the request from a server, and replace the key.",
	.when = "the request comes from a browser (Origin, Sec-Fetch-*)"},
    [VERDICT_SCOPE_INSUFFICIENT] = {.code = "scope_insufficient",
	.status = 403,
	.title = "Insufficient scope",
	.detail = "The API key does not hold every scope that this resource needs; use a key that "
		  "does.",
	.challenge = CHALLENGE_INSUFFICIENT_SCOPE,
	.when = "the key lacks a scope that the route needs"},
    [VERDICT_RATE_LIMITED] = {.code = "rate_limited",
	.status = 429,
	.title = "Rate limit exceeded",
	.detail = "A limit has no room for this request; send it again after the seconds given in "
		  "Retry-After.",
	.type = IANA_TYPE "quota-exceeded",
	.when = "one of the limits has no room"},
    [VERDICT_CLIENT_BLOCKED] = {.code = "client_blocked",
	.status = 429,
	.title = "Too many failed attempts",
	.detail = "Too many failed attempts came from this address; wait, then send a valid API "
		  "key.",
	.when = "too many authentications from this address failed"},
    [VERDICT_MISCONFIGURED] = {.code = "misconfigured",
	.status = 500,
	.title = "Gate misconfigured",
	.detail = "The web server in front of this API is misconfigured; tell its operator.",
	.when = "the web server sent an unknown mode or a malformed APIKEYD_* value"},
};

const struct verdict_info *
verdict_info(enum verdict v)
{
	return &table[(unsigned)v < VERDICTS ? v : VERDICT_MISCONFIGURED];
}

int
verdict_from_wire(unsigned n)
{
	return n < VERDICTS ? (int)n : -1;
}
