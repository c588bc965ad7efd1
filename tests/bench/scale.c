/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What size costs: lookup, memory and start with up to ten million keys; a check and its bytes on
 * disk with limits of up to ten million units; the sweep of a million idle logs; a check while a
 * checkpoint runs.  Prints one Markdown table an axis.  Compiled by `make tests/bench/scale`.
 *
 *	build/tests/bench/scale [-q] [-m MOST] [-d DIR] [AXIS ...]
 *
 * All of it takes about twenty minutes, 15 GB below DIR (TMPDIR, or /var/tmp) and 6 GB of memory;
 * -m 1000000 leaves out what is larger.  -q: small sizes, to see that it works.
 *
 * Figures are CPU time, medians of rounds that are interleaved over the rows; where waiting is the
 * point they are wall time, and other work on the machine shows.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scale.h"

static const struct axis {
	const char *name, *about;
	void (*run)(const struct scale_options *);
} axes[] = {
    {"keys", "a lookup, the start and the memory by the number of keys", axis_keys},
    {"units", "a check by the size of the limit", axis_units},
    {"disk", "bytes on disk a logged unit", axis_disk},
    {"sweep", "the sweep of idle logs, and what it makes checks wait", axis_sweep},
    {"checkpoint", "a check while a checkpoint runs", axis_checkpoint},
};
#define AXES (sizeof(axes) / sizeof(axes[0]))

static void
usage(void)
{
	fprintf(stderr, "usage: scale [-q] [-m MOST] [-d DIR] [AXIS ...]\n");
	for (size_t i = 0; i < AXES; i++)
		fprintf(stderr, "  %-12s %s\n", axes[i].name, axes[i].about);
	exit(2);
}

static int
wanted(const struct axis *axis, char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], axis->name) == 0)
			return 1;
	return n == 0;
}

int
main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	struct scale_options o = {.below = tmp != NULL ? tmp : "/var/tmp", .most = UINT64_MAX};
	int c, ran = 0;

	while ((c = getopt(argc, argv, "qm:d:")) != -1) {
		switch (c) {
		case 'q':
			o.quick = 1;
			break;
		case 'm':
			o.most = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			o.below = optarg;
			break;
		default:
			usage();
		}
	}
	for (size_t i = 0; i < AXES; i++) {
		if (!wanted(&axes[i], argv + optind, argc - optind))
			continue;
		ran++;
		printf("### %s: %s\n\n", axes[i].name, axes[i].about);
		axes[i].run(&o);
		printf("\n");
		fflush(stdout);
	}
	if (ran < argc - optind)
		usage();
	return 0;
}
