package stackguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ringo/debug/hit"
	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/internal/debugwindow"
)

// Mode is what the guard does.
type Mode int

// Modes.
const (
	Off Mode = iota
	Detect
	Attribute
)

var modeNames = [...]string{Off: "off", Detect: "detect", Attribute: "attribute"}

// String is the mode as ParseMode reads it.
func (m Mode) String() string { return modeNames[m] }

// ErrMode is wrapped by ParseMode's errors.
var ErrMode = errors.New("no such guard")

// ParseMode reads the argument of --guard: "stacks", "stacks=detect", "stacks=attribute", "off" or nothing. Without a mode it is
// attribute, which answers the question that one asks.
func ParseMode(s string) (Mode, error) {
	what, mode, given := strings.Cut(s, "=")
	switch {
	case s == "" || s == "off":
		return Off, nil
	case what == "stacks" && !given:
		return Attribute, nil
	case what == "stacks":
		for m, name := range modeNames {
			if name == mode {
				return Mode(m), nil
			}
		}
	}
	return Off, fmt.Errorf("%w: %q: want stacks, stacks=detect, stacks=attribute or off", ErrMode, s)
}

// bits are the window's word for the mode.
func (m Mode) bits() uint32 {
	switch m {
	case Detect:
		return debugwindow.GuardDetect
	case Attribute:
		// Comparing as well costs little and says whether the engine missed anything.
		return debugwindow.GuardAttribute | debugwindow.GuardDetect
	}
	return 0
}

// guardWord is the offset of the window's word for the mode: debugwindow.Window.GuardAddress, before there is a
// Window (a test compares them).
const guardWord = 12

// Range is a run of guest-physical bytes.
type Range struct{ GPA, Size uint64 }

// Watch is ranges that the engine watches for writes.
type Watch interface {
	// Close ends the watch. A write that is being stepped over at that moment is still told.
	Close() error
}

// Engine protects guest memory; debug/pagetrace. Its methods are called on a vCPU's thread, during an exit.
type Engine interface {
	// Watch tells sink of each write to the ranges, from its return on and by whomever.
	Watch(ranges []Range, sink hit.Sink) (Watch, error)
	// Counters are the engine's own.
	Counters() hit.Counters
	// Name is the engine for people.
	Name() string
}

// Config is what a guard needs of the machine.
type Config struct {
	Memory interface {
		Peek(gpa uint64, p []byte) int
		// Poke writes the monitor's own word into the debug window.
		Poke(gpa uint64, p []byte) error
	}
	// Window is the place of the debug window in guest-physical memory.
	WindowBase, WindowSize uint64
	// Translate is the GPA of a kernel GVA through the page tables at GPA root.
	Translate func(root, gva uint64) (gpa uint64, ok bool)
	// Engine may be nil: then only Detect works, and Unavailable says why.
	Engine Engine
	// Still runs f while no vCPU is in the guest or serves an exit, not on a vCPU's thread. Nil: only sleeps that the kernel rings for are protected.
	Still       func(f func()) error
	Unavailable string
	// Symbols are the kernel's; asked for once something has been found. It may answer nil.
	Symbols func() *symbols.Table
	// CallTarget and CallLength are those of arch/*/disasm.
	CallTarget func(code []byte, ret uint64) (uint64, bool)
	CallLength int
	// SavedPC is the offset of the return address in the frame that a switch saves at the stack pointer of a fixed stack.
	SavedPC uint64
	// Syscall names a system call; "" when it has no name.
	Syscall func(nr uint64) string
	// Now is the time since the vCPUs started, ns.
	Now func() int64
	// History is what the kernel's trace says happened before, oldest first. It may be nil.
	History func(tid int, gpa uint64) []string
	// Report takes what is found, on the thread of a vCPU while the others may stand still: it must not wait
	// for the guest.
	Report func(*report.Event)
	// Allow are the rules; nil means DefaultRules.
	Allow []Rule
}

// Guard is a stack guard of one guest. Safe for concurrent use.
type Guard struct {
	c     Config
	rules []Rule

	mu       sync.Mutex
	mode     Mode
	window   *debugwindow.Window
	sleepers map[int]*sleep     // by slot
	pages    map[uint64][]*span // by GPA of the page
	last     map[int]past       // by slot: the sleep before
	pending  *pending
	runs     runs
	count    counters
	table    *symbols.Table
	loaded   bool
	seen     map[int]seen  // by slot: the sleep that the last look has found
	sweeper  *sweeper      // nil: none runs
	spent    time.Duration // for protection, on the guest's time, since the sweeper has looked
}

// past is what is remembered of a sleep that has ended.
type past struct {
	tid            int
	sleep          uint64 // Parks
	from, to       int64
	hits, reports  int
	watched, wrong bool // wrong: its stack was not what it had been
}

