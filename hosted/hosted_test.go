package hosted

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringo/hosted/wire"
)

func TestRootIsFoundFromInside(t *testing.T) {
	t.Setenv(EnvRoot, "")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(dir, "a", "b")
	write(t, filepath.Join(dir, "go.mod"), "module ringo\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "a", "go.mod"), "module ringolet\n")
	write(t, filepath.Join(deep, "x"), "")
	t.Chdir(deep)
	if got, err := Root(); got != dir || err != nil {
		t.Errorf("Root() = %q, %v; want %q", got, err, dir)
	}
	t.Setenv(EnvRoot, deep)
	if got, err := Root(); err == nil {
		t.Errorf("Root() = %q with %s naming a folder that is no project", got, EnvRoot)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInstallIsAllOrNothing(t *testing.T) {
	target := filepath.Join(t.TempDir(), "part")
	failure := errors.New("no")
	err := install(target, "one", func(dir string) (string, error) {
		write(t, filepath.Join(dir, "half"), "x")
		return "", failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed attempt left %s (%v)", target, err)
	}
	// An attempt that was killed leaves its folder beside the target.
	write(t, filepath.Join(target+".partial", "rubbish"), "x")
	for _, stamp := range []string{"one", "two"} {
		err := install(target, stamp, func(dir string) (string, error) {
			write(t, filepath.Join(dir, "file-"+stamp), "x")
			return "notes\n", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !stampIs(target, stamp) || stampIs(target, "three") {
			t.Errorf("stamp of %s is not %s", target, stamp)
		}
	}
	if _, err := os.Stat(filepath.Join(target, "rubbish")); err == nil {
		t.Error("an interrupted attempt's file was taken over")
	}
	if _, err := os.Stat(filepath.Join(target, "file-one")); err == nil {
		t.Error("the older version's file is still there")
	}
	left, err := filepath.Glob(target + ".*")
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRecipeTellsEveryPartApart(t *testing.T) {
	seen := make(map[string]string)
	for name, stamp := range map[string]string{
		"qemu": qemuStamp(), "amd64": kernelStamp("amd64"), "arm64": kernelStamp("arm64"), "ab,c": recipe("ab", "c"), "a,bc": recipe("a", "bc"),
	} {
		if other, ok := seen[stamp]; ok {
			t.Errorf("%s and %s have the same stamp", name, other)
		}
		seen[stamp] = name
	}
}

func TestLockSerialises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "x.lock")
	first, err := tryLock(path)
	if err != nil || first == nil {
		t.Fatalf("first lock: %v, %v", first, err)
	}
	if second, err := tryLock(path); second != nil || err != nil {
		t.Fatalf("a held lock was given again: %v, %v", second, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	waited := 0
	if _, err := waitLock(ctx, path, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
		t.Errorf("waiting for a held lock: %v, told %d times", err, waited)
	}
	got := make(chan error, 1)
	go func() {
		l, err := waitLock(t.Context(), path, nil)
		if l != nil {
			l.unlock()
		}
		got <- err
	}()
	first.unlock()
	if err := <-got; err != nil {
		t.Errorf("after unlock: %v", err)
	}
}

func TestTogetherCancelsTheOthers(t *testing.T) {
	failure := errors.New("no")
	err := together(t.Context(), []func(context.Context) error{
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		func(context.Context) error { return failure },
	})
	if err != failure {
		t.Errorf("got %v, want the first failure", err)
	}
}

func TestShares(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, folder, link := filepath.Join(dir, "file"), filepath.Join(dir, "folder"), filepath.Join(dir, "link")
	write(t, file, "x")
	write(t, filepath.Join(folder, "x"), "x")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		shares []Share
		want   []wire.Share
		fails  string
	}{
		{"file and folder", []Share{{Path: file}, {Path: folder, Write: true}},
			[]wire.Share{{Path: file, Source: file}, {Path: folder, Source: folder, Write: true, Folder: true}}, ""},
		{"symbolic link", []Share{{Path: link}}, []wire.Share{{Path: link, Source: folder, Folder: true}}, ""},
		{"unclean path", []Share{{Path: folder + "/../folder/"}}, []wire.Share{{Path: folder, Source: folder, Folder: true}}, ""},
		{"twice, once writable", []Share{{Path: folder, Write: true}, {Path: folder}}, []wire.Share{{Path: folder, Source: folder, Write: true, Folder: true}}, ""},
		{"missing", []Share{{Path: filepath.Join(dir, "nothing")}}, nil, "no such file"},
		{"device tree", []Share{{Path: "/dev/null"}}, nil, "regular file"},
		{"system tree", []Share{{Path: "/sys/kernel"}}, nil, "of its own"},
		{"everything", []Share{{Path: "/"}}, nil, "of its own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := resolveShares(c.shares)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, %v; want an error about %q", got, err, c.fails)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestVisible(t *testing.T) {
	shares := []wire.Share{{Path: "/a/b"}}
	for path, want := range map[string]bool{"/a/b": true, "/a/b/c": true, "/a/bc": false, "/a": false, "/": false} {
		if got := visible(shares, path); got != want {
			t.Errorf("visible(%q) = %v, want %v", path, got, want)
		}
	}
}

func TestPlannedFiles(t *testing.T) {
	plan := `NOTE: This is only a simulation!
Inst gcc-14-base (14.2.0-19 Debian:13.6/stable [amd64])
Inst libc6 (2.41-12+deb13u5 Debian:13.6/stable, Debian-Security:13/stable-security [amd64]) []
Inst qemu-system-x86 (1:11.1.3+ds-1~bpo13+1 Debian Backports:stable-backports [amd64])
Inst seabios (1.17.0-1~bpo13+1 Debian Backports:stable-backports [all])
Conf gcc-14-base (14.2.0-19 Debian:13.6/stable [amd64])
`
	got, err := plannedFiles(plan)
	want := []string{"gcc-14-base_14.2.0-19_amd64.deb", "libc6_2.41-12+deb13u5_amd64.deb",
		"qemu-system-x86_1%3a11.1.3+ds-1~bpo13+1_amd64.deb", "seabios_1.17.0-1~bpo13+1_all.deb"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := plannedFiles("0 upgraded\n"); err == nil {
		t.Error("an empty plan is no error")
	}
}

func TestModuleSignatureIsCutOff(t *testing.T) {
	body, signature := []byte("\x7fELF body"), []byte("signature")
	signed := append(append(bytes.Clone(body), signature...), make([]byte, 8)...)
	signed = binary.BigEndian.AppendUint32(signed, uint32(len(signature)))
	signed = append(signed, "~Module signature appended~\n"...)
	if got := withoutSignature(signed); !bytes.Equal(got, body) {
		t.Errorf("got %q, want %q", got, body)
	}
	if got := withoutSignature(body); !bytes.Equal(got, body) {
		t.Errorf("unsigned: got %q", got)
	}
	lying := append(binary.BigEndian.AppendUint32(make([]byte, 8), 1<<30), "~Module signature appended~\n"...)
	if got := withoutSignature(lying); !bytes.Equal(got, lying) {
		t.Errorf("a length beyond the file: got %d bytes", len(got))
	}
}

func TestInitramfsIsAnArchive(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "agent"), "agent!")
	write(t, filepath.Join(dir, "modules", "01-a.ko"), "module")
	target := filepath.Join(dir, "initramfs.cpio")
	if err := writeInitramfs(target, filepath.Join(dir, "agent"), filepath.Join(dir, "modules")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for len(b) > 0 {
		if len(b) < 110 || string(b[:6]) != "070701" {
			t.Fatalf("bad header %q", b[:min(len(b), 110)])
		}
		size, nameSize := hexNumber(t, b[54:62]), hexNumber(t, b[94:102])
		name := string(b[110 : 110+nameSize-1])
		data := (110 + nameSize + 3) &^ 3
		got[name] = string(b[data : data+size])
		b = b[(data+size+3)&^3:]
	}
	if got["init"] != "agent!" || got["modules/01-a.ko"] != "module" {
		t.Errorf("archive holds %q", got)
	}
	if _, ok := got["TRAILER!!!"]; !ok {
		t.Error("no trailer")
	}
	if err := writeInitramfs(target, filepath.Join(dir, "nothing"), dir); err == nil {
		t.Error("a missing agent is no error")
	}
}

func hexNumber(t *testing.T, b []byte) int {
	t.Helper()
	n := 0
	for _, c := range b {
		n = n<<4 | strings.IndexByte("0123456789abcdef", c)
	}
	return n
}

func TestAdmission(t *testing.T) {
	for _, c := range []struct {
		name             string
		ending           bool
		running          int
		protocol         int
		stamp, want      string
		runningAfterward int
	}{
		{"current", false, 0, protocolVersion, "s", codeOK, 1},
		{"current beside others", false, 2, protocolVersion, "s", codeOK, 3},
		{"changed while busy", false, 1, protocolVersion, "other", codeOK, 2},
		{"changed while idle", false, 0, protocolVersion, "other", codeRetiring, 0},
		{"other protocol while busy", false, 1, protocolVersion + 1, "s", codeBusy, 1},
		{"other protocol while idle", false, 0, protocolVersion + 1, "s", codeRetiring, 0},
		{"ending", true, 0, protocolVersion, "s", codeRetiring, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &supervisor{stamp: "s", ending: c.ending, commands: c.running}
			got := s.admit(request{Protocol: c.protocol, Op: opRun, Stamp: c.stamp})
			if got.Code != c.want || s.commands != c.runningAfterward {
				t.Errorf("got %q with %d running, want %q with %d", got.Code, s.commands, c.want, c.runningAfterward)
			}
			if got.Code == codeRetiring && !s.ending {
				t.Error("retires but would admit the next command")
			}
		})
	}
}

func TestIdleLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{"": defaultIdle, "3s": 3 * time.Second, "-1s": 0, "soon": 0} {
		t.Setenv(EnvIdle, text)
		got, err := idleLimit()
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestAgentFreshness(t *testing.T) {
	l := layout{root: t.TempDir()}
	source := filepath.Join(l.root, "hosted", "agent", "main.go")
	write(t, source, "package main")
	if l.agentFresh("amd64") {
		t.Error("a missing agent is fresh")
	}
	write(t, l.agent("amd64"), "x")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(source, old, old); err != nil {
		t.Fatal(err)
	}
	if !l.agentFresh("amd64") {
		t.Error("a newer agent is not fresh")
	}
	if err := os.Chtimes(l.agent("amd64"), old, old.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if l.agentFresh("amd64") {
		t.Error("an older agent is fresh")
	}
}

func TestBadCommandsAreRefused(t *testing.T) {
	m := &Machine{l: layout{root: t.TempDir()}, arch: "amd64"}
	for name, c := range map[string]Command{
		"no argv":         {},
		"empty name":      {Argv: []string{""}},
		"NUL in argument": {Argv: []string{"a", "b\x00c"}},
		"NUL in env":      {Argv: []string{"a"}, Env: []string{"A=\x00"}},
		"relative folder": {Argv: []string{"a"}, Dir: "x"},
		"missing share":   {Argv: []string{"a"}, Shares: []Share{{Path: "/does/not/exist"}}},
	} {
		if _, err := m.startOf(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := checkArch("riscv64"); err == nil {
		t.Error("riscv64 accepted")
	}
}

func TestLongSocketPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	listener, err := listenHere(socketName)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			io.WriteString(conn, "hi")
			conn.Close()
		}
	}()
	conn, err := dialSocket(filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, err := io.ReadAll(conn); string(b) != "hi" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestConsoleEndShowsWhy(t *testing.T) {
	quiet := strings.Repeat("line\n", 40)
	if got := consoleEnd(quiet + "last\r\n"); len(got) != 12 || got[11] != "last" {
		t.Errorf("got %q", got)
	}
	got := consoleEnd("[1] Kernel panic - not syncing: why\n" + quiet)
	if len(got) != 14 || got[0] != "[1] Kernel panic - not syncing: why" {
		t.Errorf("got %q", got)
	}
}
