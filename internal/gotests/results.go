package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// results are the verdicts of one test program: PASS, FAIL, SKIP, or "" for a test that began and never ended.
type results map[string]string

// Lines of -test.v=test2json: a marker byte, and indentation for subtests. Programs may have written before the marker without a line end.
var (
	beganLine = regexp.MustCompile(`\x16=== RUN +(\S+)`)
	endedLine = regexp.MustCompile(`\x16 *--- (PASS|FAIL|SKIP): (\S+)`)
)

// parse reads what a test program wrote.
func parse(out []byte) results {
	r := results{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		for _, m := range endedLine.FindAllStringSubmatch(lines.Text(), -1) {
			r[m[2]] = m[1]
		}
		for _, m := range beganLine.FindAllStringSubmatch(lines.Text(), -1) {
			if _, ended := r[m[1]]; !ended {
				r[m[1]] = ""
			}
		}
	}
	return r
}

// comparison counts, for one package, the tests that pass on Linux, and which of them do not in Ringo.
type comparison struct {
	Package string   `json:"package"`
	Linux   int      `json:"linux"` // passed there
	Ringo   int      `json:"ringo"` // of these, passed here
	Missing []string `json:"missing,omitempty"`
	End     string   `json:"end"` // how the program ended here
}

// compare looks at top-level tests and subtests alike.
func compare(pkg string, linux, ringo results, end string) comparison {
	c := comparison{Package: pkg, End: end}
	for _, name := range slices.Sorted(maps.Keys(linux)) {
		if linux[name] != "PASS" {
			continue
		}
		c.Linux++
		switch verdict, ran := ringo[name]; {
		case verdict == "PASS":
			c.Ringo++
		case !ran:
			c.Missing = append(c.Missing, name+" (not begun)")
		case verdict == "":
			c.Missing = append(c.Missing, name+" (not ended)")
		default:
			c.Missing = append(c.Missing, name+" ("+strings.ToLower(verdict)+")")
		}
	}
	return c
}

// percent is how much of what passes on Linux passes in Ringo.
func (c comparison) percent() float64 {
	if c.Linux == 0 {
		return 0
	}
	return 100 * float64(c.Ringo) / float64(c.Linux)
}

// write prints the table, and for each package the tests that are missing.
func write(w io.Writer, all []comparison) {
	fmt.Fprintf(w, "\n%-16s %8s %8s %8s\n", "package", "Linux", "Ringo", "")
	sum := comparison{Package: "all"}
	for _, c := range all {
		sum.Linux += c.Linux
		sum.Ringo += c.Ringo
		fmt.Fprintf(w, "%-16s %8d %8d %7.1f%%\n", c.Package, c.Linux, c.Ringo, c.percent())
	}
	fmt.Fprintf(w, "%-16s %8d %8d %7.1f%%\n", sum.Package, sum.Linux, sum.Ringo, sum.percent())
	for _, c := range all {
		if len(c.Missing) > 0 {
			fmt.Fprintf(w, "\n%s (ended with %s) lacks:\n", c.Package, c.End)
			for _, name := range c.Missing {
				fmt.Fprintln(w, "   ", name)
			}
		}
	}
}
