/*
 * subsystems/mount_propagation: what is mounted in one namespace and seen in another: shared, slave, private, unbindable.
 *
 * Catches: mounts that spread from private ones, slaves that send back, shared mounts that do not spread, unmounting that stays on one side.
 */
#include "contract.h"
#include <sched.h>
#include <sys/mount.h>

static int ask[2], answer[2];

static int there(const char *path) { return access(path, F_OK) == 0; }

static void mounted(const char *at)
{
	char file[64];
	must(mount("none", at, "tmpfs", 0, NULL));
	snprintf(file, sizeof file, "%s/file", at);
	close(must(open(file, O_CREAT | O_WRONLY, 0600)));
}

/* turn lets the other process go on and waits for it. */
static void turn(int to, int from)
{
	char c;
	must(write(to, "t", 1));
	must(read(from, &c, 1));
}

int main(void)
{
	char c;
	must(pipe(ask));
	must(pipe(answer));
	must(unshare(CLONE_NEWNS));
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir("base", 0755));
	must(mount("base", "base", "tmpfs", 0, NULL));
	static const char *const kinds[] = { "shared", "slave", "private" };
	char path[64];
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "base/%s", kinds[i]);
		must(mkdir(path, 0755));
		must(mount(kinds[i], path, "tmpfs", 0, NULL));
		snprintf(path, sizeof path, "base/%s/here", kinds[i]);
		must(mkdir(path, 0755));
		snprintf(path, sizeof path, "base/%s/away", kinds[i]);
		must(mkdir(path, 0755));
	}
	must(mount("none", "base/shared", NULL, MS_SHARED, NULL));
	must(mount("none", "base/slave", NULL, MS_SHARED, NULL));
	pid_t p = must(fork());
	if (p == 0) {
		must(unshare(CLONE_NEWNS));
		must(mount("none", "base/slave", NULL, MS_SLAVE, NULL));
		turn(answer[1], ask[0]);
		for (int i = 0; i < 3; i++) {
			snprintf(path, sizeof path, "base/%s/here/file", kinds[i]);
			observe("%s: mounted outside, seen inside %d", kinds[i], there(path));
			snprintf(path, sizeof path, "base/%s/away", kinds[i]);
			mounted(path);
		}
		turn(answer[1], ask[0]);
		snprintf(path, sizeof path, "base/shared/here/file");
		observe("unmounted outside, seen inside %d", there(path));
		observe("unmount inside: %s", ok(umount("base/shared/away")));
		must(write(answer[1], "t", 1));
		_exit(0);
	}
	must(read(answer[0], &c, 1));
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "base/%s/here", kinds[i]);
		mounted(path);
	}
	turn(ask[1], answer[0]);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "base/%s/away/file", kinds[i]);
		observe("%s: mounted inside, seen outside %d", kinds[i], there(path));
	}
	must(umount("base/shared/here"));
	turn(ask[1], answer[0]);
	observe("unmounted inside, seen outside %d", there("base/shared/away/file"));
	observe("%s", reap(p));
	/* Within one namespace: a bind of a shared mount is its peer. */
	must(mkdir("peer", 0755));
	must(mount("base/shared", "peer", NULL, MS_BIND, NULL));
	mounted("base/shared/here");
	observe("peer sees it %d", there("peer/here/file"));
	mounted("peer/away");
	observe("and is seen %d", there("base/shared/away/file"));
	must(mount("none", "peer", NULL, MS_PRIVATE, NULL));
	must(umount("base/shared/here"));
	observe("private now: still there %d", there("peer/here/file"));
	/* Unbindable. */
	must(mount("none", "base/private", NULL, MS_UNBINDABLE, NULL));
	must(mkdir("no", 0755));
	fails(mount("base/private", "no", NULL, MS_BIND, NULL), EINVAL);
	must(mount("base", "no", NULL, MS_BIND | MS_REC, NULL));
	observe("left out of a recursive bind: private %d, shared %d", there("no/private/here"), there("no/shared/away"));
	fails(mount("none", "base/private", NULL, MS_SHARED | MS_PRIVATE, NULL), EINVAL);
	fails(mount("none", "base/private/here/x", NULL, MS_PRIVATE, NULL), ENOENT);
	fails(mount("none", "base/private/away", NULL, MS_PRIVATE, NULL), EINVAL);
	return contract_end();
}
