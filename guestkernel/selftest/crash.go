package selftest

import (
	"fmt"
	"strings"

	"ringo/guestkernel/nucleus"
)

// crashes are the ways to end the kernel on purpose: "selftest-crash=NAME" on the command
// line. Each has to end in a report and a power-off with the panic code.
var crashes = map[string]func(){
	"nucleus":  func() { nucleus.Crash(0) },
	"overflow": func() { nucleus.Crash(1) },
	"tables":   func() { nucleus.Crash(2) },
	"panic":    func() { panic("selftest: a panic on purpose") },
	"nil":      func() { crashNil(nil) },
	"recursion": func() {
		var f func(int) int
		f = func(n int) int { return f(n+1) + 1 }
		fmt.Println(f(0))
	},
	"memory": func() {
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			all = append(all, b)
			if len(all) == 1<<20 {
				fmt.Println(all[0][0])
			}
		}
	},
	"free": func() {
		phys, err := nucleus.AllocFrames(0, nucleus.OwnerUser)
		if err == nil {
			nucleus.FreeFrames(phys, 0)
			nucleus.FreeFrames(phys, 0)
		}
	},
	"referenced": func() {
		phys, err := nucleus.AllocFrames(0, nucleus.OwnerUser)
		if err == nil {
			nucleus.Ref(phys)
			nucleus.FreeFrames(phys, 0)
		}
	},
}

func crashNil(n *node) { n.sum[0] = 1 }

// Crash does what "selftest-crash=NAME" asks for. It returns when the command line does not.
func Crash(commandLine string) {
	for word := range strings.FieldsSeq(commandLine) {
		name, ok := strings.CutPrefix(word, "selftest-crash=")
		if !ok {
			continue
		}
		crash, ok := crashes[name]
		if !ok {
			panic(fmt.Sprintf("selftest-crash: no crash called %q", name))
		}
		crash()
		panic("selftest-crash: the kernel survived")
	}
}
