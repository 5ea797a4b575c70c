/*
 * subsystems/sysfs_cpu: what C libraries and runtimes read of the processors, and that the sources agree.
 *
 * Catches: counts that differ between sysconf, affinity, /proc and /sys, lists that cannot be parsed, files that can be written.
 */
#include "contract.h"
#include <sched.h>
#include <sys/statfs.h>

static char b[65536];

static const char *get(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return errno_name(errno);
	ssize_t n = 0, r;
	while ((r = read(fd, b + n, sizeof b - 1 - n)) > 0)
		n += r;
	close(fd);
	b[n] = 0;
	return b;
}

/* count is how many numbers a list like 0-3,5 has. */
static int count(const char *list)
{
	int n = 0, lo, hi, used;
	while (sscanf(list, "%d%n", &lo, &used) == 1) {
		list += used;
		hi = lo;
		if (*list == '-' && sscanf(list + 1, "%d%n", &hi, &used) == 1)
			list += used + 1;
		n += hi - lo + 1;
		if (*list++ != ',')
			break;
	}
	return n;
}

static int times(const char *text, const char *what)
{
	int n = 0;
	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

int main(void)
{
	cpu_set_t set;
	struct statfs f;
	must(statfs("/sys", &f));
	observe("type %#lx", (unsigned long)f.f_type);
	must(statfs("/proc", &f));
	observe("type %#lx", (unsigned long)f.f_type);
	int online = count(get("/sys/devices/system/cpu/online"));
	must(sched_getaffinity(0, sizeof set, &set));
	observe("online: sysconf %d, affinity %d", online == sysconf(_SC_NPROCESSORS_ONLN), CPU_COUNT(&set) <= online);
	observe("present: %d, possible: %d", count(get("/sys/devices/system/cpu/present")) >= online, count(get("/sys/devices/system/cpu/possible")) >= online);
	observe("configured: %d", sysconf(_SC_NPROCESSORS_CONF) >= online);
	observe("cpuinfo: %d", times(get("/proc/cpuinfo"), "processor\t: ") == online);
	get("/proc/stat");
	observe("stat: %d, total %d, btime %d, processes %d", times(b, "\ncpu") == online, !strncmp(b, "cpu  ", 5), strstr(b, "\nbtime ") != NULL, strstr(b, "\nprocesses ") != NULL);
	observe("first processor: core %s, package %d", strtok((char *)get("/sys/devices/system/cpu/cpu0/topology/core_id"), "\n"), atoi(get("/sys/devices/system/cpu/cpu0/topology/physical_package_id")) >= 0);
	fails(open("/sys/devices/system/cpu/cpu9999", O_RDONLY), ENOENT);
	struct stat st;
	must(stat("/sys/devices/system/cpu/online", &st));
	observe("an attribute: mode %o, size %ld", st.st_mode, (long)st.st_size);
	unsigned long total = 0, free_ = 0, available = 0;
	get("/proc/meminfo");
	sscanf(b, "MemTotal: %lu kB MemFree: %lu kB MemAvailable: %lu kB", &total, &free_, &available);
	observe("meminfo: total %d, free %d, available %d, pages %d", total > 0, free_ > 0 && free_ < total, available <= total, labs((long)(sysconf(_SC_PHYS_PAGES) * (sysconf(_SC_PAGESIZE) / 1024)) - (long)total) < (long)total / 100 + 1);
	double up = 0, idle = 0;
	sscanf(get("/proc/uptime"), "%lf %lf", &up, &idle);
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	observe("uptime is the boot clock's: %d", t.tv_sec - (long)up <= 2 && t.tv_sec - (long)up >= -1);
	double l[3];
	int running, tasks, last;
	observe("loadavg: %d", sscanf(get("/proc/loadavg"), "%lf %lf %lf %d/%d %d", l, l + 1, l + 2, &running, &tasks, &last));
	observe("running of tasks: %d", running >= 1 && running <= tasks);
	return contract_end();
}
