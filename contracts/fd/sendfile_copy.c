/*
 * fd/sendfile_copy: sendfile, copy_file_range, splice and tee move what they say they moved.
 *
 * Catches: offsets that move when they must not, data lost in the pipe between, counts that are wrong.
 */
#include "contract.h"
#include <sys/sendfile.h>

int main(void)
{
	char b[64] = { 0 };
	int in = must(open("in", O_RDWR | O_CREAT, 0600)), out = must(open("out", O_RDWR | O_CREAT, 0600)), p[2], q[2];
	write(in, "abcdefghijklmnopqrstuvwxyz", 26);
	off_t at = 5;
	observe("sendfile with offset: %s, offset %ld, file's %ld", result(sendfile(out, in, &at, 4)), (long)at, (long)lseek(in, 0, SEEK_CUR));
	lseek(in, 20, SEEK_SET);
	observe("sendfile without: %s, file's offset %ld", result(sendfile(out, in, NULL, 100)), (long)lseek(in, 0, SEEK_CUR));
	observe("at the end: %s", result(sendfile(out, in, NULL, 100)));
	pread(out, b, 63, 0);
	observe("out: %s", b);
	fails(sendfile(out, 99, NULL, 1), EBADF);

	loff_t from = 0, to = 2;
	observe("copy_file_range: %s, %ld %ld", result(copy_file_range(in, &from, out, &to, 3, 0)), (long)from, (long)to);
	memset(b, 0, sizeof b);
	pread(out, b, 63, 0);
	observe("out: %s", b);
	fails(copy_file_range(in, &from, out, &to, 3, 1), EINVAL);
	from = 0, to = 5;
	fails(copy_file_range(in, &from, in, &to, 10, 0), EINVAL); /* overlaps */

	must(pipe(p));
	must(pipe(q));
	from = 3;
	observe("splice file to pipe: %ld, offset %ld", (long)must(splice(in, &from, p[1], NULL, 6, 0)), (long)from);
	observe("tee: %ld", (long)must(tee(p[0], q[1], 4, 0)));
	memset(b, 0, sizeof b);
	observe("tee's pipe: %s", result(read(q[0], b, 63)));
	observe("  %s", b);
	to = 0;
	observe("splice pipe to file: %s", result(splice(p[0], NULL, out, &to, 100, 0)));
	memset(b, 0, sizeof b);
	pread(out, b, 6, 0);
	observe("out: %s", b);
	fails(splice(p[0], NULL, q[1], NULL, 5, SPLICE_F_NONBLOCK), EAGAIN);
	fails(splice(in, NULL, out, NULL, 5, 0), EINVAL);
	return contract_end();
}
