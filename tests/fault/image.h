/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_FAULT_IMAGE_H_
#define TESTS_FAULT_IMAGE_H_

/*
 * A copy of a directory of files in memory, and the directory made anew from it.
 *
 * Include behind store_fixture.h.
 */

#include <dirent.h>
#include <fcntl.h>

#define IMAGE_FILES_MAX 60

struct image {
	size_t n;
	struct {
		char name[32];
		size_t len;
		uint8_t *bytes;
	} files[IMAGE_FILES_MAX];
};

static inline void
image_take(struct image *im, const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	struct stat st;
	int fd;

	memset(im, 0, sizeof(*im));
	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		assert_true(im->n < IMAGE_FILES_MAX);
		assert_true(strlen(entry->d_name) < sizeof(im->files[0].name));
		memcpy(im->files[im->n].name, entry->d_name, strlen(entry->d_name));
		assert_true((fd = openat(dirfd(d), entry->d_name, O_RDONLY)) >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		im->files[im->n].len = (size_t)st.st_size;
		assert_non_null(im->files[im->n].bytes = malloc((size_t)st.st_size + 1));
		assert_int_equal(read(fd, im->files[im->n].bytes, (size_t)st.st_size), st.st_size);
		close(fd);
		im->n++;
	}
	closedir(d);
}

static inline void
image_free(struct image *im)
{
	for (size_t i = 0; i < im->n; i++)
		free(im->files[i].bytes);
	im->n = 0;
}

/* The directory as it was. */
static inline void
image_put(const struct image *im, const char *dir)
{
	char path[400];
	int fd;

	nftw(dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(dir, 0700), 0);
	for (size_t i = 0; i < im->n; i++) {
		assert_true(snprintf(path, sizeof(path), "%s/%s", dir, im->files[i].name) > 0);
		assert_true((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600)) >= 0);
		assert_int_equal(write(fd, im->files[i].bytes, im->files[i].len), im->files[i].len);
		close(fd);
	}
}

#endif /* !TESTS_FAULT_IMAGE_H_ */
