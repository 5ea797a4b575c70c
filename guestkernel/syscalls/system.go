package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

// Release is uname(2)'s release: the Linux whose behaviour programs may expect.
const (
	Release = "6.12.0-ringo"
	Version = "#1 SMP PREEMPT_DYNAMIC Ringo"
)

func init() {
	register(map[string]Handler{
		"uname":          sysUname,
		"sethostname":    sysSethostname,
		"setdomainname":  sysSetdomainname,
		"sysinfo":        sysSysinfo,
		"getrandom":      sysGetrandom,
		"prlimit64":      sysPrlimit,
		"getrlimit":      sysGetrlimit,
		"setrlimit":      sysSetrlimit,
		"io_uring_setup": notImplemented, "io_uring_enter": notImplemented, "io_uring_register": notImplemented,
	})
}

// notImplemented is for calls that programs probe and live without: ENOSYS, and not worth a report.
func notImplemented(*task.Task, Args) (uint64, error) { return 0, unix.ENOSYS }

func sysUname(t *task.Task, a Args) (uint64, error) {
	host, domain := t.UTS().Names()
	var b [6 * 65]byte
	for i, s := range []string{"Linux", host, Release, Version, task.UnameMachine, domain} {
		copy(b[i*65:i*65+64], s)
	}
	return 0, t.CopyOutUser(a[0], b[:])
}

func hostName(t *task.Task, a Args) (string, error) {
	if !t.Creds().HasIn(t.UTS().Owner(), unix.CAP_SYS_ADMIN) {
		return "", unix.EPERM
	}
	if a.Int(1) < 0 || a.Int(1) > 64 {
		return "", unix.EINVAL
	}
	b := make([]byte, a.Int(1))
	if err := t.CopyInUser(a[0], b); err != nil {
		return "", err
	}
	return string(b), nil
}

func sysSethostname(t *task.Task, a Args) (uint64, error) {
	name, err := hostName(t, a)
	if err == nil {
		t.UTS().SetHost(name)
	}
	return 0, err
}

func sysSetdomainname(t *task.Task, a Args) (uint64, error) {
	name, err := hostName(t, a)
	if err == nil {
		t.UTS().SetDomain(name)
	}
	return 0, err
}

// MemoryTotals answers the machine's memory in bytes; the kernel's main sets it.
var MemoryTotals = func() (total, free uint64) { return 0, 0 }

func sysSysinfo(t *task.Task, a Args) (uint64, error) {
	total, free := MemoryTotals()
	var b [112]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(time.Since(t.Kernel().Started())/time.Second))
	le.PutUint64(b[32:], total)
	le.PutUint64(b[40:], free)
	le.PutUint16(b[80:], uint16(min(t.Kernel().Live(), 65535)))
	le.PutUint32(b[104:], 1) // mem_unit
	return 0, t.CopyOutUser(a[0], b[:])
}

func sysGetrandom(t *task.Task, a Args) (uint64, error) {
	if a[2]&^(unix.GRND_NONBLOCK|unix.GRND_RANDOM|unix.GRND_INSECURE) != 0 || a[2]&(unix.GRND_RANDOM|unix.GRND_INSECURE) == unix.GRND_RANDOM|unix.GRND_INSECURE {
		return 0, unix.EINVAL
	}
	n := min(a[1], 1<<25-1)
	var block [256]byte
	for done := uint64(0); done < n; {
		step := min(n-done, uint64(len(block)))
		for i := uint64(0); i < step; i += 8 {
			binary.LittleEndian.PutUint64(block[i:], t.Kernel().Random())
		}
		if err := t.CopyOutUser(a[0]+done, block[:step]); err != nil {
			if done > 0 {
				return done, nil
			}
			return 0, err
		}
		done += step
	}
	return n, nil
}

func sysPrlimit(t *task.Task, a Args) (uint64, error) {
	g := t.Group()
	if pid := a.Int(0); pid != 0 {
		if g = t.Kernel().FindGroup(t.Global(pid)); g == nil {
			return 0, unix.ESRCH
		}
	}
	res := a.Int(1)
	if res < 0 || res >= 16 {
		return 0, unix.EINVAL
	}
	cur, hard := g.Limit(res)
	if a[2] != 0 {
		w, err := getUint64s(t, a[2], 2)
		if err != nil {
			return 0, err
		}
		if err := setLimit(t, g, res, w[0], w[1]); err != nil {
			return 0, err
		}
	}
	if a[3] == 0 {
		return 0, nil
	}
	return 0, putUint64s(t, a[3], cur, hard)
}

func setLimit(t *task.Task, g *task.Group, res int, cur, hard uint64) error {
	if err := g.SetLimit(res, cur, hard, t.Creds().Has(unix.CAP_SYS_RESOURCE)); err != nil {
		return err
	}
	if res == unix.RLIMIT_CPU {
		g.LimitCPUTime()
	}
	if g == t.Group() && (res == unix.RLIMIT_STACK || res == unix.RLIMIT_AS) {
		t.Space().SetLimits(t.Rlimit(unix.RLIMIT_STACK), t.Rlimit(unix.RLIMIT_AS))
	}
	return nil
}

func sysGetrlimit(t *task.Task, a Args) (uint64, error) {
	return sysPrlimit(t, Args{0, a[0], 0, a[1]})
}

func sysSetrlimit(t *task.Task, a Args) (uint64, error) {
	if a[1] == 0 {
		return 0, unix.EFAULT
	}
	return sysPrlimit(t, Args{0, a[0], a[1], 0})
}

func btoi(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
