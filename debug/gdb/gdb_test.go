package gdb

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringo/internal/tdesc"
)

// fake is a guest with two vCPUs of four registers, one sleeping task, and 256 bytes of memory at 0x1000.
type fake struct {
	regs     [2][4]uint64 // fp, sp, pc, flags
	memory   [256]byte
	points   map[Point]bool
	stops    chan Stop
	log      []string
	detached bool
	kernel   string
	fromUser func() // on Continue: makes a stop
}

func newFake() *fake {
	f := &fake{points: map[Point]bool{}, stops: make(chan Stop, 4)}
	for i := range f.memory {
		f.memory[i] = byte(i)
	}
	f.regs[0] = [4]uint64{0x10, 0x20, 0x1000, 1}
	f.regs[1] = [4]uint64{0x11, 0x21, 0x2000, 1}
	return f
}

type fakeRegisters struct {
	r     *[4]uint64
	fixed bool
}

func (r fakeRegisters) Get(n int) []byte {
	if n < 0 || n > 3 || r.fixed && n == 3 {
		return nil
	}
	return little(r.r[n], 8)
}

func (r fakeRegisters) Set(n int, p []byte) bool {
	if n < 0 || n > 3 || r.fixed || len(p) != 8 {
		return false
	}
	r.r[n] = number(p)
	return true
}

var fakeDescription = &tdesc.Description{Architecture: "i386:x86-64", Features: []tdesc.Feature{{Name: "x", Registers: []tdesc.Register{
	{Name: "fp", Bits: 64}, {Name: "sp", Bits: 64}, {Name: "pc", Bits: 64}, {Name: "flags", Bits: 64},
}}}}

func (f *fake) Notes() <-chan string            { return nil }
func (f *fake) Description() *tdesc.Description { return fakeDescription }
func (f *fake) FP() int                         { return 0 }
func (f *fake) SP() int                         { return 1 }
func (f *fake) PC() int                         { return 2 }
func (f *fake) Text() uint64                    { return 0xffffffff80200000 }
func (f *fake) Kernel() string                  { return f.kernel }
func (f *fake) Attach() error                   { return nil }
func (f *fake) Detach()                         { f.detached = true }
func (f *fake) Stops() <-chan Stop              { return f.stops }
func (f *fake) Flush() error                    { return nil }

func (f *fake) Continue(step int, alone bool) error {
	f.log = append(f.log, fmt.Sprintf("continue %d %t", step, alone))
	if f.fromUser != nil {
		f.fromUser()
	}
	return nil
}

func (f *fake) StepOver(cpu int) error {
	f.log = append(f.log, fmt.Sprintf("over %d", cpu))
	return nil
}

func (f *fake) Interrupt() { f.stops <- Stop{CPU: 1} }

func (f *fake) Threads() []Thread {
	return []Thread{{1, 0, `vCPU 0 <&"'>`}, {2, 1, "vCPU 1"}, {TaskThread + 7, -1, "task 7 sh, asleep in accept"}}
}

func (f *fake) Registers(id ThreadID) (Registers, error) {
	switch id {
	case 1, 2:
		return fakeRegisters{&f.regs[id-1], false}, nil
	case TaskThread + 7:
		return fakeRegisters{&[4]uint64{1, 2, 3, 4}, true}, nil
	}
	return nil, fmt.Errorf("no thread %d", id)
}

func (f *fake) ReadMemory(_ ThreadID, gva uint64, p []byte) int {
	if gva < 0x1000 || gva >= 0x1100 {
		return 0
	}
	return copy(p, f.memory[gva-0x1000:])
}

func (f *fake) WriteMemory(_ ThreadID, gva uint64, p []byte) error {
	if gva < 0x1000 || gva-0x1000+uint64(len(p)) > 256 {
		return io.ErrShortWrite
	}
	copy(f.memory[gva-0x1000:], p)
	return nil
}

func (f *fake) Insert(p Point) error {
	if p.Kind == ReadWatch {
		return ErrUnsupported
	}
	f.points[p] = true
	return nil
}

func (f *fake) Remove(p Point) error { delete(f.points, p); return nil }

func (f *fake) Monitor(_ ThreadID, command string, print func(string)) error {
	if command == "bad" {
		return fmt.Errorf("no such command")
	}
	print("you said " + command + "\n")
	return nil
}

// gdbEnd is the other end of the wire.
type gdbEnd struct {
	t    *testing.T
	conn net.Conn
	done chan error
	r    *bufio.Reader
}

func connect(t *testing.T, f *fake) *gdbEnd {
	t.Helper()
	ours, theirs := net.Pipe()
	g := &gdbEnd{t: t, conn: ours, done: make(chan error, 1), r: bufio.NewReader(ours)}
	go func() {
		g.done <- Serve(theirs, f)
		theirs.Close()
	}()
	t.Cleanup(func() { ours.Close() })
	if r := g.ask("QStartNoAckMode"); r != "OK" {
		t.Fatalf("QStartNoAckMode: %q", r)
	}
	return g
}

