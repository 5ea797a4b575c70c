/*
 * subsystems/mountinfo: /proc/self/mountinfo and /proc/self/mounts describe the mounts, and poll tells of changes.
 *
 * Catches: roots of bind mounts not told, names with spaces that break the columns, parents that do not exist, options missing, changes not signalled.
 */
#include "contract.h"
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

static char text[1 << 18];

static char *line(const char *file, const char *place)
{
	char want[256];
	int fd = must(open(file, O_RDONLY));
	ssize_t n = 0, r;
	while ((r = must(read(fd, text + n, sizeof text - 1 - n))) > 0)
		n += r;
	close(fd);
	text[n] = 0;
	snprintf(want, sizeof want, " %s ", place);
	char *hit = NULL;
	for (char *l = text; *l;) {
		char *end = strchr(l, '\n');
		*end = 0;
		if (strstr(l, want))
			hit = l;
		l = end + 1;
	}
	return hit;
}

static void show(const char *what, const char *place)
{
	int id, parent, major, minor;
	char root[256], at[256], options[256], rest[512] = "";
	struct stat st;
	char *l = line("/proc/self/mountinfo", place);
	require(l, "no line for %s", place);
	require(sscanf(l, "%d %d %d:%d %255s %255s %255s %511[^\n]", &id, &parent, &major, &minor, root, at, options, rest) == 8, "mountinfo line '%s'", l);
	/* Groups have numbers of the machine's. */
	for (char *p = rest; (p = strpbrk(p, ":")); p++)
		while (p[1] >= '0' && p[1] <= '9')
			memmove(p + 1, p + 2, strlen(p + 1));
	char *wide = strstr(rest, ",inode64"); /* some kernels' default, told */
	if (wide)
		memmove(wide, wide + 8, strlen(wide + 8) + 1);
	must(stat(strcmp(place, "/tmp/mi/with\\040space") ? place : "/tmp/mi/with space", &st));
	observe("%s: root %s, options %s, rest '%s', device %d, parent %d", what, root, options, rest, makedev(major, minor) == st.st_dev, parent != id);
}

int main(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("/tmp/mi", 0755));
	must(mount("source", "/tmp/mi", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755"));
	show("tmpfs", "/tmp/mi");
	must(mkdir("/tmp/mi/sub", 0755));
	must(mkdir("/tmp/mi/bind", 0755));
	must(mkdir("/tmp/mi/with space", 0755));
	must(mount("/tmp/mi/sub", "/tmp/mi/bind", NULL, MS_BIND, NULL));
	show("bind of a folder", "/tmp/mi/bind");
	must(mount("none", "/tmp/mi/bind", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC | MS_NOATIME, NULL));
	show("remounted", "/tmp/mi/bind");
	must(mount("a b", "/tmp/mi/with space", "tmpfs", MS_NOATIME, "mode=700"));
	show("escaped", "/tmp/mi/with\\040space");
	must(mount("none", "/tmp/mi/with space", NULL, MS_SHARED, NULL));
	show("shared", "/tmp/mi/with\\040space");
	must(mount("none", "/tmp/mi/with space", NULL, MS_UNBINDABLE, NULL));
	show("unbindable", "/tmp/mi/with\\040space");
	observe("mounts: %.47s", line("/proc/self/mounts", "/tmp/mi/with\\040space"));
	observe("mounts: %.60s", line("/proc/self/mounts", "/tmp/mi"));
	/* Changes. */
	int fd = must(open("/proc/self/mounts", O_RDONLY));
	struct pollfd p = { fd, POLLPRI, 0 };
	observe("quiet: %s", result(poll(&p, 1, 0)));
	must(umount("/tmp/mi/bind"));
	observe("after umount: %s, %#x", result(poll(&p, 1, 0)), p.revents);
	p.revents = 0;
	observe("once: %s", result(poll(&p, 1, 0)));
	must(umount("/tmp/mi/with space"));
	must(mount("none", "/tmp/mi", NULL, MS_REMOUNT | MS_RDONLY, NULL));
	show("read-only filesystem", "/tmp/mi");
	observe("gone: %d", line("/proc/self/mountinfo", "/tmp/mi/bind") == NULL);
	/* Only what can be reached from the root shows. */
	must(chroot("/tmp/mi"));
	return contract_end();
}
