package report

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ringo/debug/classify"
	"ringo/debug/symbols"
)

// Version is that of the schema of events: a reader refuses a higher one. Fields are added
// without a new version; it changes when the meaning of one does.
const Version = 1

// Kind is what an event says.
type Kind string

// Kinds of Event.
const (
	// KindWrite: a write to something guarded, with who made it.
	KindWrite Kind = "write"
	// KindChange: something guarded is not what it was; who changed it was not seen.
	KindChange Kind = "change"
	// KindWatch: an access that the user's watch asked for; no judgement.
	KindWatch Kind = "watch"
	// KindCrash: the guest did not end by itself.
	KindCrash Kind = "crash"
)

// Address is a GVA or GPA, in JSON a hexadecimal string: JSON's numbers end at 2^53.
type Address uint64

// String is the address in hexadecimal.
func (a Address) String() string { return fmt.Sprintf("%#x", uint64(a)) }

// MarshalJSON writes "0x...".
func (a Address) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// UnmarshalJSON reads "0x...".
func (a *Address) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	digits, ok := strings.CutPrefix(s, "0x")
	v, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || !ok {
		return fmt.Errorf("%q is not an address like 0xffff8000", s)
	}
	*a = Address(v)
	return nil
}

// Hex is bytes, in JSON as a string of hexadecimal digits.
type Hex []byte

// MarshalJSON writes the digits.
func (h Hex) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h)) }

// UnmarshalJSON reads them.
func (h *Hex) UnmarshalJSON(b []byte) error {
	var s string
	err := json.Unmarshal(b, &s)
	if err == nil {
		*h, err = hex.DecodeString(s)
	}
	return err
}

// Task is who did something, or sleeps. Names come from the guest.
type Task struct {
	ID   int    `json:"id"` // thread id, 0 for what is not a task
	Name string `json:"name,omitempty"`
	Call string `json:"call,omitempty"` // the system call it is in, "connect(2)"
}

// String is `task 7 "sh"`.
func (t *Task) String() string {
	switch {
	case t == nil:
		return "nobody known"
	case t.ID == 0 && t.Name != "":
		return clean(t.Name)
	case t.ID == 0:
		return "an unknown task"
	case t.Name == "":
		return fmt.Sprintf("task %d", t.ID)
	}
	return fmt.Sprintf("task %d %q", t.ID, clean(t.Name))
}

// in is " in connect(2)".
func (t *Task) in() string {
	if t == nil || t.Call == "" {
		return ""
	}
	return " in " + clean(t.Call)
}

// Frame is one call on a stack.
type Frame struct {
	PC       Address `json:"pc"`
	Function string  `json:"fn,omitempty"`
	Offset   uint64  `json:"off,omitempty"` // of PC in the function, bytes
	File     string  `json:"file,omitempty"`
	Line     int     `json:"line,omitempty"`
}

// Frames makes a walked stack into frames of a report.
func Frames(walked []symbols.Frame) []Frame {
	out := make([]Frame, 0, len(walked))
	for _, f := range walked {
		s := f.Symbol
		out = append(out, Frame{PC: Address(f.PC), Function: s.Function, Offset: s.Offset, File: s.File, Line: s.Line})
	}
	return out
}

// Victim is whose memory was written.
type Victim struct {
	Task   *Task   `json:"task,omitempty"`
	What   string  `json:"what"` // "kernel stack", or what else is guarded
	Lo     Address `json:"lo"`
	Hi     Address `json:"hi"`
	SP     Address `json:"sp,omitempty"`
	Zone   string  `json:"zone,omitempty"`      // which part of the stack
	Asleep int64   `json:"asleep_ns,omitempty"` // for how long
	Stack  []Frame `json:"stack,omitempty"`     // where it sleeps
}

func (v *Victim) zone() string {
	if v == nil {
		return ""
	}
	return v.Zone
}

// Note explains some of the old bytes.
type Note struct {
	Offset int    `json:"off"` // from the first byte
	Len    int    `json:"len"`
	Text   string `json:"text"`
}

