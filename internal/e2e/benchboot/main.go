// Command benchboot boots guests and says where the time goes: for 1 and 2 vCPUs the median and
// the spread of every boot phase over several boots, the exits of one boot, and the monitor's memory.
// It runs `vmm run` as a user does, so on most machines the guests boot in the hosted machine.
//
//	go run ./internal/e2e/benchboot -arch amd64 [-n 10] [-cpus 1,2] [-json FILE] [-exits] [-idle 10s]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringo/internal/e2e"
)

type options struct {
	arch   string
	cpus   []int
	boots  int
	warm   int
	memory string
	append string
	json   string
	exits  bool
	idle   time.Duration
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchboot:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchboot:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("benchboot", flag.ExitOnError)
	f.StringVar(&o.arch, "arch", "amd64", "guest architecture: amd64 or arm64")
	cpus := f.String("cpus", "1,2", "numbers of vCPUs to measure")
	f.IntVar(&o.boots, "n", 10, "boots to measure")
	f.IntVar(&o.warm, "warm", 2, "boots before, not measured")
	f.StringVar(&o.memory, "mem", "256M", "guest memory")
	f.StringVar(&o.append, "append", "", "kernel command line")
	f.StringVar(&o.json, "json", "", "write the figures to this file as well")
	f.BoolVar(&o.exits, "exits", false, "print the exits of the last boot")
	f.DurationVar(&o.idle, "idle", 0, "also measure the CPU time of a guest that sleeps for this long")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*cpus, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-cpus %s: want numbers like 1,2", *cpus)
		}
		o.cpus = append(o.cpus, n)
	}
	if !slices.Contains(e2e.Arches, o.arch) || o.boots < 1 || o.warm < 0 || o.idle < 0 || f.NArg() > 0 {
		return o, errors.New("want -arch amd64 or arm64, -n of at least 1, and nothing else")
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	var all []figures
	for _, cpus := range o.cpus {
		boots := make([]boot, 0, o.boots)
		for i := range o.warm + o.boots {
			b, err := o.boot(ctx, cpus, "/bin/true")
			if err != nil {
				return err
			}
			if i >= o.warm {
				boots = append(boots, b)
			}
		}
		f := summarise(o.arch, cpus, boots)
		if o.idle > 0 {
			load, err := o.idleLoad(ctx, cpus)
			if err != nil {
				return err
			}
			f.IdleCPU = &load
		}
		f.write(os.Stdout, o.exits)
		all = append(all, f)
	}
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(b, '\n'), 0o644)
}

// boot is one boot as `vmm run --phases` reports it (vmm/guest.Report).
type boot struct {
	Phases []phase           `json:"phases"`
	RSS    uint64            `json:"monitor_rss_bytes"`
	Guest  uint64            `json:"guest_resident_bytes"`
	CPU    time.Duration     `json:"cpu_ns"`
	Exits  map[string]uint64 `json:"exits"`
	KVM    map[string]uint64 `json:"kvm"`
}

type phase struct {
	Name string        `json:"name"`
	Side string        `json:"side"`
	At   time.Duration `json:"at_ns"`
}

// boot boots a guest that runs one program.
func (o options) boot(ctx context.Context, cpus int, program ...string) (b boot, err error) {
	dir, err := os.MkdirTemp("", "benchboot-")
	if err != nil {
		return b, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "phases.json")
	args := []string{"--arch", o.arch, "--cpus", strconv.Itoa(cpus), "--mem", o.memory, "--append", o.append, "--phases", file, "--timeout", "3m", "--"}
	out, err := e2e.Run(ctx, strings.NewReader(""), append(args, program...)...)
	switch {
	case err != nil:
		return b, err
	case ctx.Err() != nil:
		return b, ctx.Err()
	case out.Status != 0:
		return b, fmt.Errorf("%s guest with %d vCPUs: status %d: %s", o.arch, cpus, out.Status, out.Stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", file, err)
	}
	if len(b.Phases) == 0 {
		return b, errors.New("the monitor reported no boot phases")
	}
	return b, nil
}

// idleLoad is the part of a host CPU that the monitor with its guest takes while the program
// sleeps: the CPU time that a longer sleep costs more than a short one. What a boot costs differs from
// one to the next, so each is the least of three.
func (o options) idleLoad(ctx context.Context, cpus int) (float64, error) {
	const settle = time.Second
	least := func(sleep time.Duration) (time.Duration, error) {
		best := time.Duration(math.MaxInt64)
		for range 3 {
			b, err := o.boot(ctx, cpus, "/bin/sleep", strconv.FormatFloat(sleep.Seconds(), 'f', -1, 64))
			if err != nil {
				return 0, err
			}
			best = min(best, b.CPU)
		}
		return best, nil
	}
	short, err := least(settle)
	if err != nil {
		return 0, err
	}
	long, err := least(settle + o.idle)
	if err != nil {
		return 0, err
	}
	return max(0, float64(long-short)/float64(o.idle)), nil
}
