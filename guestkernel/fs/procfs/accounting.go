package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

// accounting are the entries of /proc/PID that count, and the knobs that belong to them.
func (p process) accounting(m *maker) []entry {
	show := func(name string, mode uint32, f func() string) entry {
		return m.text(name, mode, func(vfs.Caller) ([]byte, error) { return []byte(f()), nil }, nil)
	}
	memory := func(f func(*mm.Space) []byte) func(vfs.Caller) ([]byte, error) {
		return func(c vfs.Caller) ([]byte, error) {
			if err := p.mayLook(c); err != nil {
				return nil, err
			}
			if v, err := p.view(); err == nil {
				return f(v.Space), nil
			}
			return nil, nil
		}
	}
	knob := func(name string, get func() int, set func(c vfs.Caller, v int) error) entry {
		return m.text(name, 0o644, func(vfs.Caller) ([]byte, error) { return fmt.Appendln(nil, get()), nil }, func(c vfs.Caller, data []byte) error {
			v, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				return unix.EINVAL
			}
			return set(c, v)
		})
	}
	list := []entry{
		m.text("io", 0o400, func(c vfs.Caller) ([]byte, error) {
			if err := p.mayLook(c); err != nil {
				return nil, err
			}
			return []byte("rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"), nil
		}, nil),
		show("loginuid", 0o644, func() string { return "4294967295" }),
		show("oom_score", 0o444, func() string { return fmt.Sprintln(p.oomScore()) }),
		knob("oom_score_adj", p.group.OOMScoreAdj, func(c vfs.Caller, v int) error {
			if v < -1000 || v > 1000 {
				return unix.EINVAL
			}
			return p.group.SetOOMScoreAdj(v, c.Creds().Has(unix.CAP_SYS_RESOURCE))
		}),
		show("personality", 0o400, func() string { return "00000000\n" }),
		show("schedstat", 0o444, func() string {
			s := p.status()
			return fmt.Sprintf("%d 0 %d\n", (s.CPU.User + s.CPU.System).Nanoseconds(), s.Switches)
		}),
		show("sessionid", 0o444, func() string { return "4294967295" }),
		m.text("smaps", 0o444, memory(func(s *mm.Space) []byte { return smaps(s, false) }), nil),
		m.text("smaps_rollup", 0o444, memory(func(s *mm.Space) []byte { return smaps(s, true) }), nil),
		show("timers", 0o444, func() string { return "" }),
		show("wchan", 0o444, func() string { return "0" }),
	}
	if p.task != nil {
		list = append(list, m.text("children", 0o444, func(vfs.Caller) ([]byte, error) {
			var b []byte
			for _, n := range p.group.Children() {
				b = fmt.Appendf(b, "%d ", p.number(n))
			}
			return b, nil
		}, nil), m.text("timerslack_ns", 0o644, func(c vfs.Caller) ([]byte, error) {
			if err := p.mayLook(c); err != nil {
				return nil, unix.EPERM
			}
			return fmt.Appendln(nil, p.task.TimerSlack()), nil
		}, func(c vfs.Caller, data []byte) error {
			n, err := strconv.ParseUint(string(data), 10, 64)
			if err != nil {
				return unix.EINVAL
			}
			if p.mayLook(c) != nil {
				return unix.EPERM
			}
			p.task.SetTimerSlack(n)
			return nil
		}))
	}
	return list
}

// oomScore is what the process's memory is of the machine's in thousandths, and what it was told to add (oom_badness): 0 to 2000, 666 for nothing of both.
func (p process) oomScore() int {
	adj := p.group.OOMScoreAdj()
	if adj == -1000 {
		return 0
	}
	total, _, _ := p.fs.Memory()
	u, _ := p.usage()
	points := 0
	if total > 0 {
		points = int(u.Resident * 1000 / total)
	}
	return max(0, (points+adj+1000)*2/3)
}

