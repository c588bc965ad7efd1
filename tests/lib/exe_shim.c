/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Programs that execute themselves, inside a tool that has taken their place: there /proc/self/exe
 * is the tool (valgrind).  With LD_PRELOAD it is the program that EXE_SHIM names.
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
execv(const char *path, char *const argv[])
{
	const char *real = getenv("EXE_SHIM");

	return execve(
	    real != NULL && strcmp(path, "/proc/self/exe") == 0 ? real : path, argv, environ);
}
