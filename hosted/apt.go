package hosted

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// apt is a private apt configuration: its own sources, lists, state and downloads in one folder, nothing of the system's but the
// signing keys, proxies and programs. It installs nothing; it resolves, downloads and verifies. That needs no root, and apt checks every
// file against the signed index of its suite.
type apt struct {
	dir  string
	arch string
}

const (
	suite     = "trixie"
	backports = "trixie-backports"
	keyring   = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

func newApt(ctx context.Context, dir, arch string) (*apt, error) {
	for _, tool := range []string{"apt-get", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: preparing needs %s (Debian or Ubuntu)", ErrUnsupported, tool)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("%w: Debian's signing keys are not at %s; install the package debian-archive-keyring", ErrUnsupported, keyring)
	}
	a := &apt{dir: dir, arch: arch}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "etc/preferences.d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	mirror := "http://deb.debian.org"
	if m := os.Getenv(EnvMirror); m != "" {
		mirror = strings.TrimSuffix(m, "/")
	}
	signed := "deb [signed-by=" + keyring + "] " + mirror
	sources := fmt.Sprintf("%s/debian %s main\n%s/debian %s main\n%s/debian-security %s-security main\n", signed, suite, signed, backports, signed, suite)
	conf := fmt.Sprintf(`Dir "%[1]s/";
Dir::Etc "%[1]s/etc/";
Dir::Etc::SourceList "%[1]s/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::State "%[1]s/";
Dir::State::Lists "%[1]s/lists/";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache/";
APT::Architecture "%[2]s";
APT::Architectures { "%[2]s"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
`, dir, arch)
	for name, text := range map[string]string{"sources.list": sources, "status": "", "apt.conf": conf + systemProxies(ctx)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// systemProxies returns the system's own apt settings that say how to reach a mirror.
func systemProxies(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return "" // the network may be reachable without them
	}
	var kept strings.Builder
	for line := range strings.Lines(string(out)) {
		name := strings.ToLower(line)
		if strings.HasPrefix(name, "acquire::http") && strings.Contains(name, "proxy") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// diesWithUs keeps a killed preparation from being continued behind the back of the next one.
var diesWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// get runs apt-get or apt-cache and returns its standard output.
func (a *apt) get(ctx context.Context, dir, tool string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = diesWithUs
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, lastLines(errs.String(), 6))
	}
	return out.String(), nil
}

func (a *apt) update(ctx context.Context) error {
	_, err := a.get(ctx, a.dir, "apt-get", "-q", "--error-on=any", "update")
	return err
}

// downloadWithDependencies downloads packages of the backports suite with all they depend on and returns the files. Earlier
// downloads that are still current are used again.
func (a *apt) downloadWithDependencies(ctx context.Context, packages ...string) ([]string, error) {
	args := append([]string{"-q", "-y", "-t", backports, "install"}, packages...)
	plan, err := a.get(ctx, a.dir, "apt-get", append([]string{"--simulate"}, args...)...)
	if err != nil {
		return nil, err
	}
	if _, err := a.get(ctx, a.dir, "apt-get", append([]string{"--download-only"}, args...)...); err != nil {
		return nil, err
	}
	names, err := plannedFiles(plan)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range names {
		f := filepath.Join(a.archives(), name)
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("apt-get did not download %s: %w", name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func (a *apt) archives() string { return filepath.Join(a.dir, "cache", "archives") }

var installLine = regexp.MustCompile(`^Inst (\S+) \((\S+) .*\[(\S+)\]\)`)

// plannedFiles reads the names of the package files from a simulated installation ("Inst pkg (version suite [arch])").
func plannedFiles(plan string) ([]string, error) {
	var names []string
	for line := range strings.Lines(plan) {
		if m := installLine.FindStringSubmatch(line); m != nil {
			name, _, _ := strings.Cut(m[1], ":")
			names = append(names, fmt.Sprintf("%s_%s_%s.deb", name, strings.ReplaceAll(m[2], ":", "%3a"), m[3]))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("apt-get plans to install nothing: %s", lastLines(plan, 6))
	}
	return names, nil
}

// downloadOne downloads a single package of the stable suite into the cache and returns its file.
func (a *apt) downloadOne(ctx context.Context, name string) (string, error) {
	dir := a.archives()
	if _, err := a.get(ctx, dir, "apt-get", "-q", "download", name+"/"+suite); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"_*_"+a.arch+".deb"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("apt-get downloaded %s, but no such file is in %s", name, dir)
	}
	return newest(found), nil
}

// cloudKernel returns the name of the package that Debian's cloud kernel meta package stands for.
func (a *apt) cloudKernel(ctx context.Context) (string, error) {
	meta := "linux-image-cloud-" + a.arch
	out, err := a.get(ctx, a.dir, "apt-cache", "depends", meta+"/"+suite)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, "linux-image-") {
			return strings.TrimSuffix(name, ":"+a.arch), nil
		}
	}
	return "", fmt.Errorf("%s depends on no kernel image: %s", meta, lastLines(out, 4))
}

func newest(files []string) string {
	return slices.MaxFunc(files, func(a, b string) int {
		ia, errA := os.Stat(a)
		ib, errB := os.Stat(b)
		if errA != nil || errB != nil {
			return strings.Compare(a, b)
		}
		return ia.ModTime().Compare(ib.ModTime())
	})
}

// unpack extracts package files into dir.
func unpack(ctx context.Context, dir string, files ...string) error {
	for _, f := range files {
		cmd := exec.CommandContext(ctx, "dpkg-deb", "--extract", f, dir)
		cmd.SysProcAttr = diesWithUs
		out, err := cmd.CombinedOutput()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(f), err, lastLines(string(out), 4))
		}
	}
	return nil
}

// lastLines returns the end of a text, for a message.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
