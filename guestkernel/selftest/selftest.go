// Package selftest is the kernel's test of itself, run in the guest when the command line says
// "selftest" (or "selftest=SECONDS" for the load at the end): the Go runtime on the nucleus,
// preemption, memory, and the switch to user mode with every register filled.
package selftest

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ringo/guestkernel/nucleus"
)

// Wanted says whether a command line asks for the self-test, and how long its load shall run.
func Wanted(commandLine string) (load time.Duration, ok bool) {
	for word := range strings.FieldsSeq(commandLine) {
		name, value, given := strings.Cut(word, "=")
		if name != "selftest" {
			continue
		}
		seconds := 3
		if n, err := strconv.Atoi(value); given && err == nil && n >= 0 {
			seconds = n
		}
		return time.Duration(seconds) * time.Second, true
	}
	return 0, false
}

type test struct {
	name string
	run  func() (detail string, err error)
}

// Run runs everything, prints a line for each test and reports whether all passed.
func Run(load time.Duration) bool {
	tests := []test{
		{"processors", processors},
		{"goroutines", goroutines},
		{"timers", timers},
		{"maps", maps},
		{"garbage collection", collection},
		{"panics from faults", panics},
		{"preemption of a loop", preemption},
		{"frames", frames},
		{"frame references", references},
		{"TLB shootdown", shootdown},
		{"hazards from user mode", hazardous},
		{"registers across system calls", func() (string, error) { return registers(modeSyscall, 20000) }},
		{"registers across page faults", func() (string, error) { return registers(modeFault, 2000) }},
		{"registers across preemption", func() (string, error) { return registers(modeSpin, 300) }},
		{"interrupting user mode", interrupting},
		{"idle", idle},
		{"load", func() (string, error) { return underLoad(load) }},
	}
	failed := 0
	for _, t := range tests {
		start := time.Now()
		detail, err := t.run()
		took := time.Since(start).Round(time.Millisecond)
		if err != nil {
			failed++
			fmt.Printf("selftest: FAIL %s: %v (%v)\n", t.name, err, took)
			continue
		}
		fmt.Printf("selftest: ok   %s: %s (%v)\n", t.name, detail, took)
	}
	nucleus.Missing(func(nr int, count uint32) {
		fmt.Printf("selftest: system call %d of the runtime is missing, made %d times\n", nr, count)
	})
	s := nucleus.FrameStats()
	fmt.Printf("selftest: %d of %d failed; GOMAXPROCS %d, %d threads, %d switches, %d traps, %d VMAs, %d of %d frames free\n",
		failed, len(tests), runtime.GOMAXPROCS(0), s.Threads, s.Switches, s.Traps, s.VMAs, s.FreeFrames, s.TotalFrames)
	return failed == 0
}
