package hosted

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// protocolVersion changes when a supervisor of an older build could not serve a newer client at all.
const protocolVersion = 1

// request is the first line on a connection to a supervisor, in JSON.
type request struct {
	Protocol int
	Op       string // opRun, opStatus or opStop
	Stamp    string // opRun: the machine that the client would start now
}

const (
	opRun    = "run"    // answered when the machine is up; then the connection carries wire frames
	opStatus = "status" // answered at once
	opStop   = "stop"   // answered at once; the supervisor then ends the machine and itself
)

// response is the answer, in one JSON line.
type response struct {
	Code   string // one of the codes below
	Error  string
	Status *Status `json:",omitempty"`
}

const (
	codeOK       = "ok"
	codeRetiring = "retiring" // this supervisor is ending: wait for that and start another
	codeBusy     = "busy"     // it speaks another protocol and still runs commands: wait
	codeFailed   = "failed"   // the machine does not start
)

// Status describes a machine.
type Status struct {
	Arch     string
	Running  bool   // a supervisor answers
	State    string // "booting", "up" or "ending"
	PID      int    // the supervisor
	QEMU     int    // QEMU's process
	Kernel   string // inside
	KVM      string // "works", or why /dev/kvm does not
	Boot     time.Duration
	Up       time.Duration
	Commands int           // running now
	Served   int           // since the start
	Idle     time.Duration // since the last command ended
	Limit    time.Duration // it ends itself after being idle that long
	Folder   string        // its run folder, with logs
	Current  bool          // it is what would be started now
}

func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// dialSocket connects to a unix socket whose path may be longer than the 107 bytes that fit in an address (unix(7)).
func dialSocket(path string) (net.Conn, error) {
	if len(path) < 100 {
		return net.Dial("unix", path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
