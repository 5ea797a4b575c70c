package hosted

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// What is downloaded. A change of any of these, or of how it is laid out, needs another recipe version.
const recipeVersion = "1"

var (
	qemuPackages = []string{"qemu-system-x86", "qemu-system-arm", "virtiofsd"}
	// Modules that the machines load, beside those they depend on. KVM itself is built into the arm64 kernel.
	kernelModules = map[string][]string{"amd64": {"kvm-amd", "tun"}, "arm64": {"tun"}}
)

// oldestQEMU is the first major version that delivers hardware watchpoints inside SVM guests.
const oldestQEMU = 11

// Prepare downloads and builds what a machine of that architecture needs, unless it is there already; then it needs no network and
// takes milliseconds. It may be called by any number of processes at once. Nothing is ever half-made: every part is built beside its place and
// renamed, and what was downloaded is kept for the next attempt. Progress is reported as lines of text.
func Prepare(ctx context.Context, arch string, progress io.Writer) error {
	l, err := newLayout()
	if err != nil {
		return err
	}
	return l.prepare(ctx, arch, progress)
}

func (l layout) prepare(ctx context.Context, arch string, progress io.Writer) error {
	if err := checkArch(arch); err != nil {
		return err
	}
	if err := checkPlatform(); err != nil {
		return err
	}
	if l.prepared(arch) {
		return nil
	}
	r := newReporter(progress)
	lock, err := waitLock(ctx, l.lock("prepare"), func() { r.say("another process is preparing; waiting for it") })
	if err != nil {
		return err
	}
	defer lock.unlock()
	begin := time.Now()
	var jobs []func(context.Context) error
	if !stampIs(l.qemu(), qemuStamp()) {
		jobs = append(jobs, func(ctx context.Context) error { return l.prepareQEMU(ctx, r) })
	}
	if !stampIs(l.kernel(arch), kernelStamp(arch)) {
		jobs = append(jobs, func(ctx context.Context) error { return l.prepareKernel(ctx, arch, r) })
	}
	if len(jobs) > 0 {
		r.say("preparing a KVM host in QEMU for %s guests under %s (once; about 110 MB to download)", arch, l.dir)
	}
	if !l.agentFresh(arch) {
		jobs = append(jobs, func(ctx context.Context) error { return l.buildAgent(ctx, arch, r) })
	}
	if err := together(ctx, jobs); err != nil {
		return fmt.Errorf("prepare the hosted machine for %s: %w", arch, err)
	}
	if len(jobs) > 0 {
		r.say("ready after %.1f s", time.Since(begin).Seconds())
	}
	return nil
}

func (l layout) prepared(arch string) bool {
	return stampIs(l.qemu(), qemuStamp()) && stampIs(l.kernel(arch), kernelStamp(arch)) && l.agentFresh(arch)
}

