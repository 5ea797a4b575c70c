package report

import (
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"
)

// Width is the most columns a report takes.
const Width = 100

// Bounds of what is shown; the JSON line has everything.
const (
	maxRows    = 4  // of 16 bytes
	maxFrames  = 16 // of the writer
	maxSleep   = 8  // frames of the sleeper
	maxHistory = 16
	maxNotes   = 4
)

// Style decides about colour.
type Style struct{ Color bool }

func (s Style) paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	boldRed = "1;31"
	bold    = "1"
	red     = "31"
	green   = "32"
)

// page is a report under construction: labelled paragraphs, wrapped.
type page struct {
	strings.Builder
	Style
}

const labelWidth = 10 // "  victim  "

// line prints a paragraph behind a label, wrapped at Width with the continuation below the text.
func (p *page) line(label, text string) {
	head := "          "
	if label != "" {
		head = fmt.Sprintf("  %-*s", labelWidth-2, label)
	}
	for i, part := range wrap(text, Width-labelWidth) {
		if i == 0 && label != "" {
			p.WriteString(p.paint(bold, head))
		} else {
			p.WriteString("          ")
		}
		p.WriteString(part + "\n")
	}
}

// wrap breaks text at spaces into lines of at most width columns; a longer word is broken.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(clean0(text)) {
		for len(word) > width {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			lines = append(lines, word[:width])
			word = word[width:]
		}
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// clean0 is clean for text of any length.
func clean0(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, strings.ReplaceAll(s, "\n", " "))
}

// WriteText prints an event for people: the verdict first, then whose memory, what was written and by whom, why it is judged so, which
// bytes, and how far the tracing can be trusted. counters may be nil.
func WriteText(w io.Writer, e *Event, counters *Counters, s Style) error {
	p := &page{Style: s}
	p.title(e)
	if e.Kind == KindCrash {
		for _, h := range e.History {
			p.line("log", h)
		}
		for line := range strings.Lines(e.Text) {
			p.WriteString(clean0(strings.TrimRight(line, "\n")) + "\n")
		}
		_, err := io.WriteString(w, p.String())
		return err
	}
	p.victim(e.Victim)
	p.write(e)
	p.cause(e)
	p.bytes(e)
	if e.From != "" {
		p.line("value", clean(e.From))
	}
	for i, h := range e.History {
		label := ""
		if i == 0 {
			label = "before"
		}
		if i == maxHistory {
			p.line("", fmt.Sprintf("... %d more", len(e.History)-i))
			break
		}
		p.line(label, h)
	}
	p.trust(e, counters)
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *page) title(e *Event) {
	var text string
	v := e.Victim
	switch {
	case e.Kind == KindCrash:
		text = "CRASH: " + e.Verdict
	case e.Kind == KindWatch:
		text = "WATCH: " + e.Verdict
	case v == nil:
		text = "BUG: memory overwritten: " + e.Verdict
	case v.What == "kernel stack":
		text = fmt.Sprintf("BUG: sleeping kernel stack overwritten: %s: %s", v.Task, e.Verdict)
	default:
		text = fmt.Sprintf("BUG: %s overwritten: %s", clean(v.What), e.Verdict)
	}
	id := "[" + e.ID + "]"
	lines := wrap(text, Width-len(id)-1-len("     "))
	for i, l := range lines {
		pad := ""
		if i == 0 {
			pad = fmt.Sprintf("%*s", Width-len(l), id)
		} else {
			l = "     " + l
		}
		p.WriteString(p.paint(boldRed, l) + pad + "\n")
	}
}

func (p *page) victim(v *Victim) {
	if v == nil {
		return
	}
	text := v.Task.String()
	if v.Asleep > 0 {
		text += " asleep " + duration(v.Asleep)
	}
	if v.Task == nil {
		text = clean(v.What)
	}
	p.line("victim", text+v.Task.in())
	text = fmt.Sprintf("%s %s-%s, %d bytes", clean(v.What), v.Lo, v.Hi, uint64(v.Hi-v.Lo))
	if v.SP != 0 {
		text += fmt.Sprintf(", saved sp %s (%d bytes in use)", v.SP, uint64(v.Hi-v.SP))
	}
	p.line("", text)
	p.stack(v.Stack, maxSleep)
}

