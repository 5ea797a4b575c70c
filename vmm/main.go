// Command vmm boots the Ringo kernel under KVM and runs a Linux program in it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"

	"ringo/internal/bootinfo"
)

// Exit statuses of the command besides the program's own.
const (
	statusUsage   = 2
	statusTimeout = 124
	statusFailure = 125 // the monitor or the kernel failed
)

type cli struct {
	Run runCommand `cmd:"" help:"Boot a guest and run a program in it."`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("vmm"), kong.Description("Boots the Ringo kernel and runs Linux programs in it."), kong.Vars{"arch": runtime.GOARCH, "maxcpus": strconv.Itoa(bootinfo.MaxCPUs)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmm:", err)
		return statusFailure
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "vmm: %v (see vmm --help)\n", err)
		return statusUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	status := statusFailure
	switch k.Selected().Name {
	case "run":
		status = c.Run.run(ctx)
	}
	return status
}
