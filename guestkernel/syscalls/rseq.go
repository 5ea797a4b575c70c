package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"rseq":       func(t *task.Task, a Args) (uint64, error) { return 0, t.Rseq(a[0], a.Uint(1), a.Int(2), a.Uint(3)) },
		"membarrier": sysMembarrier,
	})
}

func sysMembarrier(t *task.Task, a Args) (uint64, error) {
	const oneCPU = 1 // MEMBARRIER_CMD_FLAG_CPU: a barrier on all CPUs is one on that, too
	cmd, flags := a.Int(0), a.Uint(1)
	if flags != 0 && (cmd != task.BarrierRseq || flags != oneCPU) {
		return 0, unix.EINVAL
	}
	return number(t.Membarrier(cmd))
}
