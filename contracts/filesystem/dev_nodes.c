/*
 * filesystem/dev_nodes: /dev/null, zero, full, random and urandom.
 *
 * Catches: reads that do not end or do, a full device that takes data, random numbers that repeat, seeks that fail.
 */
#include "contract.h"
#include <sys/random.h>

int main(void)
{
	char a[64], b[64];
	int null = must(open("/dev/null", O_RDWR)), zero = must(open("/dev/zero", O_RDWR)), full = must(open("/dev/full", O_RDWR)), random = must(open("/dev/urandom", O_RDONLY));
	observe("null: read %s, write %s, seek %ld", result(read(null, a, 10)), result(write(null, a, 10)), (long)lseek(null, 100, SEEK_SET));
	memset(a, 1, sizeof a);
	observe("zero: read %s, write %s", result(read(zero, a, 64)), result(write(zero, a, 10)));
	int sum = 0;
	for (int i = 0; i < 64; i++)
		sum += a[i];
	observe("zero: sum %d", sum);
	fails(write(full, a, 1), ENOSPC);
	observe("full: read %s", result(read(full, a, 10)));
	observe("urandom: %s and %s, different %d", result(read(random, a, 64)), result(read(random, b, 64)), memcmp(a, b, 64) != 0);
	observe("getrandom: %s, different %d", result(getrandom(a, 64, 0)), memcmp(a, b, 64) != 0);
	fails(getrandom(a, 10, 0x100), EINVAL);
	char *m = must(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0));
	m[5000] = 7;
	observe("zero mapped: %d %d", m[0], m[5000]);
	struct stat st;
	fstat(null, &st);
	observe("null is a character device: %d, mode %03o", S_ISCHR(st.st_mode), st.st_mode & 0777);
	must(ftruncate(must(open("/dev/null", O_WRONLY | O_TRUNC)), 0) == -1 && errno == EINVAL ? 0 : -1);
	return contract_end();
}
