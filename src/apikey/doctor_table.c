/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The table of doctor's probes: what is sent, what must come back.  The run, the report and the
 * manual's list come from it.  To add one: a row here, and, when no way to run it fits, a function
 * in doctor_run.c or doctor_keyed.c.
 *
 * Order matters: what needs no key comes first (a keeper may be started by the first of them), then
 * a key is made; what changes the key comes last, and revoking it at the very end.
 *
 * Invariants: a request with a real key is a GET or a HEAD, to the URL as it was given, over HTTPS
 * when that is HTTPS; what goes over plain HTTP or into a URL is a key that nobody made.
 */

#include "apikey/doctor.h"

#define IDENTITY                                                                                   \
	"Apikey-Id: {mark}a\nApikey-Owner: {mark}b\nApikey-Plan: {mark}c\n"                        \
	"Apikey-Scopes: {mark}d\nApikey-Meta: {mark}e\nApikey-Status: {mark}o\n"                   \
	"Apikey-Problem: {mark}p\nApikey-Denied: {mark}q\n"
#define IDENTITY_UNDERSCORES                                                                       \
	"Apikey_Id: {mark}f\nApikey_Owner: {mark}g\nApikey_Plan: {mark}h\n"                        \
	"Apikey_Scopes: {mark}i\nApikey_Meta: {mark}j\n"
#define IDENTITY_MIXED                                                                             \
	"APIKEY-ID: {mark}k\napikey_id: {mark}l\nApikey-id: {mark}m\napikey_OWNER: {mark}n\n"

#define CLOSED_PATH(NAME, ABOUT, TARGET)                                                           \
	{                                                                                          \
		.name = NAME, .about = ABOUT ": closed", .needs = DOCTOR_NEEDS_CLOSED,             \
		.run = doctor_run_closed, .shape = {.target = TARGET}, .open = CAUSE_OPEN_SPELLING \
	}
#define INTERNAL(NAME, TARGET)                                                                     \
	{                                                                                          \
		.name = NAME, .about = TARGET ": tells nothing of the gate's",                     \
		.run = doctor_run_internal, .shape = {.target = TARGET},                           \
		.open = CAUSE_INTERNAL_OPEN                                                        \
	}
#define REFUSAL(NAME, ABOUT, VERDICT, ...)                                                         \
	{                                                                                          \
		.name = NAME, .about = ABOUT, .run = doctor_run_refusal, .verdict = VERDICT,       \
		.shape = {__VA_ARGS__}, .open = CAUSE_OPEN_CREDENTIALS                             \
	}
#define METHOD(NAME, ABOUT, ...)                                                                   \
	{                                                                                          \
		.name = NAME, .about = ABOUT " without a key: 401 key_missing",                    \
		.needs = DOCTOR_NEEDS_CLOSED, .run = doctor_run_refusal,                           \
		.verdict = VERDICT_KEY_MISSING, .shape = {__VA_ARGS__}, .open = CAUSE_OPEN_METHOD  \
	}