type counters struct {
	hits, outside, dead, moved, late, sleeps, missed, reports uint64
	allowed                                                   []uint64 // by rule
	unavailable                                               string
}

// New makes a guard that is off.
func New(c Config) *Guard {
	g := &Guard{
		c: c, rules: c.Allow, sleepers: make(map[int]*sleep), pages: make(map[uint64][]*span), last: make(map[int]past), runs: make(runs), seen: make(map[int]seen),
	}
	if g.rules == nil {
		g.rules = DefaultRules
	}
	g.count.allowed = make([]uint64, len(g.rules))
	return g
}

// Errors of SetMode.
var (
	// ErrNoWindow: the guest's kernel keeps no registry of its stacks.
	ErrNoWindow = errors.New("this guest's kernel keeps no registry of kernel stacks")
	// ErrNoEngine: writes cannot be traced here.
	ErrNoEngine = errors.New("writes to memory cannot be traced here")
)

// SetMode arms or disarms. A task that is asleep at that moment is watched from its next sleep on. Before the kernel has
// formatted its window the mode is kept, and the word for the kernel written as it will find it.
func (g *Guard) SetMode(m Mode) error {
	g.mu.Lock()
	closing, err := g.setModeLocked(m)
	ended := g.sweepLocked(err == nil && m == Attribute)
	g.mu.Unlock()
	ended.wait()
	closeAll(closing)
	return err
}

func (g *Guard) setModeLocked(m Mode) (closing []Watch, err error) {
	if m != Off && g.c.WindowSize == 0 {
		return nil, ErrNoWindow
	}
	if m == Attribute && g.c.Engine == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoEngine, g.c.Unavailable)
	}
	if g.c.WindowSize != 0 {
		var word [4]byte
		binary.LittleEndian.PutUint32(word[:], m.bits())
		if err := g.c.Memory.Poke(g.c.WindowBase+guardWord, word[:]); err != nil {
			return nil, err
		}
	}
	g.mode = m
	if m != Attribute {
		closing = g.wakeAllLocked()
	}
	return closing, nil
}

func (g *Guard) wakeAllLocked() (closing []Watch) {
	for _, s := range g.sleepers {
		closing = append(closing, g.wakeLocked(s))
	}
	return closing
}

// closeAll ends watches. Without mu: the engine may have to wait for a vCPU that is in Hit.
func closeAll(watches []Watch) {
	for _, w := range watches {
		if w != nil {
			// Nobody can do anything about an error here; the next arm fails the same way and says so.
			_ = w.Close()
		}
	}
}

// Mode is the mode of the moment.
func (g *Guard) Mode() Mode {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode
}

// Counters are those of the moment.
func (g *Guard) Counters() report.Counters {
	g.mu.Lock()
	defer g.mu.Unlock()
	sleeps := uint64(0)
	if g.mode == Detect && g.openLocked() {
		for _, t := range g.window.Tasks() {
			sleeps += t.Parks // the kernel compares them all
		}
	}
	n := &g.count
	c := report.Counters{Engine: "comparison", Hits: n.hits, Outside: n.outside + n.moved + n.late, Dead: n.dead, Sleeps: n.sleeps + sleeps, Missed: n.missed}
	if g.mode != Detect && g.window != nil {
		c.Compared = g.window.Compared()
	}
	if n.unavailable != "" {
		c.Unavailable = append(c.Unavailable, n.unavailable)
	}
	if g.c.Engine != nil {
		e := g.c.Engine.Counters()
		c.Dropped, c.Outside = e.Lost, c.Outside+e.Elsewhere
		c.Paused = e.Steps
		if g.mode != Detect {
			c.Engine = g.c.Engine.Name()
		}
	}
	for i, hits := range n.allowed {
		if hits > 0 {
			c.Allowed = append(c.Allowed, report.Allowed{Rule: g.rules[i].Name, Hits: hits})
		}
	}
	return c
}

// Close disarms without touching guest memory: for a guest that has ended. What waits is reported.
func (g *Guard) Close() {
	g.Flush()
	g.mu.Lock()
	g.mode = Off
	closing := g.wakeAllLocked()
	ended := g.sweepLocked(false)
	g.mu.Unlock()
	ended.wait()
	closeAll(closing)
}

// openLocked finds the kernel's window.
func (g *Guard) openLocked() bool {
	if g.window != nil {
		return true
	}
	w, err := debugwindow.Open(g.c.Memory, g.c.WindowBase, g.c.WindowSize)
	if err != nil {
		g.count.unavailable = err.Error()
		return false
	}
	g.window, g.count.unavailable = w, ""
	return true
}

// symbols is the kernel's table, loaded when something is to be judged.
func (g *Guard) symbolsLocked() *symbols.Table {
	if !g.loaded && g.c.Symbols != nil {
		g.table = g.c.Symbols()
	}
	g.loaded = true
	return g.table
}
