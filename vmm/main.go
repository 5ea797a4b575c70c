// Command vmm boots the Ringo kernel under KVM and runs a Linux program in it.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"ringo/hosted"
	"ringo/hosted/cli"
	"ringo/hosted/wire"
	"ringo/internal/bootinfo"
)

// Exit statuses of the command besides the program's own.
const (
	statusUsage   = 2
	statusReport  = 66 // a debugging report was made
	statusTimeout = 124
	statusFailure = 125 // the monitor or the kernel failed
	statusStopped = 143 // `vmm stop`: as if by SIGTERM
)

type commands struct {
	Run       runCommand        `cmd:"" help:"Boot a guest and run a program in it."`
	Contracts contractsCommands `cmd:"" help:"The contract suite: is it Linux?"`
	controlCommands
	Trace  traceCommand  `cmd:"" help:"Print the flight recorder of a guest, running or dead."`
	Doctor doctorCommand `cmd:"" help:"Find out what this host's /dev/kvm can do, by trying it."`
	Hosted cli.Commands  `cmd:"" help:"The KVM host in QEMU for machines whose own /dev/kvm will not do."`
}

// heapTarget keeps the monitor's own memory small beside the guest's: a soft limit at which
// the collector works harder.
const heapTarget = 12 << 20

func main() {
	started := processStart()
	hosted.MaybeServe()
	debug.SetMemoryLimit(heapTarget)
	os.Exit(run(os.Args[1:], started))
}

// processStart is when this process began, for the boot phases: what it has run for until now is
// its loading and the initialisation of the Go runtime and of packages.
func processStart() time.Time {
	var clock unix.Timespec
	if at, err := strconv.ParseInt(os.Getenv(wire.ExecTime), 10, 64); err == nil && unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock) == nil {
		if ago := time.Duration(clock.Nano() - at); ago >= 0 && ago < time.Minute {
			return time.Now().Add(-ago)
		}
	}
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(r.Utime.Nano() + r.Stime.Nano()))
}

func run(args []string, started time.Time) int {
	if len(args) == 2 && args[0] == "relay" {
		return statusOf(relay(args[1]))
	}
	if c, ok := quickRun(args); ok {
		c.started = started
		return statusOf(c.Run())
	}
	c := commands{Run: runCommand{started: started}}
	parser, err := newParser(&c)
	if err != nil {
		return tell(statusFailure, err)
	}
	k, err := parser.Parse(args)
	if err != nil {
		return tell(statusUsage, fmt.Errorf("%w (see vmm --help)", err))
	}
	return statusOf(k.Run())
}

func newParser(c *commands) (*kong.Kong, error) {
	return kong.New(c, kong.Name("vmm"),
		kong.Description("Boots the Ringo kernel, a Linux-compatible kernel in Go, and runs programs in it."),
		kong.Vars{"arch": runtime.GOARCH, "maxcpus": strconv.Itoa(bootinfo.MaxCPUs)},
		kong.Exit(func(status int) { os.Exit(status) }))
}

// statusOf says what there is to say about a command's error, and the exit status.
func statusOf(err error) int {
	var ended exit
	if errors.As(err, &ended) {
		return int(ended)
	}
	status, say := cli.StatusOf(err)
	if say {
		return tell(status, err)
	}
	return status
}

// exit is the error of a command that has said what there is to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func tell(status int, err error) int {
	fmt.Fprintln(os.Stderr, "vmm:", err)
	return status
}
