package hosted

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Machine is a prepared machine of one architecture. It is booted by the first command and stays up for the next ones, of any
// process. All methods may be called from any goroutine.
type Machine struct {
	l        layout
	arch     string
	progress *reporter
}

// Open prepares the machine of that architecture if needed. Progress, which may be nil, receives lines of text while something takes long.
func Open(ctx context.Context, arch string, progress io.Writer) (*Machine, error) {
	if !maybeServeCalled {
		return nil, errors.New("hosted.MaybeServe must be called first thing in main")
	}
	l, err := newLayout()
	if err != nil {
		return nil, err
	}
	if err := l.prepare(ctx, arch, progress); err != nil {
		return nil, err
	}
	return &Machine{l: l, arch: arch, progress: newReporter(progress)}, nil
}

// machineStamp identifies everything a machine is made of.
func (l layout) machineStamp(arch string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, qemuStamp(), kernelStamp(arch), machineCPUs, memoryMiB(), kernelCommandLine(arch), virtiofsdArguments(), qemuMachines[arch])
	agent, err := os.Open(l.agent(arch))
	if err != nil {
		return "", err
	}
	defer agent.Close()
	if _, err := io.Copy(h, agent); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// connect returns a connection on which the agent awaits a command, having started the supervisor if needed.
func (m *Machine) connect(ctx context.Context) (net.Conn, *bufio.Reader, error) {
	stamp, err := m.l.machineStamp(m.arch)
	if err != nil {
		return nil, nil, err
	}
	deaths, retired := 0, 0
	for {
		conn, err := dialSocket(m.socket())
		if err != nil {
			if err := m.startSupervisor(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		in := bufio.NewReaderSize(conn, 64<<10)
		answer, err := ask(ctx, conn, in, request{Protocol: protocolVersion, Op: opRun, Stamp: stamp})
		switch {
		case ctx.Err() != nil:
			conn.Close()
			return nil, nil, context.Cause(ctx)
		case err != nil:
			// It died under our hands, or is ending.
			conn.Close()
			if deaths++; deaths > 3 {
				return nil, nil, fmt.Errorf("the supervisor does not answer: %w%s", err, m.l.diagnosis(m.arch))
			}
			if err := m.awaitEnd(ctx, nil); err != nil {
				return nil, nil, err
			}
		case answer.Code == codeOK:
			return conn, in, nil
		case answer.Code == codeRetiring:
			conn.Close()
			if retired++; retired > 8 {
				return nil, nil, fmt.Errorf("hosted machine for %s: every machine ended before it could run the command%s", m.arch, m.l.diagnosis(m.arch))
			}
			if err := m.awaitEnd(ctx, nil); err != nil {
				return nil, nil, err
			}
		case answer.Code == codeBusy:
			conn.Close()
			if err := m.awaitEnd(ctx, func() {
				m.progress.say("the running machine is of another version of ringo and busy; waiting for it")
			}); err != nil {
				return nil, nil, err
			}
		default:
			conn.Close()
			return nil, nil, fmt.Errorf("hosted machine for %s: %s%s", m.arch, answer.Error, m.l.diagnosis(m.arch))
		}
	}
}

func (m *Machine) socket() string { return filepath.Join(m.l.runDir(m.arch), socketName) }

// ask sends a request and reads the answer, and gives up with ctx.
func ask(ctx context.Context, conn net.Conn, in *bufio.Reader, req request) (response, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := writeLine(conn, req); err != nil {
		return response{}, err
	}
	var answer response
	err := readLine(in, &answer)
	return answer, err
}

// awaitEnd waits for a supervisor that is ending. For a busy one that never ends by itself it returns after a moment, to be asked again.
func (m *Machine) awaitEnd(ctx context.Context, waiting func()) error {
	if waiting != nil {
		waiting()
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lock, err := waitLock(limited, m.l.ownerLock(m.arch), nil)
	if lock != nil {
		lock.unlock()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// startSupervisor starts the supervisor unless somebody else just did. It returns when one listens.
func (m *Machine) startSupervisor(ctx context.Context) error {
	if err := os.MkdirAll(m.l.runDir(m.arch), 0o700); err != nil {
		return err
	}
	start, err := waitLock(ctx, m.l.startLock(m.arch), nil)
	if err != nil {
		return err
	}
	defer start.unlock()
	if conn, err := dialSocket(m.socket()); err == nil {
		conn.Close()
		return nil
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logPath := filepath.Join(m.l.runDir(m.arch), logName)
	if info, err := os.Stat(logPath); err == nil && info.Size() > 1<<20 {
		if err := rotate(logPath); err != nil {
			return err
		}
	}
	logFile, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer readyRead.Close()
	m.progress.say("starting the %s machine", m.arch)
	cmd := exec.Command(exe)
	cmd.Args[0] = "ringo-hosted-" + m.arch
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), envServe+"="+m.arch, EnvRoot+"="+m.l.root, EnvDir+"="+m.l.dir, EnvRunDir+"="+m.l.run)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{readyWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	readyWrite.Close()
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // it outlives us, normally
	stop := context.AfterFunc(ctx, func() { readyRead.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	message, err := io.ReadAll(io.LimitReader(readyRead, 4096))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case string(message) == readyMessage:
		return nil
	case err == nil && len(message) == 0:
		err = errors.New("it ended without a word")
	case err == nil:
		err = errors.New(string(message))
	}
	return fmt.Errorf("start the supervisor: %w (log: %s)", err, logPath)
}

// diagnosis is the end of a machine's console and the places to look at, as lines to append to an error.
func (l layout) diagnosis(arch string) string {
	var b strings.Builder
	if text, err := tail(l.console(arch), 64<<10); err == nil && strings.TrimSpace(text) != "" {
		b.WriteString("\nthe end of its console:\n")
		for _, line := range consoleEnd(text) {
			b.WriteString("    " + line + "\n")
		}
	} else {
		b.WriteString("\nits console is empty\n")
	}
	fmt.Fprintf(&b, "logs: %s and %s there", l.console(arch), logName)
	return b.String()
}

// consoleEnd chooses the lines of a console that tell most: the last ones, and before them the last fatal one if it is further up.
func consoleEnd(text string) []string {
	const n = 12
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n"), "\n")
	begin := max(0, len(lines)-n)
	for i := begin - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "Kernel panic") || strings.Contains(lines[i], "FATAL") {
			return append([]string{lines[i], "[...]"}, lines[begin:]...)
		}
	}
	return lines[begin:]
}

// tail returns the last n bytes of a file.
func tail(path string, n int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-n), n))
	return string(b), err
}

// QueryStatus tells about the machine of that architecture without starting it.
func QueryStatus(ctx context.Context, arch string) (Status, error) {
	l, err := newLayout()
	if err != nil {
		return Status{}, err
	}
	if err := checkArch(arch); err != nil {
		return Status{}, err
	}
	answer, err := l.askRunning(ctx, arch, opStatus)
	if err != nil || answer == nil || answer.Status == nil {
		return Status{Arch: arch, Folder: l.runDir(arch)}, err
	}
	return *answer.Status, nil
}

// Stop ends the machine of that architecture with everything that runs in it, and waits until it is gone. It reports whether there was one.
func Stop(ctx context.Context, arch string) (bool, error) {
	l, err := newLayout()
	if err != nil {
		return false, err
	}
	if err := checkArch(arch); err != nil {
		return false, err
	}
	answer, err := l.askRunning(ctx, arch, opStop)
	if err != nil || answer == nil {
		return false, err
	}
	lock, err := waitLock(ctx, l.ownerLock(arch), nil)
	if err != nil {
		return true, err
	}
	lock.unlock()
	return true, nil
}

// ConsoleLog returns the path of the console log of the machine of that architecture.
func ConsoleLog(arch string) (string, error) {
	l, err := newLayout()
	if err != nil {
		return "", err
	}
	return l.console(arch), checkArch(arch)
}

// askRunning asks the supervisor if there is one; otherwise it returns nil.
func (l layout) askRunning(ctx context.Context, arch, op string) (*response, error) {
	conn, err := dialSocket(filepath.Join(l.runDir(arch), socketName))
	if err != nil {
		return nil, nil
	}
	defer conn.Close()
	answer, err := ask(ctx, conn, bufio.NewReader(conn), request{Protocol: protocolVersion, Op: op})
	return &answer, err
}
