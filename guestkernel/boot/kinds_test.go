//go:build amd64

package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestKindsOfExecutable runs a static PIE, a dynamic program with its interpreter and libraries, and a Go program.
func TestKindsOfExecutable(t *testing.T) {
	const src = `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int zero[5000]; static char text[] = "data";
int main(void) { int n = 0; for (int i = 0; i < 5000; i++) n += zero[i]; char *p = malloc(100000); memset(p, 1, 100000); printf("%s %d %d\n", text, n, p[99999]); return 3; }`
	const goSrc = `package main
import ("fmt"; "os"; "os/exec"; "runtime"; "sync"; "time")
func main() {
	if len(os.Args) > 1 { os.Exit(5) }
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for i := range 100 { wg.Go(func() { time.Sleep(time.Duration(i%5) * time.Millisecond); mu.Lock(); n += i; mu.Unlock() }) }
	wg.Wait()
	runtime.GC()
	defer func() {
		fmt.Println(n, recover())
		err := exec.Command("/bin/p", "child").Run()
		fmt.Println(err)
		os.Exit(4)
	}()
	var p *int
	*p = 1
}
`
	goProgram := func(t *testing.T) []byte {
		dir := t.TempDir()
		file, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "p")
		if err := os.WriteFile(file, []byte(goSrc), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-o", bin, file)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v %s", err, out)
		}
		b, err := os.ReadFile(bin)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		build func(t *testing.T) []byte
		want  string
		code  int
		files []string // of the host
	}{
		{"static PIE", func(t *testing.T) []byte { return compile(t, "gcc", src, "-static-pie") }, "data 0 1\n", 3, nil},
		{"dynamic", func(t *testing.T) []byte { return compileDynamic(t, src) }, "data 0 1\n", 3,
			[]string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}},
		{"Go", goProgram, "4950 runtime error: invalid memory address or nil pointer dereference\nexit status 5\n", 4, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{"bin/p": c.build(t)}
			for _, f := range c.files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Skip(err)
				}
				files[f[1:]] = b
			}
			g := newGuest(t, files)
			out, errs, e := g.run("", "/bin/p")
			if out != c.want || e.Code != c.code || e.Signal != 0 {
				t.Errorf("out %q, want %q; status %d signal %d; err %q; missing %v", out, c.want, e.Code, e.Signal, errs, g.table.Missing())
			}
		})
	}
}