// smaps is /proc/PID/smaps, or with rollup the sum of all mappings.
func smaps(s *mm.Space, rollup bool) []byte {
	var b bytes.Buffer
	var sum, size, anon uint64
	first, last := uint64(0), uint64(0)
	vmas := s.VMAs()
	fields := func(size, rss, anonymous uint64) {
		if !rollup {
			fmt.Fprintf(&b, "Size:           %8d kB\nKernelPageSize: %8d kB\nMMUPageSize:    %8d kB\n", size/1024, vfs.PageSize/1024, vfs.PageSize/1024)
		}
		for _, f := range []struct {
			name  string
			bytes uint64
		}{
			{"Rss", rss}, {"Pss", rss}, {"Shared_Clean", 0}, {"Shared_Dirty", 0}, {"Private_Clean", rss - anonymous}, {"Private_Dirty", anonymous},
			{"Referenced", rss}, {"Anonymous", anonymous}, {"LazyFree", 0}, {"AnonHugePages", 0}, {"Swap", 0}, {"SwapPss", 0}, {"Locked", 0},
		} {
			fmt.Fprintf(&b, "%-15s %8d kB\n", f.name+":", f.bytes/1024)
		}
	}
	for i := range vmas {
		v := &vmas[i]
		rss := s.ResidentSize(v.Start, v.End)
		anonymous := uint64(0)
		if v.Object == nil {
			anonymous = rss
		}
		if i == 0 {
			first = v.Start
		}
		last = v.End
		sum, size, anon = sum+rss, size+v.Len(), anon+anonymous
		if rollup {
			continue
		}
		mapLine(&b, v)
		fields(v.Len(), rss, anonymous)
		flags := ""
		for _, f := range []struct {
			on   bool
			name string
		}{
			{v.Prot&mm.Read != 0, "rd"}, {v.Prot&mm.Write != 0, "wr"}, {v.Prot&mm.Exec != 0, "ex"}, {v.Flags&mm.VMAShared != 0, "sh"},
			{true, "mr"}, {true, "mw"}, {true, "me"}, {v.Flags&mm.VMAStack != 0, "gd"},
		} {
			if f.on {
				flags += f.name + " "
			}
		}
		fmt.Fprintf(&b, "VmFlags: %s\n", flags)
	}
	if rollup {
		fmt.Fprintf(&b, "%08x-%08x ---p 00000000 00:00 0 %24s[rollup]\n", first, last, "")
		fields(size, sum, anon)
	}
	return b.Bytes()
}

// mapLine is a line of /proc/PID/maps.
func mapLine(b *bytes.Buffer, v *mm.VMA) {
	perm := []byte("---p")
	for i, bit := range []mm.Prot{mm.Read, mm.Write, mm.Exec} {
		if v.Prot&bit != 0 {
			perm[i] = "rwx"[i]
		}
	}
	if v.Flags&mm.VMAShared != 0 {
		perm[3] = 's'
	}
	name := v.Name
	switch {
	case v.Flags&mm.VMAHeap != 0:
		name = "[heap]"
	case v.Flags&mm.VMAStack != 0:
		name = "[stack]"
	}
	var dev, ino uint64
	if f, ok := v.Object.(interface{ FileID() (dev, ino uint64) }); ok {
		dev, ino = f.FileID()
	}
	start := b.Len()
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d ", v.Start, v.End, perm, v.Offset, unix.Major(dev), unix.Minor(dev), ino)
	if name != "" {
		for b.Len()-start < 73 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ReplaceAll(name, "\n", `\012`))
	}
	b.WriteByte('\n')
}

// mapsText is /proc/PID/maps.
func mapsText(s *mm.Space) []byte {
	var b bytes.Buffer
	vmas := s.VMAs()
	for i := range vmas {
		mapLine(&b, &vmas[i])
	}
	return b.Bytes()
}

// numbersAt are the process's numbers in this procfs's PID namespace and those below: the NS lines of /proc/PID/status.
func (p process) numbersAt(n int) string {
	var s []string
	for _, v := range p.fs.Tasks.NumbersBelow(p.fs.ns, p.group, n) {
		s = append(s, strconv.Itoa(v))
	}
	return strings.Join(s, "\t")
}

// byName sorts entries as they are listed.
func byName(list []entry) []entry {
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return list
}
