// Command benchtrace measures what the kernel's flight recorder costs (debug=htrace): a loop of system calls in guests with and
// without it, in turns, and prints the least time of each and the difference. No test: the figures mean something on a quiet machine only.
//
//	go run ./internal/e2e/benchtrace [-arch amd64] [-cpus 1] [-turns 5]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	arch := flag.String("arch", "amd64", "architecture of the guest")
	cpus := flag.Int("cpus", 1, "vCPUs")
	turns := flag.Int("turns", 5, "runs of each kind")
	flag.Parse()
	if err := run(*arch, *cpus, *turns); err != nil {
		fmt.Fprintln(os.Stderr, "benchtrace:", err)
		os.Exit(1)
	}
}

func run(arch string, cpus, turns int) error {
	dir, err := os.MkdirTemp("", "benchtrace-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	loop := filepath.Join(dir, "loop")
	build := exec.Command("go", "build", "-o", loop, "./internal/e2e/benchtrace/loop")
	build.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the loop: %w\n%s", err, out)
	}
	least := map[string]map[string]int{}
	var order []string
	for range turns {
		for _, line := range []string{"", "debug=htrace"} {
			cmd := exec.Command(filepath.Join("build", runtime.GOARCH, "vmm"), "run", "--arch", arch, "--cpus", fmt.Sprint(cpus), "--timeout", "2m",
				"--append", line, "--add", loop+":/loop", "/loop")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("guest with %q: %w", line, err)
			}
			if err := collect(least, &order, line, out); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%-8s %10s %10s %8s\n", "call", "off ns", "htrace ns", "cost")
	for _, name := range order {
		off, on := least[name][""], least[name]["debug=htrace"]
		fmt.Printf("%-8s %10d %10d %7.1f%%\n", name, off, on, 100*float64(on-off)/float64(off))
	}
	return nil
}

// collect takes the lines "call ns" of one run.
func collect(least map[string]map[string]int, order *[]string, kind string, out []byte) error {
	for line := range strings.Lines(string(bytes.TrimSpace(out))) {
		var name string
		var ns int
		if _, err := fmt.Sscan(line, &name, &ns); err != nil || ns <= 0 {
			return fmt.Errorf("the loop printed %q: %v", line, err)
		}
		if least[name] == nil {
			least[name] = map[string]int{}
			*order = append(*order, name)
		}
		if was, ok := least[name][kind]; !ok || ns < was {
			least[name][kind] = ns
		}
	}
	return nil
}
