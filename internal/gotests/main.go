// Command gotests runs tests of Go's own standard library on Linux and in Ringo, and counts what passes:
//
//	go run ./internal/gotests [-arch arm64] [-run REGEXP] [-bar PERCENT] [PACKAGE...]
//
// The tests are built with `go test -c`, run in the same surroundings on both sides by the contract runner's driver (as root, on
// the Debian root file system), with the package's folder as working folder and -test.short. A test counts when it passes on Linux. What
// the programs wrote is kept in build/gotests/ARCH.
package main

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ringo/contracts"
	"ringo/hosted"
)

// packages are tested when none are named. Tests of the runtime that build programs skip themselves, as there is no go command.
var packages = []string{
	"os", "os/exec", "os/signal", "os/user", "syscall", "time", "io/fs", "path/filepath", "sync", "sync/atomic", "internal/poll", "runtime", "net",
}

// leftOut are tests that say nothing of the kernel and take minutes in an emulated machine: this one touches 256 MiB a page at a time, a dozen times.
var leftOut = map[string]string{"runtime": "^TestScavengeIndex$"}

type options struct {
	arch, run, skip, json string
	bar                   float64
	timeout               time.Duration
	jobs                  int
}

func main() {
	hosted.MaybeServe()
	var o options
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture: amd64 or arm64")
	flag.StringVar(&o.run, "run", "", "only tests that match, as -test.run")
	flag.StringVar(&o.skip, "skip", "", "no tests that match, as -test.skip; instead of what is left out by default")
	flag.StringVar(&o.json, "json", "", "write the results to this file")
	flag.Float64Var(&o.bar, "bar", 95, "the percentage of Linux's passes below which a package fails")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "time of a package")
	flag.IntVar(&o.jobs, "jobs", 1, "guests at a time")
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = packages
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	all, err := run(ctx, o, names)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotests:", err)
		os.Exit(2)
	}
	write(os.Stdout, all)
	for _, c := range all {
		if c.percent() < o.bar {
			fmt.Printf("\n%s is below %.4g%%\n", c.Package, o.bar)
			defer os.Exit(1)
		}
	}
}

