//go:build amd64

package boot

import (
	"os"
	"strconv"
	"testing"
)

// TestRandomSystemCalls throws random arguments at every system call. RINGO_FUZZ is the number of children (default 60), RINGO_SEED the seed.
func TestRandomSystemCalls(t *testing.T) {
	src, err := os.ReadFile("testdata/fuzz.c")
	if err != nil {
		t.Fatal(err)
	}
	rounds, seed := os.Getenv("RINGO_FUZZ"), os.Getenv("RINGO_SEED")
	if rounds == "" {
		rounds = "60"
	}
	if seed == "" {
		seed = "1"
	}
	g := newGuest(t, map[string][]byte{"bin/fuzz": compile(t, "gcc", string(src), "-w")})
	n, err := strconv.Atoi(rounds)
	if err != nil {
		t.Fatal(err)
	}
	out, errs, e := g.run("", "/bin/fuzz", rounds, seed)
	if out != strconv.Itoa(n)+" rounds done\n" || e.Code != 0 {
		t.Errorf("out %q errors %q %+v", out, errs, e)
	}
}
