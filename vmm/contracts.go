package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"ringo/contracts"
	"ringo/debug/stackguard"
	"ringo/hosted"
)

type contractsCommands struct {
	Run    contractsRun    `cmd:"" help:"Run contracts on Linux and in Ringo, and compare."`
	Diff   contractsDiff   `cmd:"" help:"Run one contract traced on Linux and in Ringo, and show where they part."`
	Worker contractsWorker `cmd:"" hidden:"" help:"Run batches that come as JSON on standard input, on this machine."`
}

// statusUnexpected: some contract did not do what it should.
const statusUnexpected = 1

type contractsRun struct {
	Arch     string        `enum:"amd64,arm64" default:"${arch}" help:"Architecture: ${enum}."`
	Libc     string        `enum:"glibc,musl" default:"glibc" help:"C library that sources are built with: ${enum}."`
	CPUs     int           `name:"cpus" default:"2" help:"Virtual CPUs of a guest."`
	Mem      size          `default:"512M" help:"Memory of a guest."`
	Jobs     int           `default:"2" help:"Guests at a time."`
	Shard    string        `placeholder:"I/N" help:"Run only part I of N."`
	Filter   string        `placeholder:"RE" help:"Run only contracts whose AREA/NAME matches."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write the results as JSON."`
	JUnit    string        `name:"junit" placeholder:"FILE" help:"Write the results as JUnit XML."`
	Expect   string        `placeholder:"DIR" help:"Take baselines from DIR/AREA/NAME.out (and .status) where they exist, instead of asking Linux."`
	Save     string        `placeholder:"DIR" help:"Write the baselines there, in the form that --expect reads."`
	Batch    bool          `help:"Run many contracts in one guest: faster, less separate."`
	Timeout  time.Duration `default:"30s" help:"Time of a contract that names none."`
	Judged   string        `name:"on" enum:"ringo,linux" default:"ringo" help:"What is judged: Ringo, or Linux once more (to find out whether a contract is deterministic)."`
	Remember bool          `default:"true" negatable:"" help:"Use baselines of earlier runs for programs that have not changed."`
	Guard    string        `placeholder:"stacks[=MODE]" help:"Watch the kernel stacks of sleeping tasks as run does; a contract whose guest makes it report fails."`
	Turns    []string      `name:"guard-turns" hidden:"" placeholder:"MODE[.N],..." help:"Run each contract in all these modes of the guard in turns."`
	Explain  int           `default:"5" placeholder:"N" help:"Run the first N contracts that failed once more with tracing, and show the system calls' difference to Linux (0: none)."`
	Host     string        `enum:"auto,kvm,hosted" default:"auto" help:"Where guests run, as for run."`
	Paths    []string      `arg:"" optional:"" name:"path" help:"Folders, C sources or static binaries; the default is the suite."`
}

// batchSize is how many contracts share a guest with --batch: what fits into its memory.
const batchSize = 40

// Run is what kong calls.
func (c *contractsRun) Run() error {
	debug.SetMemoryLimit(math.MaxInt64) // the limit is for a monitor beside its guest
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	begin := time.Now()
	o, err := c.options(ctx)
	if err != nil {
		return exit(tell(statusUsage, err))
	}
	s, closeSuite, err := contracts.Prepare(ctx, o)
	if err != nil {
		return err
	}
	defer closeSuite()
	p := &contracts.Printer{W: os.Stdout, Terminal: term.IsTerminal(1), Total: len(s.Programs) * max(1, len(c.Turns))}
	s.Report = p.Event
	judgements, err := s.Run(ctx)
	if err != nil {
		return err
	}
	p.Erase()
	if c.Judged == contracts.OnRingo {
		contracts.Explain(ctx, s, judgements, contracts.SyscallNumbers(c.Arch), c.Explain)
	}
	p.Summary(judgements, time.Since(begin))
	contracts.GuardSummary(os.Stdout, judgements)
	if c.Paths == nil && c.Filter == "" && c.Shard == "" {
		for _, name := range s.Known.Unlisted(s.Programs) {
			return fmt.Errorf("known-divergences.json lists %s, which is no contract", name)
		}
	}
	if err := errors.Join(writeTo(c.JSON, judgements, contracts.WriteJSON), writeTo(c.JUnit, judgements, contracts.WriteJUnit)); err != nil {
		return err
	}
	if c.Save != "" {
		if err := contracts.WriteExpected(c.Save, judgements); err != nil {
			return err
		}
	}
	for _, j := range judgements {
		if !j.Verdict.Expected() {
			return exit(statusUnexpected)
		}
	}
	return nil
}

