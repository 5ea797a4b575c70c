// Command endurance runs guests for a long time: `stress`, a mix of everything that checks its own results, or `fuzz`, random system calls with
// random arguments. It fails on a wrong result, a hang, a kernel panic, and when not all frames and tasks are accounted for at the end.
//
//	go run ./internal/e2e/endurance -what stress|fuzz [-arch amd64] [-cpus 2] [-for 10m] [-seed N]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"ringo/contracts"
	"ringo/internal/e2e"
)

// accounted is what the kernel prints at the end (`account` on its command line) when nothing is left over.
const accounted = "ringo: accounts: all frames and tasks accounted for"

var sources = map[string]string{
	"stress": "internal/e2e/endurance/program/stress.c",
	"fuzz":   "guestkernel/boot/testdata/fuzz.c",
}

func main() {
	what := flag.String("what", "stress", "stress or fuzz")
	arch := flag.String("arch", "amd64", "amd64 or arm64")
	cpus := flag.Int("cpus", 2, "vCPUs")
	duration := flag.Duration("for", 10*time.Minute, "how long")
	seed := flag.Int64("seed", time.Now().UnixNano()%1e9, "of the random numbers")
	flag.Parse()
	if sources[*what] == "" || !slices.Contains(e2e.Arches, *arch) || *cpus < 1 || *duration < time.Second || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("%s on %s, %d vCPUs, for %v, seed %d\n", *what, *arch, *cpus, *duration, *seed)
	if err := run(ctx, *what, *arch, *cpus, *duration, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "endurance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, what, arch string, cpus int, duration time.Duration, seed int64) error {
	root, err := e2e.Root()
	if err != nil {
		return err
	}
	chain, err := contracts.NewToolchain(ctx, arch, "glibc", filepath.Join(root, "contracts/include"), filepath.Join(root, "build/contracts/programs"))
	if err != nil {
		return err
	}
	program, err := chain.Compile(ctx, contracts.Program{Source: filepath.Join(root, sources[what]), Flags: []string{"-w"}})
	if err != nil {
		return err
	}
	patience := duration + 5*time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience+time.Minute)
	defer cancel()
	o, err := e2e.RunAgain(ctx, "--arch", arch, "--cpus", strconv.Itoa(cpus), "--mem", "512M", "-v", "--append", "account", "--timeout", patience.String(),
		"--add", program+":/program", "--", "/program", strconv.Itoa(int(duration.Seconds()))+"s", strconv.FormatInt(seed, 10))
	if err != nil {
		return err
	}
	os.Stdout.Write(o.Stdout)
	if o.Status != 0 {
		return fmt.Errorf("exit status %d after %v\n%s", o.Status, o.Wall.Round(time.Second), o.Stderr)
	}
	if !bytes.Contains(o.Stderr, []byte(accounted)) || bytes.Contains(o.Stderr, []byte("ringo: leak")) {
		return errors.New("the kernel does not account for everything\n" + string(o.Stderr))
	}
	fmt.Printf("passed in %v; %s\n", o.Wall.Round(time.Second), accounted)
	return nil
}
