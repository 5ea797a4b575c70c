// Command benchdebug prints the debugger's figures: planted bugs found with the right verdict and function.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ringo/hosted"
	"ringo/internal/e2e/planted"
)

func main() {
	hosted.MaybeServe()
	arch := flag.String("arch", "amd64", "architecture")
	cpus := flag.String("cpus", "1,2", "numbers of vCPUs")
	only := flag.String("run", "", "plants whose NAME/CPUS matches")
	verbose := flag.Bool("v", false, "print what was reported where that is wrong")
	flag.Parse()
	if err := run(*arch, *cpus, *only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "benchdebug:", err)
		os.Exit(1)
	}
}

func run(arch, cpus, only string, verbose bool) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var numbers []int
	for _, s := range strings.Split(cpus, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("-cpus: %w", err)
		}
		numbers = append(numbers, n)
	}
	cases := slices.DeleteFunc(planted.Cases(arch, numbers), func(c planted.Case) bool { return !match.MatchString(c.Name) })
	var found, bugs, silent, controls int
	err = planted.Run(context.Background(), arch, cases, os.Stderr, func(c *planted.Case, o *planted.Outcome) {
		wrong := planted.Check(c, o)
		good := len(wrong) == 0
		if c.Control {
			controls++
			if good {
				silent++
			}
		} else {
			bugs++
			if good {
				found++
			}
		}
		verdict := "ok"
		if !good {
			verdict = "WRONG: " + strings.Join(wrong, "; ")
		}
		fmt.Printf("%-28s %6.1f s  %s\n", c.Name, o.Took.Seconds(), verdict)
		if !good && verbose {
			fmt.Printf("status %d\n%s%s\n", o.Status, o.Stdout, o.Stderr)
		}
	})
	fmt.Printf("\n%s: planted bugs with the right verdict and function: %d of %d; controls left alone: %d of %d\n", arch, found, bugs, silent, controls)
	if err == nil && (found != bugs || silent != controls) {
		err = errors.New("not all as they should be")
	}
	return err
}
