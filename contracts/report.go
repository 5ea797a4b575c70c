package contracts

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Printer prints progress: a line for each judgement in a log, or a table that is drawn over itself on a terminal.
type Printer struct {
	W        io.Writer
	Terminal bool
	Total    int

	done    []Judgement
	running []string
	drawn   int // lines of the table on the screen
}

// Event takes what a Suite reports.
func (p *Printer) Event(e Event) {
	if e.Began != "" {
		p.running = append(p.running, e.Began)
	}
	if e.Done != nil {
		p.running = slices.DeleteFunc(p.running, func(name string) bool { return name == e.Done.Program.Name })
		p.done = append(p.done, *e.Done)
	}
	switch {
	case p.Terminal:
		p.draw(e.Done)
	case e.Done != nil:
		p.line(*e.Done)
	}
}

func (p *Printer) line(j Judgement) {
	fmt.Fprintf(p.W, "%-7s %-44s %8s", j.Verdict, j.Program.Name, j.Result.Took.Round(time.Millisecond))
	if j.Why != "" {
		fmt.Fprintf(p.W, "  %s", j.Why)
	}
	fmt.Fprintln(p.W)
}

// draw rewrites the table below what stays: the lines of what did not pass.
func (p *Printer) draw(j *Judgement) {
	p.Erase()
	if j != nil && j.Verdict != Pass {
		p.line(*j)
	}
	table := areaTable(p.done)
	table += fmt.Sprintf("%d of %d", len(p.done), p.Total)
	if len(p.running) > 0 {
		table += ", running " + strings.Join(p.running, ", ")
	}
	fmt.Fprintln(p.W, table)
	p.drawn = strings.Count(table, "\n") + 1
}

// Erase takes the table off the screen, for what is printed next.
func (p *Printer) Erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.W, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// areaTable counts verdicts by area, columns without any left out.
func areaTable(judgements []Judgement) string {
	counts := map[string]map[Verdict]int{}
	sum := map[Verdict]int{}
	for _, j := range judgements {
		area := j.Program.Area()
		if counts[area] == nil {
			counts[area] = map[Verdict]int{}
		}
		counts[area][j.Verdict]++
		sum[j.Verdict]++
	}
	var b strings.Builder
	row := func(name string, c map[Verdict]int) {
		fmt.Fprintf(&b, "%-14s", name)
		for _, v := range Verdicts {
			if sum[v] > 0 {
				fmt.Fprintf(&b, " %8d", c[v])
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%-14s", "")
	for _, v := range Verdicts {
		if sum[v] > 0 {
			fmt.Fprintf(&b, " %8s", v)
		}
	}
	b.WriteByte('\n')
	for _, area := range slices.Sorted(maps.Keys(counts)) {
		row(area, counts[area])
	}
	if len(counts) > 1 {
		row("all", sum)
	}
	return b.String()
}

// slowestShown is how many of the slowest contracts the summary names.
const slowestShown = 10

// Summary ends a run: what was unexpected, in full; counts; the slowest.
func (p *Printer) Summary(judgements []Judgement, took time.Duration) {
	p.Erase()
	for _, j := range judgements {
		if j.Verdict.Expected() {
			continue
		}
		fmt.Fprintf(p.W, "\n%s %s: %s\n", j.Verdict, j.Program.Name, j.Why)
		if j.Program.Catches != "" {
			fmt.Fprintf(p.W, "    catches: %s\n", j.Program.Catches)
		}
		if text := tail(j.Result.Stdout, 4); text != "" {
			fmt.Fprintf(p.W, "    last output:\n%s", indent(text))
		}
		if text := tail(j.Result.Stderr, 4); text != "" {
			fmt.Fprintf(p.W, "    standard error:\n%s", indent(text))
		}
		if len(j.Result.Missing) > 0 {
			fmt.Fprintf(p.W, "    system calls the kernel lacks: %s\n", strings.Join(slices.Sorted(maps.Keys(j.Result.Missing)), " "))
		}
		if j.Result.Report != "" {
			fmt.Fprintf(p.W, "    the monitor's report:\n%s", indent(j.Result.Report))
		}
		if j.Again != "" {
			fmt.Fprintf(p.W, "    run again with tracing:\n%s", indent(j.Again))
		}
	}
	fmt.Fprintf(p.W, "\n%s", areaTable(judgements))
	slowest := slices.Clone(judgements)
	slices.SortStableFunc(slowest, func(a, b Judgement) int { return int(b.Result.Took - a.Result.Took) })
	fmt.Fprint(p.W, "\nslowest:")
	for _, j := range slowest[:min(slowestShown, len(slowest))] {
		fmt.Fprintf(p.W, " %s %s", j.Program.Name, j.Result.Took.Round(time.Millisecond))
	}
	fmt.Fprintf(p.W, "\n%d contracts in %s\n", len(judgements), took.Round(100*time.Millisecond))
}

func tail(b []byte, n int) string {
	lines := splitLines(b)
	text := strings.Join(lines[max(0, len(lines)-n):], "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("        " + line)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// WriteJSON writes the judgements: an array, one object a contract.
func WriteJSON(w io.Writer, judgements []Judgement) error {
	type side struct {
		Stdout string `json:"stdout"`
		Stderr string `json:"stderr,omitempty"`
		End    string `json:"end"`
		NS     int64  `json:"ns"`
	}
	type entry struct {
		Name    string   `json:"name"`
		Area    string   `json:"area"`
		Verdict Verdict  `json:"verdict"`
		Why     string   `json:"why,omitempty"`
		Linux   side     `json:"linux"`
		Ringo   side     `json:"ringo"`
		Missing []string `json:"missing,omitempty"`
		Report  string   `json:"report,omitempty"`
		Catches string   `json:"catches,omitempty"`
		Again   string   `json:"again,omitempty"` // run again with tracing
	}
	entries := []entry{}
	for _, j := range judgements {
		sideOf := func(r Result) side {
			return side{string(r.Stdout), string(r.Stderr), r.End(), int64(r.Took)}
		}
		entries = append(entries, entry{
			j.Program.Name, j.Program.Area(), j.Verdict, j.Why, sideOf(j.Baseline), sideOf(j.Result),
			slices.Sorted(maps.Keys(j.Result.Missing)), j.Result.Report, j.Program.Catches, j.Again,
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(entries)
}

// WriteJUnit writes the judgements in the XML that continuous integration systems read.
func WriteJUnit(w io.Writer, judgements []Judgement) error {
	type problem struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Seconds float64  `xml:"time,attr"`
		Failure *problem `xml:"failure,omitempty"`
		Error   *problem `xml:"error,omitempty"`
		Skipped *problem `xml:"skipped,omitempty"`
	}
	suite := struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testcase `xml:"testcase"`
	}{Name: "contracts", Tests: len(judgements)}
	for _, j := range judgements {
		c := testcase{Name: j.Program.Name, Class: j.Program.Area(), Seconds: j.Result.Took.Seconds()}
		p := &problem{string(j.Verdict) + ": " + j.Why, printable(string(j.Result.Stdout) + string(j.Result.Stderr) + j.Result.Report + j.Again)}
		switch j.Verdict {
		case Pass:
		case XFail:
			suite.Skipped++
			c.Skipped = p
		case Timeout, Crash:
			suite.Errors++
			c.Error = p
		default:
			suite.Failures++
			c.Failure = p
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable drops what XML cannot hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}
