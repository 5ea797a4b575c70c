// Command benchguard runs the contracts without the stack guard, under detect and under attribute, area by area and in turns, and prints
// what the guard costs, what it has reported and which contracts fail only under it. Any of the last two ends it with
// status 1.
//
//	go run ./internal/e2e/benchguard -arch amd64 [-cpus 2] [-filter RE] [-modes detect,attribute] [-jobs 1]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
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
}

func main() {
	var o options
	var modes string
	flag.StringVar(&o.arch, "arch", "amd64", "architecture: amd64 or arm64")
	flag.StringVar(&o.filter, "filter", "", "only contracts whose AREA/NAME matches this regular expression")
	flag.StringVar(&modes, "modes", "detect,attribute", "modes of the guard")
	flag.IntVar(&o.cpus, "cpus", 2, "vCPUs of a guest")
	flag.IntVar(&o.jobs, "jobs", 1, "guests at a time")
	flag.Parse()
	o.modes = append([]string{"off"}, strings.Split(modes, ",")...)
	if flag.NArg() != 0 || !slices.Contains(e2e.Arches, o.arch) {
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

// errFound is a guard that has said something, or a contract that does not stand it.
var errFound = errors.New("the guard was not silent, or broke a contract")

func run(ctx context.Context, o options, out io.Writer) error {
	only, err := regexp.Compile(o.filter)
	if err != nil {
		return err
	}
	vmm, err := e2e.VMM()
	if err != nil {
		return err
	}
	byArea, err := areas(only)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "benchguard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	var all table
	for _, a := range byArea {
		runs := make(map[string][]judgement)
		for _, mode := range o.modes {
			file := filepath.Join(scratch, a.name+"."+mode+".json")
			args := []string{"contracts", "run", "--batch", "--arch", o.arch, "--cpus", strconv.Itoa(o.cpus), "--jobs", strconv.Itoa(o.jobs), "--explain", "0",
				"--json", file, "--filter", a.filter}
			if mode != "off" {
				args = append(args, "--guard", "stacks="+mode)
			}
			c := exec.CommandContext(ctx, vmm, args...)
			text, err := c.CombinedOutput()
			if runs[mode], err = results(file, err); err != nil {
				return fmt.Errorf("%s, guard %s: %w\n%s", a.name, mode, err, text)
			}
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, "stack guard:") {
					fmt.Fprintf(out, "%-12s %-9s %s", a.name, mode, line)
				}
			}
		}
		t := compare(o.modes, runs)
		t.write(out, a.name, o.modes)
		all.add(t)
	}
	all.write(out, "all", o.modes)
	if all.broken > 0 {
		return errFound
	}
	return nil
}

// area is one run: an area, or what of it was asked for.
type area struct{ name, filter string }

// areas are those of the suite that have contracts that match.
func areas(only *regexp.Regexp) (list []area, err error) {
	root, err := e2e.Root()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(root, "contracts", "*", "*.c"))
	if err != nil {
		return nil, err
	}
	names := make(map[string][]string)
	for _, f := range files {
		dir, base := filepath.Base(filepath.Dir(f)), strings.TrimSuffix(filepath.Base(f), ".c")
		if only.MatchString(dir + "/" + base) {
			names[dir] = append(names[dir], regexp.QuoteMeta(base))
		}
	}
	for dir, list2 := range names {
		list = append(list, area{dir, "^" + dir + "/(" + strings.Join(list2, "|") + ")$"})
	}
	slices.SortFunc(list, func(a, b area) int { return strings.Compare(a.name, b.name) })
	return list, nil
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