func frame(s string) string {
	var sum byte
	for i := range len(s) {
		sum += s[i]
	}
	return fmt.Sprintf("$%s#%02x", s, sum)
}

func (g *gdbEnd) send(s string) {
	g.t.Helper()
	if _, err := io.WriteString(g.conn, frame(s)); err != nil {
		g.t.Fatal(err)
	}
}

// reply is the next packet, unescaped, of which pluses are no part.
func (g *gdbEnd) reply() string {
	g.t.Helper()
	text, err := g.r.ReadString('#')
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := io.ReadFull(g.r, make([]byte, 2)); err != nil {
		g.t.Fatal(err)
	}
	text = strings.TrimSuffix(text[strings.IndexByte(text, '$')+1:], "#")
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '}' {
			i++
			out.WriteByte(text[i] ^ 0x20)
			continue
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

func (g *gdbEnd) ask(s string) string {
	g.t.Helper()
	g.send(s)
	return g.reply()
}

func TestPackets(t *testing.T) {
	f := newFake()
	f.kernel = filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(f.kernel, []byte("kernel#$}*"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := connect(t, f)
	name := hex.EncodeToString([]byte(f.kernel))
	for _, c := range []struct{ ask, want string }{
		{"?", "T05thread:1;core:0;0:1000000000000000;1:2000000000000000;2:0010000000000000;"},
		{"vCont?", "vCont;c;C;s;S;t;r"},
		{"qOffsets", "TextSeg=ffffffff80200000"},
		{"qAttached", "1"},
		{"vMustReplyEmpty", ""},
		{"qUnknown", ""},
		{"g", "10000000000000002000000000000000" + "00100000000000000100000000000000"},
		{"p2", "0010000000000000"},
		{"p4", "E01"},
		{"P1=0807060504030201", "OK"},
		{"p1", "0807060504030201"},
		{"P1=08", "E.register sp cannot be changed"},
		{"G" + strings.Repeat("01", 8) + strings.Repeat("x", 16), "OK"},
		{"p0", "0101010101010101"},
		{"m1000,4", "00010203"},
		{"m10fe,8", "feff"}, // as much as there is
		{"m0,8", "E0e"},
		{"m1000", "E01"},
		{"m1000,4,", "E01"},
		{"m11112222333344445,1", "E01"},
		{"M1000,2:abcd", "OK"},
		{"X1002,0:", "OK"},
		{"X1002,2:}\x03}\x5d", "OK"}, // escaped # and }
		{"m1000,4", "abcd237d"},
		{"M1000,3:abcd", "E01"},
		{"M0,1:00", "E0e"},
		{"Hg2", "OK"},
		{"p0", "1100000000000000"},
		{"Hg2717", "OK"}, // task 7
		{"g", "0100000000000000020000000000000003000000000000" + "00" + strings.Repeat("x", 16)},
		{"P0=0000000000000000", "E.register fp cannot be changed"},
		{"Hg9", "E.no thread 9"},
		{"Hc-1", "OK"},
		{"T2", "OK"},
		{"Tffff", "E.no thread 65535"},
		{"qfThreadInfo", "m1,2,2717"},
		{"qsThreadInfo", "l"},
		{"qThreadExtraInfo,2717", hex.EncodeToString([]byte("task 7 sh, asleep in accept"))},
		{"Z0,1000,1", "OK"},
		{"Z2,2000,2000", "OK"}, // any length
		{"Z3,2000,8", ""},      // not supported here: gdb tries other means
		{"Z9,0,0", ""},
		{"Z0,1000", "E01"},
		{"z0,1000,1", "OK"},
		{"z0,1000,1", "OK"},
		{"vCont", ""},
		{"vCont;", "E01"},
		{"vCont;x", "E01"},
		{"vCont;s:2717", "E.task 7 is asleep: only vCPUs can be stepped"},
		{"vCont;s:1;s:2", "E.vCPUs 0 and 1 cannot be stepped together"},
		{"qXfer:exec-file:read::0,1000", "l" + f.kernel},
		{"qXfer:features:read:target.xml:0,5", "m<?xml"},
		{"qXfer:features:read:other.xml:0,5", "E01"},
		{"qXfer:features:read:target.xml:ffffff,5", "E01"},
		{"qXfer:memory-map:read::0,5", ""},
		{"vFile:setfs:0", "F0"},
		{"vFile:open:" + hex.EncodeToString([]byte("/etc/passwd")) + ",0,0", "F-1,2"},
		{"vFile:open:" + name + ",0,0", "F0"},
		{"vFile:pread:0,100,4", "F6;el#$}*"},
		{"vFile:pread:0,100,100", "F0;"},
		{"vFile:pread:3,100,0", "F-1,9"},
		{"vFile:close:0", "F0"},
		{"vFile:close:0", "F-1,9"},
		{"vFile:unlink:" + name, ""},
		{"qRcmd,zz", "E01"},
		{"D", "OK"},
	} {
		if got := g.ask(c.ask); got != c.want {
			t.Errorf("%s answers %q, want %q", c.ask, got, c.want)
		}
	}
	if err := <-g.done; err != nil || !f.detached {
		t.Errorf("Serve: %v, detached %t", err, f.detached)
	}
	if !f.points[Point{WriteWatch, 0x2000, 0x2000}] || len(f.points) != 1 {
		t.Errorf("points %v", f.points)
	}
}

func TestThreadList(t *testing.T) {
	g := connect(t, newFake())
	got := g.ask("qXfer:threads:read::0,4000")
	for _, want := range []string{`<thread id="1" core="0" name="vCPU 0 &lt;&amp;&quot;&apos;&gt;"/>`, `<thread id="2717" name="task 7 sh, asleep in accept"/>`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestMonitor(t *testing.T) {
	g := connect(t, newFake())
	g.send("qRcmd," + hex.EncodeToString([]byte("hello")))
	if out := g.reply(); out != "O"+hex.EncodeToString([]byte("you said hello\n")) {
		t.Errorf("output %q", out)
	}
	if r := g.reply(); r != "OK" {
		t.Errorf("reply %q", r)
	}
	g.send("qRcmd," + hex.EncodeToString([]byte("bad")))
	if out := g.reply(); out != "O"+hex.EncodeToString([]byte("no such command\n")) {
		t.Errorf("failure shows %q", out)
	}
	g.reply()
}

func TestStops(t *testing.T) {
	f := newFake()
	g := connect(t, f)
	watch := Point{WriteWatch, 0x3000, 16}
	f.fromUser = func() { f.stops <- Stop{CPU: 1, Point: &watch, DataAddr: 0x3008, Text: "by whom\n"} }
	g.send("vCont;c")
	if r := g.reply(); r != "O"+hex.EncodeToString([]byte("by whom\n")) {
		t.Errorf("text %q", r)
	}
	if r := g.reply(); !strings.HasPrefix(r, "T05watch:3008;thread:2;core:1;") {
		t.Errorf("watchpoint %q", r)
	}
	f.fromUser = nil
	g.send("vCont;c")
	if _, err := g.conn.Write([]byte{interruptByte}); err != nil {
		t.Fatal(err)
	}
	if r := g.reply(); !strings.HasPrefix(r, "T05thread:2;") {
		t.Errorf("interruption %q", r)
	}
	f.fromUser = func() { f.stops <- Stop{Exited: true} }
	g.send("vCont;c")
	if r := g.reply(); r != "W00" {
		t.Errorf("end of the guest %q", r)
	}
	if err := <-g.done; err != nil {
		t.Error(err)
	}
}

// A condition that is false is gdb's only if it cannot be evaluated.
func TestConditions(t *testing.T) {
	f := newFake()
	g := connect(t, f)
	// reg 0 == 0x12
	if r := g.ask("Z0,1000,1;X7,26000022121327"); r != "OK" {
		t.Fatalf("Z0 with a condition: %q", r)
	}
	at := Point{SoftwareBreak, 0x1000, 1}
	f.fromUser = func() {
		f.regs[0][0]++
		f.stops <- Stop{CPU: 0, Point: &at}
	}
	g.send("vCont;c") // fp becomes 0x11, then 0x12
	if r := g.reply(); !strings.HasPrefix(r, "T05swbreak:;thread:1;") {
		t.Errorf("stop %q", r)
	}
	if want := "continue -1 false|over 0|continue -1 false"; strings.Join(f.log, "|") != want {
		t.Errorf("went on as %v, want %s", f.log, want)
	}
	if r := g.ask("Z0,1000,1;X3,220017"); r != "OK" {
		t.Fatal(r)
	}
	g.send("vCont;c")
	if r := g.reply(); !strings.HasPrefix(r, "O") {
		t.Errorf("a condition that cannot be evaluated says %q", r)
	}
}

func TestRangeStep(t *testing.T) {
	f := newFake()
	g := connect(t, f)
	f.fromUser = func() {
		f.regs[0][2] += 4
		f.stops <- Stop{CPU: 0, Step: true}
	}
	g.send("vCont;r1000,100c:1;c")
	if r := g.reply(); !strings.Contains(r, "2:0c10000000000000;") {
		t.Errorf("stop %q, want pc 0x100c", r)
	}
	if len(f.log) != 3 {
		t.Errorf("%d steps, want 3: %v", len(f.log), f.log)
	}
}

func TestAcknowledgements(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() { _ = Serve(theirs, newFake()) }()
	r := bufio.NewReader(ours)
	say := func(s string) {
		if _, err := io.WriteString(ours, s); err != nil {
			t.Fatal(err)
		}
	}
	want := func(s string) {
		t.Helper()
		b := make([]byte, len(s))
		if _, err := io.ReadFull(r, b); err != nil || string(b) != s {
			t.Errorf("got %q, %v; want %q", b, err, s)
		}
	}
	say("noise$qAttached#00") // a wrong sum
	want("-")
	say(frame("qAttached"))
	want("+$1#31")
	say("-")
	want("$1#31")
	say("+")
}

func TestAgent(t *testing.T) {
	m := &agentMachine{
		register: func(n int) (uint64, error) { return uint64(n) * 10, nil },
		memory: func(gva uint64, p []byte) error {
			if gva != 0x1000 {
				return io.EOF
			}
			copy(p, []byte{1, 2, 3, 4, 5, 6, 7, 0x88})
			return nil
		},
	}
	for _, c := range []struct {
		name, code string
		want       uint64
		ok         bool
	}{
		{"constants and arithmetic", "22 05 22 03 02 27", 8, true},
		{"subtraction goes below zero", "22 03 22 05 03 27", ^uint64(1), true},
		{"signed division", "22 fa 16 08 22 03 05 27", ^uint64(1), true},
		{"unsigned comparison", "22 01 16 01 22 02 15 27", 0, true},
		{"signed comparison", "22 01 16 01 22 02 14 27", 1, true},
		{"register", "26 00 07 27", 70, true},
		{"memory", "23 10 00 18 27", 0x0201, true},
		{"memory, 8 bytes", "23 10 00 1a 27", 0x8807060504030201, true},
		{"zero extension", "24 ff ff ff ff 2a 08 27", 0xff, true},
		{"dup and pop", "22 01 28 29 27", 1, true},
		{"swap", "22 01 22 02 2b 03 27", 1, true},
		{"rot", "22 01 22 02 22 03 33 29 27", 1, true},
		{"pick", "22 01 22 02 32 01 27", 1, true},
		{"goto", "21 00 05 22 07 22 09 27", 9, true},
		{"if not taken", "22 00 20 00 08 22 07 27 27", 7, true},
		{"division by zero", "22 01 22 00 05 27", 0, false},
		{"empty stack", "02 27", 0, false},
		{"no end", "22 01", 0, false},
		{"cut operand", "23 01", 0, false},
		{"wild jump", "21 ff ff 27", 0, false},
		{"endless loop", "21 00 00 27", 0, false},
		{"stack for ever", "22 01 21 00 00 27", 0, false},
		{"unreadable memory", "22 00 17 27", 0, false},
		{"unknown operation", "7f 27", 0, false},
		{"pick too deep", "22 01 32 05 27", 0, false},
		{"empty", "", 0, false},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := evaluate(code, m)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%s: %#x, %v; want %#x, ok %t", c.name, got, err, c.want, c.ok)
		}
	}
}

// script is a connection that says what it was given and takes all answers.
type script struct {
	io.Reader
	io.Writer
}

// A client may send anything.
func FuzzServe(f *testing.F) {
	for _, s := range []string{"qSupported", "g", "m1000,4", "Z0,1000,1;X7,26000022121327", "vCont;r1000,100c:1;c", "qXfer:threads:read::0,10", "vFile:pread:0,1,2", "X1000,2:}\x03", "Hgp1.-1", "qRcmd,68", "c1000", "G00"} {
		f.Add([]byte(frame(s) + "\x03-+"))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		g := newFake()
		g.fromUser = func() { g.stops <- Stop{CPU: 0, Step: true} }
		_ = Serve(script{bytes.NewReader(in), io.Discard}, g)
		if !g.detached {
			t.Error("the guest was not let go")
		}
	})
}

// The payloads alone, as most mutations of framed packets have a wrong sum.
func FuzzPackets(f *testing.F) {
	for _, s := range []string{"qSupported", "g", "m1000,4", "Z0,1000,1;X7,26000022121327", "vCont;s:1;c", "qXfer:osdata:read:tasks:0,10", "vFile:open:2f,0,0", "M1000,1:00", "Hgp1.-1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := &session{t: newFake(), l: newLink(script{nil, io.Discard}), points: map[Point]*point{}, general: 1, resume: 1}
		_ = s.packet(packet{payload: payload})
		s.closeFiles()
	})
}

func FuzzAgent(f *testing.F) {
	f.Add([]byte{0x22, 0x05, 0x22, 0x03, 0x02, 0x27})
	f.Fuzz(func(_ *testing.T, code []byte) {
		_, _ = evaluate(code, &agentMachine{
			register: func(int) (uint64, error) { return 1, nil },
			memory:   func(uint64, []byte) error { return nil },
		})
	})
}
