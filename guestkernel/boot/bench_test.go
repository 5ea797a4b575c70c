//go:build amd64

package boot

import (
	"fmt"
	"testing"
	"unsafe"

	"ringo/guestkernel/task"
	"ringo/guestkernel/trace"
	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// BenchmarkSyscall is what the kernel's Go code costs for a system call, without traps: the host CPU repeats the call without user mode. Use
// -cpuprofile to see where the time goes: `make pgo` does, for the compiler.
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
			benchmarkSyscall(b, c.setup, c.call)
		})
		b.Run(c.name+"/recorded", func(b *testing.B) {
			benchmarkSyscall(b, c.setup, c.call, recorded)
		})
	}
}

func benchmarkSyscall(b *testing.B, setup, call string, options ...func(*task.Config)) {
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
int main(void) { buf[0] = buf[4096] = 1; %s syscall(%d, %d); return %s < 0; }`, setup, repeatCall, b.N, call)
	g := newGuest(b, map[string][]byte{"bin/p": compile(b, "gcc", src)}, options...)
	b.ReportAllocs()
	b.ResetTimer()
	if _, _, e := g.run("", "/bin/p"); e.Code != 0 {
		b.Fatalf("%+v", e)
	}
}

// recorded gives a kernel the registry of its tasks and the flight recorder, turned on.
func recorded(c *task.Config) {
	rings := &tracewindow.Rings{}
	words := make([]uint64, tracewindow.SizeFor(1, 1<<12)/8)
	if !rings.Init(uintptr(unsafe.Pointer(&words[0])), uint64(len(words)*8), 1, &tracewindow.Header{}) {
		panic("no room for the rings")
	}
	var now uint64
	registry, err := trace.Open(trace.Config{
		Window: make([]byte, debugwindow.MinSize), CPUs: 2, Counter: func() uint64 { now++; return now }, CPU: func() int { return 0 }, Bell: func(uint32) {}, Rings: rings,
	})
	if err != nil {
		panic(err)
	}
	c.Registry = registry
	ringMemory = words
}

// ringMemory keeps the rings, to which only a number points.
var ringMemory []uint64
