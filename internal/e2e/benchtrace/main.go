// Command benchtrace measures what the kernel's flight recorder costs (debug=htrace): the benchmarks of benchsyscalls in one guest, with
// the recorder on and off in turns of a few milliseconds, so that the computer's other work does not show. Of each benchmark it prints the median of the
// turns' ratios, and at the end the median of all.
//
// Off means switched off with /sys/kernel/tracing/tracing_on: a guest without debug=htrace saves one load and one branch more a hook.
//
//	go run ./internal/e2e/benchtrace [-arch amd64] [-cpus 1] [-ms 2] [-rounds 100] [NAME...]
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ringo/contracts"
	"ringo/internal/e2e"
)

// bar is what the recorder may cost: a ratio.
const bar = 1.05

func main() {
	arch := flag.String("arch", "amd64", "architecture of the guest")
	cpus := flag.Int("cpus", 1, "vCPUs")
	ms := flag.Int("ms", 2, "milliseconds of each setting in a turn")
	rounds := flag.Int("rounds", 100, "turns of each benchmark, at most 1000")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *arch, *cpus, append([]string{"-t", strconv.Itoa(*ms), "-r", strconv.Itoa(*rounds)}, flag.Args()...)); err != nil {
		fmt.Fprintln(os.Stderr, "benchtrace:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arch string, cpus int, args []string) error {
	root, err := e2e.Root()
	if err != nil {
		return err
	}
	chain, err := contracts.NewToolchain(ctx, arch, "glibc", filepath.Join(root, "contracts/include"), filepath.Join(root, "build/contracts/programs"))
	if err != nil {
		return err
	}
	program, err := chain.Compile(ctx, contracts.Program{Source: filepath.Join(root, "internal/e2e/benchsyscalls/program/bench.c")})
	if err != nil {
		return err
	}
	o, err := e2e.RunAgain(ctx, append([]string{"--arch", arch, "--cpus", strconv.Itoa(cpus), "--mem", "1G", "--append", "debug=htrace",
		"--add", program + ":/bench", "--timeout", "8m", "--", "/bench", "-a", "/sys/kernel/tracing/tracing_on"}, args...)...)
	if err != nil {
		return err
	}
	if o.Status != 0 {
		return fmt.Errorf("guest: exit status %d\n%s%s", o.Status, o.Stdout, o.Stderr)
	}
	rows, missing, err := parse(o.Stdout)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d vCPUs\n", arch, cpus)
	write(os.Stdout, rows, missing)
	return nil
}

// row is one benchmark: ns of an operation, and the median of the turns' ratios.
type row struct {
	name           string
	off, on, ratio float64
}

// parse reads bench.c's output: "NAME off on ratio", or "NAME missing ...".
func parse(text []byte) (rows []row, missing []string, err error) {
	for line := range strings.Lines(string(text)) {
		w := row{}
		if f := strings.Fields(line); len(f) > 1 && f[1] == "missing" {
			missing = append(missing, f[0])
		} else if n, err := fmt.Sscan(line, &w.name, &w.off, &w.on, &w.ratio); n < 4 || w.off <= 0 || w.on <= 0 || w.ratio <= 0 {
			return nil, nil, fmt.Errorf("benchmark printed %q, want NAME OFF ON RATIO: %v", line, err)
		} else {
			rows = append(rows, w)
		}
	}
	if len(rows) == 0 {
		return nil, nil, fmt.Errorf("no benchmark ran: is the name right? Missing: %q", missing)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.ratio, a.ratio) })
	return rows, missing, nil
}

func write(w io.Writer, rows []row, missing []string) {
	fmt.Fprintf(w, "%-24s %12s %12s %8s\n", "", "off ns", "on ns", "cost")
	above := 0
	for _, r := range rows {
		fmt.Fprintf(w, "%-24s %12.0f %12.0f %+7.1f%%\n", r.name, r.off, r.on, 100*(r.ratio-1))
		if r.ratio > bar {
			above++
		}
	}
	for _, name := range missing {
		fmt.Fprintf(w, "%-24s missing\n", name)
	}
	n := len(rows)
	median := (rows[n/2].ratio + rows[(n-1)/2].ratio) / 2
	fmt.Fprintf(w, "%d benchmarks, %d missing: median cost %+.1f%%, %d above %.0f%%\n", n, len(missing), 100*(median-1), above, 100*(bar-1))
}
