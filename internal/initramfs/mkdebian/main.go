// Command mkdebian OUT reads names of Debian packages, one a line, from standard input, and writes a root file system
// with their files to OUT, as a cpio archive.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"ringo/internal/initramfs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkdebian:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments, want OUT", len(args))
	}
	root := initramfs.NewDebian()
	names := bufio.NewScanner(os.Stdin)
	for names.Scan() {
		if err := add(root, names.Text()); err != nil {
			return fmt.Errorf("%s: %w", names.Text(), err)
		}
	}
	if err := names.Err(); err != nil {
		return err
	}
	temporary := args[0] + ".new"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(root.Write(w), w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, args[0])
}

func add(root *initramfs.Debian, deb string) error {
	unpack := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	unpack.Stderr = os.Stderr
	data, err := unpack.StdoutPipe()
	if err != nil {
		return err
	}
	if err := unpack.Start(); err != nil {
		return err
	}
	err = root.Package(data)
	if err != nil {
		unpack.Process.Kill()
	}
	return errors.Join(err, unpack.Wait())
}
