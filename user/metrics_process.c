/* SPDX-License-Identifier: MIT */
#include "metrics_process.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define FD_FOLDER "/proc/self/fd"

/* One sample without labels. */
static void gauge(struct metrics_text *t, const char *name, const char *help, uint64_t value)
{
	metric_family(t, name, METRIC_GAUGE, help);
	metric_begin(t, "");
	metric_end(t, value);
}

/* Of the fields of /proc/self/stat, by their numbers in proc(5). */
struct process_stat {
	unsigned long long start_ticks, /* 22, since boot */
		virtual_bytes,          /* 23 */
		resident_pages;         /* 24 */
};

static bool read_stat(struct process_stat *s)
{
	FILE *file = fopen("/proc/self/stat", "re");
	char text[1024] = "";
	const char *rest;

	if (!file)
		return false;
	rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL; /* ends field 2 */
	fclose(file);
	return rest &&
	       sscanf(rest,
		      ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		      "%*s %*s %llu %llu %llu",
		      &s->start_ticks, &s->virtual_bytes, &s->resident_pages) == 3;
}

/* Linux 6.2 and newer say it as the folder's size; to count is a system call for each hundred. */
static uint64_t count_fds(void)
{
	struct stat st;
	uint64_t n = 0;
	DIR *folder;

	if (!stat(FD_FOLDER, &st) && st.st_size > 0)
		return (uint64_t)st.st_size;
	folder = opendir(FD_FOLDER);
	if (!folder)
		return 0;
	for (const struct dirent *e; (e = readdir(folder));)
		n += e->d_name[0] != '.';
	closedir(folder);
	return n - 1; /* the folder itself */
}

static void put_start_time(struct metrics_text *t, const struct process_stat *s)
{
	uint64_t since_boot = s->start_ticks * NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t boot = clock_of_ns(CLOCK_REALTIME) - clock_of_ns(CLOCK_BOOTTIME);

	metric_family(t, "process_start_time_seconds", METRIC_GAUGE,
		      "Start of the process, in seconds since the Unix epoch.");
	metric_begin(t, "");
	/* Both clocks are read anew each time: whole seconds keep their jitter out. */
	metric_end(t, (boot + since_boot) / NSEC_PER_SEC);
}

void metrics_process(struct metrics_text *t)
{
	struct process_stat s;
	struct rlimit limit;

	metric_family(t, "process_cpu_seconds_total", METRIC_COUNTER,
		      "Processor time of the process, user and system.");
	metric_begin(t, "");
	metric_end_seconds(t, clock_of_ns(CLOCK_PROCESS_CPUTIME_ID));
	gauge(t, "process_open_fds", "Open file descriptors.", count_fds());
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		gauge(t, "process_max_fds", "Most file descriptors that may be open.",
		      limit.rlim_cur);
	if (!read_stat(&s))
		return;
	put_start_time(t, &s);
	gauge(t, "process_virtual_memory_bytes", "Size of the address space.", s.virtual_bytes);
	gauge(t, "process_resident_memory_bytes", "Resident memory.",
	      s.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE));
}