#define ADMITTED(NAME, ABOUT, ...)                                                                 \
	{                                                                                          \
		.name = NAME, .about = ABOUT ": the API's answer", .needs = DOCTOR_NEEDS_KEY,      \
		.run = doctor_run_admitted, .shape = {                                             \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

static const struct doctor_probe table[] = {
    /* Without a key, or with one that nobody made. */
    {.name = "no-key",
	.about = "no key: 401 key_missing, whole: problem+json, both challenges, no-store, "
		 "Apikey-Denied",
	.run = doctor_run_no_key,
	.verdict = VERDICT_KEY_MISSING,
	.open = CAUSE_OPEN},
    {.name = "junk-key",
	.about = "X-API-Key: junk: 401 key_invalid",
	.run = doctor_run_refusal,
	.shape = {.header = DOCTOR_JUNK},
	.verdict = VERDICT_KEY_INVALID,
	.open = CAUSE_OPEN_CREDENTIALS,
	.keep = DOCTOR_KEEP_JUNK},
    {.name = "unknown-key",
	.about = "Authorization: Bearer with a well-formed key that nobody made: 401 key_invalid",
	.run = doctor_run_refusal,
	.shape = {.bearer = DOCTOR_UNKNOWN},
	.verdict = VERDICT_KEY_INVALID,
	.open = CAUSE_OPEN_CREDENTIALS,
	.keep = DOCTOR_KEEP_UNKNOWN},
    {.name = "alike",
	.about = "the answers to the last two differ in nothing but the request's id",
	.run = doctor_run_alike},
    REFUSAL("repeated", "X-API-Key twice: 400 request_invalid", VERDICT_REQUEST_INVALID,
	.header = DOCTOR_UNKNOWN, .header2 = DOCTOR_UNKNOWN),
    REFUSAL("comma", "two keys and a comma in X-API-Key: 400 request_invalid",
	VERDICT_REQUEST_INVALID, .header = DOCTOR_UNKNOWN, .header2 = DOCTOR_ANOTHER, .comma = 1),
    REFUSAL("two-keys", "different keys in Authorization and X-API-Key: 400 request_invalid",
	VERDICT_REQUEST_INVALID, .bearer = DOCTOR_UNKNOWN, .header = DOCTOR_ANOTHER),
    {.name = "repeated-bearer",
	.about = "Authorization twice: closed",
	.needs = DOCTOR_NEEDS_CLOSED,
	.run = doctor_run_closed,
	.shape = {.bearer = DOCTOR_UNKNOWN, .bearer2 = DOCTOR_ANOTHER},
	.open = CAUSE_OPEN_CREDENTIALS},
    REFUSAL("key-in-url", "a key nobody made in the query string, as ?api_key=: 400 key_in_url",
	VERDICT_KEY_IN_URL, .query = DOCTOR_UNKNOWN),
    {.name = "forged-identity",
	.about = "Apikey-Id and its like without a key: 401 key_missing",
	.run = doctor_run_refusal,
	.shape = {.lines = IDENTITY},
	.verdict = VERDICT_KEY_MISSING,
	.open = CAUSE_OPEN},
    METHOD("options", "OPTIONS", .method = "OPTIONS"),
    METHOD("head", "HEAD", .method = "HEAD"),
    METHOD("post", "POST with Expect: 100-continue", .method = "POST", .body = "apikey doctor\n",
	.lines = "Expect: 100-continue\nContent-Type: text/plain\n"),
    METHOD("http10", "HTTP/1.0", .http = PROBE_HTTP10),
    {.name = "http2",
	.about = "HTTP/2 without a key, where the server speaks it: 401 key_missing",
	.needs = DOCTOR_NEEDS_HTTPS,
	.run = doctor_run_http2,
	.shape = {.http = PROBE_HTTP2},
	.verdict = VERDICT_KEY_MISSING,
	.open = CAUSE_OPEN},
    {.name = "oversized",
	.about = "a header of 20,000 bytes: closed",
	.needs = DOCTOR_NEEDS_CLOSED,
	.run = doctor_run_closed,
	.shape = {.oversized = 1},
	.open = CAUSE_OPEN},
    CLOSED_PATH("path-double-slash", "//PATH", "//{path}"),
    CLOSED_PATH("path-slashes", "PATH with each / doubled", "{slashes}"),
    CLOSED_PATH("path-dot", "/./PATH", "/./{path}"),
    CLOSED_PATH("path-dotdot", "/doctor/../PATH", "/doctor/../{path}"),
    CLOSED_PATH("path-encoded-dots", "/doctor/%2e%2e/PATH", "/doctor/%2e%2e/{path}"),
    CLOSED_PATH("path-encoded-letter", "PATH with its first letter as %XX", "{encoded}"),
    CLOSED_PATH("path-encoded-slash", "/%2fPATH", "/%2f{path}"),
    CLOSED_PATH("path-case", "PATH in capitals (or small letters)", "{case}"),
    CLOSED_PATH("path-trailing-slash", "PATH/", "/{path}/"),
    CLOSED_PATH("path-trailing-dot", "PATH.", "/{path}."),
    CLOSED_PATH("path-parameter", "PATH;doctor=1", "/{path};doctor=1"),
    CLOSED_PATH("path-backslash", "/doctor/..\\PATH", "/doctor/..\\{path}"),
    CLOSED_PATH("path-nul", "PATH%00", "/{path}%00"),
    CLOSED_PATH("absolute-form", "the whole URL in the request line", "{origin}/{path}"),
    {.name = "absolute-form-other",
	.about = "the same with a host that is nobody's: closed",
	.needs = DOCTOR_NEEDS_CLOSED,
	.run = doctor_run_other_host,
	.shape = {.target = "http://doctor.invalid/{path}"},
	.open = CAUSE_OPEN_SPELLING},
    INTERNAL("internal-gate", "/_apikeyd"),
    INTERNAL("internal-render", "/_apikeyd/deny"),
    INTERNAL("internal-deny", "/@apikey_deny"),
    INTERNAL("internal-down", "/@apikey_down"),
    {.name = "plain-http",
	.about = "a key nobody made over plain HTTP: 403 https_required, or a redirect, or nobody",
	.needs = DOCTOR_NEEDS_PLAIN,
	.run = doctor_run_plain,
	.shape = {.plain = 1, .bearer = DOCTOR_UNKNOWN},
	.open = CAUSE_PLAIN_HTTP},
    {.name = "plain-http-forwarded",
	.about = "the same with X-Forwarded-Proto: https: no difference",
	.needs = DOCTOR_NEEDS_PLAIN,
	.run = doctor_run_plain,
	.shape = {.plain = 1,
	    .bearer = DOCTOR_UNKNOWN,
	    .lines = "X-Forwarded-Proto: https\nX-Forwarded-Ssl: on\nForwarded: proto=https\n"},
	.open = CAUSE_PROTO_BELIEVED},

    /* With a key. */
    ADMITTED("key", "a valid key as Authorization: Bearer", .bearer = DOCTOR_REAL),
    ADMITTED("key-header", "a valid key as X-API-Key", .header = DOCTOR_REAL),
    ADMITTED("key-twice", "the same key in both", .bearer = DOCTOR_REAL, .header = DOCTOR_REAL),
    {.name = "after-a-key",
	.about = "no key, right after a valid one: 401 key_missing",
	.needs = DOCTOR_NEEDS_KEY | DOCTOR_NEEDS_CLOSED,
	.run = doctor_run_refusal,
	.verdict = VERDICT_KEY_MISSING,
	.open = CAUSE_CACHED},
    {.name = "forged-dashes",
	.about = "a valid key and forged Apikey-Id and so on: the API never sees them",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_forged,
	.shape = {.bearer = DOCTOR_REAL, .lines = IDENTITY "X-Doctor-Echo: {mark}z\n"},
	.open = CAUSE_FORGED},
    {.name = "forged-underscores",
	.about = "the same with Apikey_Id and so on",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_forged,
	.shape = {.bearer = DOCTOR_REAL, .lines = IDENTITY_UNDERSCORES "X-Doctor-Echo: {mark}z\n"},
	.open = CAUSE_FORGED},
    {.name = "forged-mixed",
	.about = "the same in other cases, and twice",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_forged,
	.shape = {.bearer = DOCTOR_REAL, .lines = IDENTITY_MIXED "X-Doctor-Echo: {mark}z\n"},
	.open = CAUSE_FORGED},
    {.name = "key-spellings",
	.about = "a valid key and X_Api_Key and so on: the API never sees them",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_forged,
	.shape = {.bearer = DOCTOR_REAL,
	    .lines = "X_Api_Key: {mark}r\nX-Api_Key: {mark}s\nX_Api-Key: {mark}t\n"
		     "X-Doctor-Echo: {mark}z\n"},
	.open = CAUSE_KEY_SPELLING},
    {.name = "upgrade",
	.about = "a valid key and an Upgrade to nothing known: the API never sees it",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_forged,
	.shape = {.bearer = DOCTOR_REAL,
	    .lines = "Connection: Upgrade\nUpgrade: {mark}u\nX-Doctor-Echo: {mark}z\n"},
	.open = CAUSE_UPGRADE},
    {.name = "identity",
	.about = "the API gets the key's id",
	.needs = DOCTOR_NEEDS_TEMPORARY,
	.run = doctor_run_identity},
    {.name = "connection-strip",
	.about = "a valid key and Connection: Apikey-Id: the API still gets the id",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_stripped,
	.shape = {.bearer = DOCTOR_REAL,
	    .lines = "Connection: close, Apikey-Id, Apikey-Owner, Apikey-Plan, Apikey-Scopes, "
		     "Apikey-Meta\n"}},
    {.name = "key-hidden",
	.about = "the API does not get the key",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_key_hidden},
    {.name = "ratelimit",
	.about = "a valid key whose plan has limits: RateLimit and RateLimit-Policy",
	.needs = DOCTOR_NEEDS_KEY,
	.run = doctor_run_ratelimit},
    {.name = "address",
	.about = "a key bound to another address, claimed in X-Forwarded-For: 403 ip_denied",
	.needs = DOCTOR_NEEDS_TEMPORARY,
	.run = doctor_run_address,
	.shape = {.bearer = DOCTOR_REAL,
	    .lines = "X-Forwarded-For: 192.0.2.1\nX-Real-IP: 192.0.2.1\n"
		     "Forwarded: for=192.0.2.1\n"},
	.verdict = VERDICT_IP_DENIED,
	.open = CAUSE_ADDRESS_BELIEVED},
    {.name = "limits",
	.about = "a plan of 2 units an hour: 200, 200, then 429 rate_limited with Retry-After",
	.needs = DOCTOR_NEEDS_TEMPORARY | DOCTOR_NEEDS_LIMITS,
	.run = doctor_run_limits,
	.shape = {.bearer = DOCTOR_REAL},
	.verdict = VERDICT_RATE_LIMITED,
	.open = CAUSE_NOT_LIMITED},
    {.name = "revoked",
	.about = "the key at once after it was revoked: 401 key_revoked",
	.needs = DOCTOR_NEEDS_TEMPORARY,
	.run = doctor_run_revoked,
	.shape = {.bearer = DOCTOR_REAL},
	.verdict = VERDICT_KEY_REVOKED,
	.open = CAUSE_CACHED},

    /* Of all answers so far. */
    {.name = "gate-headers",
	.about = "no answer so far had a header that is the gate's and the web server's "
		 "(Apikey-Status, Apikey-Problem, Variable-*, X-Accel-Redirect)",
	.run = doctor_run_gate_leak},
    {.name = "identity-headers",
	.about = "no answer so far told the client Apikey-Id, Apikey-Owner and so on",
	.run = doctor_run_identity_leak},
};

const struct doctor_probe *
doctor_probe_at(size_t i)
{
	return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}
