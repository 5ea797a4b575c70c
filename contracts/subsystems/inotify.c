/*
 * subsystems/inotify: events of a folder and a file, in order.
 *
 * Catches: events missing, cookies of renames that differ, watches that survive what they watched.
 */
#include "contract.h"
#include <sys/inotify.h>

static int fd;

static void drain(const char *what)
{
	char b[4096] __attribute__((aligned(8)));
	ssize_t n;
	uint32_t cookie = 0;
	observe("%s:", what);
	while ((n = read(fd, b, sizeof b)) > 0)
		for (char *p = b; p < b + n;) {
			struct inotify_event *e = (void *)p;
			observe("  watch %d mask %#x name %s cookie %s", e->wd, e->mask, e->len ? e->name : "-", !e->cookie ? "none" : e->cookie == cookie ? "same" : "new");
			cookie = e->cookie;
			p += sizeof *e + e->len;
		}
}

int main(void)
{
	must(mkdir("d", 0755));
	fd = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	int w = must(inotify_add_watch(fd, "d", IN_ALL_EVENTS));
	observe("watch: %d, same again: %d", w, inotify_add_watch(fd, "d", IN_ALL_EVENTS));
	int f = must(open("d/f", O_CREAT | O_RDWR, 0600));
	write(f, "x", 1);
	close(f);
	drain("created, written, closed");
	must(rename("d/f", "d/g"));
	drain("renamed");
	must(chmod("d/g", 0640));
	must(unlink("d/g"));
	drain("mode, removed");
	must(rmdir("d"));
	drain("the folder itself");
	fails(inotify_rm_watch(fd, w), EINVAL);
	fails(inotify_add_watch(fd, "no", IN_ALL_EVENTS), ENOENT);
	char small[4];
	close(must(open("g", O_CREAT | O_WRONLY, 0600)));
	must(inotify_add_watch(fd, "g", IN_ATTRIB | IN_ONESHOT));
	chmod("g", 0600);
	fails(read(fd, small, 4), EINVAL);
	drain("one shot");
	chmod("g", 0601);
	drain("again");
	return contract_end();
}
