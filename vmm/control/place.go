package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// EnvDir names the folder of names and sockets, instead of ringo in XDG_RUNTIME_DIR, or, where
// there is none, ringo-UID in /tmp.
const EnvDir = "RINGO_RUNTIME_DIR"

// Errors that callers tell apart.
var (
	// ErrName: no guest can have that name.
	ErrName = errors.New("not a name for a guest")
	// ErrTaken: a running guest has that name.
	ErrTaken = errors.New("a running guest has that name")
	// ErrNone: no running guest has that name.
	ErrNone = errors.New("no running guest has that name")
)

// MaxName is the longest name, in bytes.
const MaxName = 40

// CheckName answers an error that wraps ErrName unless name is 1 to MaxName letters, digits,
// dots, dashes and underscores, the first of them a letter or digit.
func CheckName(name string) error {
	ok := name != "" && len(name) <= MaxName
	for i, c := range []byte(name) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (alphanumeric || i > 0 && strings.IndexByte("._-", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("%w: %q: want 1 to %d letters, digits, dots, dashes and underscores, a letter or digit first", ErrName, name, MaxName)
	}
	return nil
}

// Dir is the folder of names and sockets.
type Dir struct{ path string }

// OpenDir makes the user's folder if it is not there. It refuses one that others may enter or
// that belongs to somebody else.
func OpenDir() (*Dir, error) {
	path := os.Getenv(EnvDir)
	if path == "" {
		if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
			path = filepath.Join(run, "ringo")
		} else {
			path = filepath.Join("/tmp", "ringo-"+strconv.Itoa(os.Geteuid()))
		}
	}
	return openDir(path)
}

func openDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("folder of running guests: %w (%s names another)", err, EnvDir)
	}
	st, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("folder of running guests: %w", err)
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || st.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("folder of running guests %s: want a folder of user %d with mode 0700, it is %v (%s names another)", path, os.Geteuid(), st.Mode(), EnvDir)
	}
	return &Dir{path}, nil
}

func (d *Dir) lockFile(name string) string { return filepath.Join(d.path, name+lockSuffix) }
func (d *Dir) socket(name string) string   { return filepath.Join(d.path, name+socketSuffix) }

const (
	lockSuffix   = ".lock"
	socketSuffix = ".sock"
)

// Owner is what a name's lock file says about who holds it.
type Owner struct {
	PID  int    `json:"pid"`
	Host string `json:"host"` // "kvm", or "hosted" for a guest in a hosted machine
}

// Name is a claimed name.
type Name struct {
	dir    *Dir
	text   string
	lock   *os.File
	listen *net.UnixListener
}

// Claim takes a name for this process: the one given, or, with "", the first free of guest-1,
// guest-2 and so on. Errors wrap ErrName or ErrTaken where they are that.
func (d *Dir) Claim(name string, o Owner) (*Name, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return nil, err
		}
		return d.claim(name, o)
	}
	for i := 1; ; i++ {
		n, err := d.claim("guest-"+strconv.Itoa(i), o)
		if !errors.Is(err, ErrTaken) {
			return n, err
		}
	}
}

func (d *Dir) claim(name string, o Owner) (*Name, error) {
	f, err := d.tryLock(name)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("%w: %s", ErrTaken, name)
	}
	n := &Name{dir: d, text: name, lock: f}
	b, err := json.Marshal(o)
	if err == nil {
		// What a dead owner left.
		err = errors.Join(f.Truncate(0), removeIfThere(d.socket(name)))
	}
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("claim the name %s: %w", name, err)
	}
	return n, nil
}

// tryLock takes a name's lock; nil when somebody has it. Lock files are removed by who holds
// them, so a lock counts only while the file is still the one of that name.
func (d *Dir) tryLock(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(d.lockFile(name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the name %s: %w", name, err)
		}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
			f.Close()
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock the name %s: %w", name, err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(f.Name())
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
		if err1 != nil {
			return nil, err1
		}
	}
}

// String is the name.
func (n *Name) String() string { return n.text }

// Listen makes the name's socket, mode 0600. Once.
func (n *Name) Listen() (net.Listener, error) {
	dir, err := os.Open(n.dir.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// Bound under another name first: where the socket's name is, somebody listens. By descriptor,
	// for a path may be longer than an address of unix(7).
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), n.text+".new")
	if err := removeIfThere(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket of %s: %w", n.text, err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(path, 0o600), os.Rename(path, n.dir.socket(n.text))); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket of %s: %w", n.text, err)
	}
	n.listen = l
	return l, nil
}

// Close gives the name up and removes its files.
func (n *Name) Close() error {
	var errs []error
	if n.listen != nil {
		if err := n.listen.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		errs = append(errs, removeIfThere(n.dir.socket(n.text)))
	}
	return errors.Join(append(errs, removeIfThere(n.dir.lockFile(n.text)), n.lock.Close())...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Entry is a running guest in a folder.
type Entry struct {
	Name string
	Owner
}

// List is the names of running guests, sorted, those that are still starting included. It removes what dead monitors left.
func (d *Dir) List() ([]Entry, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), lockSuffix)
		if !ok || CheckName(name) != nil {
			continue
		}
		e, err := d.Find(name)
		switch {
		case err == nil:
			out = append(out, e)
		case errors.Is(err, ErrNone):
			d.removeDead(name)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Find is the running guest of that name, or an error that wraps ErrNone or ErrName.
func (d *Dir) Find(name string) (Entry, error) {
	if err := CheckName(name); err != nil {
		return Entry{}, err
	}
	none := fmt.Errorf("%w: %s (vmm ps lists them)", ErrNone, name)
	f, err := os.OpenFile(d.lockFile(name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Entry{}, none
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return Entry{}, fmt.Errorf("look at the lock of %s: %w", name, err)
	}
	if lock.Type == unix.F_UNLCK {
		return Entry{}, none // its owner is dead
	}
	e := Entry{Name: name}
	// An owner who has just locked may not have written yet: then nothing is known of it.
	_ = json.NewDecoder(io.LimitReader(f, 4096)).Decode(&e.Owner)
	return e, nil
}

// removeDead removes what a dead monitor left, unless somebody has just claimed the name.
func (d *Dir) removeDead(name string) {
	f, err := d.tryLock(name)
	if err != nil || f == nil {
		return
	}
	defer f.Close()
	// What cannot be removed is looked at again the next time.
	_ = errors.Join(removeIfThere(d.socket(name)), removeIfThere(f.Name()))
}

// Dial connects to a running guest's socket. Errors wrap ErrNone when there is none, or it is
// not listening yet.
func (d *Dir) Dial(name string) (*net.UnixConn, error) {
	if _, err := d.Find(name); err != nil {
		return nil, err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name+socketSuffix)
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %s is still starting", ErrNone, name)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket of %s: %w", name, err)
	}
	return c, nil
}
