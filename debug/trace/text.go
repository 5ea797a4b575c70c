package trace

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringo/internal/debugwindow"
	"ringo/internal/tracewindow"
)

// WriteText prints one event a line: time since the beginning, CPU, task, what. all gives names to tasks that were named before the
// selection; nil: t itself. syms may be nil.
func (t *Trace) WriteText(w io.Writer, all *Trace, syms Symbols) error {
	if all == nil {
		all = t
	}
	b := bufio.NewWriter(w)
	n := all.allNames()
	passed := 0
	for i := range t.Events {
		e := &t.Events[i]
		for ; passed < len(all.Events) && all.Events[passed].Seq <= e.Seq; passed++ {
			n.learn(&all.Events[passed])
		}
		n.learn(e)
		fmt.Fprintf(b, "%13.6f  cpu%-2d %-22s %s\n", t.At(e).Seconds(), e.CPU, bracket(n.of(e.Task)), t.describe(e, syms))
	}
	return b.Flush()
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return "[" + s + "]"
}

// WriteSummary prints how much there is and how much was lost.
func (t *Trace) WriteSummary(w io.Writer) error {
	span := time.Duration(0)
	if n := len(t.Events); n > 0 {
		span = t.At(&t.Events[n-1]) - t.At(&t.Events[0])
	}
	_, err := fmt.Fprintf(w, "%d events in %.6f s, %d CPUs; lost: %d overwritten by newer ones, %d torn\n",
		len(t.Events), span.Seconds(), t.Header.CPUs, t.Lost.Overwritten, t.Lost.Torn)
	return err
}

// describe is an event without its place.
func (t *Trace) describe(e *tracewindow.Event, syms Symbols) string {
	if int(e.Kind) >= len(t.kinds) || t.kinds[e.Kind].name == "" {
		return fmt.Sprintf("kind %d, code %d: %#x", e.Kind, e.Code, e.Args)
	}
	m := &t.kinds[e.Kind]
	switch e.Kind {
	case tracewindow.Enter:
		return fmt.Sprintf("%s(%#x, %#x, %#x, %#x, %#x, %#x) ...", t.Call(e.Code), e.Args[0], e.Args[1], e.Args[2], e.Args[3], e.Args[4], e.Args[5])
	case tracewindow.Exit:
		took := ""
		switch e.Args[5] {
		case 0: // a quick call's time is not always taken
		case tracewindow.LongCall:
			took = fmt.Sprintf("  (more than %v)", t.ticks(e.Args[5]))
		default:
			took = fmt.Sprintf("  (%v)", t.ticks(e.Args[5]))
		}
		return fmt.Sprintf("%s(%#x, %#x, %#x, %#x, ...) = %s%s", t.Call(e.Code), e.Args[1], e.Args[2], e.Args[3], e.Args[4], result(e.Args[0]), took)
	case tracewindow.Block:
		in := "outside of system calls"
		if e.Code != 0 {
			in = "in " + t.Call(e.Code-1)
		}
		return fmt.Sprintf("block %s, %v; %s <- %s", in, debugwindow.Wait(e.Args[0]), name(syms, e.Args[2]), name(syms, e.Args[3]))
	case tracewindow.Mark:
		return "mark " + textOf(e.Args[:])
	}
	var b strings.Builder
	b.WriteString(m.name)
	switch e.Kind {
	case tracewindow.Signal:
		fmt.Fprintf(&b, " %d %s", e.Code, unix.SignalName(unix.Signal(e.Code)))
	case tracewindow.FrameAlloc, tracewindow.FrameFree:
		if int(e.Code) < len(t.owners) {
			fmt.Fprintf(&b, " (%s)", t.owners[e.Code])
		} else {
			fmt.Fprintf(&b, " (owner %d)", e.Code)
		}
	}
	for i := 0; i < len(m.fields); i++ {
		switch m.formats[i] {
		case tracewindow.Unused:
			continue
		case tracewindow.Text:
			end := i
			for end < len(m.formats) && m.formats[end] == tracewindow.Text {
				end++
			}
			fmt.Fprintf(&b, " %s=%q", m.fields[i], textOf(e.Args[i:end]))
			i = end
			continue
		}
		fmt.Fprintf(&b, " %s=%s", m.fields[i], t.field(m.formats[i], e.Args[i], syms))
	}
	return b.String()
}

func (t *Trace) field(f tracewindow.Format, v uint64, syms Symbols) string {
	switch f {
	case tracewindow.Signed:
		return fmt.Sprint(int64(v))
	case tracewindow.Unsigned:
		return fmt.Sprint(v)
	case tracewindow.Result:
		return result(v)
	case tracewindow.Code:
		return name(syms, v)
	case tracewindow.Address:
		if syms != nil {
			if s, ok := syms.Lookup(v); ok {
				return s.Function + fmt.Sprintf("+%#x", s.Offset)
			}
		}
	case tracewindow.Ticks:
		return t.ticks(v).String()
	case tracewindow.Nanos:
		return time.Duration(v).String()
	case tracewindow.Wait:
		return debugwindow.Wait(v).String()
	case tracewindow.How:
		if v < 3 {
			return [...]string{"woken", "interrupted", "timed out"}[v]
		}
	case tracewindow.AccessKind:
		return access(v)
	}
	return fmt.Sprintf("%#x", v)
}

// access is a set of PROT_ bits.
func access(v uint64) string {
	switch {
	case v&unix.PROT_EXEC != 0:
		return "exec"
	case v&unix.PROT_WRITE != 0:
		return "write"
	}
	return "read"
}

// result is what a system call left in its register.
func result(v uint64) string {
	e := -int64(v)
	switch {
	case e == 512 || e == 513 || e == 514 || e == 516:
		return map[int64]string{512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}[e]
	case e > 0 && e < 4096:
		if s := unix.ErrnoName(unix.Errno(e)); s != "" {
			return s
		}
		return fmt.Sprint(-e)
	case v < 1<<16:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%#x", v)
}

// name is a code address: a return address, so that of the call is one less.
func name(syms Symbols, gva uint64) string {
	if syms != nil && gva != 0 {
		if s, ok := syms.Lookup(gva - 1); ok {
			return s.Function
		}
	}
	return fmt.Sprintf("%#x", gva)
}
