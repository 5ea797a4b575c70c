package symbols

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Variables finds a loaded image's global variables, with fields and elements where the file has DWARF.
type Variables struct {
	bias uint64
	all  []elf.Symbol // data objects
	data *dwarf.Data
	err  error // why there is no DWARF
}

// Errors of Variables.Resolve.
var (
	// ErrNoVariable: nothing has that name.
	ErrNoVariable = errors.New("no such variable")
	// ErrAmbiguous: several have.
	ErrAmbiguous = errors.New("several variables have that name")
)

// maxDWARF bounds each section that is read.
const maxDWARF = 256 << 20

// LoadVariables reads an ELF file whose lowest PT_LOAD lies at GVA at. The file is untrusted.
func LoadVariables(r io.ReaderAt, at uint64) (v *Variables, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("variables: malformed file: %v", p)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("variables: %w", err)
	}
	low := ^uint64(0)
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			low = min(low, p.Vaddr)
		}
	}
	v = &Variables{bias: at - low}
	for _, s := range f.Sections {
		if s.FileSize > maxDWARF || s.Size > maxDWARF && s.Type != elf.SHT_NOBITS {
			return nil, fmt.Errorf("variables: section %s has %d bytes, at most %d are read", s.Name, s.Size, maxDWARF)
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("variables: %w", err)
	}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_OBJECT && s.Name != "" {
			v.all = append(v.all, s)
		}
	}
	v.data, v.err = f.DWARF()
	return v, nil
}

// Resolve is the GVA and size of a variable, or of the part that name selects: main.table[3].next. Packages may be given by the end
// of their paths.
func (v *Variables) Resolve(name string) (gva, size uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			gva, size, err = 0, 0, fmt.Errorf("variable %s: malformed debug information: %v", name, p)
		}
	}()
	// The longest prefix that is a symbol; what follows selects within it.
	for end := len(name); end > 0; end = strings.LastIndexAny(name[:end], ".[") {
		s, err := v.symbol(name[:end])
		if errors.Is(err, ErrNoVariable) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if end == len(name) {
			return s.Value + v.bias, s.Size, nil
		}
		off, size, err := v.within(s, name[end:])
		if err != nil {
			return 0, 0, fmt.Errorf("variable %s: %w", name, err)
		}
		return s.Value + v.bias + off, size, nil
	}
	return 0, 0, fmt.Errorf("%w: %s", ErrNoVariable, name)
}

// symbol is the data symbol of that name, or of that name behind a slash.
func (v *Variables) symbol(name string) (elf.Symbol, error) {
	var found []elf.Symbol
	for _, s := range v.all {
		if s.Name == name {
			return s, nil
		}
		if strings.HasSuffix(s.Name, name) && s.Name[len(s.Name)-len(name)-1] == '/' {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return elf.Symbol{}, fmt.Errorf("%w: %s", ErrNoVariable, name)
	case len(found) > 1:
		return elf.Symbol{}, fmt.Errorf("%w: %s and %s", ErrAmbiguous, found[0].Name, found[1].Name)
	}
	return found[0], nil
}

// within follows a path of fields and elements through the variable's type.
func (v *Variables) within(s elf.Symbol, path string) (off, size uint64, err error) {
	if v.data == nil {
		return 0, 0, fmt.Errorf("%s: no debug information: %w", path, v.err)
	}
	t, err := v.typeOf(s.Name)
	if err != nil {
		return 0, 0, err
	}
	for path != "" {
		if d, ok := t.(*dwarf.TypedefType); ok {
			t = d.Type
			continue
		}
		if path[0] == '[' {
			index, rest, ok := strings.Cut(path[1:], "]")
			n, err := strconv.ParseUint(index, 0, 32)
			a, isArray := t.(*dwarf.ArrayType)
			switch {
			case !ok || err != nil:
				return 0, 0, fmt.Errorf("%s: want [NUMBER]", path)
			case !isArray:
				return 0, 0, fmt.Errorf("%s: %s is no array", path, t)
			case n >= uint64(max(a.Count, 0)):
				return 0, 0, fmt.Errorf("%s: the array has %d elements", path, a.Count)
			}
			off += n * uint64(a.Type.Size())
			t, path = a.Type, rest
			continue
		}
		field, rest := path[1:], ""
		if i := strings.IndexAny(field, ".["); i >= 0 {
			field, rest = field[:i], field[i:]
		}
		st, ok := t.(*dwarf.StructType)
		if !ok {
			return 0, 0, fmt.Errorf("%s: %s has no fields", path, t)
		}
		found := false
		for _, f := range st.Field {
			if f.Name == field {
				off, t, found = off+uint64(f.ByteOffset), f.Type, true
				break
			}
		}
		if !found {
			return 0, 0, fmt.Errorf("%s has no field %s", st.StructName, field)
		}
		path = rest
	}
	return off, uint64(t.Size()), nil
}

// typeOf is the type of a package's variable.
func (v *Variables) typeOf(name string) (dwarf.Type, error) {
	r := v.data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return nil, err
		}
		if e == nil {
			return nil, fmt.Errorf("%w in the debug information: %s", ErrNoVariable, name)
		}
		if e.Tag == dwarf.TagCompileUnit {
			continue
		}
		if e.Tag == dwarf.TagVariable && e.Val(dwarf.AttrName) == name {
			at, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
			if !ok {
				return nil, fmt.Errorf("%s has no type", name)
			}
			return v.data.Type(at)
		}
		r.SkipChildren()
	}
}
