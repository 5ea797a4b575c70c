package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// field is where a tracepoint's field lies in its record.
type field struct{ offset, size int }

// format is what tracefs says about a tracepoint: the fields' places differ between kernels, and so do the exit reasons.
type format struct {
	fields map[string]field
	// symbols are the tables of __print_symbolic in the order of the print format.
	symbols []map[uint64]string
}

// tracefs is where it is mounted, by preference.
var tracefs = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// readFormat reads a tracepoint's format, and answers os.ErrNotExist for one that this kernel does not have.
func readFormat(group, name string) (*format, error) {
	var errs error
	for _, root := range tracefs {
		b, err := os.ReadFile(filepath.Join(root, "events", group, name, "format"))
		if err == nil {
			return parseFormat(string(b))
		}
		if errs == nil || !errors.Is(err, os.ErrNotExist) {
			errs = err
		}
	}
	return nil, errs
}

var (
	fieldLine  = regexp.MustCompile(`field:[^;]*?(\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);`)
	symbolPair = regexp.MustCompile(`\{\s*\(*(0[xX][0-9a-fA-F]+|\d+)(?:U|UL|ULL|u)?\)*\s*,\s*"([^"]*)"\s*\}`)
)

// Bounds of a format file.
const (
	maxFormat  = 64 << 10
	maxSymbols = 16 // tables
)

func parseFormat(text string) (*format, error) {
	if len(text) > maxFormat {
		return nil, fmt.Errorf("tracepoint format of %d bytes", len(text))
	}
	f := &format{fields: map[string]field{}}
	fields, print, _ := strings.Cut(text, "print fmt:")
	for _, m := range fieldLine.FindAllStringSubmatch(fields, -1) {
		offset, err1 := strconv.Atoi(m[2])
		size, err2 := strconv.Atoi(m[3])
		if err := errors.Join(err1, err2); err != nil || offset > 4096 {
			return nil, fmt.Errorf("tracepoint format: field %s at %s, size %s", m[1], m[2], m[3])
		}
		f.fields[m[1]] = field{offset, size}
	}
	for _, part := range strings.Split(print, "__print_symbolic(")[1:] {
		if len(f.symbols) == maxSymbols {
			break
		}
		table := map[uint64]string{}
		for _, m := range symbolPair.FindAllStringSubmatch(part, -1) {
			if n, err := strconv.ParseUint(m[1], 0, 64); err == nil {
				table[n] = m[2]
			}
		}
		f.symbols = append(f.symbols, table)
	}
	if len(f.fields) == 0 {
		return nil, errors.New("tracepoint format without fields")
	}
	return f, nil
}

// need is a field that must be there with one of the sizes.
func (f *format) need(name string, sizes ...int) (field, error) {
	at, ok := f.fields[name]
	for _, s := range sizes {
		if ok && at.size == s {
			return at, nil
		}
	}
	return field{}, fmt.Errorf("the tracepoint has no field %s of %v bytes (it has %v)", name, sizes, f.fields)
}

func (f *format) symbol(table int, n uint64) string {
	if table < len(f.symbols) {
		if s := f.symbols[table][n]; s != "" {
			return s
		}
	}
	return fmt.Sprintf("%#x", n)
}
