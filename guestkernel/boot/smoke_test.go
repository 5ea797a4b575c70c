//go:build amd64

package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sections cuts the script's output by its headings.
func sections(out string) (names []string, byName map[string]string) {
	byName = make(map[string]string)
	for _, part := range strings.Split("\n"+out, "\n== ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		names = append(names, name)
		byName[name] = body
	}
	return names, byName
}

// applets links every applet of the BusyBox to it.
func applets(t *testing.T, box string) []string {
	t.Helper()
	list, err := exec.Command(box, "--list").Output()
	if err != nil {
		t.Skipf("%s --list: %v", box, err)
	}
	return strings.Fields(string(list))
}

// TestAppletsLikeLinux runs one script of more than 150 commands on the host's Linux and in the guest, with the same BusyBox, and compares what
// each section prints and its status.
func TestAppletsLikeLinux(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: for chroot")
	}
	script, err := os.ReadFile("../../contracts/programs/busybox_applets.sh")
	if err != nil {
		t.Fatal(err)
	}
	binary := busybox(t)

	// The host side: a directory of its own as root, with the host's /dev and /proc.
	var fs unix.Statfs_t
	root := t.TempDir()
	if err := unix.Statfs("/dev/shm", &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
		if root, err = os.MkdirTemp("/dev/shm", "ringo"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(root) })
	}
	for _, dir := range []string{"bin", "dev", "proc", "tmp", "etc", "w"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const passwd = "root:x:0:0:root:/:/bin/sh\n"
	files := map[string][]byte{"bin/busybox": binary, "etc/passwd": []byte(passwd), "etc/group": []byte("root:x:0:\n"), "w/script": script}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range applets(t, filepath.Join(root, "bin/busybox")) {
		if a != "busybox" {
			files["bin/"+a] = []byte("-> /bin/busybox")
			if err := os.Symlink("/bin/busybox", filepath.Join(root, "bin", a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Its /dev holds nodes of its own and its /proc is mounted in a mount namespace of the child's own: nothing of the host's is ever mounted
	// where this test removes files.
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "urandom": 9} {
		if err := unix.Mknod(filepath.Join(root, "dev", name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			t.Skipf("mknod %s: %v", name, err)
		}
	}
	for name, target := range map[string]string{"stdin": "0", "stdout": "1", "stderr": "2"} {
		if err := os.Symlink("/proc/self/fd/"+target, filepath.Join(root, "dev", name)); err != nil {
			t.Fatal(err)
		}
	}
	host := exec.Command("/bin/sh", "-c", "/bin/mount -t proc proc /proc && cd /w && exec sh script")
	host.Dir, host.Env = "/", []string{"PATH=/bin", "HOME=/"}
	host.SysProcAttr = &unix.SysProcAttr{Chroot: root, Unshareflags: unix.CLONE_NEWNS}
	host.Path = "/bin/sh"
	want, err := host.CombinedOutput()
	if err != nil {
		t.Fatalf("on the host: %v\n%s", err, want)
	}

	g := systemGuestWith(t, files)
	g.patience = 5 * time.Minute
	got, errs, e := g.run("", "/bin/sh", "-c", "cd /w && exec sh script")
	if e.Code != 0 || e.Signal != 0 {
		t.Errorf("in the guest: status %d, signal %d, errors %q", e.Code, e.Signal, errs)
	}
	_, ours := sections(got)
	names, linux := sections(string(want))
	if len(names) < 95 {
		t.Fatalf("only %d sections on the host", len(names))
	}
	for _, name := range names {
		if ours[name] != linux[name] {
			t.Errorf("%s\nLinux:\n%s\nours:\n%s", name, linux[name], ours[name])
		}
	}
	for _, m := range g.table.Missing() {
		t.Logf("missing %s (%d) x %d", m.Name, m.Number, m.Count)
	}
}
