package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"ringo/debug/symbols"
	"ringo/debug/trace"
)

// traceCommand prints a flight recorder.
type traceCommand struct {
	Source   string        `arg:"" help:"A file that vmm run --trace has written, or the name of a running guest whose kernel traces (--append debug=htrace)."`
	Task     uint32        `placeholder:"TID" help:"Only this task's events."`
	Since    time.Duration `placeholder:"D" help:"Only what happened that shortly before the last event, like 200ms."`
	Follow   bool          `short:"f" help:"Of a running guest: go on printing what comes."`
	Perfetto string        `placeholder:"FILE" help:"Write a timeline that ui.perfetto.dev opens instead of text."`
	Kernel   string        `placeholder:"ELF" help:"Kernel, for the names of functions; the default is ringo.elf beside this command."`
}

// followInterval is how often a running guest is looked at.
const followInterval = 200 * time.Millisecond

// Run is what kong calls.
func (c *traceCommand) Run() error {
	ctx, cancel := interruptible()
	defer cancel()
	all, err := c.read(ctx)
	if err != nil {
		return tellTrace(err)
	}
	syms := c.symbols(all)
	chosen := all.Select(trace.Filter{Task: c.Task, Since: c.Since})
	if c.Perfetto != "" {
		return tellTrace(writeTimeline(c.Perfetto, chosen, syms))
	}
	err = chosen.WriteText(os.Stdout, all, syms)
	if err == nil {
		err = all.WriteSummary(os.Stderr)
	}
	if err != nil || !c.Follow {
		return tellTrace(err)
	}
	return tellTrace(c.follow(ctx, all, syms))
}

func tellTrace(err error) error {
	if err == nil {
		return nil
	}
	return exit(tell(statusFailure, fmt.Errorf("trace: %w", err)))
}

// read reads the file, or asks the guest.
func (c *traceCommand) read(ctx context.Context) (*trace.Trace, error) {
	f, err := os.Open(c.Source)
	if errors.Is(err, os.ErrNotExist) && filepath.Base(c.Source) == c.Source {
		return c.fetch(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return trace.ReadFile(f, st.Size())
}

// fetch copies a running guest's trace.
func (c *traceCommand) fetch(ctx context.Context) (*trace.Trace, error) {
	guest, err := client(c.Source)
	if err != nil {
		return nil, fmt.Errorf("%s is no file, and no guest either: %w", c.Source, err)
	}
	f, err := os.CreateTemp("", "ringo-trace-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	body, err := guest.Stream(ctx, "/v1/trace")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	n, err := io.Copy(f, body)
	if err != nil {
		return nil, err
	}
	return trace.ReadFile(f, n)
}

// follow prints what is new until the guest ends or the user has seen enough.
func (c *traceCommand) follow(ctx context.Context, all *trace.Trace, syms trace.Symbols) error {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := c.fetch(ctx)
		if err != nil {
			return nil // the guest has ended
		}
		fresh := now.After(all)
		if err := fresh.Select(trace.Filter{Task: c.Task}).WriteText(os.Stdout, now, syms); err != nil {
			return err
		}
		all = now
	}
}

// symbols are the kernel's, nil where it cannot be read: then there are addresses.
func (c *traceCommand) symbols(t *trace.Trace) trace.Symbols {
	name := c.Kernel
	if name == "" {
		arch := t.Arch()
		if arch == "" {
			arch = runtime.GOARCH
		}
		name = filepath.Join((&runCommand{Arch: arch}).buildFolder(), "ringo.elf")
	}
	f, err := os.Open(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmm: no names of functions:", err)
		return nil
	}
	defer f.Close()
	table, err := symbols.Load(f, t.Header.KernelVirt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmm: no names of functions:", err)
		return nil
	}
	return table
}

func writeTimeline(name string, t *trace.Trace, syms trace.Symbols) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(t.WritePerfetto(f, syms), f.Close())
}
