// Command mkinitramfs BUSYBOX LISTER OUT writes the default initramfs to OUT: BUSYBOX is
// the binary for the guest, LISTER a busybox of the same release that this machine can
// run, asked for the applets' names.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"

	"ringo/internal/initramfs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, want BUSYBOX LISTER OUT", len(args))
	}
	busybox, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	applets, err := exec.Command(args[1], "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", args[1], err)
	}
	var archive bytes.Buffer
	if err := initramfs.Write(&archive, busybox, string(applets)); err != nil {
		return err
	}
	temporary := args[2] + ".new"
	if err := os.WriteFile(temporary, archive.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, args[2])
}
