//go:build amd64

package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// busybox answers Debian's static BusyBox, or skips.
func busybox(t *testing.T) []byte {
	t.Helper()
	for _, p := range []string{os.Getenv("BUSYBOX"), "../../build/amd64/busybox", "/bin/busybox"} {
		if b, err := os.ReadFile(p); p != "" && err == nil {
			return b
		}
	}
	t.Skip("no static busybox: set BUSYBOX or run make")
	return nil
}

// busyboxGuest is a guest with BusyBox and links for applets.
func busyboxGuest(t *testing.T) *guest {
	t.Helper()
	files := map[string][]byte{"bin/busybox": busybox(t), "etc/passwd": []byte("root:x:0:0:root:/:/bin/sh\n")}
	for _, a := range strings.Fields("sh ash ls cat grep sed awk sleep kill echo uname wc sort head tail true false env mkdir rm cp mv ln seq printf test expr cut tr date id pwd sync dd md5sum sha256sum find xargs tee yes stat touch chmod basename dirname nice") {
		files[filepath.Join("bin", a)] = []byte("-> /bin/busybox")
	}
	return newGuest(t, files)
}

func TestBusyBoxShell(t *testing.T) {
	g := busyboxGuest(t)
	for _, c := range []struct {
		name, script, stdin string
		want                string
		code, sig           int
	}{
		{name: "uname", script: "uname -sm", want: "Linux x86_64\n"},
		{name: "pipe", script: "echo a b c | tr ' ' '\\n' | sort -r | head -2", want: "c\nb\n"},
		{name: "substitution", script: `x=$(echo $(echo deep)); echo "<$x>"`, want: "<deep>\n"},
		{name: "status", script: "false; echo $?; true; echo $?; exit 42", want: "1\n0\n", code: 42},
		{name: "signal status", script: "sh -c 'kill -9 $$'; echo $?", want: "137\n"},
		{name: "killed", script: "kill -TERM $$; sleep 5", sig: 15},
		{name: "background", script: "sleep 0.1 & p=$!; wait $p; echo done $?", want: "done 0\n"},
		{name: "background killed", script: "sleep 100 & p=$!; kill $p; wait $p; echo $?", want: "143\n"},
		{name: "trap", script: "trap 'echo trapped' USR1; kill -USR1 $$; echo after", want: "trapped\nafter\n"},
		{name: "trap in wait", script: "trap 'echo t; exit 3' TERM; sleep 100 & (sleep 0.1; kill -TERM $$) & wait; echo no", want: "t\n", code: 3},
		{name: "exit trap", script: "trap 'echo bye' EXIT; echo hi", want: "hi\nbye\n"},
		{name: "stdin", script: "cat; wc -c < /etc/passwd", stdin: "one\ntwo\n", want: "one\ntwo\n26\n"},
		{name: "files", script: "cd /tmp; echo hello > f; cp f g; cat f g; ls; rm f g; ls | wc -l", want: "hello\nhello\nf\ng\n0\n"},
		{name: "append", script: "cd /tmp; for i in 1 2 3; do echo $i >> l; done; cat l; rm l", want: "1\n2\n3\n"},
		{name: "loop", script: "i=0; while [ $i -lt 50 ]; do i=$((i+1)); /bin/true; done; echo $i", want: "50\n"},
		{name: "awk", script: "seq 100 | awk '{s+=$1} END {print s}'", want: "5050\n"},
		{name: "sed grep", script: "printf 'a1\\nb2\\n' | sed 's/[0-9]/#/' | grep b", want: "b#\n"},
		{name: "here document", script: "cat <<E\nx $((1+2))\nE", want: "x 3\n"},
		{name: "script", script: "printf '#!/bin/sh -e\\necho in $0 $1\\n' > /tmp/s; chmod +x /tmp/s; /tmp/s arg; echo $?", want: "in /tmp/s arg\n0\n"},
		{name: "not found", script: "nosuch 2>/dev/null; echo $?", want: "127\n"},
		{name: "not executable", script: "/etc 2>/dev/null; echo $?", want: "126\n"},
		{name: "sigpipe", script: "yes | head -1", want: "y\n"},
		{name: "subshell status", script: "(exit 5); echo $?; { exit 6; }", want: "5\n", code: 6},
		{name: "big pipe", script: "dd if=/dev/zero bs=4096 count=300 2>/dev/null | wc -c", want: "1228800\n"},
		{name: "xargs", script: "seq 5 | xargs -n 2 echo", want: "1 2\n3 4\n5\n"},
		{name: "find", script: "mkdir -p /tmp/d/e; touch /tmp/d/e/f; find /tmp/d | sort; rm -r /tmp/d", want: "/tmp/d\n/tmp/d/e\n/tmp/d/e/f\n"},
		{name: "date", script: "test $(date +%s) -gt 1700000000 && echo ok", want: "ok\n"},
		{name: "dev", script: "echo x > /dev/null; head -c 4 /dev/zero | wc -c; test -c /dev/urandom && echo dev", want: "4\ndev\n"},
		{name: "jobs", script: "set -m; sleep 0.05 & wait; echo ok", want: "ok\n"},
		{name: "stop", script: "sleep 1 & p=$!; kill -STOP $p; kill -CONT $p; kill $p; wait $p; echo $?", want: "143\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			out, errs, e := g.run(c.stdin, "/bin/sh", "-c", c.script)
			if out != c.want || e.Code != c.code || e.Signal != c.sig {
				t.Errorf("out %q want %q; status %d signal %d, want %d %d; err %q", out, c.want, e.Code, e.Signal, c.code, c.sig, errs)
			}
		})
	}
	for _, m := range g.table.Missing() {
		t.Logf("missing %s (%d) x %d", m.Name, m.Number, m.Count)
	}
}
