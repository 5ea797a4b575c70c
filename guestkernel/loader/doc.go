// Package loader turns an executable file into an address space ready to run: static and dynamic
// ELF (the interpreter named by PT_INTERP is loaded too), position dependent or not, #! scripts, and the initial
// stack with arguments, environment and auxiliary vector (execve(2), elf(5), getauxval(3)).
//
// It mirrors Linux's fs/exec.c, fs/binfmt_elf.c and fs/binfmt_script.c. Files are hostile: every header
// field is checked before it is used, and sizes are bounded.
package loader

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// File is an executable that has been opened and may be executed.
type File interface {
	// ReadAt fills p from off on; fewer bytes with a nil error mean the end of the file.
	ReadAt(p []byte, off int64) (int, error)
	// Object is what the file maps, nil if it cannot be mapped (its bytes are copied then).
	Object() mm.Object
	// Close gives the file up.
	Close()
	// Executing answers what wants to know how long spaces run the file, held once; nil: nothing.
	Executing() mm.Holder
}

// Opener opens a file by its path for execution: a script's interpreter or a program's. Errors are errnos.
type Opener func(path string) (File, error)

// Hardware is what the machine tells programs.
type Hardware struct {
	Machine     uint16 // e_machine that can be executed
	Platform    string // AT_PLATFORM
	HWCAP       uint64
	HWCAP2      uint64
	MinSigStack uint64 // AT_MINSIGSTKSZ
	// VDSO is what every program gets mapped for AT_SYSINFO_EHDR; nil: nothing.
	VDSO VDSO
}

// VDSO maps the user's vDSO into a new address space. It answers the address of its ELF header, and where signal handlers without a restorer return
// to, 0 if there is no such place.
type VDSO interface {
	Map(*mm.Space) (header, sigreturn uint64, err error)
}

// Program is what to execute.
type Program struct {
	Path       string // as given to execve
	File       File   // opened from Path; Load closes it
	Argv, Envv []string
	UID, EUID  uint32
	GID, EGID  uint32
	Secure     bool // AT_SECURE: privileges were gained
}

// Loaded is a program that can run.
type Loaded struct {
	Entry, SP uint64
	// Path is the file that is executed in the end: a script's interpreter.
	Path string
}

// Limits of execve.
const (
	// MaxString is the longest argument or environment string with its NUL (MAX_ARG_STRLEN).
	MaxString = 32 * mm.PageSize
	// MaxStrings is the largest number of them.
	MaxStrings   = 0x7fffffff
	maxArgBytes  = 6 << 20 // three quarters of _STK_LIM
	maxRecursion = 4       // scripts that name scripts
	scriptHeader = 256     // BINPRM_BUF_SIZE
)

// ErrNoInterpreter is the failure of a program whose ELF interpreter cannot be opened.
type ErrNoInterpreter struct {
	Program, Interpreter string
	Err                  error
}

func (e *ErrNoInterpreter) Error() string {
	return fmt.Sprintf("%s needs the interpreter %s: %v", e.Program, e.Interpreter, e.Err)
}

// Unwrap is the errno.
func (e *ErrNoInterpreter) Unwrap() error { return e.Err }

// Load puts the program into space, which is empty, and sets its image. Errors: ENOEXEC, ENOENT and the like from opening
// interpreters (ErrNoInterpreter for ELF's), ELOOP, E2BIG, ENOMEM, EINVAL, EIO, EFAULT.
func Load(space *mm.Space, p Program, open Opener, hw Hardware, random mm.Random, stackLimit uint64) (Loaded, error) {
	file, path := p.File, p.Path
	defer func() { file.Close() }()
	for depth := 0; ; depth++ {
		head := make([]byte, scriptHeader)
		n, err := file.ReadAt(head, 0)
		if err != nil {
			return Loaded{}, err
		}
		interp, arg, isScript, err := parseScript(head[:n])
		if err != nil {
			return Loaded{}, err
		}
		if !isScript {
			break
		}
		if depth > maxRecursion {
			return Loaded{}, unix.ELOOP
		}
		next, err := open(interp)
		if err != nil {
			return Loaded{}, err
		}
		file.Close()
		file = next
		argv := []string{interp}
		if arg != "" {
			argv = append(argv, arg)
		}
		argv = append(argv, path)
		if len(p.Argv) > 1 {
			argv = append(argv, p.Argv[1:]...)
		}
		p.Argv, path = argv, interp
	}
	if err := checkArguments(p, stackLimit); err != nil {
		return Loaded{}, err
	}
	exe, err := parseELF(file, hw.Machine)
	if err != nil {
		return Loaded{}, err
	}
	bias, err := exe.place(space, random)
	if err != nil {
		return Loaded{}, err
	}
	if err := exe.mapInto(space, file, bias, path); err != nil {
		return Loaded{}, err
	}
	entry, base := exe.entry+bias, uint64(0)
	if exe.interp != "" {
		entry, base, err = loadInterpreter(space, exe.interp, path, open, hw)
		if err != nil {
			return Loaded{}, err
		}
	}
	img := exe.image(bias)
	img.Path = path
	img.Executable = file.Executing()
	header := uint64(0)
	if hw.VDSO != nil {
		if header, img.Sigreturn, err = hw.VDSO.Map(space); err != nil {
			return Loaded{}, err
		}
	}
	sp, err := buildStack(space, p, &img, auxInput{
		phdr: exe.phdrAddr(bias), phnum: uint64(len(exe.phdrs)), entry: exe.entry + bias, base: base, vdso: header,
	}, hw, random, exe.execStack)
	if err != nil {
		return Loaded{}, err
	}
	brk := (exe.end + bias + mm.PageSize - 1) &^ (mm.PageSize - 1)
	brk += random() % (32 << 20 / mm.PageSize) * mm.PageSize
	space.SetImage(img, brk)
	return Loaded{Entry: entry, SP: sp, Path: path}, nil
}

// checkArguments enforces the size limits of argument and environment strings.
func checkArguments(p Program, stackLimit uint64) error {
	total := uint64(len(p.Path)+1) + 8*uint64(len(p.Argv)+len(p.Envv))
	for _, list := range [][]string{p.Argv, p.Envv} {
		for _, s := range list {
			if len(s)+1 > MaxString {
				return unix.E2BIG
			}
			total += uint64(len(s) + 1)
		}
	}
	if total > max(min(stackLimit/4, maxArgBytes), MaxString) {
		return unix.E2BIG
	}
	return nil
}
