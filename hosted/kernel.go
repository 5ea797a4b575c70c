package hosted

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// takeKernel takes from an unpacked kernel package what a machine needs: the kernel as vmlinuz, and as modules/NN-NAME.ko the wanted modules
// and what they depend on, decompressed and numbered in the order in which they must be loaded.
func takeKernel(tree, dir string, wanted []string) error {
	kernels, err := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("the kernel package holds %d kernels, want 1", len(kernels))
	}
	if err := os.Rename(kernels[0], filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	found := make(map[string]string)
	err = filepath.Walk(filepath.Join(tree, "usr", "lib", "modules"), func(path string, info os.FileInfo, err error) error {
		if err == nil && strings.Contains(filepath.Base(path), ".ko") {
			name, _, _ := strings.Cut(filepath.Base(path), ".ko")
			found[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	m := moduleSet{files: found, dir: filepath.Join(dir, "modules"), state: make(map[string]bool)}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	for _, name := range wanted {
		if err := m.take(name); err != nil {
			return err
		}
	}
	return nil
}

// moduleName is the kernel's own spelling: file names may have dashes where names have underscores.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

type moduleSet struct {
	files map[string]string // module name to compressed file
	dir   string
	state map[string]bool // false while its dependencies are being taken
	count int
}

// take writes the module after everything it depends on.
func (m *moduleSet) take(name string) error {
	name = moduleName(name)
	if done, begun := m.state[name]; begun {
		if !done {
			return fmt.Errorf("kernel module %s depends on itself", name)
		}
		return nil
	}
	m.state[name] = false
	file, ok := m.files[name]
	if !ok {
		return fmt.Errorf("the kernel package has no module %s", name)
	}
	image, err := readModule(file)
	if err != nil {
		return fmt.Errorf("kernel module %s: %w", name, err)
	}
	depends, err := moduleDepends(image)
	if err != nil {
		return fmt.Errorf("kernel module %s: %w", name, err)
	}
	for _, d := range depends {
		if err := m.take(d); err != nil {
			return err
		}
	}
	m.state[name] = true
	m.count++
	return os.WriteFile(filepath.Join(m.dir, fmt.Sprintf("%02d-%s.ko", m.count, name)), image, 0o644)
}

func readModule(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasSuffix(file, ".xz") {
		return b, err
	}
	r, err := xz.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// moduleDepends reads "depends=a,b" of a module's .modinfo section, which is a list of NUL-terminated strings.
func moduleDepends(image []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
