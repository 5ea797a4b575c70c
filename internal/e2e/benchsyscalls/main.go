// Command benchsyscalls measures system calls on Ringo and on Linux, in turns, and prints the ratio for each: bench.c, one static
// program, runs in a guest of the monitor and on the Linux of the hosted machine in which that guest runs.
//
// The comparison is not even: Ringo's guest has nested page tables and takes exits, the hosted Linux has neither. What
// does not leave the guest (most system calls) costs both the same instructions.
//
//	go run ./internal/e2e/benchsyscalls -arch amd64 [-cpus 2] [-turns 3] [-ms 20] [-linux hosted|here] [-json FILE] [NAME...]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringo/contracts"
	"ringo/internal/e2e"
)

type options struct {
	arch, linux, json, append string
	cpus, turns, ms           int
	names                     []string
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchsyscalls:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchsyscalls:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("benchsyscalls", flag.ExitOnError)
	f.StringVar(&o.arch, "arch", "amd64", "architecture: amd64 or arm64")
	f.StringVar(&o.linux, "linux", "hosted", "which Linux: the hosted machine's, or the one here (when guests run on this computer's own /dev/kvm)")
	f.StringVar(&o.json, "json", "", "write the figures to this file as well")
	f.StringVar(&o.append, "append", "", "kernel command line of the guest")
	f.IntVar(&o.cpus, "cpus", 2, "vCPUs of the guest")
	f.IntVar(&o.turns, "turns", 3, "how often each side runs, in turns")
	f.IntVar(&o.ms, "ms", 20, "milliseconds a measurement, five measurements a turn")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.names = f.Args()
	if !slices.Contains(e2e.Arches, o.arch) || o.linux != "hosted" && o.linux != "here" || o.cpus < 1 || o.turns < 1 || o.ms < 1 {
		return o, errors.New("want -arch amd64 or arm64, -linux hosted or here, and counts of at least 1")
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	program, err := build(ctx, o.arch)
	if err != nil {
		return err
	}
	vmm, err := e2e.VMM()
	if err != nil {
		return err
	}
	args := append([]string{"-t", strconv.Itoa(o.ms)}, o.names...)
	linux := append([]string{vmm, "hosted", "run", "--arch", o.arch, "--", program}, args...)
	if o.linux == "here" {
		linux = append([]string{program}, args...)
	}
	ringo := append([]string{"--arch", o.arch, "--cpus", strconv.Itoa(o.cpus), "--mem", "1G", "--append", o.append,
		"--add", program + ":/bench", "--timeout", "5m", "--", "/bench"}, args...)
	var turns []turn
	for i := range o.turns {
		l, err := measure("Linux", func() (e2e.Outcome, error) { return command(ctx, linux) })
		if err != nil {
			return err
		}
		r, err := measure("Ringo", func() (e2e.Outcome, error) { return e2e.RunAgain(ctx, ringo...) })
		if err != nil {
			return err
		}
		turns = append(turns, turn{linux: l, ringo: r})
		fmt.Fprintf(os.Stderr, "turn %d of %d: %s\n", i+1, o.turns, summary(compare(turns)))
	}
	rows := compare(turns)
	fmt.Printf("%s, %d vCPUs; Ringo is a guest, Linux is %s\n", o.arch, o.cpus, map[string]string{"hosted": "the hosted machine itself (no nested paging, no exits)", "here": "this computer itself"}[o.linux])
	write(os.Stdout, rows)
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(b, '\n'), 0o644)
}

func build(ctx context.Context, arch string) (string, error) {
	root, err := e2e.Root()
	if err != nil {
		return "", err
	}
	chain, err := contracts.NewToolchain(ctx, arch, "glibc", filepath.Join(root, "contracts/include"), filepath.Join(root, "build/contracts/programs"))
	if err != nil {
		return "", err
	}
	return chain.Compile(ctx, contracts.Program{Source: filepath.Join(root, "internal/e2e/benchsyscalls/program/bench.c")})
}

// measure runs the program on one side and reads its figures.
func measure(side string, run func() (e2e.Outcome, error)) (map[string]float64, error) {
	o, err := run()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", side, err)
	}
	if o.Status != 0 {
		return nil, fmt.Errorf("%s: exit status %d\n%s%s", side, o.Status, o.Stdout, o.Stderr)
	}
	figures, err := figures(o.Stdout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", side, err)
	}
	for name, ns := range figures {
		if ns == 0 {
			fmt.Fprintf(os.Stderr, "%s: %s is missing\n%s", side, name, o.Stderr)
		}
	}
	return figures, nil
}

// command runs the program on Linux.
func command(ctx context.Context, argv []string) (e2e.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	err := c.Run()
	o := e2e.Outcome{Stdout: out.Bytes(), Stderr: said.Bytes(), Status: c.ProcessState.ExitCode()}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	return o, err
}

// figures reads bench.c's output: "NAME median minimum" or "NAME missing ...", which is 0.
func figures(text []byte) (m map[string]float64, err error) {
	m = map[string]float64{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return nil, fmt.Errorf("benchmark printed %q, want NAME MEDIAN MINIMUM", line)
		}
		if f[1] == "missing" {
			m[f[0]] = 0
			continue
		}
		if m[f[0]], err = strconv.ParseFloat(f[1], 64); err != nil || m[f[0]] <= 0 {
			return nil, fmt.Errorf("benchmark printed %q, want NAME MEDIAN MINIMUM", line)
		}
	}
	if len(m) == 0 {
		return nil, errors.New("no benchmark ran: is the name right?")
	}
	return m, nil
}