func (p *page) write(e *Event) {
	if e.Kind != KindWrite && e.Kind != KindWatch {
		if e.Task != nil {
			p.line("by", e.Task.String()+e.Task.in())
		}
		return
	}
	var parts []string
	switch {
	case e.Insn != "":
		parts = append(parts, clean(e.Insn))
	case e.How != "":
		parts = append(parts, e.How)
	}
	if e.Stores > 1 {
		parts = append(parts, fmt.Sprintf("%d times in a loop", e.Stores))
	}
	if e.Len > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", e.Len))
	}
	if e.GVA != 0 {
		where := "at " + e.GVA.String()
		if e.Len > 1 {
			where = fmt.Sprintf("%s-%s", e.GVA, e.GVA+Address(e.Len))
		}
		parts = append(parts, where)
	}
	parts = append(parts, fmt.Sprintf("GPA %s", e.GPA))
	if e.VCPU >= 0 {
		parts = append(parts, fmt.Sprintf("CPU %d", e.VCPU))
	}
	parts = append(parts, fmt.Sprintf("t = %.6f s", float64(e.T)/1e9))
	p.line("write", strings.Join(parts, ", "))
	switch {
	case e.Source != "":
		p.line("by", clean(e.Source))
	case e.User:
		p.line("by", e.Task.String()+" in user mode")
	default:
		p.line("by", e.Task.String()+e.Task.in())
	}
	p.stack(e.Stack, maxFrames)
	if e.PC != 0 {
		p.line("", fmt.Sprintf("pc %s, sp %s, flags %s", e.PC, e.SP, e.Flags))
	}
}

func (p *page) stack(frames []Frame, most int) {
	for i, f := range frames {
		if i == most {
			p.line("", fmt.Sprintf("... %d more frames", len(frames)-i))
			return
		}
		name, place := f.PC.String(), ""
		if f.Function != "" {
			name = fmt.Sprintf("%s+%#x", unqualified(clean(f.Function)), f.Offset)
		}
		if f.File != "" {
			place = fmt.Sprintf("%s:%d", shorten(clean(f.File), clean(f.Function)), f.Line)
		}
		head := fmt.Sprintf("    #%-2d %s", i, name)
		switch {
		case place == "":
			fmt.Fprintln(p, truncate(head))
		case len(head) <= 60:
			fmt.Fprintln(p, truncate(fmt.Sprintf("%-60s  %s", head, place)))
		default:
			fmt.Fprintln(p, truncate(head))
			fmt.Fprintln(p, truncate(fmt.Sprintf("%60s  %s", "", place)))
		}
	}
}

// String is "inject.newStream+0x38 (guestkernel/inject/stream.go:52)".
func (f Frame) String() string {
	if f.Function == "" {
		return f.PC.String()
	}
	text := fmt.Sprintf("%s+%#x", unqualified(clean(f.Function)), f.Offset)
	if f.File != "" {
		text += fmt.Sprintf(" (%s:%d)", shorten(clean(f.File), clean(f.Function)), f.Line)
	}
	return text
}

// Unqualified is a function's name without the folders of its package.
func Unqualified(function string) string { return unqualified(function) }

// unqualified is a function without the folders of its package.
func unqualified(function string) string {
	head, _, _ := strings.Cut(function, "(")
	return function[strings.LastIndexByte(head, '/')+1:]
}

func truncate(s string) string {
	if len(s) > Width {
		return s[:Width-3] + "..."
	}
	return s
}

// shorten makes a path short and still enough to find it: from the folder of the function's package on, or below src, or
// the last folder.
func shorten(file, function string) string {
	dir, name := path.Split(file)
	if pkg, ok := strings.CutPrefix(packagePath(function), "ringo/"); ok && strings.HasSuffix(dir, "/"+pkg+"/") {
		return pkg + "/" + name
	}
	dir = strings.TrimSuffix(dir, "/")
	if i := strings.LastIndex(dir, "/src/"); i >= 0 {
		return dir[i+len("/src/"):] + "/" + name
	}
	return path.Join(path.Base(dir), name)
}

// packagePath is "ringo/guestkernel/task" of "ringo/guestkernel/task.(*Task).Sleep".
func packagePath(function string) string {
	head, _, _ := strings.Cut(function, "(")
	slash := strings.LastIndexByte(head, '/') + 1
	dot := strings.IndexByte(head[slash:], '.')
	if dot < 0 {
		return ""
	}
	return head[:slash+dot]
}

func (p *page) cause(e *Event) {
	for i, b := range e.Because {
		if i == 0 {
			head := e.Verdict
			if e.Rule != "" {
				head = e.Rule + " " + e.Verdict
			}
			p.line("cause", head+": "+b)
			continue
		}
		p.line("", b)
	}
	if e.Next != "" {
		p.line("next", e.Next)
	}
}

// bytes shows what changed: rows of 16, old above new, carets below what differs.
func (p *page) bytes(e *Event) {
	n := len(e.Old)
	if n == 0 || len(e.New) != n {
		return
	}
	changed := 0
	for i := range e.Old {
		if e.Old[i] != e.New[i] {
			changed++
		}
	}
	at := e.At
	text := fmt.Sprintf("%d in the stack from %s", n, at)
	if e.Victim == nil || e.Victim.What != "kernel stack" {
		text = fmt.Sprintf("%d from %s", n, at)
	}
	if e.Victim != nil && e.Victim.SP != 0 && at >= e.Victim.SP {
		text += fmt.Sprintf(" = saved sp + %#x", uint64(at-e.Victim.SP))
	}
	if e.Victim != nil && e.Victim.Zone != "" {
		text += fmt.Sprintf(" (%s)", e.Victim.Zone)
	}
	switch changed {
	case 0:
		text += ", all as they were before: a silent store"
	case n:
		text += ", all changed"
	default:
		text += fmt.Sprintf(", %d changed", changed)
	}
	p.line("bytes", text)
	rows := 0
	skipped := 0
	for off := 0; off < n; off += 16 {
		end := min(off+16, n)
		same := string(e.Old[off:end]) == string(e.New[off:end])
		if rows == maxRows || same && changed > 0 {
			skipped += end - off
			continue
		}
		rows++
		p.row(e, off, end)
	}
	if skipped > 0 {
		p.line("", fmt.Sprintf("... %d more bytes; the JSON line has them all", skipped))
	}
	shown := 0
	for _, note := range e.Notes {
		if shown == maxNotes {
			p.line("", fmt.Sprintf("... %d more of them", len(e.Notes)-shown))
			break
		}
		shown++
		p.line("", fmt.Sprintf("+%#x was %s", note.Offset, note.Text))
	}
}

