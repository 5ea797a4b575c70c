package contracts

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Call is a system call that a traced program made.
type Call struct {
	Task   int    // the kernel's id
	Name   string // "" on Linux, which only has numbers
	Number int64
	Args   [6]uint64
	Result int64 // negative: an error number
}

// parseCall parses the driver's frame.
func parseCall(s string) (c Call, err error) {
	a := &c.Args
	if _, err = fmt.Sscanf(s, "%d %d %x %x %x %x %x %x %d", &c.Task, &c.Number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &c.Result); err != nil {
		return c, fmt.Errorf("the driver's system call %q: %w", s, err)
	}
	return c, nil
}

// kernelCall is a line of Ringo's log when its command line has strace: [TID COMM] NAME(ARGS) = RESULT.
var kernelCall = regexp.MustCompile(`^\[(\d+) (.*?)\] (\w+)\(([^)]*)\) = (.*)$`)

// kernelCalls picks the programs' system calls out of the kernel's log. Those of the driver, and of its copies before they execute a
// program, are left out.
func kernelCalls(log io.Reader) []Call {
	var calls []Call
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := kernelCall.FindStringSubmatch(lines.Text())
		if m == nil || m[2] == path.Base(guestDriver) {
			continue
		}
		c := Call{Name: m[3], Number: -1}
		c.Task, _ = strconv.Atoi(m[1])
		for i, a := range strings.Split(m[4], ", ") {
			if i < len(c.Args) {
				c.Args[i], _ = strconv.ParseUint(strings.TrimPrefix(a, "0x"), 16, 64)
			}
		}
		if v, err := strconv.ParseUint(strings.TrimPrefix(m[5], "0x"), 16, 64); err == nil && strings.HasPrefix(m[5], "0x") {
			c.Result = int64(v)
		} else {
			c.Result = -int64(errorNumber(m[5]))
		}
		if c.Name == "execve" || c.Name == "execveat" {
			if c.Result == -unknownError {
				c.Result = 0 // it succeeded: the kernel has nothing to answer to
			}
			if len(calls) == 0 && c.Result == 0 {
				continue // the driver's, which has its new name by now
			}
		}
		calls = append(calls, c)
	}
	return calls
}

// unknownError stands for a text that is no error's. No kernel has that number.
const unknownError = 4095

// errorNumber finds the error with that text.
func errorNumber(text string) unix.Errno {
	for e := unix.Errno(1); e < 140; e++ {
		if e.Error() == text {
			return e
		}
	}
	return unknownError
}

// callText renders a call for people: the name, the arguments in hexadecimal, the result.
func callText(c Call) string {
	var args []string
	last := len(c.Args)
	for last > 0 && c.Args[last-1] == 0 {
		last--
	}
	for _, a := range c.Args[:last] {
		args = append(args, fmt.Sprintf("%#x", a))
	}
	return fmt.Sprintf("%s(%s) = %s", c.Name, strings.Join(args, ", "), resultText(c.Result))
}

func resultText(r int64) string {
	switch {
	case r < 0 && r > -unknownError:
		if name := unix.ErrnoName(unix.Errno(-r)); name != "" {
			return name
		}
		return fmt.Sprintf("error %d", -r)
	case r > 1<<16 || r < -unknownError:
		return "an address"
	}
	return strconv.FormatInt(r, 10)
}

// sameCall says whether two calls agree in all that must be equal: addresses and ids of processes may differ.
func sameCall(a, b Call) bool {
	if a.Name != b.Name {
		return false
	}
	switch a.Name {
	case "rseq": // C libraries try it, and live without
		return true
	case "fork", "vfork", "clone", "clone3", "getpid", "gettid", "getppid", "getpgid", "getpgrp", "getsid", "setsid", "wait4", "set_tid_address", "getrandom":
		return (a.Result < 0) == (b.Result < 0) && (a.Result >= 0 || a.Result == b.Result)
	}
	return resultText(a.Result) == resultText(b.Result)
}

// tasks deals a trace out to the tasks that made it, in the order in which they first called.
func tasks(calls []Call) [][]Call {
	index := map[int]int{}
	var out [][]Call
	for _, c := range calls {
		i, known := index[c.Task]
		if !known {
			i = len(out)
			index[c.Task] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

// named gives calls that only have numbers their names.
func named(calls []Call, numbers map[string]int) {
	names := map[int64]string{}
	for name, n := range numbers {
		names[int64(n)] = name
	}
	for i := range calls {
		if c := &calls[i]; c.Name == "" {
			if c.Name = names[c.Number]; c.Name == "" {
				c.Name = fmt.Sprintf("syscall_%d", c.Number)
			}
		}
	}
}

// Lines of a trace that are shown before and from the first difference.
const (
	traceBefore = 6
	traceAfter  = 16
)

// WriteTraces shows the first difference between two traces, side by side, for the first task that has one.
func WriteTraces(w io.Writer, linux, ringo []Call, numbers map[string]int) {
	named(linux, numbers)
	named(ringo, numbers)
	a, b := tasks(linux), tasks(ringo)
	for i := range max(len(a), len(b)) {
		var x, y []Call
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		at := 0
		for at < len(x) && at < len(y) && sameCall(x[at], y[at]) {
			at++
		}
		if at == len(x) && at == len(y) {
			continue
		}
		fmt.Fprintf(w, "system calls of task %d, from call %d:\n   %-58s %s\n", i+1, max(0, at-traceBefore)+1, "Linux", "Ringo")
		for k := max(0, at-traceBefore); k < at+traceAfter && (k < len(x) || k < len(y)); k++ {
			left, right, mark := "", "", " "
			if k < len(x) {
				left = callText(x[k])
			}
			if k < len(y) {
				right = callText(y[k])
			}
			if k >= len(x) || k >= len(y) || !sameCall(x[k], y[k]) {
				mark = "!"
			}
			fmt.Fprintf(w, "%s  %-58.58s %.90s\n", mark, left, right)
		}
		return
	}
	fmt.Fprintf(w, "the system calls of all %d tasks agree, but for addresses and process ids\n", len(a))
}