func checkPlatform() error {
	if runtime.GOOS != "linux" || !slices.Contains(Arches, runtime.GOARCH) {
		return fmt.Errorf("%w: QEMU is prepared for linux on amd64 and arm64, not for %s on %s", ErrUnsupported, runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// together runs all jobs at once and returns the first error, having cancelled the others.
func together(ctx context.Context, jobs []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, job := range jobs {
		wg.Go(func() {
			if err := job(ctx); err != nil {
				once.Do(func() { first = err; cancel() })
			}
		})
	}
	wg.Wait()
	return first
}

func qemuStamp() string {
	return recipe("qemu", runtime.GOARCH, suite, backports, strings.Join(qemuPackages, " "))
}

func kernelStamp(arch string) string {
	return recipe("kernel", arch, suite, strings.Join(kernelModules[arch], " "))
}

func recipe(parts ...string) string {
	sum := sha256.Sum256([]byte(recipeVersion + "\n" + strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

const stampName = "stamp"

// stampIs says whether dir was completely made by the recipe with that stamp.
func stampIs(dir, stamp string) bool {
	b, err := os.ReadFile(filepath.Join(dir, stampName))
	first, _, _ := strings.Cut(string(b), "\n")
	return err == nil && first == stamp
}

// install makes target by build in a folder beside it, stamps that, and moves it into place. An older target is replaced. The
// caller holds the prepare lock.
func install(target, stamp string, build func(dir string) (notes string, err error)) error {
	partial, old := target+".partial", target+".old"
	for _, left := range []string{partial, old} { // of an attempt that was interrupted
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	notes, err := build(partial)
	if err == nil {
		err = os.WriteFile(filepath.Join(partial, stampName), []byte(stamp+"\n"+notes), 0o644)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(target, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(partial, target); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func (l layout) prepareQEMU(ctx context.Context, r *reporter) error {
	a, err := newApt(ctx, filepath.Join(l.cache(), "apt-qemu"), runtime.GOARCH)
	if err != nil {
		return err
	}
	defer r.step("QEMU", "reading package lists", a.archives())()
	if err := a.update(ctx); err != nil {
		return err
	}
	files, err := a.downloadWithDependencies(ctx, qemuPackages...)
	if err != nil {
		return err
	}
	r.say("unpacking QEMU and its libraries (%d packages)", len(files))
	return install(l.qemu(), qemuStamp(), func(dir string) (string, error) {
		// Two at a time: decompression is the work.
		half := len(files) / 2
		err := together(ctx, []func(context.Context) error{
			func(ctx context.Context) error { return unpack(ctx, dir, files[:half]...) },
			func(ctx context.Context) error { return unpack(ctx, dir, files[half:]...) },
		})
		if err != nil {
			return "", err
		}
		version, err := folderOf(dir).version(ctx)
		if err != nil {
			return "", err
		}
		r.say("%s", version)
		return version + "\n", nil
	})
}

func (l layout) prepareKernel(ctx context.Context, arch string, r *reporter) error {
	a, err := newApt(ctx, filepath.Join(l.cache(), "apt-"+arch), arch)
	if err != nil {
		return err
	}
	defer r.step(arch+" kernel", "reading package lists", a.archives())()
	if err := a.update(ctx); err != nil {
		return err
	}
	name, err := a.cloudKernel(ctx)
	if err != nil {
		return err
	}
	file, err := a.downloadOne(ctx, name)
	if err != nil {
		return err
	}
	r.say("unpacking %s", name)
	return install(l.kernel(arch), kernelStamp(arch), func(dir string) (string, error) {
		tree := filepath.Join(dir, "package")
		if err := unpack(ctx, tree, file); err != nil {
			return "", err
		}
		if err := takeKernel(tree, dir, kernelModules[arch]); err != nil {
			return "", err
		}
		return filepath.Base(file) + "\n", os.RemoveAll(tree)
	})
}

// agentFresh says whether the agent is newer than its sources. Without its sources (an installed program) it is as fresh as it gets.
func (l layout) agentFresh(arch string) bool {
	built, err := os.Stat(l.agent(arch))
	if err != nil {
		return false
	}
	fresh := true
	for _, dir := range []string{"agent", "wire"} {
		_ = filepath.WalkDir(filepath.Join(l.root, "hosted", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			if info, err := d.Info(); err == nil && info.ModTime().After(built.ModTime()) {
				fresh = false
			}
			return nil
		})
	}
	return fresh
}

func (l layout) buildAgent(ctx context.Context, arch string, r *reporter) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("%s is missing or older than its sources, and there is no go command to build it", l.agent(arch))
	}
	r.say("building the agent for %s", arch)
	target := l.agent(arch)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	partial := target + ".partial"
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-ldflags=-s -w", "-o", partial, "./hosted/agent")
	cmd.Dir, cmd.SysProcAttr = l.root, diesWithUs
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent: %w: %s", err, lastLines(string(out), 10))
	}
	now := time.Now() // go build may hand out an older file of its cache
	if err := os.Chtimes(partial, now, now); err != nil {
		return err
	}
	return os.Rename(partial, target)
}
