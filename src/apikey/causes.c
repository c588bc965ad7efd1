/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The table of known mistakes in mounting the gate, for `apikey doctor`, and how web servers are
 * told apart.  Constant data: which answer has which cause is judge.c's to say.
 *
 * A row's meaning says what is going on in any server; its lines, per server, what that server is
 * known to do and where.  They were seen with nginx 1.22, Apache 2.4 with mod_authnz_fcgi and
 * mod_fcgid 2.3.9, lighttpd 1.4.69, Caddy 2.6 and HAProxy 2.6.
 */

#include <string.h>

#include "apikey/causes.h"

static const struct cause_info table[CAUSES] = {
    [CAUSE_NONE] = {"none", "nothing is known of it"},
    [CAUSE_OPEN] = {"open", "the API is served without a key: apikeyd is not asked at all",
	{[CAUSES_NGINX] = "the location lacks `auth_request /_apikeyd` (include "
			  "apikeyd/protect.conf in it), or an outer `satisfy any` lets the address "
			  "do instead of a key",
	    [CAUSES_APACHE] =
		"this is what Apache does with `Require all granted` beside the authorizer "
		"(AuthnzFcgiCheckAuthnProvider or FcgidAuthorizer): one Require that holds is "
		"enough, and apikeyd is never called. Include apikeyd/protect.conf in the "
		"<Location>: its Require (no less than `Require valid-user`) and `AuthMerging And` "
		"stand in an <If>, which comes last; or fcgid-protect.conf, whose "
		"FcgidAccessChecker runs whatever Require says",
	    [CAUSES_LIGHTTPD] =
		"this is what lighttpd does when mod_proxy stands before mod_fastcgi in "
		"server.modules: the API answers before the authorizer is asked. List mod_fastcgi "
		"first, and serve the API inside of the block that needs Apikeyd-Admitted, as "
		"lighttpd.conf has it; is the path in apikeyd_paths?",
	    [CAUSES_CADDY] = "the API's reverse_proxy must stand inside of `handle_response "
			     "@admitted` of the gate's (Caddyfile, apikeyd.caddy): beside it Caddy "
			     "sorts directives, and in a `route` it runs whatever is written first",
	    [CAUSES_HAPROXY] =
		"the frontend lacks `http-request lua.apikeyd`, or the `http-request return status "
		"503 ... unless apikeyd_admitted` behind it: an action that fails lets a request "
		"go on; let each backend begin with `http-request deny deny_status 503 unless { "
		"var(txn.apikeyd) -m str admitted }`"}},
    [CAUSE_OPEN_SPELLING] = {"open_spelling",
	"the API is served without a key when its path is spelled in another way: the web server "
	"and the API read paths differently, and the mount goes by one reading",
	{[CAUSES_NGINX] = "protect the whole server (protect.conf in `location /`) and open what "
			  "is public, rather than the other way round; merge_slashes on; an API "
			  "that ignores case needs `location ~* ^/api/`",
	    [CAUSES_APACHE] =
		"mount on <Location \"/\"> and open what is public; AllowEncodedSlashes "
		"Off; MergeSlashes On",
	    [CAUSES_LIGHTTPD] =
		"server.http-parseopts of gate.conf must stay as they are, and the API be served "
		"inside of the block that needs Apikeyd-Admitted, which no other spelling leads to",
	    [CAUSES_CADDY] = "`handle /api/*` matches one spelling: let the last `handle` refuse "
			     "(respond 404) instead of passing on",
	    [CAUSES_HAPROXY] = "run `http-request lua.apikeyd` without a condition on path or "
			       "url (under HTTP/2 and in the absolute form a url begins "
			       "with https://)",
	    [CAUSES_ANY] = "what is served there may be another page of this server's and do no "
			   "harm: curl --path-as-is shows it"}},
    [CAUSE_OPEN_METHOD] = {"open_method", "the API is served without a key to this method",
	{[CAUSES_NGINX] = "look for limit_except, or an `if ($request_method ...)` that answers",
	    [CAUSES_APACHE] = "look for <Limit> or <LimitExcept> around Require: they exempt the "
			      "other methods",
	    [CAUSES_LIGHTTPD] = "look for $HTTP[\"request-method\"] around fastcgi.server",
	    [CAUSES_CADDY] = "look for a `method` matcher of the gate's route",
	    [CAUSES_HAPROXY] = "look for a METH_* condition behind `http-request lua.apikeyd`, "
			       "and for `http-request allow` before it",
	    [CAUSES_ANY] = "where the web server answers OPTIONS (a CORS preflight) itself, on "
			   "purpose, that does no harm"}},
    [CAUSE_OPEN_CREDENTIALS] = {"open_credentials",
	"a key that does not exist, or ambiguous credentials, were let through: whoever answers "
	"there does not ask apikeyd",
	{[CAUSES_ANY] = "compare what is mounted there with the shipped configuration"}},
    [CAUSE_CACHED] = {"cached",
	"an answer that was given to a key is served again without one: a cache stands in front "
	"of the gate",
	{[CAUSES_NGINX] = "proxy_cache (or fastcgi_cache) needs $apikey_id in its key, and the "
			  "gate's own location `fastcgi_cache off`",
	    [CAUSES_APACHE] = "CacheQuickHandler Off, so that the cache comes after authorization",
	    [CAUSES_LIGHTTPD] = "look for a cache (mod_magnet, a CDN) in front of it",
	    [CAUSES_CADDY] = "look for a cache handler ordered before the gate",
	    [CAUSES_HAPROXY] = "`http-request cache-use` must stand behind `http-request "
			       "lua.apikeyd`",
	    [CAUSES_ANY] = "a CDN in front: let it pass requests for this path through"}},
    [CAUSE_REFUSAL_AS_SUCCESS] = {"refusal_as_success",
	"apikeyd refused, and the web server made a success of it: clients take it for the "
	"API's answer",
	{[CAUSES_NGINX] = "an error_page with `=200` of an outer level; gate.conf and "
			  "protect.conf have error_page lines of their own that keep it out",
	    [CAUSES_APACHE] = "an ErrorDocument that answers 200",
	    [CAUSES_LIGHTTPD] = "look for server.error-handler",
	    [CAUSES_CADDY] = "look for handle_errors and `copy_response <status>`",
	    [CAUSES_HAPROXY] = "look for http-errors and `http-response set-status`; "
			       "lua.apikeyd_deny replies with the gate's own status"}},
    [CAUSE_STATUS_CHANGED] = {"status_changed",
	"apikeyd's status does not reach the client, who is told the wrong thing to do",
	{[CAUSES_NGINX] =
		"nginx's auth_request knows 401 and 403 only and makes 500 of any other: let the "
		"gate's location say `fastcgi_param APIKEYD_MODE auth_request`, protect.conf set "
		"$apikey_status, and @apikey_deny `return` each status (gate.conf, `if "
		"($apikey_status = 429) { return 429 $apikey_problem; }`)",
	    [CAUSES_APACHE] =
		"mod_fcgid makes 401 of every refusal (and of 204): fcgid-protect.conf has "
		"`ErrorDocument 401 /_apikeyd/deny`, which renders it again; mod_authnz_fcgi "
		"passes it on with AuthnzFcgiCheckAuthnProvider (protect.conf), and loses it with "
		"AuthBasicProvider",
	    [CAUSES_LIGHTTPD] = "lighttpd passes it on by itself: look for server.error-handler "
				"and server.errorfile-prefix",
	    [CAUSES_CADDY] =
		"leave refusals to reverse_proxy itself: handle_response is for @admitted alone",
	    [CAUSES_HAPROXY] = "lua.apikeyd_deny must reply with Apikey-Status (apikeyd.lua), "
			       "not `http-request deny`"}},
    [CAUSE_BARE_REFUSAL] = {"bare_refusal",
	"closed, but not with apikeyd's words: neither Apikey-Denied nor its JSON came along",
	{[CAUSES_NGINX] = "`error_page 401 403 = @apikey_deny` is missing (protect.conf), or it "
			  "is not apikeyd that refuses",
	    [CAUSES_APACHE] = "mod_fcgid: `ErrorDocument 401 /_apikeyd/deny` is missing "
			      "(fcgid-protect.conf); or another authorizer refuses first",
	    [CAUSES_LIGHTTPD] = "look for server.error-handler, or auth.require that refuses first",
	    [CAUSES_CADDY] = "look for handle_errors, or basicauth that refuses first",
	    [CAUSES_HAPROXY] =
		"`http-request lua.apikeyd_deny unless apikeyd_admitted` is missing, "
		"or another rule refuses first"}},
    [CAUSE_NOT_THERE] = {"not_there",
	"the server knows nothing at this URL, or looks for it before anybody is asked for a key",
	{[CAUSES_ANY] = "give a URL that answers 2xx to a request with a key"}},
    [CAUSE_CONTENT_TYPE] = {"content_type",
	"the JSON of a refusal does not say that it is application/problem+json",
	{[CAUSES_NGINX] = "@apikey_deny lacks `default_type application/problem+json` (gate.conf)",
	    [CAUSES_APACHE] = "mod_authnz_fcgi always says text/html: `Header always set "
			      "Content-Type \"application/problem+json\" \"expr=-n "
			      "resp('Apikey-Denied') ...\"` in protect.conf mends it",
	    [CAUSES_HAPROXY] = "lua.apikeyd_deny must add Content-Type to its reply "
			       "(apikeyd.lua)"}},
    [CAUSE_HEADERS_LOST] = {"headers_lost", "headers of the refusal do not reach the client",
	{[CAUSES_NGINX] = "the add_header lines of @apikey_deny in gate.conf, each with `always`, "
			  "and their auth_request_set lines in protect.conf",
	    [CAUSES_APACHE] = "look for `Header unset` of them; mod_fcgid's ErrorDocument keeps "
			      "those of the first call",
	    [CAUSES_CADDY] = "look for `header -...` that removes them",
	    [CAUSES_HAPROXY] = "the list DENIAL in apikeyd.lua; look for `http-after-response "
			       "del-header`"}},
    [CAUSE_DOUBLED] = {"doubled", "a header stands twice in one answer, and clients read either",
	{[CAUSES_NGINX] = "two add_header lines of it; a 401's WWW-Authenticate is copied by "
			  "nginx itself",
	    [CAUSES_APACHE] = "mod_fcgid keeps the headers of the first call: the second needs "
			      "render mode (APIKEYD_RENDER)",
	    [CAUSES_CADDY] = "copy_response_headers beside copy_response",
	    [CAUSES_HAPROXY] = "set-header instead of add-header"}},
    [CAUSE_GATE_DOWN] = {"gate_down",
	"closed, but nobody gets in: the web server cannot reach apikeyd, or apikeyd its keeper",
	{[CAUSES_ANY] = "is apikeyd running (systemctl status apikeyd), and is its `listen` what "
			"the web server connects to, with rights to the socket (group, "
			"listen_mode)?"}},
    [CAUSE_BLOCKED] = {"blocked",
	"this address is blocked after too many failed attempts, and learns nothing more until "
	"that "
	"is over",
	{[CAUSES_ANY] =
		"run doctor again after the seconds in Retry-After, from another address, or "
		"with this one in `block_exempt`; if doctor alone makes so many attempts, "
		"the gate takes all clients for one: `trusted_proxies` lacks the proxy"}},
    [CAUSE_MISCONFIGURED] = {"misconfigured",
	"apikeyd got an APIKEYD_* value that it does not know, and refuses everybody",
	{[CAUSES_ANY] = "apikeyd's log names the value: look for event=misconfigured",
	    [CAUSES_NGINX] = "a nested location needs protect.conf of its own: it does not "
			     "inherit `set`"}},
    [CAUSE_NO_ANSWER] = {"no_answer", "the server gave no answer where it gives one to others",
	{[CAUSES_ANY] = "look into the web server's error log"}},
    [CAUSE_REDIRECT] = {"redirect", "the answer is a redirect, which doctor never follows",
	{[CAUSES_ANY] = "give the URL that it leads to"}},
    [CAUSE_HTTPS_UNSEEN] = {"https_unseen",
	"apikeyd takes HTTPS requests for plain HTTP and refuses them: nobody tells it the scheme",
	{[CAUSES_NGINX] = "`fastcgi_param HTTPS $https if_not_empty` and `REQUEST_SCHEME $scheme` "
			  "(apikeyd/params)",
	    [CAUSES_APACHE] = "the parameters HTTPS and REQUEST_SCHEME come from mod_ssl: is TLS "
			      "ended somewhere else?",
	    [CAUSES_CADDY] = "transport fastcgi says it by itself where Caddy ends TLS; elsewhere "
			     "`env HTTPS on` or trusted_proxies",
	    [CAUSES_HAPROXY] = "`set-param REQUEST_SCHEME %[req.fhdr(x-apikeyd-scheme)]` in the "
			       "fcgi-app (or HTTPS), and `ssl` at the frontend's `bind`",
	    [CAUSES_ANY] = "where TLS is ended by another machine: its address in "
			   "trusted_proxies of apikeyd.conf, and X-Forwarded-Proto from it",
	    [CAUSES_LIGHTTPD] = "REQUEST_SCHEME says it where lighttpd ends TLS; elsewhere "
				"mod_extforward with a trusted forwarder"}},
    [CAUSE_PLAIN_HTTP] = {"plain_http",
	"the API answers over plain HTTP, where keys travel for all to read",
	{[CAUSES_ANY] = "require_https in apikeyd.conf must be true, and what listens on plain "
			"HTTP must mount the gate too, or not serve the API"}},
    [CAUSE_PROTO_BELIEVED] = {"proto_believed",
	"whoever claims X-Forwarded-Proto: https is taken for an HTTPS client",
	{[CAUSES_ANY] = "trusted_proxies in apikeyd.conf holds addresses that are no proxies (or "
			"doctor runs on one of them); or the web server sets HTTPS from that "
			"header",
	    [CAUSES_APACHE] = "look for `SetEnvIf X-Forwarded-Proto https HTTPS=on`"}},
    [CAUSE_ADDRESS_BELIEVED] = {"address_believed",
	"whoever claims an address in X-Forwarded-For is taken for it: keys that are bound to "
	"addresses are not",
	{[CAUSES_ANY] = "trusted_proxies in apikeyd.conf holds addresses that are no proxies (or "
			"doctor runs on one of them)",
	    [CAUSES_NGINX] = "look for set_real_ip_from",
	    [CAUSES_APACHE] = "look for RemoteIPInternalProxy and RemoteIPTrustedProxy",
	    [CAUSES_LIGHTTPD] = "look for extforward.forwarder",
	    [CAUSES_CADDY] = "look for trusted_proxies",
	    [CAUSES_HAPROXY] = "`set-param REMOTE_ADDR` from the action's own header "
			       "(x-apikeyd-addr); look for `http-request set-src`"}},
    [CAUSE_BEARER_LOST] = {"bearer_lost",
	"a key in `Authorization: Bearer` does not reach apikeyd; one in X-API-Key would",
	{[CAUSES_NGINX] = "look for `fastcgi_param HTTP_AUTHORIZATION` or "
			  "`fastcgi_pass_request_headers off` in the gate's location",
	    [CAUSES_APACHE] = "this is what Apache does without `CGIPassAuth On` in the <Location>",
	    [CAUSES_LIGHTTPD] = "look for Lua or setenv that removes Authorization before the "
				"authorizer",
	    [CAUSES_CADDY] = "look for `header_up -Authorization` of the gate's reverse_proxy",
	    [CAUSES_HAPROXY] = "this is what HAProxy does without `pass-header Authorization` in "
			       "the fcgi-app"}},
    [CAUSE_HEADER_LOST] = {"header_lost", "a key in `X-API-Key` does not reach apikeyd",
	{[CAUSES_ANY] = "look for what removes or renames X-API-Key before the gate is asked"}},
    [CAUSE_ONE_OF_TWO] = {"one_of_two",
	"of several credentials only one reaches apikeyd, which cannot refuse the rest: whoever "
	"stands in front may read another one",
	{[CAUSES_ANY] = "the gate must get the request's headers as they came"}},
    [CAUSE_URI_LOST] = {"uri_lost",
	"apikeyd does not see the query string, so keys in URLs are not noticed",
	{[CAUSES_NGINX] = "`fastcgi_param REQUEST_URI $request_uri` (apikeyd/params); "
			  "$query_string is empty in a subrequest",
	    [CAUSES_CADDY] = "REQUEST_URI is what the client asked for unless an `env` changes it: "
			     "look for `env REQUEST_URI` and `env QUERY_STRING`",
	    [CAUSES_HAPROXY] = "`set-param REQUEST_URI %[req.fhdr(x-apikeyd-uri)]` in the "
			       "fcgi-app (hdr would cut it at a comma)",
	    [CAUSES_ANY] = "or query_parameters in apikeyd.conf has none of the usual names"}},
    [CAUSE_QUERY_ALLOWED] = {"query_allowed", "keys in URLs are accepted: they end up in logs",
	{[CAUSES_ANY] = "allow_query_keys = true in apikeyd.conf is meant for migrations"}},
    [CAUSE_TOLD_APART] = {"told_apart",
	"the answer tells an unknown key from a malformed one; the two must look alike",
	{[CAUSES_ANY] = "whatever differs is not from apikeyd: look for rules by header or body"}},
    [CAUSE_OTHER_STORE] = {"other_store",
	"the key is not known there: that gate does not ask the keeper that made it",
	{[CAUSES_ANY] = "run doctor where that apikeyd runs (with its -c FILE), or give a key of "
			"that gate with --key-stdin"}},
    [CAUSE_THE_KEY] = {"the_key", "the mount does its work: it is the key that may not",
	{[CAUSES_ANY] = "--scope gives the temporary key a scope, --key-stdin takes a key that "
			"may use this URL"}},
    [CAUSE_ADMITTED_IN_VAIN] = {"admitted_in_vain",
	"a valid key is not refused, and still gets no success",
	{[CAUSES_NGINX] = "does the API behind proxy_pass answer at this URL?",
	    [CAUSES_APACHE] =
		"500 is what mod_authnz_fcgi does without `UserExpr \"%{reqenv:APIKEY_ID}\"` "
		"(protect.conf), or with `RequireBasicAuth On`",
	    [CAUSES_LIGHTTPD] = "404 is what lighttpd does when fastcgi.server has a \"docroot\" "
				"for the authorizer: mod_proxy is then never run; leave it out",
	    [CAUSES_CADDY] = "does the API in `handle_response @admitted` answer at this URL?",
	    [CAUSES_HAPROXY] = "503 is a backend's `http-request deny` unless txn.apikeyd is "
			       "admitted: does the way there lead through lua.apikeyd?",
	    [CAUSES_ANY] = "give a URL that answers 2xx to a request with a key"}},
    [CAUSE_FORGED] = {"forged",
	"identity headers that a client sends reach the API: anybody can be anybody",
	{[CAUSES_NGINX] =
		"the `proxy_set_header Apikey-...` lines of identity.conf, all of them "
		"also where they are empty; a location with proxy_set_header lines of its "
		"own inherits none; underscores_in_headers off",
	    [CAUSES_APACHE] = "`RequestHeader set Apikey-Id \"expr=%{reqenv:APIKEY_ID}\"` for "
			      "each, and `RequestHeader unset` of each, also as Apikey_Id: Apache "
			      "proxies both spellings side by side (backend.conf)",
	    [CAUSES_LIGHTTPD] = "the Lua of magnet.attract-raw-url-to (request.lua) must remove "
				"everything that begins with apikey, whatever stands for the dash",
	    [CAUSES_CADDY] = "`request_header -Apikey*` (in apikeyd_site of apikeyd.caddy) takes "
			     "Apikey-Id and Apikey_Id alike; `-Apikey-*` leaves Apikey_Id",
	    [CAUSES_HAPROXY] = "`http-request del-header apikey -m beg` before lua.apikeyd (it "
			       "covers apikey- and apikey_), and `option "
			       "http-restrict-req-hdr-names delete`"}},
    [CAUSE_KEY_SPELLING] = {"key_spelling",
	"the API gets what looks like a key of the client's under a name that it may take for "
	"X-API-Key, and that apikeyd never saw",
	{[CAUSES_NGINX] = "underscores_in_headers off, in the default server of the address too",
	    [CAUSES_APACHE] = "`RequestHeader unset X_Api_Key` and so on (backend.conf)",
	    [CAUSES_LIGHTTPD] = "request.lua must remove them: lighttpd hands X_Api_Key to apikeyd "
				"as X-Api-Key",
	    [CAUSES_CADDY] =
		"`request_header -X_Api_Key` and so on (apikeyd_site of apikeyd.caddy)",
	    [CAUSES_HAPROXY] = "`option http-restrict-req-hdr-names delete`"}},
    [CAUSE_UPGRADE] = {"upgrade",
	"clients may ask the API for any other protocol: a connection that is no longer HTTP/1.1 "
	"carries requests that nobody decides",
	{[CAUSES_NGINX] = "pass Upgrade for `websocket` alone (a map), as the examples do",
	    [CAUSES_APACHE] = "ProxyPass with `upgrade=websocket`, never `upgrade=ANY`",
	    [CAUSES_LIGHTTPD] = "request.lua must remove any Upgrade but to websocket",
	    [CAUSES_CADDY] = "`request_header -Upgrade` but for websocket (apikeyd_site of "
			     "apikeyd.caddy)",
	    [CAUSES_HAPROXY] = "`http-request del-header Upgrade`, set again for websocket alone"}},
    [CAUSE_STRIPPED] = {"stripped",
	"`Connection: Apikey-Id` from a client takes the identity away on its way to the API",
	{[CAUSES_APACHE] = "this is what mod_proxy does with hop-by-hop headers: `RequestHeader "
			   "edit* Connection \"(?i)apikey[^,\\s]*\" \"x\"` (backend.conf)",
	    [CAUSES_CADDY] =
		"this is what reverse_proxy does with hop-by-hop headers: `request_header "
		"-Connection` but for WebSockets (apikeyd_site of apikeyd.caddy)",
	    [CAUSES_ANY] = "remove Connection from requests before they are proxied",
	    [CAUSES_HAPROXY] = "`http-request del-header Connection` (haproxy.cfg)"}},
    [CAUSE_IDENTITY_LOST] = {"identity_lost", "the API is not told whose key it is",
	{[CAUSES_NGINX] = "`proxy_set_header Apikey-Id $apikey_id` and so on (identity.conf): a "
			  "location with proxy_set_header lines of its own inherits none",
	    [CAUSES_APACHE] = "`RequestHeader set Apikey-Id \"expr=%{reqenv:APIKEY_ID}\"` and so "
			      "on (backend.conf)",
	    [CAUSES_LIGHTTPD] = "the Lua of magnet.attract-raw-url-to (request.lua) must set "
				"Apikey-Id from req_env[\"APIKEY_ID\"]",
	    [CAUSES_CADDY] = "`import apikeyd_admitted` first in handle_response: it sets "
			     "Apikey-Id from {http.reverse_proxy.header.Apikey-Id}",
	    [CAUSES_HAPROXY] = "`http-request set-header Apikey-Id %[var(txn.apikeyd_id)]`"}},
    [CAUSE_KEY_PASSED_ON] = {"key_passed_on",
	"the API gets the client's key, which it has no business with and may log",
	{[CAUSES_NGINX] = "`proxy_set_header Authorization \"\"` and `X-Api-Key \"\"` "
			  "(identity.conf)",
	    [CAUSES_APACHE] = "`RequestHeader unset Authorization` and of X-Api-Key (backend.conf)",
	    [CAUSES_LIGHTTPD] =
		"request.lua must remove Authorization and X-Api-Key once req_env has APIKEY_ID",
	    [CAUSES_CADDY] = "`request_header -Authorization` and `-X-Api-Key` in apikeyd_admitted "
			     "(apikeyd.caddy)",
	    [CAUSES_HAPROXY] = "`http-request del-header Authorization` and `X-API-Key` behind "
			       "lua.apikeyd"}},
    [CAUSE_INTERNAL_OPEN] = {"internal_open",
	"the gate's inner face can be asked from outside: it tells who a key is",
	{[CAUSES_NGINX] = "`internal;` in `location = /_apikeyd` (gate.conf)",
	    [CAUSES_APACHE] = "let the render location answer through ErrorDocument only",
	    [CAUSES_HAPROXY] = "bind the internal frontend to a unix socket with mode 600",
	    [CAUSES_ANY] = "let nothing but the web server reach it"}},
    [CAUSE_GATE_LEAKS] = {"gate_leaks", "headers between the gate and the web server reach clients",
	{[CAUSES_NGINX] = "APIKEYD_MODE must be what is mounted: auth_request for auth_request, "
			  "accel for a gate that is passed to; proxy_hide_header "
			  "X-Accel-Redirect",
	    [CAUSES_APACHE] = "mod_fcgid passes everything on: `Header always unset "
			      "Variable-APIKEY_ID` and so on for each (fcgid-gate.conf)",
	    [CAUSES_LIGHTTPD] = "the mode must be \"authorizer\": a responder's headers all reach "
				"clients",
	    [CAUSES_CADDY] = "`header_down -Status` and `header_down -X-Accel-Redirect` of the "
			     "gate's reverse_proxy (apikeyd_ask of apikeyd.caddy)",
	    [CAUSES_HAPROXY] = "lua.apikeyd_deny must leave out apikey-* but Apikey-Denied; "
			       "`http-response del-header apikey -m beg`"}},
    [CAUSE_IDENTITY_LEAKS] = {"identity_leaks",
	"answers tell clients whose key it is (owner, plan, scopes)",
	{[CAUSES_NGINX] = "add_header of $apikey_owner and the like; or the API sends them back: "
			  "proxy_hide_header",
	    [CAUSES_APACHE] = "`Header always unset Apikey-Owner` and so on (mod_fcgid passes "
			      "them on)",
	    [CAUSES_CADDY] = "look for `header Apikey-...` and `copy_response_headers`",
	    [CAUSES_HAPROXY] = "`http-response del-header apikey -m beg`",
	    [CAUSES_ANY] = "or the API itself sends them back"}},
    [CAUSE_RATELIMIT_LOST] = {"ratelimit_lost",
	"clients of an admitted request are not told what is left of their limits",
	{[CAUSES_NGINX] = "`add_header RateLimit $apikey_ratelimit always` (identity.conf): a "
			  "location with add_header lines of its own inherits none",
	    [CAUSES_APACHE] = "Apache passes them on by itself: look for `Header unset RateLimit`",
	    [CAUSES_LIGHTTPD] = "lighttpd drops the authorizer's headers: the Lua of "
				"magnet.attract-response-start-to (response.lua) must set "
				"RateLimit from req_env[\"APIKEY_RATELIMIT\"]",
	    [CAUSES_CADDY] = "`import apikeyd_admitted` first in handle_response: it sets "
			     "RateLimit from {http.reverse_proxy.header.Ratelimit}",
	    [CAUSES_HAPROXY] = "`http-after-response set-header RateLimit "
			       "%[var(txn.apikeyd_limit)]`"}},
    [CAUSE_RATELIMIT_WRONG] = {"ratelimit_wrong", "what is told of the limits is not readable",
	{[CAUSES_CADDY] =
		"placeholders are spelled as Go does, {http.reverse_proxy.header.Ratelimit}, or "
		"come out as they stand; so do those of a key without limits, unless they are set "
		"on a condition (apikeyd_admitted of apikeyd.caddy)",
	    [CAUSES_APACHE] = "\"(null)\" is %{...}e of a variable that is not set: use "
			      "\"expr=%{reqenv:...}\""}},
    [CAUSE_NOT_LIMITED] = {"not_limited", "more was admitted than the plan allows",
	{[CAUSES_ANY] = "APIKEYD_COST 0 counts nothing; a web server that sends the same "
			"APIKEYD_REQUEST_ID again and again is counted once"}},
    [CAUSE_COUNTED_TWICE] = {"counted_twice", "one request takes more than one unit",
	{[CAUSES_NGINX] = "index and try_files ask again: `fastcgi_param APIKEYD_REQUEST_ID "
			  "$request_id` (apikeyd/params) lets apikeyd count it once",
	    [CAUSES_APACHE] = "mod_dir asks again for index files: load mod_unique_id, so that "
			      "apikeyd sees that it is the same request",
	    [CAUSES_ANY] = "or APIKEYD_COST of this route is above 1"}},
};

