package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"ringo/hosted"
	"ringo/hosted/cli"
	"ringo/hosted/wire"
	"ringo/internal/kvm"
	"ringo/vmm/doctor"
	"ringo/vmm/guest"
)

// buildFolder is where the files of the guest's architecture are: beside this command, or
// beside its sibling of the other architecture.
func (c *runCommand) buildFolder() string {
	self, err := os.Executable()
	if err != nil {
		return filepath.Join("build", c.Arch)
	}
	folder := filepath.Dir(self)
	if c.Arch == runtime.GOARCH {
		return folder
	}
	return filepath.Join(filepath.Dir(folder), c.Arch)
}

// chooseLocal says whether the guest runs on this machine's own /dev/kvm.
func (c *runCommand) chooseLocal(ctx context.Context) (bool, error) {
	switch {
	case c.Host == "kvm" && c.Arch != runtime.GOARCH:
		return false, fmt.Errorf("--host kvm: this machine's KVM runs %s guests, not %s: use --host hosted", runtime.GOARCH, c.Arch)
	case c.Host == "kvm":
		return true, nil
	case c.Host == "hosted" || c.Arch != runtime.GOARCH:
		return false, nil
	}
	v, err := cachedVerdict(ctx)
	if err == nil && !v.OK && c.Verbose {
		fmt.Fprintln(os.Stderr, "vmm: using the hosted machine:", v.Why)
	}
	return v.OK, err
}

// verdict is the doctor's, kept between commands: asking takes several guests.
type verdict struct {
	Key string `json:"key"` // the host's boot and this binary
	OK  bool   `json:"ok"`
	Why string `json:"why"`
}

// cachedVerdict asks the doctor once a boot of the host and build of this command. The cache is
// a file beside the command; where that cannot be written, every command asks.
func cachedVerdict(ctx context.Context) (verdict, error) {
	key, file := verdictKey()
	if b, err := os.ReadFile(file); err == nil && key != "" {
		var v verdict
		if json.Unmarshal(b, &v) == nil && v.Key == key {
			return v, nil
		}
	}
	ok, why, err := doctor.Verdict(ctx)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{Key: key, OK: ok, Why: why}
	if b, err := json.Marshal(v); err == nil && key != "" {
		writeWhole(file, append(b, '\n'))
	}
	return v, nil
}

// verdictKey changes with what a verdict depends on: the running kernel, this binary, and who
// may open the device.
func verdictKey() (key, file string) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", ""
	}
	self, err := os.Executable()
	if err != nil {
		return "", ""
	}
	st, err := os.Stat(self)
	if err != nil {
		return "", ""
	}
	device := "absent"
	if st, err := os.Stat(kvm.Device); err == nil {
		device = fmt.Sprintf("%v %d", st.Mode(), st.ModTime().UnixNano())
	}
	return fmt.Sprintf("%s %d %d %s %d", bytes.TrimSpace(boot), st.Size(), st.ModTime().UnixNano(), device, os.Geteuid()),
		filepath.Join(filepath.Dir(self), "kvm-verdict.json")
}

// writeWhole replaces a file or leaves it as it was.
func writeWhole(name string, b []byte) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// inHosted runs this same command, built for the guest's architecture, in the hosted machine.
func (c *runCommand) inHosted(ctx context.Context, o guest.Options) error {
	binary := filepath.Join(c.buildFolder(), "vmm")
	if !exists(binary) {
		return c.fail(fmt.Errorf("%s is missing: run `make build`", binary))
	}
	name, err := c.claim("hosted")
	if err != nil {
		return c.fail(err)
	}
	argv := []string{binary, "run", "--host", "kvm", "--arch", c.Arch, "--cpus", strconv.Itoa(c.CPUs), "--mem", strconv.FormatUint(uint64(c.Mem), 10)}
	if name != nil {
		defer name.Close()
		argv = append(argv, "--name", name.String())
	}
	var shares []hosted.Share
	file := func(option, name, rest string, write bool) {
		if name == "" || err != nil {
			return
		}
		if name, err = filepath.Abs(name); err != nil {
			return
		}
		if _, err = os.Stat(name); err != nil {
			err = fmt.Errorf("%s: %w", option, err)
			return
		}
		shares = append(shares, hosted.Share{Path: name, Write: write})
		argv = append(argv, option, name+rest)
	}
	file("--kernel", c.Kernel, "", false)
	switch {
	case c.Initrd == nil:
	case *c.Initrd == "":
		argv = append(argv, "--initrd", "")
	default:
		file("--initrd", *c.Initrd, "", false)
	}
	for _, a := range c.Add {
		file("--add", a.Host, ":"+a.Guest, false)
	}
	for _, output := range []struct{ option, name string }{{"--phases", c.Phases}, {"--trace", c.Trace}} {
		switch {
		case output.name == "":
		case output.name == "-" && output.option == "--phases":
			argv = append(argv, "--phases", "-")
		default:
			// The file must exist to be shared.
			f, openErr := os.OpenFile(output.name, os.O_CREATE|os.O_WRONLY, 0o644)
			if openErr != nil {
				return c.fail(fmt.Errorf("%s: %w", output.option, openErr))
			}
			f.Close()
			file(output.option, output.name, "", true)
		}
	}
	if c.Report != "" {
		if mkdirErr := os.MkdirAll(c.Report, 0o755); mkdirErr != nil {
			return c.fail(fmt.Errorf("--report: %w", mkdirErr))
		}
		file("--report", c.Report, "", true)
	}
	if err != nil {
		return c.fail(err)
	}
	for _, w := range c.Watch {
		argv = append(argv, "--watch", w)
	}
	if c.Guard != "" {
		argv = append(argv, "--guard", c.Guard)
	}
	if c.Append != "" {
		argv = append(argv, "--append", c.Append)
	}
	if c.Timeout > 0 {
		argv = append(argv, "--timeout", c.Timeout.String())
	}
	if c.Verbose {
		argv = append(argv, "-v")
	}
	if c.Wait {
		argv = append(argv, "--wait")
	}
	argv = append(append(argv, "--"), c.Program...)
	var whole []string
	for _, name := range []string{o.Kernel, o.Initrd} {
		if abs, err := filepath.Abs(name); err == nil && name != "" {
			whole = append(whole, abs)
		}
	}
	command := hosted.Command{
		Argv: argv, Env: append(hostedEnv(), wire.ExecTime+"="), Shares: shares, FromMemory: whole,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	if name != nil {
		stop, err := c.forwardControl(ctx, name, binary)
		if err != nil {
			return c.fail(err)
		}
		defer stop()
	}
	stopGDB, err := c.listenGDB(name)
	if err != nil {
		return c.fail(err)
	}
	defer stopGDB()
	return cli.RunAttached(ctx, c.Arch, "auto", command, os.Stderr)
}
