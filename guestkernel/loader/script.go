package loader

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// parseScript looks for "#!interpreter [argument]" at the beginning of a file, of which head is at most
// scriptHeader bytes (load_script). The error is ENOEXEC: a line without an interpreter, or one whose name is cut off.
func parseScript(head []byte) (interp, arg string, isScript bool, err error) {
	if !bytes.HasPrefix(head, []byte("#!")) {
		return "", "", false, nil
	}
	line := head[2:]
	cut := false
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	} else {
		cut = len(head) >= scriptHeader
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line, cut = line[:i], false
	}
	line = bytes.TrimLeft(line, " \t")
	name, rest := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		name, rest = line[:i], line[i:]
	} else if cut {
		return "", "", true, unix.ENOEXEC
	}
	if len(name) == 0 {
		return "", "", true, unix.ENOEXEC
	}
	return string(name), string(bytes.Trim(rest, " \t")), true, nil
}