func (c *contractsRun) options(ctx context.Context) (contracts.Options, error) {
	o := contracts.Options{
		Arch: c.Arch, Libc: c.Libc, Paths: c.Paths, CPUs: c.CPUs, Memory: uint64(c.Mem), Jobs: c.Jobs, Batch: 1,
		Timeout: c.Timeout, Expect: c.Expect, Judged: c.Judged, Progress: os.Stderr, Remember: c.Remember, Guard: c.Guard, Turns: c.Turns,
	}
	if c.Batch || c.Judged == contracts.OnLinux {
		o.Batch = batchSize
	}
	if _, err := stackguard.ParseMode(c.Guard); err != nil {
		return o, fmt.Errorf("--guard: %w", err)
	}
	var err error
	if o.Filter, err = regexp.Compile(c.Filter); err != nil {
		return o, fmt.Errorf("--filter: %w", err)
	}
	if c.Shard != "" {
		n, err := fmt.Sscanf(c.Shard, "%d/%d", &o.Shard[0], &o.Shard[1])
		if err != nil || n != 2 || o.Shard[0] < 1 || o.Shard[0] > o.Shard[1] {
			return o, fmt.Errorf("--shard %s is not I/N with 1 <= I <= N", c.Shard)
		}
	}
	if c.Timeout < time.Millisecond || c.Jobs < 1 {
		return o, errors.New("--timeout and --jobs must be positive")
	}
	if o.Project, err = hosted.Root(); err != nil {
		return o, err
	}
	run := runCommand{Arch: c.Arch, Host: c.Host}
	o.Local, err = run.chooseLocal(ctx)
	return o, err
}

func writeTo(name string, judgements []contracts.Judgement, write func(io.Writer, []contracts.Judgement) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f, judgements), f.Close())
}

type contractsDiff struct {
	Arch    string        `enum:"amd64,arm64" default:"${arch}" help:"Architecture: ${enum}."`
	Libc    string        `enum:"glibc,musl" default:"glibc" help:"C library that sources are built with: ${enum}."`
	CPUs    int           `name:"cpus" default:"1" help:"Virtual CPUs of the guest."`
	Mem     size          `default:"512M" help:"Memory of the guest."`
	Timeout time.Duration `default:"30s" help:"Time of a contract that names none."`
	Host    string        `enum:"auto,kvm,hosted" default:"auto" help:"Where guests run, as for run."`
	Test    string        `arg:"" help:"AREA/NAME of the suite, a C source or a static binary."`
}

// Run is what kong calls.
func (c *contractsDiff) Run() error {
	run := contractsRun{Arch: c.Arch, Libc: c.Libc, CPUs: c.CPUs, Mem: c.Mem, Jobs: 1, Judged: contracts.OnRingo, Timeout: c.Timeout, Host: c.Host}
	if exists(c.Test) {
		run.Paths = []string{c.Test}
	} else {
		run.Filter = "^" + regexp.QuoteMeta(c.Test) + "$"
	}
	debug.SetMemoryLimit(math.MaxInt64)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	o, err := run.options(ctx)
	if err != nil {
		return exit(tell(statusUsage, err))
	}
	s, closeSuite, err := contracts.Prepare(ctx, o)
	if err != nil {
		return err
	}
	defer closeSuite()
	if len(s.Programs) != 1 {
		return exit(tell(statusUsage, fmt.Errorf("%s is %d contracts: name one", c.Test, len(s.Programs))))
	}
	differ, err := contracts.Diff(ctx, os.Stdout, s, s.Programs[0], contracts.SyscallNumbers(c.Arch))
	if err == nil && differ {
		return exit(statusUnexpected)
	}
	return err
}

type contractsWorker struct{}

// Run is what kong calls.
func (contractsWorker) Run() error {
	return contracts.Serve(context.Background(), os.Stdin, os.Stdout)
}
