package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ringo/debug/report"
)

// command is one about a running guest whose output comes as long as it likes.
type command struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	seen  strings.Builder
}

func (r *running) begin(args ...string) *command {
	r.t.Helper()
	vmm, err := VMM()
	if err != nil {
		r.t.Fatal(err)
	}
	c := &command{t: r.t, cmd: exec.Command(vmm, args...)}
	c.cmd.Env = append(os.Environ(), "RINGO_RUNTIME_DIR="+r.dir)
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.cmd.Stderr = c.cmd.Stdout
		err = c.cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	r.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// expect reads lines until patterns have matched, one after the other. The guest's own timeout ends a wait in vain.
func (c *command) expect(patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		found := false
		for !found && c.lines.Scan() {
			c.seen.WriteString(c.lines.Text() + "\n")
			found = re.MatchString(c.lines.Text())
		}
		if !found {
			c.t.Fatalf("%v never printed %q:\n%s", c.cmd.Args[1:], p, c.seen.String())
		}
	}
}

// interrupt is Ctrl-C, which ends it well.
func (c *command) interrupt() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.t.Fatal(err)
	}
	for c.lines.Scan() {
		c.seen.WriteString(c.lines.Text() + "\n")
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("%v after Ctrl-C: %v\n%s", c.cmd.Args[1:], err, c.seen.String())
	}
}

// everyMount is a guest that mounts something for every line, which counts in a variable of the kernel.
const everyMount = "mkdir -p /m; echo up; while read line; do mount -t tmpfs none /m && umount /m; echo got $line; done"

// mounts is that variable.
const mounts = "vfs.lastMountID"

// The commands about a running guest that look into it, all on one.
func TestDebugARunningGuest(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		dir := t.TempDir()
		g := start(t, machine, everyMount, "--append", "debug=htrace", "--report", dir)
		g.expect("up")

		w := g.begin("watch", g.name, mounts+",if=changed")
		w.expect(`^watching vfs\.lastMountID,if=changed \[(debug register|page protection)\]$`)
		f := g.begin("trace", g.name, "--follow")
		f.expect(`\[\d+ sh\]`)
		g.say("one")
		g.expect("got one")
		w.expect(
			`^watch vfs\.lastMountID,if=changed: write of 8 bytes at 0x[0-9a-f]+ \(GPA 0x[0-9a-f]+\)  t=\+[0-9.]+s  \[`, `^  bytes  (.. ){8} -> `,
			`^  by     .*(xadd|ldaddal).*\(atomic\)  vCPU \d, task \d+ "mount"`, `#0 .*vfs\.\w+\+`, `syscalls\.mount\+`, `task\.\(\*Task\)\.run\+`,
		)
		gpa := regexp.MustCompile(`GPA (0x[0-9a-f]+)`).FindStringSubmatch(w.seen.String())[1]
		w.interrupt()
		f.expect(`\[\d+ mount\] +mount\(.*\) = 0 `)
		f.interrupt()
		g.vmm("guard", g.name, "stacks=attribute")
		// Through whatever address.
		p := g.begin("watch", g.name, "phys:"+gpa+",len=8,access=w,if=value>0")
		p.expect(`^watching phys:\S+ \[page protection\]$`)
		g.say("two")
		g.expect("got two")
		p.expect(`^watch phys:.*: write of 8 bytes at 0x[0-9a-f]+ \(GPA `+gpa+`\) .*\[page protection\]$`, `^  bytes  (.. ){8} -> `, `task \d+ "mount"`)
		p.interrupt()
		g.vmm("guard", g.name, "off")
		for _, bad := range [][]string{
			{"watch", g.name, "no.such.variable"}, {"watch", g.name, mounts + ",if=value >"}, {"guard", g.name, "stacks=perhaps"}, {"trace", "no-such-guest"},
		} {
			if out, err := g.try(bad...); err == nil || strings.Count(out, "\n") != 1 {
				t.Errorf("vmm %s: %v, %q", strings.Join(bad, " "), err, out)
			}
		}

		top := g.begin("top", g.name, "--interval", "200ms")
		g.say("three")
		g.expect("got three")
		top.expect(`guest page faults a second, \d+ events not counted$`, `^EXIT .*PER S .*MEDIAN`, `^\w.* \d+ +\d+\.\d `)
		top.interrupt()

		core := filepath.Join(t.TempDir(), "core")
		g.vmm("dump", g.name, core)
		if out, err := g.try("dump", g.name, core); err == nil || !strings.Contains(out, "exists") {
			t.Errorf("dump into a file that is there: %v, %s", err, out)
		}
		g.say("four") // it runs on
		g.expect("got four")
		g.vmm("stop", g.name)
		if status := g.end(); status != 143 {
			t.Errorf("status %d\n%s", status, g.stderr.String())
		}
		r := watchEvents(t, dir, mounts+",if=changed: write of 8 bytes", "mount", "mount(2)")
		if r.Footer.Sleeps == 0 || r.Footer.Dropped != 0 {
			t.Errorf("the guard that was on for a while: %+v", r.Footer)
		}
		openCore(t, machine, core)
	})
}