// Event is one finding: a line of JSON, and some twenty lines for people.
type Event struct {
	V    int    `json:"v"`
	Seq  uint64 `json:"seq"`
	T    int64  `json:"t_ns"` // since the vCPUs started
	Kind Kind   `json:"kind"`
	ID   string `json:"id"` // "stack-0001"

	Rule    string   `json:"rule,omitempty"`
	Verdict string   `json:"verdict"` // the rule's title, or what happened
	Because []string `json:"because,omitempty"`
	Next    string   `json:"next,omitempty"`

	VCPU   int     `json:"vcpu"` // -1: none
	Task   *Task   `json:"task,omitempty"`
	How    string  `json:"how,omitempty"`    // kind of the write: store, device...
	Stores int     `json:"stores,omitempty"` // how many the instruction made in a loop, if more than one
	Insn   string  `json:"insn,omitempty"`   // the instruction, disassembled
	Source string  `json:"source,omitempty"` // of a device's write
	User   bool    `json:"user,omitempty"`   // user mode made it
	PC     Address `json:"pc,omitempty"`
	SP     Address `json:"sp,omitempty"`
	Flags  Address `json:"flags,omitempty"` // RFLAGS, PSTATE
	GVA    Address `json:"gva,omitempty"`   // first byte as the instruction addressed it
	GPA    Address `json:"gpa,omitempty"`   // first byte of Old and New
	Len    uint64  `json:"len,omitempty"`   // bytes the instruction wrote, where that is known
	// At is the victim's own address of the first byte of Old and New: what of the write lies in
	// the victim.
	At  Address `json:"at,omitempty"`
	Old Hex     `json:"old,omitempty"`
	New Hex     `json:"new,omitempty"`
	// From is where the new bytes may have come from.
	From  string  `json:"from,omitempty"`
	Notes []Note  `json:"notes,omitempty"`
	Stack []Frame `json:"stack,omitempty"`

	Victim *Victim `json:"victim,omitempty"`
	// History is what happened before: trace events, allocations.
	History []string `json:"history,omitempty"`

	Engine string `json:"engine,omitempty"`
	Race   bool   `json:"race,omitempty"` // other vCPUs ran while the bytes were compared
	// Text is the part of a crash report that has no fields of its own.
	Text string `json:"text,omitempty"`
}

// Key is equal for events that say the same: the rule, the place in the code that wrote, and what was hit. A task that has left
// its stack writes to its neighbour's at every turn: those are one event, wherever they come from. So are events on a wrong stack.
func (e *Event) Key() string {
	place := e.Source
	for _, f := range e.Stack {
		if f.Function != "" {
			place = fmt.Sprintf("%s:%d", f.Function, f.Line)
			break
		}
	}
	if place == "" {
		place = e.PC.String()
	}
	victim, writer := "", ""
	if v := e.Victim; v != nil {
		victim = v.What + "/" + v.Zone
		if v.Task != nil {
			victim += "/" + v.Task.Name
		}
	}
	if e.Task != nil {
		writer = e.Task.Name
	}
	switch e.Rule {
	case string(classify.R1), string(classify.R6):
		place, victim = "", strings.Replace(victim, "/"+e.Victim.zone(), "", 1)
	case string(classify.R5): // whom the event interrupts is chance
		place, writer, victim = "", "", strings.Replace(victim, "/"+e.Victim.zone(), "", 1)
	}
	return strings.Join([]string{string(e.Kind), e.Rule, place, writer, victim, e.Verdict}, "|")
}

// Allowed counts the hits that one rule excused.
type Allowed struct {
	Rule string `json:"rule"`
	Hits uint64 `json:"hits"`
}

// Counters say how far silence can be trusted.
type Counters struct {
	Engine  string    `json:"engine"`  // what saw writes; "" when nothing could
	Hits    uint64    `json:"hits"`    // trapped writes
	Outside uint64    `json:"outside"` // of them on guarded pages, but beside what is guarded
	Dead    uint64    `json:"dead"`    // of them in the unused part of a stack
	Allowed []Allowed `json:"allowed,omitempty"`
	Dropped uint64    `json:"dropped"` // writes that were not looked at: 0, or nothing here is sure
	Paused  uint64    `json:"paused"`  // times that other vCPUs were held
	Sleeps  uint64    `json:"sleeps"`  // sleeps watched or compared
	Missed  uint64    `json:"missed"`  // sleeps that could not be
	// Compared are sleeps, besides, that ended before they were protected, and were only compared.
	Compared uint64 `json:"compared,omitempty"`
	// Unavailable says which part of the engine did not work and why.
	Unavailable []string `json:"unavailable,omitempty"`
}

// AllowedHits is the sum over all rules.
func (c *Counters) AllowedHits() (n uint64) {
	for _, a := range c.Allowed {
		n += a.Hits
	}
	return n
}

// Header is the first line of a file of events.
type Header struct {
	V       int    `json:"v"`
	Kind    Kind   `json:"kind"`   // "schema"
	Schema  string `json:"schema"` // "ringo-debug"
	Kernel  string `json:"kernel"` // build id of the guest's kernel
	Monitor string `json:"monitor"`
	Arch    string `json:"arch"`
	CPUs    int    `json:"cpus"`
	Guard   string `json:"guard,omitempty"` // what was asked for
	Engine  string `json:"engine,omitempty"`
	Start   string `json:"start"` // RFC 3339
}

// Footer is the last line.
type Footer struct {
	V       int               `json:"v"`
	Kind    Kind              `json:"kind"` // "counters"
	Events  uint64            `json:"events"`
	Crashes uint64            `json:"crashes,omitempty"` // of the events
	Repeats map[string]uint64 `json:"repeats,omitempty"` // by ID: further events with the same key
	Counters
}

// Kinds of the first and the last line.
const (
	kindHeader Kind = "schema"
	kindFooter Kind = "counters"
	schemaName      = "ringo-debug"
)

// clean makes a name from the guest fit for a terminal.
func clean(s string) string {
	const longest = 256
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
