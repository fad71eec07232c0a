/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - feeds every file of a corpus folder to one fuzz target, without libFuzzer.
 *
 * usage: replay FOLDER RESULTS.xml. A crash is a crash; whoever calls this sees the signal. The
 * result file says how many inputs were replayed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t len;

	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISREG(st.st_mode)) {
		fclose(f);
		return 0;
	}
	/* exactly the size of the input, so that ASan sees the first byte too many */
	data = malloc((size_t)st.st_size + !st.st_size);
	len = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 1;
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 3 ? opendir(argv[1]) : NULL;
	struct dirent *entry;
	char path[4096];
	int nr = 0;
	FILE *xml;

	if (!dir) {
		fprintf(stderr, "usage: replay FOLDER RESULTS.xml\n");
		return 2;
	}
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		nr += replay(path);
	}
	closedir(dir);
	xml = fopen(argv[2], "w");
	if (!xml) {
		perror(argv[2]);
		return 1;
	}
	fprintf(xml,
		"<testsuite name=\"%s\"><testcase classname=\"fuzz\" name=\"replay %d inputs\"/></testsuite>\n",
		argv[1], nr);
	return fclose(xml) || nr == 0;
}
