// Command hosted prepares, runs commands in, and looks after the hosted machines. See docs/hosted.md.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"ringo/hosted"
	"ringo/hosted/cli"
)

func main() {
	hosted.MaybeServe()
	var commands cli.Commands
	k := kong.Parse(&commands, kong.Name("hosted"), kong.UsageOnError(),
		kong.Description("A KVM host in QEMU, for computers whose own /dev/kvm is not usable."))
	err := k.Run()
	status, tell := cli.StatusOf(err)
	if tell {
		fmt.Fprintln(os.Stderr, "hosted:", err)
	}
	os.Exit(status)
}
