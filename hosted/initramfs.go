package hosted

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeInitramfs makes the machine's whole root file system: the agent as /init, the kernel modules, and a /dev/console for PID 1.
func writeInitramfs(target, agent, modules string) error {
	partial := target + ".partial"
	f, err := os.Create(partial)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	c := cpioWriter{w: w}
	c.entry("dev", 0o040755, 0, 0, nil)
	c.entry("dev/console", 0o020600, 5, 1, nil)
	c.entry("modules", 0o040755, 0, 0, nil)
	c.file("init", 0o100755, agent)
	files, err := filepath.Glob(filepath.Join(modules, "*.ko"))
	if err != nil {
		return err
	}
	for _, m := range files {
		image, err := os.ReadFile(m)
		if err != nil {
			return err
		}
		c.entry("modules/"+filepath.Base(m), 0o100644, 0, 0, withoutSignature(image))
	}
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	if c.err != nil {
		return c.err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(partial, target)
}

// withoutSignature cuts off a module's appended signature (Linux Documentation/admin-guide/module-signing.rst): apt has verified the package,
// and checking it again in an emulated CPU takes a good part of a second.
func withoutSignature(image []byte) []byte {
	const magic = "~Module signature appended~\n"
	const trailer = 12 // struct module_signature: the last 4 bytes are the signature's length, big-endian
	body, found := bytes.CutSuffix(image, []byte(magic))
	if !found || len(body) < trailer {
		return image
	}
	length := int(binary.BigEndian.Uint32(body[len(body)-4:]))
	if length > len(body)-trailer {
		return image
	}
	return body[:len(body)-trailer-length]
}

// cpioWriter writes the "newc" archive format (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpioWriter) file(name string, mode int, path string) {
	if c.err != nil {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		c.err = err
		return
	}
	c.entry(name, mode, 0, 0, data)
}

func (c *cpioWriter) entry(name string, mode, major, minor int, data []byte) {
	if c.err != nil {
		return
	}
	c.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	if _, c.err = io.WriteString(c.w, header+padding(len(header))); c.err != nil {
		return
	}
	if _, c.err = c.w.Write(data); c.err != nil {
		return
	}
	_, c.err = io.WriteString(c.w, padding(len(data)))
}

func padding(n int) string { return "\x00\x00\x00"[:-n&3] }
