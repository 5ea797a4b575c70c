package contracts

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Program is one contract: a source of the suite, or somebody's static binary.
type Program struct {
	Name    string        // AREA/NAME; unique in a run
	Source  string        // path of the C or C++ source, the script or the folder of a Go program, "" for a binary that was built elsewhere
	Binary  string        // path of what is executed, for the architecture; set by Build for sources
	Timeout time.Duration // 0: the run's default
	Catches string        // from the source's header: the bug it exists for
	Arch    string        // "" or the only architecture it is for
	Flags   []string      // more compiler flags
	Libc    string        // "" or the C library it is built with in every run
	Dynamic bool          // its C library is loaded when it starts
	Root    string        // name of the root file system it needs, "" for BusyBox's
	Files   []string      // files and folders of the stage that it needs, as Batch.Files
	Turn    string        // "" or the stack guard's mode during it, with which its name ends; see withTurns
}

// goSource is the file that makes a folder one contract, a Go program.
const goSource = "main.go"

// Script says whether the source is executed as it is.
func (p Program) Script() bool {
	switch filepath.Ext(p.Source) {
	case ".sh", ".py", ".pl":
		return true
	}
	return false
}

// Area is the first part of the name.
func (p Program) Area() string {
	area, _, found := strings.Cut(p.Name, "/")
	if !found {
		return "programs"
	}
	return area
}

// skippedFolders hold no contracts of the suite: those below debian need a root file system that takes a download, and are run by themselves.
var skippedFolders = []string{"include", "driver", "testdata", "debian"}

// Find lists the contracts at the given paths for an architecture, by name. A folder is searched
// for C sources and static binaries; a file is either. Binaries of another architecture, and
// in folders whatever else is no contract, are left out.
func Find(arch string, paths []string) ([]Program, error) {
	var found []Program
	for _, root := range paths {
		st, err := os.Stat(root)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			p, err := inspect(root, nameAlone(root))
			if err != nil {
				return nil, err
			}
			found = append(found, p)
			continue
		}
		programs, err := findIn(root)
		if err != nil {
			return nil, err
		}
		found = append(found, programs...)
	}
	found = slices.DeleteFunc(found, func(p Program) bool { return p.Arch != "" && p.Arch != arch })
	slices.SortStableFunc(found, func(a, b Program) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(found); i++ {
		if a, b := found[i-1], found[i]; a.Name == b.Name {
			return nil, fmt.Errorf("two contracts are called %s: %s%s and %s%s", a.Name, a.Source, a.Binary, b.Source, b.Binary)
		}
	}
	return found, nil
}

// nameAlone names a file given by itself: its folder is its area when it is a source of a suite.
func nameAlone(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	base := withoutSuffix(filepath.Base(path))
	if base != filepath.Base(path) {
		return filepath.Base(filepath.Dir(path)) + "/" + base
	}
	return base
}

// sourceSuffixes are those of files that are contracts.
var sourceSuffixes = []string{".c", ".cc", ".sh", ".py", ".pl"}

func withoutSuffix(name string) string {
	if ext := filepath.Ext(name); slices.Contains(sourceSuffixes, ext) {
		return strings.TrimSuffix(name, ext)
	}
	return name
}

func findIn(root string) ([]Program, error) {
	var found []Program
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (slices.Contains(skippedFolders, d.Name()) || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, goSource)); err != nil || path == root {
				return nil
			}
		} else if !d.Type().IsRegular() || filepath.Dir(path) == root && strings.HasSuffix(path, ".sh") {
			return nil // scripts beside the areas are the suite's own
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p, err := inspect(path, filepath.ToSlash(withoutSuffix(name)))
		if d.IsDir() && err == nil {
			found = append(found, p)
			return fs.SkipDir
		}
		if errors.Is(err, errNoContract) {
			return nil
		}
		found = append(found, p)
		return err
	})
	return found, err
}

var errNoContract = errors.New("neither a source nor a static ELF program")

// inspect looks at what a file is.
func inspect(path, name string) (Program, error) {
	if slices.Contains(sourceSuffixes, filepath.Ext(path)) {
		p := Program{Name: name, Source: path}
		return p, p.readHeader(path)
	}
	if _, err := os.Stat(filepath.Join(path, goSource)); err == nil {
		p := Program{Name: name, Source: path}
		return p, p.readHeader(filepath.Join(path, goSource))
	}
	f, err := elf.Open(path)
	if err != nil {
		return Program{}, fmt.Errorf("%s: %w", path, errNoContract)
	}
	defer f.Close()
	arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
	if arch == "" || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return Program{}, fmt.Errorf("%s: %w (%v, %v)", path, errNoContract, f.Machine, f.Type)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return Program{}, fmt.Errorf("%s: %w: it asks for a dynamic loader", path, errNoContract)
	}
	return Program{Name: name, Binary: path, Arch: arch}, nil
}

// Lines of a source's header comment that the runner reads: in C and Go a block comment, in scripts the lines with # at the top.
var headerLine = regexp.MustCompile(`^(?: \*|#) (Catches|Timeout|Arch|Flags|Libc|Link|Root): *(.*)$`)

// readHeader reads the comment at the top of a source file.
func (p *Program) readHeader(file string) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	wrong := func(key, value string) error { return fmt.Errorf("%s: header: %s: %q", file, key, value) }
	lines := bufio.NewScanner(bytes.NewReader(source))
	last := ""
	for lines.Scan() {
		line := lines.Text()
		if p.Script() && !strings.HasPrefix(line, "#") || strings.HasPrefix(line, " */") {
			break
		}
		m := headerLine.FindStringSubmatch(line)
		if m == nil {
			if more := strings.TrimLeft(line, " *#"); more == "" {
				last = ""
			} else if last == "Catches" {
				p.Catches += " " + more
			}
			continue
		}
		last = m[1]
		switch value := m[2]; last {
		case "Catches":
			p.Catches = value
		case "Arch":
			p.Arch = value
		case "Flags":
			p.Flags = strings.Fields(value)
		case "Root":
			p.Root = value
		case "Libc":
			if p.Libc = value; value != "glibc" && value != "musl" {
				return wrong(last, value)
			}
		case "Link":
			if p.Dynamic = value == "dynamic"; !p.Dynamic && value != "static" {
				return wrong(last, value)
			}
		case "Timeout":
			if p.Timeout, err = time.ParseDuration(value); err != nil {
				return wrong(last, value)
			}
		}
	}
	return lines.Err()
}

// Shard keeps the programs of shard i of n (from 1), dealt out in turn so that areas spread evenly.
func Shard(programs []Program, i, n int) []Program {
	var kept []Program
	for k, p := range programs {
		if k%n == i-1 {
			kept = append(kept, p)
		}
	}
	return kept
}