// watchEvents reads the report folder in dir and wants an access there.
func watchEvents(t *testing.T, dir, verdict, task, call string) *report.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "vm-debug-*", "report.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatalf("reports %v, %v", names, err)
	}
	file, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Events {
		if e.Kind == report.KindWatch && e.Verdict == verdict && e.Task != nil && e.Task.Name == task && (call == "" || e.Task.Call == call) &&
			len(e.Old) > 0 && len(e.Old) == len(e.New) && len(e.Stack) > 3 && e.Insn != "" && e.Engine != "" && e.T > 0 {
			return r
		}
	}
	text, _ := json.MarshalIndent(r.Events, "", "  ")
	t.Errorf("no %q by %s in %s among the reports:\n%s", verdict, task, call, text)
	return r
}

// openCore looks into a core file with gdb and with Delve.
func openCore(t *testing.T, machine []string, core string) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(root, "build", machine[1], "ringo.elf")
	out, err := exec.Command("timeout", "60", "gdb-multiarch", "-nx", "-batch", "-ex", "set width 0", "-ex", "info threads", "-ex", "thread apply all backtrace 12",
		"-ex", "print 'ringo/guestkernel/boot.userReached'", "-ex", "x/2i $pc", kernel, core).CombinedOutput()
	if err != nil {
		t.Errorf("gdb: %v\n%s", err, out)
	}
	// The shell, TID 2, sleeps.
	wantAll(t, string(out), `^\* 1 `, `^ +\d+ +LWP 10002 `, `^Thread \d+ \(LWP 10002\)`, `^#\d+ .*task\.\(\*Task\)\.Sleep .*\.go:\d+`, `^Thread \d+ `, `^#\d+ .*ringo/guestkernel/nucleus\.\S+ .*/guestkernel/nucleus/\w+\.go:\d+`, `^\$1 = .*v = 1`, `^=> 0x`)
	if cpus, _ := strconv.Atoi(machine[3]); strings.Count(string(out), "\nThread ") < cpus {
		t.Errorf("%d vCPUs:\n%s", cpus, out)
	}

	dlv := filepath.Join(root, "build", "tools", "dlv")
	if _, err := os.Stat(dlv); err != nil {
		t.Fatal("Delve is missing: run `make dlv`")
	}
	script := filepath.Join(t.TempDir(), "dlv")
	if err := os.WriteFile(script, []byte("threads\ngoroutines -exec stack -full 12\nexit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command("timeout", "60", dlv, "core", kernel, core, "--init", script, "--allow-non-terminal-interactive").CombinedOutput()
	if err != nil {
		t.Errorf("dlv: %v\n%s", err, out)
	}
	text := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(string(out), "")
	wantAll(t, text, `Thread 1 at 0x`,
		`^ *Goroutine 1 - User: .*/guestkernel/boot/run\.go:\d+ ringo/guestkernel/boot\.`,
		// The shell, asleep in poll(2) or read(2), with the arguments of the frames.
		`^ *Goroutine \d+ .*ringo/guestkernel/task\.\(\*Task\)\.wait`, `in runtime\.gopark$`, `in ringo/guestkernel/task\.\(\*Task\)\.Sleep$`,
		`^ *at .*/guestkernel/task/run\.go:\d+$`, `^ *t = \("\*ringo/guestkernel/task\.Task"\)\(0x[0-9a-f]+\)`, `in ringo/guestkernel/syscalls\.\w+$`, `ringo/guestkernel/task\.\(\*Task\)\.run$`,
	)
}

// The command line's watches: what they are served by, what they say, where it goes, and the exit status.
func TestWatchOnTheCommandLine(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		if machine[3] != "2" {
			t.Skip("with 2 vCPUs")
		}
		for _, row := range []struct {
			watch  string
			status int
			want   []string
		}{
			{"boot.userReached,stop", 66, []string{
				`(?m)^watch boot\.userReached,stop: write of 4 bytes at 0x[0-9a-f]+ .*\[debug register\]$`, `(?m)^  bytes  00 00 00 00  ->  01 00 00 00$`,
				`(?m)^  by     .*(cmpxchg|cas).*\(atomic\)  vCPU \d, task \d+ "true"$`, `(?m)^    #0 .* ringo/guestkernel/boot\.\(\*hardware\)\.Run\+\S* \(.*\.go:\d+\)$`, `task\.\(\*Task\)\.run`,
				`boot\.userReached,stop: 1 hits`, `watches: 0 accesses lost`,
			}},
			{"boot.userReached,len=4,access=rw,if=write&&new!=old,log", 7, []string{
				`write of 4 bytes`, `: 1 hits, [1-9]\d* that the condition excludes \[debug register\]`, `watches: 0 accesses lost`,
			}},
		} {
			dir := t.TempDir()
			o := guest(t, row.status, nil, with(machine, "--watch", row.watch, "--report", dir, "--", "/bin/sh", "-c", "/bin/true; exit 7")...)
			for _, want := range row.want {
				if !regexp.MustCompile(strings.ReplaceAll(want, `"true"`, `"(sh|true)"`)).Match(o.Stderr) {
					t.Errorf("%s: lacks %s\n%s", row.watch, want, o.Stderr)
				}
			}
			watchEvents(t, dir, row.watch+": write of 4 bytes", "sh", "")
		}
		o := guest(t, 2, nil, with(machine, "--watch", "no.such.variable", "--", "/bin/true")...)
		if !strings.Contains(string(o.Stderr), "no.such.variable") || strings.Count(string(o.Stderr), "\n") != 1 {
			t.Errorf("a variable that there is not: %s", o.Stderr)
		}
	})
}

