package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func pass(context.Context) (string, error) { return "fine", nil }
func fail(context.Context) (string, error) { return "", errors.New("no way") }

func TestTheVerdictFollowsTheNeededRows(t *testing.T) {
	for name, row := range map[string]struct {
		checks []check
		verdict,
		why string
	}{
		"all pass":            {[]check{{"open", true, false, "", pass}, {"run", true, true, "", pass}}, UseKVM, "everything"},
		"a feature is absent": {[]check{{"open", true, false, "", pass}, {"extra", false, true, "", fail}}, UseKVM, "everything"},
		"a needed one fails":  {[]check{{"open", true, false, "", pass}, {"run", true, true, "", fail}}, UseHosted, "run: no way"},
		"no /dev/kvm":         {[]check{{"open", true, false, "", fail}, {"run", true, true, "", pass}}, UseHosted, "open: no way"},
		"a probe panics": {[]check{{"open", true, false, "", pass}, {"run", true, true, "", func(context.Context) (string, error) { panic("boom") }}},
			UseHosted, "run: internal error: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := examine(t.Context(), row.checks)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != row.verdict || !strings.HasPrefix(r.Why, row.why) || r.Usable != (row.verdict == UseKVM) {
				t.Errorf("%s, because %q", r.Verdict, r.Why)
			}
			for i, got := range r.Rows {
				if got.Skipped != (row.checks[i].onKVM && !r.Rows[0].OK) {
					t.Errorf("row %q: skipped %v", got.Name, got.Skipped)
				}
			}
		})
	}
}

func TestAProbeThatHangsIsAFailedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r, err := examine(t.Context(), []check{
			{"listens", true, false, "do this", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }},
			{"does not", false, false, "do that", func(context.Context) (string, error) { <-release; return "", nil }},
		})
		close(release)
		if err != nil {
			t.Fatal(err)
		}
		for i, advice := range []string{"do this", "do that"} {
			row := r.Rows[i]
			if row.OK || !strings.Contains(row.Detail, "hangs") || row.Advice != advice || row.Took > limit+2*time.Second {
				t.Errorf("%+v", row)
			}
		}
	})
}

func TestCancellingEndsTheExamination(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := examine(ctx, []check{{"open", true, false, "", func(context.Context) (string, error) { cancel(); return "", nil }}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// This host, whatever it is: the examination ends in time, says something about every row,
// and agrees with Verdict.
func TestThisHost(t *testing.T) {
	began := time.Now()
	r, err := Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Duration(len(r.Rows))*(limit+time.Second) {
		t.Errorf("took %v", took)
	}
	if len(r.Rows) != len(checks()) {
		t.Errorf("%d rows of %d", len(r.Rows), len(checks()))
	}
	for _, row := range r.Rows {
		if row.Detail == "" || row.OK == (row.Advice != "") && !row.Skipped {
			t.Errorf("%+v says too little", row)
		}
	}
	ok, why, err := Verdict(t.Context())
	if err != nil || ok != r.Usable || ok != (why == "") {
		t.Errorf("Verdict says %v, %q, %v; Examine says %v, %q", ok, why, err, r.Usable, r.Why)
	}
	var table, js bytes.Buffer
	if err := errors.Join(r.WriteTable(&table), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Verdict != r.Verdict || len(back.Rows) != len(r.Rows) {
		t.Errorf("JSON does not come back: %v\n%s", err, &js)
	}
	for _, row := range r.Rows {
		// A KVM that emulates ring 0 shows in these rows; it must never be accepted.
		if row.Needed && !row.OK && r.Usable {
			t.Errorf("%q failed and the host was accepted", row.Name)
		}
	}
}
