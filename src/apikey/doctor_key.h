/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_DOCTOR_KEY_H_
#define APIKEY_DOCTOR_KEY_H_

/*
 * The key that doctor shows to a mount: one from standard input, or a temporary one that the keeper
 * of this machine makes, and a temporary plan for it.  What is temporary ends by itself after
 * DOCTOR_KEY_LIFE_US, should nobody be left to end it.
 */

#include <cjson/cJSON.h>

#include "apikey/keyin.h"
#include "apikey/session.h"
#include "base/clock.h"
#include "base/err.h"
#include "core/plan.h"
#include "core/token.h"

#define DOCTOR_KEY_LIFE_US (10 * 60 * CLOCK_SECOND)
#define DOCTOR_KEY_OWNER "apikey-doctor"
#define DOCTOR_KEY_PLAN "default" /* is always there, and never has to be removed */
#define DOCTOR_LIMIT_UNITS 2

struct doctor_key {
	struct session *session; /* NULL: no temporary key can be made */
	char text[KEYIN_MAX + 1];
	char id[TOKEN_ID_LEN + 1]; /* of a temporary key; else "" */
	char plan[PLAN_NAME_MAX + 1];
	char limited[PLAN_NAME_MAX + 1]; /* the temporary plan while there is one; else "" */
	int revoked;
};

/*
 * Make a temporary key with this plan and these scopes (a list, or NULL).  0; -1 when the keeper of
 * this machine cannot be asked or refuses.
 */
int doctor_key_make(struct doctor_key *, const char *plan, const cJSON *scopes, int64_t now_us,
    struct err *) __attribute__((warn_unused_result));

/* Only from this address; from any with NULL. */
int doctor_key_bind(struct doctor_key *, const char *address, struct err *)
    __attribute__((warn_unused_result));

/* Put it under a plan of DOCTOR_LIMIT_UNITS an hour; and back, without that plan. */
int doctor_key_limit(struct doctor_key *, struct err *) __attribute__((warn_unused_result));
int doctor_key_unlimit(struct doctor_key *, struct err *) __attribute__((warn_unused_result));

int doctor_key_revoke(struct doctor_key *, struct err *) __attribute__((warn_unused_result));

/*
 * Whatever is left is undone, and the key wiped.  0; -1 with ${e} that names what could not be, and
 * how to do it by hand.
 */
int doctor_key_end(struct doctor_key *, struct err *) __attribute__((warn_unused_result));

#endif /* !APIKEY_DOCTOR_KEY_H_ */
