/*
 * filesystem/openat2_resolve: the restrictions of openat2 on how a path may lead.
 *
 * Catches: ways out of a folder by "..", absolute links and magic links, mounts that are crossed, unknown flags and sizes accepted.
 */
#include "contract.h"
#include <linux/openat2.h>

static long open2(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how h = { .flags = flags, .resolve = resolve };
	return syscall(SYS_openat2, dir, path, &h, sizeof h);
}

int main(void)
{
	must(mkdir("root", 0755));
	must(mkdir("root/dir", 0755));
	close(must(open("root/dir/file", O_CREAT | O_WRONLY, 0644)));
	close(must(open("outside", O_CREAT | O_WRONLY, 0644)));
	must(symlink("dir/file", "root/inner"));
	must(symlink("../outside", "root/up"));
	must(symlink("/dir/file", "root/absolute"));
	must(symlink("loop", "root/loop"));
	int r = must(open("root", O_RDONLY | O_DIRECTORY));
	static const struct {
		const char *name;
		uint64_t flag;
	} how[] = { { "none", 0 }, { "beneath", RESOLVE_BENEATH }, { "in root", RESOLVE_IN_ROOT }, { "no symlinks", RESOLVE_NO_SYMLINKS }, { "no magic links", RESOLVE_NO_MAGICLINKS }, { "no xdev", RESOLVE_NO_XDEV } };
	static const char *const paths[] = { "dir/file", "inner", "up", "absolute", "dir/../dir/file", "../root/dir/file", "dir/../../outside", "/dir/file", "/proc/self/exe", "loop", "../../../../../../proc/self/stat" };
	for (unsigned i = 0; i < sizeof how / sizeof *how; i++)
		for (unsigned j = 0; j < sizeof paths / sizeof *paths; j++) {
			if (how[i].flag == RESOLVE_NO_XDEV && j == 3)
				continue; /* whether the root is another mount is the machine's business */
			long fd = open2(r, paths[j], O_RDONLY, how[i].flag);
			observe("%s: %s: %s", how[i].name, paths[j], ok(fd));
			if (fd >= 0)
				close(fd);
		}
	fails(open2(r, "dir/file", O_RDONLY, 0x1000), EINVAL);
	fails(open2(r, "dir/file", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
	fails(open2(r, "dir/file", 1ULL << 40, 0), EINVAL);
	fails(open2(999, "dir/file", O_RDONLY, 0), EBADF);
	struct {
		struct open_how h;
		uint64_t more;
	} big = { { O_RDONLY, 0, 0 }, 0 };
	observe("a larger structure of zeros: %s", ok(syscall(SYS_openat2, r, "dir/file", &big, sizeof big)));
	big.more = 1;
	fails(syscall(SYS_openat2, r, "dir/file", &big, sizeof big), E2BIG);
	fails(syscall(SYS_openat2, r, "dir/file", &big, 8), EINVAL);
	big.h.mode = 0644;
	fails(syscall(SYS_openat2, r, "dir/file", &big.h, sizeof big.h), EINVAL);
	big.h.flags = O_CREAT | O_WRONLY, big.h.mode = 010000;
	fails(syscall(SYS_openat2, r, "new", &big.h, sizeof big.h), EINVAL);
	big.h.mode = 0604;
	observe("created: %s", ok(syscall(SYS_openat2, r, "new", &big.h, sizeof big.h)));
	struct stat st;
	must(stat("root/new", &st));
	observe("mode %o", st.st_mode);
	fails(open2(r, "in/none", O_CREAT | O_WRONLY, RESOLVE_BENEATH), ENOENT);
	big.h.resolve = RESOLVE_BENEATH;
	fails(syscall(SYS_openat2, r, "../escaped", &big.h, sizeof big.h), EXDEV);
	observe("nothing escaped: %s", ok(access("escaped", F_OK)));
	return contract_end();
}
