/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Goal: what a fuzz target's corpus holds, and what once broke it, never breaks it again.  Guards
 * Invariant 6.
 *
 * The main of a fuzz target that is no fuzzer: every file of the corpus, then CHANGES changes of
 * each, the same on every run: a bit, a byte, a cut, a piece twice, two files in one.
 *
 * usage: fuzz_NAME [FILE|DIRECTORY ...]     (without: tests/fuzz/corpus/NAME)
 */

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "fuzz.h"

#define SEEDS_MAX 256
#define BYTES_MAX 65536
#define CHANGES 400

static struct seed {
	uint8_t *p;
	size_t n;
} seeds[SEEDS_MAX];
static size_t nseeds;
static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

static size_t
dice(size_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return below == 0 ? 0 : (size_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % below;
}

/* From memory of its exact size, so that a byte too far is seen. */
static void
run(const uint8_t *p, size_t n)
{
	uint8_t *exact = malloc(n == 0 ? 1 : n);

	must(exact != NULL);
	if (n > 0)
		memcpy(exact, p, n);
	(void)LLVMFuzzerTestOneInput(exact, n);
	free(exact);
}

static void
read_file(const char *path)
{
	uint8_t *mem = malloc(BYTES_MAX);
	FILE *f = fopen(path, "rb");

	must(mem != NULL);
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	must(nseeds < SEEDS_MAX);
	seeds[nseeds].p = mem;
	seeds[nseeds].n = fread(mem, 1, BYTES_MAX, f);
	nseeds++;
	(void)fclose(f);
}

static int
no_dot(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void
read_path(const char *path)
{
	char name[PATH_MAX];
	struct dirent **list;
	struct stat st;
	int n;

	if (stat(path, &st) != 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		read_file(path);
		return;
	}
	n = scandir(path, &list, no_dot, alphasort);
	must(n >= 0);
	for (int i = 0; i < n; i++) {
		must(snprintf(name, sizeof(name), "%s/%s", path, list[i]->d_name) <
		     (int)sizeof(name));
		read_file(name);
		free(list[i]);
	}
	free(list);
}

/* A change of seed ${s} in ${mem}; its length. */
static size_t
change(const struct seed *s, uint8_t mem[2 * BYTES_MAX])
{
	const struct seed *other = &seeds[dice(nseeds)];
	size_t n = s->n, at = dice(n), len;

	memcpy(mem, s->p, n);
	switch (n == 0 ? 5 : dice(7)) {
	case 0:
		mem[at] ^= (uint8_t)(1u << dice(8));
		return n;
	case 1:
		mem[at] = (uint8_t)dice(256);
		return n;
	case 2:
		return at;
	case 3:
		len = dice(n - at);
		memmove(mem + at, mem + at + len, n - at - len);
		return n - len;
	case 4:
		len = dice(n - at);
		memcpy(mem + n, mem + at, len);
		return n + len;
	case 5:
		len = dice(other->n);
		memcpy(mem + n, other->p, len);
		return n + len;
	default:
		mem[at] = (uint8_t)(dice(2) ? 0xff : 0);
		mem[dice(n)] = (uint8_t)(dice(2) ? 0x80 : 0x7f);
		return n;
	}
}

int
main(int argc, char **argv)
{
	static uint8_t mem[2 * BYTES_MAX];
	const char *slash = strrchr(argv[0], '/'), *name = slash == NULL ? argv[0] : slash + 1;
	char path[PATH_MAX];

	for (int i = 1; i < argc; i++)
		read_path(argv[i]);
	if (argc == 1) {
		if (strncmp(name, "fuzz_", 5) == 0)
			name += 5;
		must(snprintf(path, sizeof(path), FUZZ_CORPUS "/%s", name) < (int)sizeof(path));
		read_path(path);
	}
	must(nseeds > 0);
	run(NULL, 0);
	for (size_t i = 0; i < nseeds; i++)
		run(seeds[i].p, seeds[i].n);
	printf("[       OK ] corpus of %zu\n", nseeds);
	(void)fflush(stdout);
	for (size_t i = 0; i < nseeds; i++)
		for (int c = 0; c < CHANGES; c++)
			run(mem, change(&seeds[i], mem));
	printf("[       OK ] %zu changes of them\n", nseeds * CHANGES);
	for (size_t i = 0; i < nseeds; i++)
		free(seeds[i].p);
	return 0;
}
