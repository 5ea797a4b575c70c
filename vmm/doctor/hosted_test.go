package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringo/hosted"
)

func TestMain(m *testing.M) {
	hosted.MaybeServe()
	os.Exit(m.Run())
}

// The hosted machines have a KVM that does everything.
func TestHostedMachinesAreAccepted(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("uses the hosted machines: run `make e2e`")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			m, err := hosted.Open(ctx, arch, os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			status, err := m.Run(ctx, hosted.Command{
				Argv:   []string{filepath.Join(root, "build", arch, "vmm"), "doctor", "--json"},
				Stdout: &out, Stderr: &errs,
			})
			if err != nil || status != 0 {
				t.Fatalf("status %d, %v\n%s", status, err, &errs)
			}
			var r Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if !r.Usable || r.Verdict != UseKVM || r.Arch != arch {
				t.Errorf("%s, because %s", r.Verdict, r.Why)
			}
			for _, row := range r.Rows {
				if !row.OK {
					t.Errorf("%s: %s", row.Name, row.Detail)
				}
			}
		})
	}
}
