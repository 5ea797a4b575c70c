/*
 * events/inotify_moves: renames with their cookies, masks that are added or once only, and the end of a watch.
 *
 * Catches: halves of a rename that do not match, events of files that were unlinked, watches that survive their object, events lost without IN_Q_OVERFLOW.
 */
#include "contract.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>

static int in;
static unsigned cookies[16];
static int known;

/* drain shows all events that wait; cookies are numbered as they come. */
static void drain(const char *what)
{
	char b[8192] __attribute__((aligned(8)));
	ssize_t n = read(in, b, sizeof b);
	observe("-- %s%s", what, n < 0 ? ": nothing" : "");
	for (ssize_t at = 0; at < n;) {
		struct inotify_event *e = (void *)(b + at);
		int c = 0;
		if (e->cookie) {
			for (c = 1; c <= known && cookies[c] != e->cookie; c++)
				;
			if (c > known && known < 15)
				cookies[++known] = e->cookie;
		}
		observe("watch %d mask %#x cookie %d '%s'", e->wd, e->mask, c, e->len ? e->name : "");
		at += sizeof *e + e->len;
	}
}

int main(void)
{
	int n;
	in = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	must(mkdir("a", 0755));
	must(mkdir("b", 0755));
	int wa = must(inotify_add_watch(in, "a", IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE))), wb = must(inotify_add_watch(in, "b", IN_MOVE | IN_ONLYDIR));
	observe("numbers %d %d", wa, wb);
	close(must(open("a/f", O_CREAT | O_WRONLY, 0600)));
	must(rename("a/f", "a/g"));
	must(rename("a/g", "b/h"));
	must(mkdir("a/dir", 0755));
	must(rename("a/dir", "b/dir"));
	drain("moves");
	must(rename("b/h", "elsewhere"));
	must(rename("elsewhere", "b/h"));
	drain("out of sight and back");
	close(must(open("a/old", O_CREAT | O_WRONLY, 0600)));
	close(must(open("a/new", O_CREAT | O_WRONLY, 0600)));
	drain("made");
	int wo = must(inotify_add_watch(in, "a/old", IN_DELETE_SELF | IN_ATTRIB | IN_MOVE_SELF));
	must(rename("a/new", "a/old"));
	drain("replaced");
	observe("gone already: %s", ok(inotify_rm_watch(in, wo)));
	/* Masks. */
	int wf = must(inotify_add_watch(in, "a/old", IN_MODIFY | IN_ONESHOT));
	int fd = must(open("a/old", O_WRONLY));
	must(write(fd, "1", 1));
	must(write(fd, "2", 1));
	drain("once");
	fails(inotify_rm_watch(in, wf), EINVAL);
	int same = must(inotify_add_watch(in, "b", IN_CREATE));
	observe("same watch %d", same == wb);
	must(rename("b/h", "b/i"));
	drain("mask replaced: no moves");
	must(inotify_add_watch(in, "b", IN_MOVE | IN_MASK_ADD));
	close(must(open("b/made", O_CREAT | O_WRONLY, 0600)));
	must(rename("b/made", "b/moved"));
	drain("both");
	fails(inotify_add_watch(in, "b", IN_MOVE | IN_MASK_CREATE), EEXIST);
	fails(inotify_add_watch(in, "b", IN_MOVE | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
	fails(inotify_add_watch(in, "b/i", IN_MOVE | IN_ONLYDIR), ENOTDIR);
	fails(inotify_add_watch(in, "b", 0), EINVAL);
	fails(inotify_add_watch(in, "none", IN_MOVE), ENOENT);
	fails(inotify_add_watch(0, "b", IN_MOVE), EINVAL);
	must(symlink("i", "b/link"));
	drain("symlink");
	/* Identical events in a row are one. */
	must(inotify_add_watch(in, "a/old", IN_MODIFY));
	for (int i = 0; i < 5; i++)
		must(write(fd, "x", 1));
	must(ioctl(in, FIONREAD, &n));
	observe("waiting: %d bytes", n);
	drain("merged");
	/* Removing. */
	must(rmdir("b/dir"));
	must(inotify_rm_watch(in, wb));
	drain("watch removed");
	must(unlink("a/old"));
	drain("unlinked, open still");
	close(fd);
	drain("closed");
	must(rmdir("a"));
	drain("folder removed");
	/* Too many. */
	must(mkdir("c", 0755));
	must(inotify_add_watch(in, "c", IN_CREATE));
	int limit = 16384, overflow = 0, events = 0;
	char name[32];
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "c/%d", i);
		close(must(open(name, O_CREAT | O_WRONLY, 0600)));
		must(unlink(name));
	}
	char b[65536] __attribute__((aligned(8)));
	ssize_t r;
	while ((r = read(in, b, sizeof b)) > 0)
		for (ssize_t at = 0; at < r; events++) {
			struct inotify_event *e = (void *)(b + at);
			overflow += !!(e->mask & IN_Q_OVERFLOW);
			at += sizeof *e + e->len;
		}
	observe("of 100: %d, overflow %d, limit %d", events, overflow, limit);
	fails(read(in, b, 8), EAGAIN);
	close(must(open("c/x", O_CREAT | O_WRONLY, 0600)));
	fails(read(in, b, 8), EINVAL);
	return contract_end();
}
