package gdb

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// supported is what we offer ("General Query Packets", qSupported). No memory map: what that leaves out, gdb would not
// touch.
const supported = "PacketSize=20000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;qXfer:exec-file:read+;qXfer:osdata:read+;" +
	"vContSupported+;swbreak+;hwbreak+;ConditionalBreakpoints+;QNonStop-;multiprocess-;error-message+"

// query is packets that begin with q or Q.
func (s *session) query(p []byte) ([]byte, error) {
	name, rest, _ := bytes.Cut(p, []byte(":"))
	switch string(name) {
	case "qSupported":
		return []byte(supported), nil
	case "QStartNoAckMode":
		// The OK is the last packet that is acknowledged.
		if err := s.l.write(ok); err != nil {
			return nil, err
		}
		s.l.noAcks()
		return nil, errNoReply
	case "qXfer":
		return s.transfer(rest)
	case "qOffsets":
		return fmt.Appendf(nil, "TextSeg=%x", s.t.Text()), nil
	case "qAttached":
		return []byte("1"), nil // so that gdb detaches at its end, and does not kill
	case "qC":
		return fmt.Appendf(nil, "QC%x", s.last.CPU+1), nil
	case "qfThreadInfo":
		return s.threadList(), nil
	case "qsThreadInfo":
		return []byte("l"), nil
	case "qSymbol":
		return ok, nil
	case "qTStatus":
		return nil, ErrUnsupported
	}
	if text, found := bytes.CutPrefix(p, []byte("qRcmd,")); found {
		return s.monitor(text)
	}
	if text, found := bytes.CutPrefix(p, []byte("qThreadExtraInfo,")); found {
		return s.threadExtra(text)
	}
	return nil, ErrUnsupported
}

func (s *session) threadList() []byte {
	b := []byte("m")
	for i, t := range s.t.Threads() {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%x", t.ID)
	}
	return b
}

func (s *session) threadExtra(text []byte) ([]byte, error) {
	in := &scanner{rest: text}
	id := in.thread()
	if !in.ok() {
		return nil, errMalformed
	}
	for _, t := range s.t.Threads() {
		if t.ID == id {
			return appendHex(nil, []byte(t.Name)), nil
		}
	}
	return nil, fmt.Errorf("no thread %d", id)
}

// transfer is qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH.
func (s *session) transfer(text []byte) ([]byte, error) {
	parts := strings.SplitN(string(text), ":", 4)
	if len(parts) != 4 || parts[1] != "read" {
		return nil, ErrUnsupported
	}
	var object string
	switch annex := parts[2]; parts[0] {
	case "features":
		if annex != "target.xml" {
			return nil, errMalformed
		}
		object = s.features
	case "threads":
		if s.threadsXML == "" {
			s.threadsXML = threadsXML(s.t.Threads())
		}
		object = s.threadsXML
	case "exec-file":
		object = s.t.Kernel()
	case "osdata":
		object = s.osdata(annex)
	default:
		return nil, ErrUnsupported
	}
	in := &scanner{rest: []byte(parts[3])}
	offset := in.number()
	in.expect(',')
	n := min(in.number(), PacketSize/2) // every byte may have to be escaped
	if !in.ok() || offset > uint64(len(object)) {
		return nil, errMalformed
	}
	rest := object[offset:]
	if uint64(len(rest)) <= n {
		return append([]byte("l"), rest...), nil
	}
	return append([]byte("m"), rest[:n]...), nil
}

// escape is text for XML.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(oneLine(s))
}

func threadsXML(threads []Thread) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<threads>\n")
	for _, t := range threads {
		fmt.Fprintf(&b, "<thread id=\"%x\"", t.ID)
		if t.Core >= 0 {
			fmt.Fprintf(&b, " core=\"%d\"", t.Core)
		}
		fmt.Fprintf(&b, " name=\"%s\"/>\n", escape(t.Name))
	}
	b.WriteString("</threads>\n")
	return b.String()
}

// osdata is `info os` and `info os tasks`.
func (s *session) osdata(annex string) string {
	var b strings.Builder
	column := func(name, value string) { fmt.Fprintf(&b, "<column name=\"%s\">%s</column>", name, escape(value)) }
	b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"osdata.dtd\">\n")
	switch annex {
	case "tasks", "threads", "processes":
		b.WriteString("<osdata type=\"" + annex + "\">\n")
		for _, t := range s.t.Threads() {
			b.WriteString("<item>")
			column("thread", fmt.Sprint(t.ID))
			column("name", t.Name)
			b.WriteString("</item>\n")
		}
	default:
		b.WriteString("<osdata type=\"types\">\n<item>")
		column("Type", "tasks")
		column("Description", "vCPUs and the tasks of the guest's kernel")
		b.WriteString("</item>\n")
	}
	b.WriteString("</osdata>\n")
	return b.String()
}

