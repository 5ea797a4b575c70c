/*
 * subsystems/capabilities: sets of capabilities and what changes them.
 *
 * Catches: a process that gains what it gave up, capabilities that survive setuid, or that keepcaps does not keep, ambient ones lost at execve, a bounding
 * set that does not bound.
 */
#include "contract.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static unsigned long long all; /* what the contract began with: some machines withhold one or the other */

struct sets {
	unsigned long long e, p, i;
};

static long capset_to(struct sets s)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { s.e, s.p, s.i }, { s.e >> 32, s.p >> 32, s.i >> 32 } };
	return syscall(SYS_capset, &h, d);
}

static struct sets sets(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	must(syscall(SYS_capget, &h, d));
	return (struct sets){ d[0].effective | (unsigned long long)d[1].effective << 32, d[0].permitted | (unsigned long long)d[1].permitted << 32,
			      d[0].inheritable | (unsigned long long)d[1].inheritable << 32 };
}

/* few renders a set of a few capabilities, or what is missing of all. */
static const char *few(unsigned long long s)
{
	static char b[4][64];
	static int next;
	char *p = b[next++ & 3];
	if (s == all)
		return "all";
	if (__builtin_popcountll(s) > 30)
		snprintf(p, 64, "all but %#llx", all & ~s);
	else
		snprintf(p, 64, "%#llx", s);
	return p;
}

static void show(const char *when)
{
	struct sets s = sets();
	observe("%s: effective %s, permitted %s, inheritable %s", when, few(s.e), few(s.p), few(s.i));
}

static int child(void (*run)(void))
{
	pid_t p = must(fork());
	if (p == 0) {
		run();
		_exit(0);
	}
	observe("%s", reap(p));
	return 0;
}

static void drop_all(void)
{
	must(setuid(1000));
	show("setuid(1000)");
	fails(setuid(0), EPERM);
	fails(capset_to((struct sets){ 1, 1, 0 }), EPERM);
}

static void effective_only(void)
{
	must(seteuid(1000));
	show("seteuid(1000)");
	must(seteuid(0));
	show("seteuid(0)");
}

static void keep(void)
{
	fails(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
	must(prctl(PR_SET_KEEPCAPS, 1));
	observe("keepcaps %d, securebits %#x", prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS));
	must(setresuid(1000, 1000, 1000));
	show("kept");
	must(capset_to((struct sets){ 1 << CAP_CHOWN, 1 << CAP_CHOWN | 1 << CAP_KILL, 1 << CAP_CHOWN }));
	show("fewer");
	fails(capset_to((struct sets){ 1 << CAP_SETUID, 1 << CAP_CHOWN, 0 }), EPERM);
	fails(capset_to((struct sets){ 0, 1 << CAP_SETUID, 0 }), EPERM);
	fails(capset_to((struct sets){ 0, 1 << CAP_CHOWN, 1 << CAP_SETUID }), EPERM);
	observe("chown with CAP_CHOWN: %s", ok(chown("owned", 7, 7)));
	/* Ambient: through execve of an ordinary program. */
	fails(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
	observe("ambient: %d %d", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0));
	fails(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 99, 0, 0), EINVAL);
	must(execl("/proc/self/exe", "capabilities", "after ambient", NULL));
}

static void bound(void)
{
	observe("in the bounding set: %d", prctl(PR_CAPBSET_READ, CAP_SYS_TIME));
	must(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME));
	observe("dropped: %d", prctl(PR_CAPBSET_READ, CAP_SYS_TIME));
	observe("held still: %d", !!(sets().e >> CAP_SYS_TIME & 1));
	fails(prctl(PR_CAPBSET_READ, 99), EINVAL);
	fails(prctl(PR_CAPBSET_DROP, 99), EINVAL);
	fails(capset_to((struct sets){ all, all, 1ULL << CAP_SYS_TIME }), EPERM);
	must(execl("/proc/self/exe", "capabilities", "after bound", NULL));
}

static void no_root(void)
{
	must(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED));
	fails(prctl(PR_SET_SECUREBITS, 0), EPERM);
	fails(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT), EPERM);
	must(execl("/proc/self/exe", "capabilities", "root without privilege", NULL));
}

static void no_fixup(void)
{
	must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
	must(setuid(1000));
	show("no fixup, setuid(1000)");
}

static void fsuid(void)
{
	setfsuid(1000);
	show("setfsuid(1000)");
	setfsuid(0);
	show("setfsuid(0)");
}

static void plain(void)
{
	must(setgid(1000));
	must(setuid(1000));
	must(execl("/proc/self/exe", "capabilities", "plain user", NULL));
}

int main(int argc, char **argv)
{
	all = argc > 1 ? strtoull(getenv("ALL"), NULL, 16) : sets().p;
	if (argc > 1) {
		show(argv[1]);
		if (!strcmp(argv[1], "after ambient"))
			observe("ambient: %d, keepcaps %d", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), prctl(PR_GET_KEEPCAPS));
		return 0;
	}
	char text[32];
	snprintf(text, sizeof text, "%llx", all);
	setenv("ALL", text, 1);
	close(must(open("owned", O_CREAT | O_WRONLY, 0644)));
	show("at first");
	child(drop_all);
	child(effective_only);
	child(keep);
	child(bound);
	child(no_root);
	child(no_fixup);
	child(fsuid);
	child(plain);
	struct __user_cap_header_struct h = { 0x1234, 0 };
	observe("unknown version: %s, told %#x", result(syscall(SYS_capget, &h, NULL)), h.version);
	h.version = _LINUX_CAPABILITY_VERSION_3, h.pid = 99999999;
	struct __user_cap_data_struct d[2];
	fails(syscall(SYS_capget, &h, d), ESRCH);
	h.pid = getppid();
	fails(syscall(SYS_capset, &h, d), EPERM);
	h.pid = -1;
	fails(syscall(SYS_capget, &h, d), EINVAL);
	return contract_end();
}