// gdb works beside the command line's watch and the stack guard, and each sees everything once.
func TestGDBBesideWatchAndGuard(t *testing.T) {
	everyMachine(t, func(t *testing.T, machine []string) {
		socket := filepath.Join(t.TempDir(), "gdb")
		g := start(t, machine, everyMount, "--append", "debug=htrace", "--gdb", "unix:"+socket, "--guard", "stacks", "--watch", mounts)
		awaitFile(t, socket)
		g.expect("up")
		const n = 6
		ready := filepath.Join(t.TempDir(), "ready")
		go func() {
			awaitFile(t, ready)
			for i := range n {
				g.say(fmt.Sprint("line", i))
			}
		}()
		out := gdb(t, nil,
			"target remote "+socket,
			"print 'ringo/guestkernel/vfs.lastMountID'.v",
			"break 'ringo/guestkernel/syscalls.mount'",
			"shell touch "+ready,
			"continue", "backtrace 2", "continue",
			// The variable that --watch has, too, in debug registers.
			"set language c",
			"watch *(long*)&'ringo/guestkernel/vfs.lastMountID'",
			"continue",
			"continue",
			"delete 2",
			"info breakpoints",
			"delete 1",
			// More than fits them.
			"set $n = *(long*)&'ringo/guestkernel/vfs.lastMountID'",
			"watch *(char(*)[124])&'ringo/guestkernel/vfs.lastMountID' if *(long*)&'ringo/guestkernel/vfs.lastMountID' == $n + 1",
			"continue",
			"delete 3",
			"monitor help",
			// By its guest-physical address; the kernel is mapped at a constant distance.
			fmt.Sprintf(`eval "monitor watch phys:0x%%lx,len=8,if=new<old", (long)&'ringo/guestkernel/vfs.lastMountID' - %s`, map[string]string{"amd64": "0xffffffff80000000", "arm64": "0x800000000000"}[machine[1]]),
			"monitor watch "+mounts+",if=old!=new,stop",
			"monitor watch",
			"continue",
			"backtrace 1",
			"monitor unwatch 12345",
			"monitor trace 5",
			"monitor trace 3 task 2",
			"monitor guard",
			"monitor guard stacks=detect",
			"monitor exits",
			"monitor xp "+map[string]string{"amd64": "0x1000", "arm64": "0x40001000"}[machine[1]]+" 16",
			"detach",
		)
		number := `ringo/guestkernel/vfs\.lastMountID`
		wantAll(t, out,
			`^\$1 = \d+$`,
			`^Thread \d+ "vCPU \d: task \d+ mount in mount" hit Breakpoint 1, |^Breakpoint 1, `, `^#0 .*syscalls\.mount `, `^#1 .*task\.\(\*Task\)\.syscall `, `Breakpoint 1, `,
			`^Hardware watchpoint 2: `, `^\[debug register\] write of 8 bytes at 0x[0-9a-f]+: (.. ){8} ->  (.. ?){8} by .*, vCPU \d, task \d+ "mount"$`,
			`Hardware watchpoint 2: .*`+number, `^Old value = \d+$`, `^New value = \d+$`, `Breakpoint 1, `, `breakpoint already hit 3 times`,
			`^Hardware watchpoint 3: `, `^\[page protection\] write of 8 bytes at `, `Hardware watchpoint 3: `, `^Old value = "`, `^New value = "`,
			`^bt task TID`, `^unwatch N `,
			`^watch \d+: phys:0x[0-9a-f]+,len=8,if=new<old \[page protection\]`, `^watch \d+: vfs\.lastMountID,if=old!=new,stop \[debug register\]`, `^\d+: phys:0x[0-9a-f]+,len=8`, `^\d+: vfs\.lastMountID`,
			`^watch vfs\.lastMountID,if=old!=new,stop: write of 8 bytes`, `^#0 .*(vfs|atomic)\.`,
			`this gdb has no watch 12345`, `^ +\d+\.\d{6}  cpu\d `, ` events in `, `\[2 sh\]`, ` events in `, `^guard stacks=attribute: [1-9]\d* sleeps`, `^guard stacks=detect: `, `^vCPU 0, the last of \d+ exits`,
			`^0000[04]0001000 `, `detached\]`,
		)
		for i := range n {
			g.expect(fmt.Sprint("got line", i))
		}
		g.vmm("stop", g.name)
		g.end()
		// The watch has seen every number once, whatever gdb did.
		text, last, byMount := g.stderr.String(), uint64(0), 0
		for _, h := range regexp.MustCompile(`(?m)^  bytes  ((?:.. ){8}) ->  ((?:.. ?){8})\n  by .*$`).FindAllStringSubmatch(text, -1) {
			old, now := littleEndian(t, h[1]), littleEndian(t, h[2])
			if old != last || now != last+1 {
				t.Errorf("a hit from %d to %d, after %d", old, now, last)
			}
			last = now
			if strings.Contains(h[0], `"mount"`) {
				byMount++
			}
		}
		if !strings.Contains(text, fmt.Sprintf("watch %s: %d hits", mounts, last)) || byMount != n || !strings.Contains(text, "watches: 0 accesses lost") || !regexp.MustCompile(`[1-9]\d* sleeps watched`).MatchString(text) {
			t.Errorf("%d by mount, the last number is %d:\n%s", byMount, last, text)
		}
		if t.Failed() {
			t.Logf("gdb printed:\n%s", out)
		}
	})
}

