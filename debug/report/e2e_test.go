package report_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringo/debug/report"
	"ringo/internal/e2e"
)

// Kernels that die at once, on real vCPUs: `vmm run` must end with status 125 and a report.
func TestKernelsThatDieAtOnce(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	common := []string{`(?m)^--- vCPU 0, where it happened`, `(?m)^last exits, of \d+`, `(?m)^next: `}
	placed := append([]string{
		`(?m)^instructions\n(    0x.*\n)*( => 0x.*)`, `(?m)^    pc +0x[0-9a-f]+: .*->.*page\)`, `(?m)^    fault address +`, `(?m)^registers\n`,
	}, common...)
	for _, row := range []struct {
		name, arch, entry string
		want              []string
	}{
		{"fault before there are vectors", "amd64", "main.entryFault", append([]string{
			`vmm: vCPU 0: exception 14 \(#PF page fault\).* address 0x7bad00001230`, ` => 0x\S+ .*mov rax, qword ptr \[rax\]`,
			`#0 .*main\.load.*\n.*#1 .*main\.inner.*main\.go:\d+\)\n.*#2 .*main\.outer.*\n.*#3 .*main\.start.*\n.*#4 .*main\.entryFault`,
			`fault address +0x7bad00001230: .*not present`,
		}, placed...)},
		{"fault before there are vectors", "arm64", "main.entryFault", append([]string{
			`vmm: vCPU 0: exception .*data abort.* FAR 0x7bad00001230`, ` => 0x\S+ .*ldr x0, \[x0\]`,
			`#0 .*main\.load.*\n.*#1 .*main\.inner.*main\.go:\d+\)\n.*#2 .*main\.outer.*\n.*#3 .*main\.start.*\n.*#4 .*main\.entryFault`,
			`fault address +0x7bad00001230: .*not present`,
		}, placed...)},
		// Where KVM resets the vCPU at a triple fault the report can only say so.
		{"triple fault", "amd64", "main.entryLast", append([]string{
			`vmm: vCPU 0: SHUTDOWN: triple fault`, `registers: lost|#0 .*main\.spoil`,
		}, common...)},
		{"access that KVM cannot serve", "arm64", "main.entryLast", append([]string{
			`vmm: vCPU 0: .*function not implemented`, ` => 0x\S+ .*ldp x1, x2, \[x0\]`,
			`#0 .*main\.spoil.*\n.*#1 .*main\.last.*\n.*#2 .*main\.entryLast`,
		}, placed...)},
	} {
		t.Run(row.arch+"/"+row.name, func(t *testing.T) {
			// The hosted machine sees the project's files only.
			root, err := e2e.Root()
			if err != nil {
				t.Fatal(err)
			}
			dir, err := os.MkdirTemp(filepath.Join(root, "build"), "crash")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			elf := filepath.Join(dir, "crash.elf")
			report.BuildCrash(t, row.arch, row.entry, elf)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			o, err := e2e.Run(ctx, nil, "--arch", row.arch, "--kernel", elf, "--timeout", "1m")
			if err != nil {
				t.Fatal(err)
			}
			if o.Status != 125 || len(o.Stdout) != 0 {
				t.Errorf("status %d, want 125; stdout %q", o.Status, o.Stdout)
			}
			text := string(o.Stderr)
			for _, want := range row.want {
				if !regexp.MustCompile(want).MatchString(text) {
					t.Errorf("the report lacks %s", want)
				}
			}
			if t.Failed() || strings.Contains(text, "goroutine ") {
				t.Errorf("stderr:\n%s", text)
			}
		})
	}
}
