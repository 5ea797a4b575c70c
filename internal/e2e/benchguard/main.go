// Command benchguard runs every contract without the stack guard, under detect and under attribute, right one after the other in the same guest, and
// prints what the guard costs, what it has reported and which contracts fail only under it. A report ends it with status 1.
//
//	go run ./internal/e2e/benchguard -arch amd64 [-cpus 2] [-filter RE] [-modes detect,attribute] [-rounds 1] [-jobs 1]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ringo/internal/e2e"
)

type options struct {
	arch, filter string
	modes        []string
	cpus, jobs   int
	rounds       int
}

func main() {
	var o options
	var modes string
	flag.StringVar(&o.arch, "arch", "amd64", "architecture: amd64 or arm64")
	flag.StringVar(&o.filter, "filter", "", "only contracts whose AREA/NAME matches this regular expression")
	flag.StringVar(&modes, "modes", "detect,attribute", "modes of the guard")
	flag.IntVar(&o.cpus, "cpus", 2, "vCPUs of a guest")
	flag.IntVar(&o.rounds, "rounds", 1, "times that each contract runs in each mode")
	flag.IntVar(&o.jobs, "jobs", 1, "guests at a time")
	flag.Parse()
	o.modes = append([]string{"off"}, strings.Split(modes, ",")...)
	if flag.NArg() != 0 || o.rounds < 1 || !slices.Contains(e2e.Arches, o.arch) {
		fmt.Fprintln(os.Stderr, "benchguard: want -arch amd64 or arm64, and no arguments")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchguard:", err)
		os.Exit(1)
	}
}

// errFound is a guard that has said something.
var errFound = errors.New("the guard was not silent")

func run(ctx context.Context, o options, out io.Writer) error {
	vmm, err := e2e.VMM()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "benchguard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "results.json")
	c := exec.CommandContext(ctx, vmm, "contracts", "run", "--batch", "--arch", o.arch, "--cpus", strconv.Itoa(o.cpus), "--jobs", strconv.Itoa(o.jobs), "--explain", "0",
		"--json", file, "--filter", o.filter, "--guard-turns", strings.Join(o.turns(), ","))
	text, err := c.CombinedOutput()
	list, err := results(file, err)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	silent := true
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "stack guard:") {
			silent = silent && strings.HasPrefix(line, "stack guard: 0 reports")
			fmt.Fprint(out, line)
		}
	}
	byArea := make(map[string][]judgement)
	for _, j := range list {
		area, _, _ := strings.Cut(j.Name, "/")
		byArea[area] = append(byArea[area], j)
	}
	for _, area := range slices.Sorted(maps.Keys(byArea)) {
		t := compare(o.modes, byArea[area])
		t.write(out, area, o.modes)
	}
	all := compare(o.modes, list)
	all.write(out, "all", o.modes)
	if !silent {
		return errFound
	}
	return nil
}

// turns are the rounds' modes: off.1, detect.1, attribute.1, off.2...
func (o *options) turns() (list []string) {
	for n := range o.rounds {
		for _, m := range o.modes {
			list = append(list, fmt.Sprintf("%s.%d", m, n+1))
		}
	}
	return list
}

// judgement is what benchguard reads of `contracts run --json`.
type judgement struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
	Ringo   struct {
		NS int64 `json:"ns"`
	} `json:"ringo"`
}

// results reads the file; a command that failed because contracts did is none that failed.
func results(file string, ran error) (list []judgement, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Join(ran, err)
	}
	return list, json.Unmarshal(b, &list)
}
