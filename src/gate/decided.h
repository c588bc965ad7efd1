/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GATE_DECIDED_H_
#define GATE_DECIDED_H_

/* A denial that an earlier call decided, as the web server hands it on (mode render). */

#include "base/span.h"
#include "core/verdict.h"

/*
 * ${problem}: the value of an Apikey-Problem header of ours.  1 and the verdict that it is the body
 * of; 0 when it is none: no JSON object on one line, no code of a denial, a status that is not that
 * denial's.  Never VERDICT_OK.
 */
int decided_read(struct span problem, enum verdict *);

#endif /* !GATE_DECIDED_H_ */
