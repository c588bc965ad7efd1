/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The URL that doctor is given, taken apart by libcurl's own parser, so that the two never
 * disagree about which host is meant.  The path stays as it was typed.
 *
 * Invariant: what holds a user name, a password, another scheme or no host is refused.
 */

#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "apikey/probe_url.h"

static int
url_part(CURLU *u, CURLUPart part, const char **out, char **text)
{
	*out = curl_url_get(u, part, text, 0) == CURLUE_OK ? *text : NULL;
	return *out != NULL;
}

int
probe_url_split(const char *url, char origin[PROBE_ORIGIN_MAX], int *is_https,
    char target[PROBE_TARGET_MAX], struct err *e)
{
	char *text[6] = {NULL};
	const char *scheme, *host, *port, *path, *query, *unused;
	CURLU *u = curl_url();
	int n = -1, m = -1;
	size_t i;

	if (u == NULL)
		return err_set(e, ERR_SYSTEM, "out of memory");
	if (curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK &&
	    url_part(u, CURLUPART_SCHEME, &scheme, &text[0]) &&
	    (strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0) &&
	    url_part(u, CURLUPART_HOST, &host, &text[1]) &&
	    !url_part(u, CURLUPART_USER, &unused, &text[5])) {
		(void)url_part(u, CURLUPART_PORT, &port, &text[2]);
		(void)url_part(u, CURLUPART_PATH, &path, &text[3]);
		(void)url_part(u, CURLUPART_QUERY, &query, &text[4]);
		n = snprintf(origin, PROBE_ORIGIN_MAX, "%s://%s%s%s", scheme, host,
		    port == NULL ? "" : ":", port == NULL ? "" : port);
		m = snprintf(target, PROBE_TARGET_MAX, "%s%s%s", path == NULL ? "/" : path,
		    query == NULL ? "" : "?", query == NULL ? "" : query);
		*is_https = scheme[4] == 's';
	}
	for (i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		curl_free(text[i]);
	curl_url_cleanup(u);
	if (n <= 0 || n >= PROBE_ORIGIN_MAX || m <= 0 || m >= PROBE_TARGET_MAX)
		return err_set(e, ERR_USAGE,
		    "%s: not a URL to probe; give one like https://api.example.com/orders, with no "
		    "user name",
		    url);
	return 0;
}
