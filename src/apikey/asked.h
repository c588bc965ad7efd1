/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef APIKEY_ASKED_H_
#define APIKEY_ASKED_H_

/* The request that `apikey check` is asked about, as a web server would hand it to a worker, and
 * what the worker decides of it by itself. */

#include <cjson/cJSON.h>

#include "apikey/options.h"
#include "base/err.h"
#include "config/config.h"
#include "core/verdict.h"

#define ASKED_KEY "{key}" /* in --uri: the key stands there, and in no header */

/*
 * asked_walk(config, O, key, steps, &verdict, e): the steps of a worker over the request that the
 * options describe; each that ran is added to the array ${steps}.  ${key} NULL: which key it is is
 * not the worker's to say (one of the right form stands for it).  What the worker would pass on to
 * the keeper takes the place of what was given in O->request.  0 or -1.
 */
int asked_walk(const struct config *, struct options *, const char *key, cJSON *steps,
    enum verdict *, struct err *) __attribute__((warn_unused_result));

/* {"step","passed","detail"} at the end of ${steps}. */
void asked_step(void *steps, const char *step, int passed, const char *detail);

#endif /* !APIKEY_ASKED_H_ */
