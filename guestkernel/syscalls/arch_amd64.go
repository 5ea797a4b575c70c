package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{"arch_prctl": sysArchPrctl})
}

// sysArchPrctl is arch_prctl(2), which only this architecture has.
func sysArchPrctl(t *task.Task, a Args) (uint64, error) {
	const setGS, setFS, getFS, getGS = 0x1001, 0x1002, 0x1003, 0x1004
	ctx := t.Context()
	switch a[0] {
	case setFS, setGS:
		if a[1] >= mm.UserTop {
			return 0, unix.EPERM
		}
		if a[0] == setFS {
			ctx.SetTLS(a[1])
		} else {
			ctx.Regs().GSBase = a[1]
		}
		return 0, nil
	case getFS:
		return 0, putUint64s(t, a[1], ctx.TLS())
	case getGS:
		return 0, putUint64s(t, a[1], ctx.Regs().GSBase)
	}
	return 0, unix.EINVAL
}
