//go:build amd64

package boot

import (
	"fmt"
	"testing"
)

// BenchmarkSyscall is what the kernel's Go code costs for a system call, without traps: the host CPU repeats the call without user mode. Use
// -cpuprofile to see where the time goes.
func BenchmarkSyscall(b *testing.B) {
	for _, c := range []struct{ name, setup, call string }{
		{"getpid", "", "syscall(SYS_getpid)"},
		{"rt_sigprocmask", "sigset_t s; sigemptyset(&s);", "syscall(SYS_rt_sigprocmask, 0, &s, 0, 8)"},
		{"rt_sigaction", "long s[4] = { 1 };", "syscall(SYS_rt_sigaction, 12, s, 0, 8)"},
		{"write_null", "int f = open(\"/dev/null\", 1);", "syscall(SYS_write, f, buf, 1)"},
		{"writev_null", "int f = open(\"/dev/null\", 1); struct iovec v[8]; for (int i = 0; i < 8; i++) v[i].iov_base = buf, v[i].iov_len = 64;", "syscall(SYS_writev, f, v, 8)"},
		{"read_zero", "int f = open(\"/dev/zero\", 0);", "syscall(SYS_read, f, buf, 4096)"},
		{"lseek", "int f = open(\"/bin/p\", 0);", "syscall(SYS_lseek, f, 0, 0)"},
		{"select", "int p[2]; pipe(p); fd_set s; FD_ZERO(&s); FD_SET(p[1], &s);", "syscall(SYS_select, p[1] + 1, 0, &s, 0, 0)"},
		{"clock_gettime", "", "syscall(SYS_clock_gettime, 1, buf)"},
		{"fstat", "int f = open(\"/bin/p\", 0);", "syscall(SYS_fstat, f, buf)"},
		{"stat", "", "syscall(SYS_stat, \"/bin/p\", buf)"},
		{"pread", "int f = open(\"/bin/p\", 0);", "syscall(SYS_pread64, f, buf, 4096, 0)"},
		{"epoll_wait", "int p[2]; pipe(p); int e = epoll_create1(0); struct epoll_event ev = { .events = EPOLLOUT }; epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev);", "syscall(SYS_epoll_wait, e, buf, 1, -1)"},
		{"poll", "int p[2]; pipe(p); struct pollfd v[64]; for (int i = 0; i < 64; i++) v[i].fd = p[1], v[i].events = POLLOUT;", "syscall(SYS_poll, v, 64, -1)"},
		{"dup", "", "syscall(SYS_dup2, 1, 9)"},
		{"futex_wake", "", "syscall(SYS_futex, buf, 129, 1, 0, 0, 0)"},
		{"sched_yield", "", "syscall(SYS_sched_yield)"},
		{"mprotect", "void *m = mmap(0, 65536, 3, 0x22, -1, 0);", "syscall(SYS_mprotect, m, 4096, 3)"},
	} {
		b.Run(c.name, func(b *testing.B) {
			src := fmt.Sprintf(`#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
static char buf[65536];
int main(void) { buf[0] = buf[4096] = 1; %s syscall(%d, %d); return %s < 0; }`, c.setup, repeatCall, b.N, c.call)
			g := newGuest(b, map[string][]byte{"bin/p": compile(b, "gcc", src)})
			b.ReportAllocs()
			b.ResetTimer()
			if _, _, e := g.run("", "/bin/p"); e.Code != 0 {
				b.Fatalf("%+v", e)
			}
		})
	}
}