// run builds, runs and compares.
func run(ctx context.Context, o options, names []string) ([]comparison, error) {
	root, err := hosted.Root()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(root, "build", "gotests", o.arch)
	scripts := filepath.Join(folder, "scripts")
	if err := errors.Join(os.RemoveAll(scripts), os.MkdirAll(filepath.Join(scripts, "go"), 0o755)); err != nil {
		return nil, err
	}
	goroot, err := output(ctx, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	packageOf := map[string]string{}
	for _, pkg := range names {
		name, err := prepare(ctx, o, folder, goroot, pkg)
		if err != nil {
			return nil, err
		}
		packageOf[name] = pkg
	}
	local := false // the hosted machine serves every computer alike
	suite, end, err := contracts.Prepare(ctx, contracts.Options{
		Project: root, Arch: o.arch, Libc: "glibc", Paths: []string{scripts}, CPUs: 2, Memory: 2 << 30, Jobs: o.jobs, Batch: 1,
		Timeout: o.timeout, Local: local, Judged: contracts.OnRingo, Progress: os.Stderr, Expect: filepath.Join(folder, "linux"),
	})
	if err != nil {
		return nil, err
	}
	defer end()
	for i := range suite.Programs {
		p := &suite.Programs[i]
		p.Files = []string{stagedName(packageOf[p.Name])}
		// Replaced as a whole: a running machine may be reading the old one.
		staged := filepath.Join(suite.Base.Folder, p.Files[0])
		if err := errors.Join(os.RemoveAll(staged), os.Link(filepath.Join(folder, p.Files[0]), staged)); err != nil {
			return nil, err
		}
	}
	suite.Report = func(e contracts.Event) {
		if e.Done == nil {
			fmt.Printf("%s in Ringo\n", packageOf[e.Began])
			return
		}
		fmt.Printf("%s: %s after %v\n", packageOf[e.Done.Program.Name], e.Done.Result.End(), e.Done.Result.Took.Round(time.Millisecond))
	}
	judged, err := suite.Run(ctx)
	if err != nil {
		return nil, err
	}
	if err := contracts.WriteExpected(filepath.Join(folder, "linux"), judged); err != nil {
		return nil, err
	}
	var all []comparison
	for _, j := range judged {
		pkg := packageOf[j.Program.Name]
		text := string(j.Result.Stdout) + "\n--- standard error ---\n" + string(j.Result.Stderr) + "\n" + j.Result.Report
		if len(j.Result.Missing) > 0 {
			text += fmt.Sprintf("\nsystem calls the kernel lacks: %v\n", j.Result.Missing)
		}
		if err := os.WriteFile(filepath.Join(folder, strings.ReplaceAll(pkg, "/", "_")+".ringo.txt"), []byte(text), 0o644); err != nil {
			return nil, err
		}
		all = append(all, compare(pkg, parse(j.Baseline.Stdout), parse(j.Result.Stdout), j.Result.End()))
	}
	if o.json != "" {
		b, err := json.MarshalIndent(all, "", "  ")
		if err == nil {
			err = os.WriteFile(o.json, append(b, '\n'), 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// stagedName is the archive of a package beside the programs.
func stagedName(pkg string) string { return ".go-" + strings.ReplaceAll(pkg, "/", "_") + ".tar" }

// prepare builds a package's tests and writes the script that runs them. It answers the script's name as a contract, which changes
// with what is run, so that what Linux said of another build is not taken.
func prepare(ctx context.Context, o options, folder, goroot, pkg string) (string, error) {
	own := filepath.Join(folder, "_goroot") // a name that Go's own ./... skips
	if err := errors.Join(os.RemoveAll(own), os.MkdirAll(filepath.Join(own, "lib", "time"), 0o755)); err != nil {
		return "", err
	}
	source := filepath.Join("src", filepath.FromSlash(pkg))
	if err := os.CopyFS(filepath.Join(own, source), os.DirFS(filepath.Join(goroot, source))); err != nil {
		return "", err
	}
	zone, err := os.ReadFile(filepath.Join(goroot, "lib", "time", "zoneinfo.zip"))
	if err == nil {
		err = os.WriteFile(filepath.Join(own, "lib", "time", "zoneinfo.zip"), zone, 0o644)
	}
	if err != nil {
		return "", err
	}
	program := filepath.Join(own, "go.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, pkg)
	build.Env = append(os.Environ(), "GOARCH="+o.arch, "GOOS=linux", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c %s: %w\n%s", pkg, err, out)
	}
	if err := pack(own, filepath.Join(folder, stagedName(pkg))); err != nil {
		return "", err
	}
	flags := "-test.short -test.v=test2json -test.paniconexit0 -test.timeout=" + (o.timeout - 5*time.Second).String()
	if o.run != "" {
		flags += " '-test.run=" + o.run + "'"
	}
	if skip := cmp.Or(o.skip, leftOut[pkg]); skip != "" {
		flags += " '-test.skip=" + skip + "'"
	}
	script := fmt.Sprintf(`#!/bin/sh
# The tests of Go's package %[1]s.
#
# Root: debian
mkdir go && tar -C go -xf /contracts/%[2]s || exit 1
export GOROOT=$PWD/go TMPDIR=$PWD/tmp GO_BUILDER_NAME= HOME=/root
mkdir tmp
cd go/src/%[1]s
exec $GOROOT/go.test %[3]s
`, pkg, stagedName(pkg), flags)
	h := sha256.New()
	b, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	h.Write(b)
	h.Write([]byte(script))
	name := fmt.Sprintf("go/%s-%x", strings.ReplaceAll(pkg, "/", "_"), h.Sum(nil)[:6])
	return name, os.WriteFile(filepath.Join(folder, "scripts", name+".sh"), []byte(script), 0o755)
}

// pack writes a folder as a tar archive: one file is read at once, where a thousand small ones take the hosted machine a minute.
func pack(folder, archive string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	return errors.Join(w.AddFS(os.DirFS(folder)), w.Close(), f.Close())
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
