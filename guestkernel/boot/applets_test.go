//go:build amd64

package boot

import (
	"regexp"
	"strings"
	"testing"

	"ringo/guestkernel/syscalls"
	"ringo/guestkernel/vfs"
)

// systemGuest is a guest with /proc and every applet of BusyBox.
func systemGuest(t *testing.T) *guest {
	t.Helper()
	files := map[string][]byte{"bin/busybox": busybox(t), "etc/passwd": []byte("root:x:0:0:root:/:/bin/sh\n"), "etc/group": []byte("root:x:0:\n")}
	for _, a := range strings.Fields("sh ls cat ps mount umount df free uptime top id pidof kill sleep grep wc head mkdir mountpoint touch ln readlink stat rm mv hostname dd cmp find sort sed mktemp mkfifo truncate tail tty nproc echo awk cut printf test env du realpath chmod chown cp tr seq pstree killall dmesg fuser lsof who") {
		files["bin/"+a] = []byte("-> /bin/busybox")
	}
	return systemGuestWith(t, files)
}

// systemGuestWith is a guest with these files and /proc.
func systemGuestWith(t *testing.T, files map[string][]byte) *guest {
	t.Helper()
	g := newGuest(t, files)
	old := syscalls.MemoryTotals
	t.Cleanup(func() { syscalls.MemoryTotals = old })
	syscalls.MemoryTotals = func() (uint64, uint64) { return 256 << 20, 200 << 20 }
	root := RootConfig{Frames: g.m, Devices: vfs.NewDevices()}
	err := MountSystem(g.ns, root, System{Tasks: g.k, CPUs: 2, CommandLine: "quiet test", Memory: func() (uint64, uint64, uint64) { return 256 << 20, 200 << 20, 1 << 20 }})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSystemApplets(t *testing.T) {
	g := systemGuest(t)
	for _, c := range []struct{ name, script, want string }{
		{"self", "cd /proc/self && test -d fd && echo yes", "^yes\n$"},
		{"self is the reader", "readlink /proc/self; true", `^\d+\n$`},
		{"exe", "readlink /proc/$$/exe; ls -l /proc/self/exe | grep -c busybox", "^/bin/busybox\n1\n$"},
		{"cwd and root", "cd /etc; readlink /proc/$$/cwd; readlink /proc/$$/root", "^/etc\n/\n$"},
		{"fd", "exec 5</etc/passwd; readlink /proc/$$/fd/5; cat /proc/$$/fd/5 | head -1; cat < /dev/stdin < /etc/group", "^/etc/passwd\nroot:x:0:0:root:/:/bin/sh\nroot:x:0:\n$"},
		{"fdinfo", "exec 5</etc/passwd; read line <&5; grep pos /proc/$$/fdinfo/5", "^pos:\t\\d+\n$"},
		{"deleted", "exec 5>/tmp/gone; rm /tmp/gone; readlink /proc/$$/fd/5", `^/tmp/gone \(deleted\)` + "\n$"},
		{"cmdline", "tr '\\0' ' ' < /proc/$$/cmdline | cut -c1-10", "^/bin/sh -c\n$"},
		{"environ", "FOO=bar env sh -c \"tr '\\\\0' '\\n' < /proc/self/environ | grep FOO\"", "^FOO=bar\n$"},
		{"maps", "grep -c 'r-xp.*busybox' /proc/self/maps; grep -o '.stack.' /proc/self/maps", `^[1-9]\d*` + "\n\\[stack\\]\n$"},
		{"ps", "ps -o pid,ppid,comm | tail -n +2 | awk '{print ($1 > 0), ($2 >= 0), $3}' | sort -u | tr '\n' ' '; ps | grep -c 'bin/sh -c'", `1 1 init.* 1 1 ps .*1 1 sh `},
		{"pidof", "sleep 100 & i=0; until pidof sleep > /dev/null || [ $i -eq 5000 ]; do usleep 1000; i=$((i+1)); done; test $(pidof sleep) = $! && echo found; killall sleep; wait", "found\n"},
		{"stat fields", "awk '{print NF}' /proc/self/stat", "^52\n$"},
		{"status", "grep -E '^(Name|State|Threads|Uid)' /proc/self/status", "^Name:\tgrep\nState:\tR \\(running\\)\nUid:\t0\t0\t0\t0\nThreads:\t1\n$"},
		{"zombie", "sh -c 'sleep 0 & echo $! > /tmp/z; exec sleep 100' & p=$!; i=0; until grep -q Z /proc/$(cat /tmp/z 2>/dev/null)/status 2>/dev/null || [ $i -eq 5000 ]; do usleep 1000; i=$((i+1)); done; grep State /proc/$(cat /tmp/z)/status; kill $p", "^State:\tZ \\(zombie\\)\n$"},
		{"mount lists", "mount | grep -c .; grep ' / ' /proc/mounts", "^6\nrootfs / rootfs rw,relatime,mode=755 0 0\n$"},
		{"mount and umount", "mkdir /tmp/m; mount -t tmpfs -o size=1m none /tmp/m; echo x > /tmp/m/f; df -k /tmp/m | tail -1; umount /tmp/m; ls /tmp/m | wc -l", `^none +1024 +4 +1020 +0% /tmp/m` + "\n0\n$"},
		{"busy mount", "mkdir -p /tmp/b; mount -t tmpfs none /tmp/b; cd /tmp/b; umount /tmp/b 2>&1; cd /; umount /tmp/b; echo $?", "Device or resource busy\n0\n$"},
		{"full", "mkdir -p /tmp/s; mount -t tmpfs -o size=8k none /tmp/s; dd if=/dev/zero of=/tmp/s/f bs=4k count=5 2>&1 | grep -o 'No space.*'; stat -c %s /tmp/s/f; umount /tmp/s", "^No space left on device\n8192\n$"},
		{"bind", "mkdir -p /tmp/x /tmp/y; echo 1 > /tmp/x/f; mount -o bind /tmp/x /tmp/y; cat /tmp/y/f; umount /tmp/y; ls /tmp/y", "^1\n$"},
		{"remount", "mkdir -p /tmp/r; mount -t tmpfs none /tmp/r; mount -o remount,ro /tmp/r; touch /tmp/r/f 2>&1; umount /tmp/r", "Read-only file system"},
		{"df", "df -a | head -1; df / | tail -1", "Filesystem"},
		{"free", "free | grep Mem", `^Mem: +262144 `},
		{"uptime", "uptime", `load average`},
		{"top", "top -b -n 1 | grep -c ^Mem:", "^1\n$"},
		{"hostname", "cat /proc/sys/kernel/hostname; echo box > /proc/sys/kernel/hostname; hostname; hostname ringo", "^ringo\nbox\n$"},
		{"cmdline of the kernel", "cat /proc/cmdline", "^quiet test\n$"},
		{"cpus", "grep -c processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat", "^2\n2\n$"},
		{"read-only", "echo x > /proc/version; echo $?", "^1\n$"},
		{"no such process", "ls /proc/99999 2>&1; ls /proc/007 2>&1", "No such file"},
		{"find", "find /proc/self/task -maxdepth 1 | wc -l", "^2\n$"},
		{"limits", "grep 'open files' /proc/self/limits", `^Max open files +1024 +1048576 +files`},
		{"fifo", "mkfifo /tmp/p; echo through > /tmp/p & cat /tmp/p; wait; rm /tmp/p", "^through\n$"},
		{"times", "touch -d '2001-02-03 04:05:06' /tmp/t; stat -c '%Y %s' /tmp/t", "^981173106 0\n$"},
		{"du", "mkdir /tmp/du; dd if=/dev/zero of=/tmp/du/f bs=1k count=100 2>/dev/null; du -k /tmp/du/f", "^100\t/tmp/du/f\n$"},
		{"cp tree", "mkdir -p /tmp/c/d; echo 1 > /tmp/c/d/e; ln -s e /tmp/c/d/l; cp -a /tmp/c /tmp/c2; find /tmp/c2 | sort; readlink /tmp/c2/d/l", "^/tmp/c2\n/tmp/c2/d\n/tmp/c2/d/e\n/tmp/c2/d/l\ne\n$"},
		{"mv over", "echo a > /tmp/1; echo b > /tmp/2; mv /tmp/1 /tmp/2; cat /tmp/2", "^a\n$"},
		{"sparse", "truncate -s 1G /tmp/sp; stat -c '%s %b' /tmp/sp; rm /tmp/sp", "^1073741824 0\n$"},
		{"unlink while open", "echo keep > /tmp/u; exec 6</tmp/u; rm /tmp/u; cat <&6", "^keep\n$"},
		{"realpath", "mkdir -p /tmp/ra/b; ln -s ra /tmp/rl; realpath /tmp/rl/b/..", "^/tmp/ra\n$"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			g.t = t
			out, errs, e := g.run("", "/bin/sh", "-c", c.script)
			if !regexp.MustCompile(c.want).MatchString(out) {
				t.Errorf("output %q does not match %q; status %d signal %d, errors %q", out, c.want, e.Code, e.Signal, errs)
			}
		})
	}
	for _, m := range g.table.Missing() {
		t.Logf("missing %s (%d) x %d", m.Name, m.Number, m.Count)
	}
}
