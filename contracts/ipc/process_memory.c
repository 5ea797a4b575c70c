/*
 * ipc/process_memory: process_vm_readv and process_vm_writev.
 *
 * Catches: copies to the wrong place, partial copies that are not told, access to strangers' memory.
 */
#include "contract.h"
#include <sys/uio.h>

static char text[64] = "mine";

int main(void)
{
	int go[2];
	char *page = must(mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(munmap(page + 4096, 4096));
	must(pipe(go));
	pid_t p = must(fork());
	if (p == 0) {
		char c;
		strcpy(text, "the child's");
		strcpy(page + 4090, "edge");
		write(go[1], "x", 1);
		raise(SIGSTOP);
		read(go[0], &c, 1);
		_exit(!strcmp(text, "written") ? 0 : 1);
	}
	char c, a[8] = "", b[32] = "";
	waitpid(p, NULL, WUNTRACED);
	read(go[0], &c, 1);
	struct iovec local[2] = { { a, 4 }, { b, 20 } }, remote[2] = { { text, 12 }, { page + 4090, 5 } };
	observe("read: %s", result(process_vm_readv(p, local, 2, remote, 2, 0)));
	observe("  %.4s|%s|%s, mine is %s", a, b, b + 8, text);
	local[0] = (struct iovec){ "written", 8 };
	remote[0] = (struct iovec){ text, 64 };
	observe("written: %s", result(process_vm_writev(p, local, 1, remote, 1, 0)));
	struct iovec big = { b, 32 }, edge[2] = { { page + 4090, 6 }, { page + 4096, 6 } };
	observe("as far as it goes: %s", result(process_vm_readv(p, &big, 1, edge, 2, 0)));
	fails(process_vm_readv(p, &big, 1, edge + 1, 1, 0), EFAULT);
	fails(process_vm_readv(p, &big, 1, edge, 1, 1), EINVAL);
	fails(process_vm_readv(999999, &big, 1, edge, 1, 0), ESRCH);
	fails(process_vm_readv(p, &big, 1025, edge, 1, 0), EINVAL);
	observe("nothing: %s", result(process_vm_readv(p, &big, 0, edge, 1, 0)));
	observe("own memory: %s", result(process_vm_readv(getpid(), &big, 1, &(struct iovec){ text, 5 }, 1, 0)));
	pid_t stranger = must(fork());
	if (stranger == 0) {
		must(setuid(1000));
		fails(process_vm_readv(p, &big, 1, edge, 1, 0), EPERM);
		fails(process_vm_writev(p, &big, 1, edge, 1, 0), EPERM);
		_exit(0);
	}
	observe("stranger: %s", reap(stranger));
	kill(p, SIGCONT);
	write(go[1], "x", 1);
	observe("child: %s", reap(p));
	return contract_end();
}