func (p *page) row(e *Event, off, end int) {
	hex := func(b []byte, color string) string {
		var s strings.Builder
		for i, c := range b {
			if i == 8 {
				s.WriteByte(' ')
			}
			digits := fmt.Sprintf("%02x", c)
			if e.Old[off+i] != e.New[off+i] {
				digits = p.paint(color, digits)
			}
			s.WriteString(" " + digits)
		}
		return s.String()
	}
	fmt.Fprintf(p, "          +%-6s old%s\n", fmt.Sprintf("%#x", off), hex(e.Old[off:end], green))
	fmt.Fprintf(p, "          %-7s new%s\n", "", hex(e.New[off:end], red))
	var carets strings.Builder
	for i := off; i < end; i++ {
		if i-off == 8 {
			carets.WriteByte(' ')
		}
		if e.Old[i] != e.New[i] {
			carets.WriteString(" ^^")
		} else {
			carets.WriteString("   ")
		}
	}
	if s := strings.TrimRight(carets.String(), " "); s != "" {
		fmt.Fprintf(p, "          %-7s    %s\n", "", s)
	}
}

// trust is the line that says whether silence about everything else means anything.
func (p *page) trust(e *Event, c *Counters) {
	if c == nil {
		return
	}
	engine := e.Engine
	if engine == "" {
		engine = c.Engine
	}
	text := c.Line(engine)
	if e.Race {
		text += "; other vCPUs ran while the bytes were compared"
	}
	p.line("trust", text)
}

// Line is the counters in words.
func (c *Counters) Line(engine string) string {
	if engine == "" {
		engine = "none"
	}
	parts := []string{fmt.Sprintf("%d events dropped", c.Dropped), "engine " + engine}
	if c.Paused > 0 {
		parts = append(parts, fmt.Sprintf("other vCPUs paused %d times", c.Paused))
	}
	parts = append(parts, fmt.Sprintf("%d hits: %d beside, %d in unused stack, %d allowed", c.Hits, c.Outside, c.Dead, c.AllowedHits()))
	for _, a := range c.Allowed {
		parts = append(parts, fmt.Sprintf("allowed %s %d", clean(a.Rule), a.Hits))
	}
	parts = append(parts, fmt.Sprintf("%d sleeps watched", c.Sleeps))
	if c.Compared > 0 {
		parts = append(parts, fmt.Sprintf("%d brief sleeps compared only", c.Compared))
	}
	if c.Missed > 0 {
		parts = append(parts, fmt.Sprintf("%d sleeps NOT watched", c.Missed))
	}
	return strings.Join(parts, "; ")
}

// WriteSummary prints the last lines of a guarded run.
func WriteSummary(w io.Writer, f *Footer) error {
	p := &page{}
	found := "no report"
	if n := f.Events - f.Crashes; n > 0 {
		found = fmt.Sprintf("%d report%s", n, plural(n))
	}
	if f.Crashes > 0 {
		found += ", and the guest crashed"
	}
	var repeats uint64
	for _, n := range f.Repeats {
		repeats += n
	}
	if repeats > 0 {
		found += fmt.Sprintf(" (and %d repeat%s)", repeats, plural(repeats))
	}
	for _, u := range f.Unavailable {
		p.line("guard", "WITHOUT "+u)
	}
	p.line("guard", found+"; "+f.Line(f.Engine))
	_, err := io.WriteString(w, p.String())
	return err
}

func plural(n uint64) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func duration(ns int64) string {
	switch {
	case ns < 1e6:
		return fmt.Sprintf("%.1f us", float64(ns)/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.2f ms", float64(ns)/1e6)
	}
	return fmt.Sprintf("%.2f s", float64(ns)/1e9)
}

// ReturnAddresses notes which of the old words are addresses in the kernel's code: what a task would have
// returned to. name answers what lies at one.
func ReturnAddresses(e *Event, name func(uint64) (string, bool)) {
	first := int(-uint64(e.At) & 7)
	for off := first; off+8 <= len(e.Old); off += 8 {
		if text, ok := name(binary.LittleEndian.Uint64(e.Old[off:])); ok {
			e.Notes = append(e.Notes, Note{Offset: off, Len: 8, Text: "the return address " + text})
		}
	}
}
