// Package symbols turns addresses in a guest into functions and lines, and walks its stacks
// by frame pointers.
//
// The kernel's ELF file is untrusted input: sections are read with bounds, and a table that
// makes no sense gives no names rather than a failure of the report that wanted them.
package symbols

import (
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Bounds on what is read of a file, in bytes: a Go kernel has some 5 MB of line table.
const (
	maxLineTable   = 64 << 20
	maxSymbolTable = 32 << 20
	maxSections    = 1 << 12
)

// ErrNone: the file has neither a Go line table nor a symbol table.
var ErrNone = errors.New("no symbols")

// Symbol is what is known about an address.
type Symbol struct {
	Function string
	Start    uint64 // GVA of the function's first instruction
	Offset   uint64 // of the address in it, bytes
	File     string // "" when unknown
	Line     int
}

// String is "function+0x12 (file:34)".
func (s Symbol) String() string {
	if s.Function == "" {
		return "?"
	}
	text := fmt.Sprintf("%s+%#x", s.Function, s.Offset)
	if s.File != "" {
		text += fmt.Sprintf(" (%s:%d)", s.File, s.Line)
	}
	return text
}

// Table has the symbols of one loaded image. A nil *Table knows nothing. Safe for
// concurrent use.
type Table struct {
	bias       uint64 // GVA minus address in the file
	start, end uint64 // of the image, addresses in the file
	lines      *gosym.Table
	symbols    []function // sorted; used where lines is nil or has nothing
}

type function struct {
	addr, size uint64
	name       string
}

// Load reads the symbols of an ELF file whose lowest PT_LOAD lies at GVA at.
func Load(r io.ReaderAt, at uint64) (t *Table, err error) {
	defer func() {
		// debug/elf and debug/gosym are not made for hostile files.
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("symbols: malformed file: %v", p)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("symbols: %w", err)
	}
	if len(f.Sections) > maxSections {
		return nil, fmt.Errorf("symbols: %d sections, at most %d are looked at", len(f.Sections), maxSections)
	}
	t = &Table{start: ^uint64(0)}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			t.start = min(t.start, p.Vaddr)
			t.end = max(t.end, p.Vaddr+p.Memsz)
		}
	}
	if t.start >= t.end {
		return nil, errors.New("symbols: the file has nothing to load")
	}
	t.bias = at - t.start
	t.lines = goLines(f)
	t.symbols = elfSymbols(f)
	if t.lines == nil && len(t.symbols) == 0 {
		return nil, fmt.Errorf("symbols: %w", ErrNone)
	}
	return t, nil
}

// goLines is the Go line table, nil when there is none that makes sense.
func goLines(f *elf.File) (t *gosym.Table) {
	defer func() {
		if recover() != nil {
			t = nil
		}
	}()
	text := f.Section(".text")
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		s := f.Section(name)
		if s == nil || text == nil || s.Type == elf.SHT_NOBITS || s.Size > maxLineTable {
			continue
		}
		data := make([]byte, 0, 4096)
		data, err := readAll(data, s.Open(), s.Size)
		if err != nil {
			continue
		}
		t, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
		if err != nil || len(t.Funcs) == 0 {
			continue
		}
		return t
	}
	return nil
}

// readAll grows with what the file really has: a section header alone costs nothing.
func readAll(b []byte, r io.Reader, size uint64) ([]byte, error) {
	for uint64(len(b)) < size {
		b = slices.Grow(b, 1)
		n, err := r.Read(b[len(b):min(uint64(cap(b)), size)])
		b = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func elfSymbols(f *elf.File) []function {
	s := f.SectionByType(elf.SHT_SYMTAB)
	if s == nil || s.Size > maxSymbolTable || int(s.Link) >= len(f.Sections) || f.Sections[s.Link].Size > maxSymbolTable {
		return nil
	}
	all, err := f.Symbols()
	if err != nil {
		return nil
	}
	var out []function
	for _, s := range all {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Name != "" {
			out = append(out, function{s.Value, s.Size, s.Name})
		}
	}
	slices.SortStableFunc(out, func(a, b function) int {
		switch {
		case a.addr < b.addr:
			return -1
		case a.addr > b.addr:
			return 1
		}
		return 0
	})
	return out
}

// Contains reports whether the GVA lies in the image.
func (t *Table) Contains(gva uint64) bool {
	return t != nil && gva-t.bias >= t.start && gva-t.bias < t.end
}

// Lookup names the function at a GVA.
func (t *Table) Lookup(gva uint64) (Symbol, bool) {
	if !t.Contains(gva) {
		return Symbol{}, false
	}
	addr := gva - t.bias
	if t.lines != nil {
		if s, ok := t.line(addr); ok {
			s.Start += t.bias
			return s, true
		}
	}
	i := sort.Search(len(t.symbols), func(i int) bool { return t.symbols[i].addr > addr })
	if i == 0 {
		return Symbol{}, false
	}
	f := t.symbols[i-1]
	if f.size != 0 && addr-f.addr >= f.size {
		return Symbol{}, false
	}
	return Symbol{Function: f.name, Start: f.addr + t.bias, Offset: addr - f.addr}, true
}

func (t *Table) line(addr uint64) (s Symbol, ok bool) {
	defer func() {
		if recover() != nil { // a table that lies
			s, ok = Symbol{}, false
		}
	}()
	file, line, fn := t.lines.PCToLine(addr)
	if fn == nil {
		return Symbol{}, false
	}
	return Symbol{Function: fn.Name, Start: fn.Entry, Offset: addr - fn.Entry, File: file, Line: line}, true
}

// Find is the GVA of the function of that name.
func (t *Table) Find(name string) (gva uint64, ok bool) {
	if t == nil {
		return 0, false
	}
	if t.lines != nil {
		if f := t.lines.LookupFunc(name); f != nil {
			return f.Entry + t.bias, true
		}
	}
	for _, f := range t.symbols {
		if f.name == name {
			return f.addr + t.bias, true
		}
	}
	return 0, false
}
