package boot

import (
	"strings"

	"ringo/guestkernel/nucleus"
)

// kernelOptions are the words of the kernel command line that this package knows.
type kernelOptions struct {
	strace  bool // print every system call to the log
	account bool // say at the end whether everything is accounted for
	counts  bool // say at the end what the scheduler did
}

func options() kernelOptions { return parseOptions(nucleus.CommandLine()) }

func parseOptions(line string) (o kernelOptions) {
	for _, w := range strings.Fields(line) {
		switch w {
		case "strace":
			o.strace = true
		case "account":
			o.account = true
		case "counts":
			o.counts = true
		}
	}
	return o
}