func littleEndian(t *testing.T, text string) (v uint64) {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil || len(b) != 8 {
		t.Fatalf("%q: %v", text, err)
	}
	return binary.LittleEndian.Uint64(b)
}

// TestReportWithoutPageTables loses the kernel's page tables, which is a triple fault on amd64 (arm64 has none: it takes exceptions for ever). Where KVM
// throws the registers away, the report says what the kernel's memory tells; where it keeps them, where the nucleus was.
func TestReportWithoutPageTables(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	for _, cpus := range []string{"1", "2"} {
		t.Run("amd64/"+cpus+"cpu", func(t *testing.T) {
			o := guest(t, 125, nil, "--arch", "amd64", "--cpus", cpus, "--timeout", "3m", "--append", "selftest-crash=tables")
			want := []string{`SHUTDOWN: triple fault`, `ringo/guestkernel/nucleus\.`}
			if strings.Contains(string(o.Stderr), report.RegistersLost) {
				want = []string{
					`SHUTDOWN: triple fault`, `it was in a handler`, `root 0x[0-9a-f]+000,`,
					`last frame on the exception stack: vector 14, error code 0x[0-9a-f]+, IP 0xffffffff[0-9a-f]+ \(\S+\+0x[0-9a-f]+ \(\S+:\d+\)\)`, `double fault stack: none`,
				}
			}
			for _, w := range want {
				if !regexp.MustCompile(w).Match(o.Stderr) {
					t.Errorf("%q is not in\n%s", w, o.Stderr)
				}
			}
		})
	}
}
