package contracts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Store remembers what programs did on Linux, by the content of program and driver and the Linux they ran on.
// Only passing baselines are worth keeping: whoever repairs a contract wants to see the others again.
type Store struct {
	Folder string
	Linux  string // which Linux: architecture, release, own or hosted
	Driver string // path
}

func (s *Store) path(p Program) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, s.Linux, p.Name)
	for _, file := range []string{s.Driver, p.Binary} {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, len(b))
		h.Write(b)
	}
	return filepath.Join(s.Folder, hex.EncodeToString(h.Sum(nil))[:32]+".json"), nil
}

// Load returns what is remembered of a program.
func (s *Store) Load(p Program) (Result, bool) {
	path, err := s.path(p)
	if err != nil {
		return Result{}, false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Result{}, false
	}
	var r Result
	return r, json.Unmarshal(b, &r) == nil && r.Name == p.Name
}

// Save remembers a result. A store that cannot be written only costs time.
func (s *Store) Save(p Program, r Result) {
	path, err := s.path(p)
	if err != nil {
		return
	}
	b, err := json.Marshal(r)
	if err != nil || os.MkdirAll(s.Folder, 0o755) != nil {
		return
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if os.WriteFile(temporary, b, 0o644) == nil {
		os.Rename(temporary, path)
	}
	os.Remove(temporary)
}
