/*
 * fd/pipes: capacity, atomic writes, ends that close, O_NONBLOCK.
 *
 * Catches: writes up to PIPE_BUF that are torn, end of file before the last writer closed, EAGAIN with half a small write.
 */
#include "contract.h"
#include <sys/ioctl.h>

int main(void)
{
	int p[2], n;
	static char block[65536], in[65536];
	must(pipe2(p, O_NONBLOCK));
	observe("flags: nonblock %d %d, modes %d %d", !!(fcntl(p[0], F_GETFL) & O_NONBLOCK), !!(fcntl(p[1], F_GETFL) & O_NONBLOCK), fcntl(p[0], F_GETFL) & O_ACCMODE,
		fcntl(p[1], F_GETFL) & O_ACCMODE);
	fails(read(p[0], in, 1), EAGAIN);
	observe("capacity %s; fill: %s", result(fcntl(p[1], F_GETPIPE_SZ)), result(write(p[1], block, sizeof block)));
	fails(write(p[1], block, 1), EAGAIN);
	must(ioctl(p[0], FIONREAD, &n));
	observe("FIONREAD: %d", n);
	observe("read 4096: %s", result(read(p[0], in, 4096)));
	fails(write(p[1], block, 4096 + 1) == 4096 ? (errno = EAGAIN, -1) : 0, EAGAIN); /* more than PIPE_BUF may be cut */
	fails(write(p[1], block, 100), EAGAIN);
	while (read(p[0], in, sizeof in) > 0)
		;
	fails(read(p[1], in, 1), EBADF);
	fails(write(p[0], in, 1), EBADF);
	fails(pipe2(p, 0x4), EINVAL);
	observe("a smaller pipe: %s", result(fcntl(p[1], F_SETPIPE_SZ, 4096)));
	observe("holds: %s", result(write(p[1], block, 8192)));
	close(p[0]), close(p[1]);

	/* Small writes of several processes stay whole. */
	must(pipe(p));
	for (int c = 0; c < 4; c++)
		if (must(fork()) == 0) {
			char mine[512];
			memset(mine, 'a' + c, sizeof mine);
			close(p[0]);
			for (int i = 0; i < 100; i++)
				if (write(p[1], mine, sizeof mine) != sizeof mine)
					_exit(1);
			_exit(0);
		}
	close(p[1]);
	int counts[4] = { 0 }, torn = 0, have = 0;
	char rec[512];
	for (;;) {
		ssize_t r = read(p[0], rec + have, sizeof rec - have);
		if (r <= 0)
			break;
		have += r;
		if (have == sizeof rec) {
			for (unsigned i = 1; i < sizeof rec; i++)
				torn += rec[i] != rec[0];
			counts[rec[0] - 'a']++;
			have = 0;
		}
	}
	observe("records: %d %d %d %d, torn bytes %d, rest %d", counts[0], counts[1], counts[2], counts[3], torn, have);
	require(!torn && !have, "writes of at most PIPE_BUF bytes are atomic");
	while (wait(NULL) > 0)
		;
	observe("end of file: %s", result(read(p[0], rec, 1)));
	return contract_end();
}
