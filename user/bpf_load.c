/* SPDX-License-Identifier: MIT */
#include "bpf_load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "log.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define FOLDERS_MAX 8 /* that are made, one in the other */

static int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
	printf_like(2, 0);
static int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[512];
	int n;

	(void)level; /* what it calls a warning may be a probe of its own that was to fail */
	if (!log_enabled(LOG_LEVEL_DEBUG))
		return 0;
	n = vsnprintf(line, sizeof(line), fmt, args);
	if (n > 0)
		log_debug("%.*s", (int)strcspn(line, "\n"), line);
	return n;
}

void bpf_load_begin(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	libbpf_set_print(log_libbpf);
	/* Kernels before 5.11 count BPF memory against it. */
	if (setrlimit(RLIMIT_MEMLOCK, &all))
		log_debug("RLIMIT_MEMLOCK stays as it is: %m");
}

void bpf_load_explain(int error, const char *first_kernel, char *why, size_t size)
{
	if (access(BTF_PATH, R_OK))
		snprintf(why, size, "the kernel has no BTF (%s): it needs CONFIG_DEBUG_INFO_BTF",
			 BTF_PATH);
	else if (error == EPERM)
		snprintf(why, size,
			 "BPF is not permitted: it needs root, or CAP_BPF, CAP_NET_ADMIN and "
			 "CAP_PERFMON");
	else if (error == ENOSYS)
		snprintf(why, size, "the kernel has no bpf(2)");
	else if (error == ENOMEM)
		snprintf(why, size, "no memory for the BPF maps");
	else
		snprintf(why, size,
			 "the kernel refuses the BPF program (%s); it may be too old: %s is the "
			 "first that can have it; --log-level debug shows what it says",
			 strerror(error), first_kernel);
}

static int check_is_bpffs(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return -errno;
	return fs.f_type == BPF_FS_MAGIC ? 0 : -ENODEV;
}

/* The nearest folder that is there says whether this is a bpffs; those below it are made. */
int bpf_load_folder(const char *path)
{
	char folder[PATH_MAX], *ends[FOLDERS_MAX];
	int n = 0, rc;

	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return -ENAMETOOLONG;
	while ((rc = check_is_bpffs(folder)) == -ENOENT && n < FOLDERS_MAX) {
		ends[n] = strrchr(folder, '/');
		if (!ends[n] || ends[n] == folder)
			break;
		*ends[n++] = '\0';
	}
	while (!rc && n > 0) {
		*ends[--n] = '/';
		if (mkdir(folder, 0700) && errno != EEXIST)
			rc = -errno;
	}
	return rc;
}

/* A map's own account of itself: "memlock" in its fdinfo, which is 0 for a kernel that does not
 * say. */
static uint64_t map_memory(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return bytes;
}

uint64_t bpf_load_memory(const struct bpf_object *object)
{
	struct bpf_map *map;
	uint64_t sum = 0;

	bpf_object__for_each_map(map, object) sum += map_memory(bpf_map__fd(map));
	return sum;
}

int bpf_load_counters(int map_fd, uint32_t n, uint64_t *out)
{
	int cpus = libbpf_num_possible_cpus(), rc = 0;
	uint64_t *values;

	if (cpus < 0)
		return cpus;
	values = xcalloc((size_t)cpus, sizeof(*values));
	for (uint32_t i = 0; !rc && i < n; i++) {
		rc = bpf_map_lookup_elem(map_fd, &i, values);
		out[i] = 0;
		for (int cpu = 0; !rc && cpu < cpus; cpu++)
			out[i] += values[cpu];
	}
	free(values);
	return rc;
}

size_t bpf_load_count_keys(int map_fd)
{
	uint64_t key, next;
	size_t n = 0;

	for (int rc = bpf_map_get_next_key(map_fd, NULL, &next); !rc; n++) {
		key = next;
		rc = bpf_map_get_next_key(map_fd, &key, &next);
	}
	return n;
}
