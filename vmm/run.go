package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ringo/vmm/boot"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
)

type runCommand struct {
	Arch    string        `enum:"amd64,arm64" default:"${arch}" help:"Guest architecture: ${enum}."`
	CPUs    int           `name:"cpus" default:"1" help:"Number of virtual CPUs, 1 to ${maxcpus}."`
	Mem     size          `default:"256M" help:"Guest memory, like 256M or 2G."`
	Kernel  string        `placeholder:"ELF" help:"Kernel; the default is ringo.elf beside this command."`
	Initrd  string        `placeholder:"CPIO" help:"Initramfs; the default is initramfs.cpio beside this command."`
	Append  string        `placeholder:"CMDLINE" help:"Kernel command line."`
	Timeout time.Duration `placeholder:"D" help:"End the guest after this time, with status 124."`
	Verbose bool          `short:"v" help:"Print the kernel's log and the boot phases."`
	Host    string        `enum:"auto,kvm,hosted" default:"auto" help:"Where to run: ${enum}."`
	Program []string      `arg:"" optional:"" passthrough:"" help:"Program in the guest and its arguments; the default is /bin/sh."`
}

// size is a number of bytes with an optional suffix K, M or G (powers of 1024).
type size uint64

// UnmarshalText parses a size.
func (s *size) UnmarshalText(text []byte) error {
	t := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(string(text)), "B"), "I")
	shift := 0
	switch {
	case strings.HasSuffix(t, "K"):
		shift = 10
	case strings.HasSuffix(t, "M"):
		shift = 20
	case strings.HasSuffix(t, "G"):
		shift = 30
	}
	n, err := strconv.ParseUint(strings.TrimRight(t, "KMG"), 10, 64)
	if err != nil || n<<shift>>shift != n {
		return fmt.Errorf("%q is not a size like 256M or 2G", text)
	}
	*s = size(n << shift)
	return nil
}

func (c *runCommand) run(ctx context.Context) int {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	status, err := c.local(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmm:", err)
		if status == 0 {
			status = statusFailure
		}
	}
	return status
}

func beside(name, given string) string {
	if given != "" {
		return given
	}
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func (c *runCommand) local(ctx context.Context) (int, error) {
	if c.Arch != runtime.GOARCH {
		return 0, fmt.Errorf("this vmm runs %s guests; run build/%s/vmm on an %s host", runtime.GOARCH, c.Arch, c.Arch)
	}
	layout, err := boot.LayoutOf(c.Arch)
	if err != nil {
		return 0, err
	}
	kernel, err := os.Open(beside("ringo.elf", c.Kernel))
	if err != nil {
		return 0, fmt.Errorf("kernel: %w", err)
	}
	defer kernel.Close()
	st, err := kernel.Stat()
	if err != nil {
		return 0, err
	}
	m, err := machine.New(machine.Config{CPUs: c.CPUs, Memory: uint64(c.Mem)})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	lines := serial.NewLines(os.Stderr)
	defer lines.Flush()
	if err := addUART(m, lines); err != nil {
		return 0, err
	}
	hz, err := m.CounterHz()
	if err != nil {
		return 0, err
	}
	q := &boot.Request{Layout: layout, Memory: m.Memory(), CPUs: c.CPUs, Kernel: kernel, KernelSize: uint64(st.Size()), CommandLine: c.Append, CounterHz: hz, WallClock: time.Now().UnixNano()}
	for _, r := range m.Memory().Ranges() {
		q.RAM = append(q.RAM, [2]uint64{r.Base, r.Size})
	}
	if _, err := io.ReadFull(rand.Reader, q.Seed[:]); err != nil {
		return 0, err
	}
	if c.Initrd != "" {
		f, err := os.Open(c.Initrd)
		if err != nil {
			return 0, fmt.Errorf("initramfs: %w", err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return 0, err
		}
		q.Initrd, q.InitrdSize = f, uint64(st.Size())
	}
	r, err := boot.Load(q)
	if err != nil {
		return 0, err
	}
	stop, err := m.Run(ctx, machine.Entry{PC: r.Kernel.Entry, Root: r.Root, Arg: r.Info, Image: machine.Image{Phys: r.Kernel.Phys, Virt: r.Kernel.Virt, Size: r.Kernel.Size}})
	if err != nil {
		return 0, err
	}
	lines.Flush()
	switch stop.Kind {
	case machine.StopPowerOff:
		return 0, nil
	case machine.StopPanic:
		return statusFailure, fmt.Errorf("the kernel panicked (power-off code %d)", stop.Code)
	case machine.StopFatal:
		stop.Fatal.Report(os.Stderr)
		return statusFailure, errors.New("the guest cannot go on (report above)")
	}
	var b strings.Builder
	machine.WriteStates(&b, m.CPUStates(), machine.Image{Phys: r.Kernel.Phys, Virt: r.Kernel.Virt, Size: r.Kernel.Size}, m.Memory())
	fmt.Fprint(os.Stderr, b.String())
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return statusTimeout, fmt.Errorf("timeout after %v", c.Timeout)
	}
	return statusFailure, errors.New("interrupted")
}
