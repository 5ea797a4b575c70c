package cgroupfs

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// makeFiles makes the files of a group's directory; the root has fewer.
func (d *dir) makeFiles() []file {
	g := d.group
	var list []file
	add := func(name string, mode uint32, read func(task.CgroupState) string, write func(vfs.Caller, string) error) *kernfs.Text {
		t := &kernfs.Text{Living: func() bool { return !g.Dead() }}
		if read != nil {
			t.Read = func(vfs.Caller) ([]byte, error) { return []byte(read(g.State())), nil }
		}
		if write != nil {
			t.Write = func(c vfs.Caller, data []byte) error {
				if g.Dead() {
					return unix.ENODEV
				}
				return write(c, strings.TrimSpace(string(data)))
			}
		}
		t.Init(d.n.dev, g.ID()*inoSpan+uint64(len(list))+1, unix.S_IFREG|mode, 0, 0)
		list = append(list, file{name: name, node: t})
		return t
	}
	news := func(t *kernfs.Text, which func(*task.CgroupEvents) *task.CgroupNews) {
		q := which(&g.Events)
		t.Watch = func(vfs.Caller) kernfs.News { return kernfs.News{Source: &q.Queue, Epoch: q.Epoch} }
	}

	add("cgroup.controllers", 0o444, func(task.CgroupState) string {
		if g.IsRoot() || g.Limited() {
			return "pids\n"
		}
		return "\n"
	}, nil)
	if !g.IsRoot() {
		news(add("cgroup.events", 0o444, func(s task.CgroupState) string {
			return fmt.Sprintf("populated %d\nfrozen %d\n", number(s.Populated), number(s.Frozen))
		}, nil), func(e *task.CgroupEvents) *task.CgroupNews { return &e.Events })
		add("cgroup.freeze", 0o644, func(s task.CgroupState) string { return fmt.Sprintln(number(s.Freeze)) }, d.writeFreeze)
		add("cgroup.kill", 0o200, nil, d.writeKill)
	}
	add("cgroup.max.depth", 0o644, func(s task.CgroupState) string { return limit(s.MaxDepth) }, func(_ vfs.Caller, text string) error {
		return setBound(text, func(n int) { g.SetBounds(n, g.State().MaxBelow) })
	})
	add("cgroup.max.descendants", 0o644, func(s task.CgroupState) string { return limit(s.MaxBelow) }, func(_ vfs.Caller, text string) error {
		return setBound(text, func(n int) { g.SetBounds(g.State().MaxDepth, n) })
	})
	procs := add("cgroup.procs", 0o644, nil, nil)
	procs.Read = func(c vfs.Caller) ([]byte, error) { return numbers(c, g.Processes()), nil }
	procs.Write = func(c vfs.Caller, data []byte) error { return d.move(c, string(data), false) }
	add("cgroup.stat", 0o444, func(s task.CgroupState) string {
		return fmt.Sprintf("nr_descendants %d\nnr_dying_descendants 0\n", s.Below)
	}, nil)
	add("cgroup.subtree_control", 0o644, func(s task.CgroupState) string {
		if s.Subtree {
			return "pids\n"
		}
		return "\n"
	}, d.writeSubtree)
	threads := add("cgroup.threads", 0o644, nil, nil)
	threads.Read = func(c vfs.Caller) ([]byte, error) { return numbers(c, g.Threads()), nil }
	threads.Write = func(c vfs.Caller, data []byte) error { return d.move(c, string(data), true) }
	if g.IsRoot() {
		return list
	}
	add("cgroup.type", 0o644, func(task.CgroupState) string { return "domain\n" }, func(_ vfs.Caller, text string) error {
		if text != "threaded" {
			return unix.EINVAL
		}
		return unix.EOPNOTSUPP // there are no threaded groups
	})
	first := len(list)
	add("pids.current", 0o444, func(s task.CgroupState) string { return fmt.Sprintln(s.Current) }, nil)
	events := add("pids.events", 0o444, func(s task.CgroupState) string { return fmt.Sprintf("max %d\n", s.Refused) }, nil)
	news(events, func(e *task.CgroupEvents) *task.CgroupNews { return &e.Pids })
	add("pids.max", 0o644, func(s task.CgroupState) string { return limit(s.Max) }, func(_ vfs.Caller, text string) error { return setLimit(text, g.SetMax) })
	add("pids.peak", 0o444, func(s task.CgroupState) string { return fmt.Sprintln(s.Peak) }, nil)
	for i := range list[first:] {
		list[first+i].pids = true
	}
	return list
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func limit(n int) string {
	if n == task.NoLimit {
		return "max\n"
	}
	return fmt.Sprintln(n)
}

// setLimit reads a number or "max". The error is EINVAL.
func setLimit(text string, set func(int)) error {
	if text == "max" {
		set(task.NoLimit)
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n >= 4<<20+1 {
		return unix.EINVAL
	}
	set(int(n))
	return nil
}

// setBound is setLimit for the limits of cgroup.*: ERANGE for a negative number.
func setBound(text string, set func(int)) error {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n < 0 {
		return unix.ERANGE
	}
	return setLimit(text, set)
}

// numbers lists tasks as the reader's PID namespace knows them, 0 for those it does not.
func numbers(c vfs.Caller, list []int) []byte {
	var b []byte
	for _, n := range list {
		b = append(strconv.AppendInt(b, int64(vfs.LocalID(c, n)), 10), '\n')
	}
	return b
}

// writeFreeze takes 0 or 1.
func (d *dir) writeFreeze(_ vfs.Caller, text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return unix.EINVAL
	case n != 0 && n != 1:
		return unix.ERANGE
	}
	d.group.SetFreeze(n == 1)
	return nil
}

// writeKill takes 1.
func (d *dir) writeKill(_ vfs.Caller, text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return unix.EINVAL
	case n != 1:
		return unix.ERANGE
	}
	d.group.Kill()
	return nil
}

// writeSubtree takes words like +pids and -pids.
func (d *dir) writeSubtree(_ vfs.Caller, text string) error {
	on, changed := false, false
	for _, w := range strings.Fields(text) {
		switch w {
		case "+pids", "-pids":
			on, changed = w[0] == '+', true
		default:
			return unix.EINVAL
		}
	}
	if !changed {
		return nil
	}
	return d.group.SetSubtree(on)
}

// move is a write of a number to cgroup.procs (or cgroup.threads: then of a thread, which cannot leave its process). Who writes needs to be
// allowed to write to the file of the group above both, too. Errors: EINVAL, ESRCH, EACCES, EBUSY, EOPNOTSUPP, ENODEV.
func (d *dir) move(c vfs.Caller, text string, thread bool) error {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return unix.EINVAL
	}
	k := d.n.k
	pid := vfs.GlobalID(c, n)
	if n == 0 {
		pid = c.PID()
	}
	g := k.FindGroup(pid)
	if thread {
		if t := k.Find(pid); t != nil {
			g = t.Group()
		}
	}
	if g == nil {
		return unix.ESRCH
	}
	from := g.Cgroup()
	above := d.n.dir(d.group.Common(from))
	for _, f := range above.files {
		if f.name == "cgroup.procs" {
			if err := c.Creds().MayAccess(f.node.Attributes(), vfs.MayWrite); err != nil {
				return err
			}
		}
	}
	if thread {
		if from != d.group {
			return unix.EOPNOTSUPP
		}
		return nil
	}
	return d.group.Move(g)
}