// monitor is qRcmd: what the command prints goes out in O packets, as it comes.
func (s *session) monitor(text []byte) ([]byte, error) {
	command, fine := unhex(text)
	if !fine {
		return nil, errMalformed
	}
	var broken error
	err := s.t.Monitor(s.general, strings.TrimSpace(string(command)), func(out string) {
		if broken == nil {
			broken = s.show(out)
		}
	})
	if err != nil && broken == nil {
		// gdb shows an error packet as no more than "Protocol error".
		broken = s.l.write(appendHex([]byte("O"), []byte(err.Error()+"\n")))
	}
	if broken != nil {
		return nil, broken
	}
	return ok, nil
}

// maxFiles is how many files gdb may have open; it opens one.
const maxFiles = 4

// Errors of vFile, gdb's own numbers.
const (
	fileENOENT = 2
	fileEBADF  = 9
	fileEINVAL = 22
	fileEMFILE = 24
	fileEIO    = 9999
)

func fileError(n int) []byte { return fmt.Appendf(nil, "F-1,%x", n) }

// file is vFile: the guest's kernel, read-only, is the only file there is.
func (s *session) file(p []byte) ([]byte, error) {
	name, rest, _ := bytes.Cut(p, []byte(":"))
	in := &scanner{rest: rest}
	switch string(name) {
	case "setfs":
		return []byte("F0"), nil
	case "open":
		path, _, _ := bytes.Cut(rest, []byte(","))
		decoded, err := hex.DecodeString(string(path))
		if err != nil {
			return nil, errMalformed
		}
		return s.openFile(string(decoded)), nil
	case "close":
		f := s.fileOf(in.number())
		if f == nil || !in.ok() {
			return fileError(fileEBADF), nil
		}
		(*f).Close()
		*f = nil
		return []byte("F0"), nil
	case "fstat":
		f := s.fileOf(in.number())
		if f == nil || !in.ok() {
			return fileError(fileEBADF), nil
		}
		return fstat(*f), nil
	case "pread":
		return s.pread(in)
	}
	return nil, ErrUnsupported
}

func (s *session) fileOf(n uint64) **os.File {
	if n >= maxFiles || s.files[n] == nil {
		return nil
	}
	return &s.files[n]
}

func (s *session) openFile(path string) []byte {
	if path != s.t.Kernel() || path == "" {
		return fileError(fileENOENT)
	}
	for i := range s.files {
		if s.files[i] != nil {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return fileError(fileENOENT)
		}
		s.files[i] = f
		return fmt.Appendf(nil, "F%x", i)
	}
	return fileError(fileEMFILE)
}

func (s *session) pread(in *scanner) ([]byte, error) {
	f := s.fileOf(in.number())
	in.expect(',')
	n := in.number()
	in.expect(',')
	offset := in.number()
	switch {
	case in.bad || len(in.rest) > 0 || offset > 1<<62:
		return fileError(fileEINVAL), nil
	case f == nil:
		return fileError(fileEBADF), nil
	}
	p := make([]byte, min(n, PacketSize/2-64))
	got, err := (*f).ReadAt(p, int64(offset))
	if err != nil && err != io.EOF {
		return fileError(fileEIO), nil
	}
	return append(fmt.Appendf(nil, "F%x;", got), p[:got]...), nil
}

// fstat is gdb's struct stat, big-endian: dev, ino, mode, nlink, uid, gid, rdev (4 bytes each), size, blksize, blocks (8),
// three times (4).
func fstat(f *os.File) []byte {
	info, err := f.Stat()
	if err != nil {
		return fileError(fileEIO)
	}
	var st [64]byte
	put := func(at, n int, v uint64) {
		for i := range n {
			st[at+n-1-i] = byte(v >> (8 * i))
		}
	}
	put(8, 4, 0o100444)
	put(12, 4, 1)
	put(28, 8, uint64(info.Size()))
	put(36, 8, 4096)
	put(44, 8, uint64(info.Size()+511)/512)
	for _, at := range []int{52, 56, 60} {
		put(at, 4, uint64(info.ModTime().Unix()))
	}
	return append([]byte("F40;"), st[:]...)
}

func (s *session) closeFiles() {
	for _, f := range s.files {
		if f != nil {
			f.Close()
		}
	}
}