const struct cause_info *
causes_info(enum cause c)
{
	return &table[(unsigned)c < CAUSES ? c : CAUSE_NONE];
}

/* How each server is called, and what only it writes. */
static const struct {
	const char *name, *word;
	const char *server; /* its Server header begins so */
	const char *body;   /* in an error page that has no Server header */
} servers[CAUSES_SERVERS] = {
    [CAUSES_ANY] = {"any server", "any", NULL, NULL},
    [CAUSES_NGINX] = {"nginx", "nginx", "nginx", NULL},
    [CAUSES_APACHE] = {"Apache", "apache", "Apache", NULL},
    [CAUSES_LIGHTTPD] = {"lighttpd", "lighttpd", "lighttpd", NULL},
    /* Go's own words; the other one is an answer of Caddy's own. */
    [CAUSES_CADDY] = {"Caddy", "caddy", "Caddy", "400 Bad Request"},
    [CAUSES_HAPROXY] = {"HAProxy", "haproxy", NULL, "Your browser sent an invalid request."},
};

const char *
causes_server_name(enum causes_server s)
{
	return servers[(unsigned)s < CAUSES_SERVERS ? s : CAUSES_ANY].name;
}

enum causes_server
causes_server_parse(const char *word)
{
	int s;

	for (s = CAUSES_ANY + 1; s < CAUSES_SERVERS; s++) {
		if (word != NULL && strcmp(servers[s].word, word) == 0)
			return (enum causes_server)s;
	}
	return CAUSES_ANY;
}

enum causes_server
causes_recognise(const struct answer *a)
{
	struct span said = answer_get(a, "Server");
	size_t len;
	int s;

	for (s = CAUSES_ANY + 1; s < CAUSES_SERVERS; s++) {
		len = servers[s].server == NULL ? 0 : strlen(servers[s].server);
		if (len != 0 && said.len >= len && memcmp(said.p, servers[s].server, len) == 0)
			return (enum causes_server)s;
		/* Without a Server header it is neither of those that always have one. */
		if (said.len == 0 && a->status == 400 && servers[s].body != NULL &&
		    answer_holds(a, servers[s].body))
			return (enum causes_server)s;
	}
	return CAUSES_ANY;
}
