package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

// The stage runs between clone and the command, already in the command's mount namespace, session and control group. It
// reads the wire.Start from descriptor 3, builds the command's root, and becomes the command. What fails is
// reported as a wire.Exit on descriptor 4; success closes both descriptors by the exec itself.
const (
	stageArgument = "--stage"
	stageRequest  = 3
	stageAnswer   = 4
)

func stage() {
	unix.CloseOnExec(stageRequest)
	unix.CloseOnExec(stageAnswer)
	answer := os.NewFile(stageAnswer, "answer")
	exit := becomeCommand(os.NewFile(stageRequest, "request"))
	if err := json.NewEncoder(answer).Encode(exit); err != nil {
		fmt.Fprintln(os.Stderr, "hosted-agent:", exit.Error)
	}
	os.Exit(126)
}

func becomeCommand(request *os.File) wire.Exit {
	var start wire.Start
	if err := json.NewDecoder(request).Decode(&start); err != nil {
		return wire.Exit{Kind: wire.StartFailed, Error: fmt.Sprintf("decode the command: %v", err)}
	}
	cache, err := os.Open(execCache)
	if err != nil {
		return wire.Exit{Kind: wire.StartFailed, Error: err.Error()}
	}
	defer cache.Close()
	if err := buildRoot(start.Shares); err != nil {
		return wire.Exit{Kind: wire.StartFailed, Error: err.Error()}
	}
	if err := os.Chdir(start.Dir); err != nil {
		return wire.Exit{Kind: wire.StartFailed, Error: fmt.Sprintf("working folder inside the hosted machine: %v (share it to make it visible)", err)}
	}
	for _, file := range start.Memory {
		if err := cacheFile(cache, file); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			logToConsole(err)
		}
	}
	path, err := lookPath(start.Argv[0], start.Env)
	if err == nil {
		if err := cacheFile(cache, path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			logToConsole(err)
		}
		var now unix.Timespec
		if i := slices.Index(start.Env, wire.ExecTime+"="); i >= 0 && unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
			start.Env[i] += strconv.FormatInt(now.Nano(), 10)
		}
		err = syscall.Exec(path, start.Argv, start.Env)
	}
	return execFailure(start.Argv[0], path, err)
}

// logToConsole says what slowed a command down without stopping it. Its standard error is not ours.
func logToConsole(err error) {
	console, openErr := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NOCTTY, 0)
	if openErr != nil {
		return
	}
	defer console.Close()
	fmt.Fprintf(console, "hosted-agent: a file is not kept in memory: %v\n", err)
}

func execFailure(name, path string, err error) wire.Exit {
	exit := wire.Exit{Kind: wire.StartFailed, Error: fmt.Sprintf("%s: %v", name, err)}
	switch {
	case errors.Is(err, unix.ENOENT) && path != "" && exists(path):
		exit.Kind = wire.StartNotExecutable
		exit.Error = fmt.Sprintf("%s: its dynamic loader or script interpreter does not exist inside the hosted machine (use a static program, or share the system folders)", name)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		exit.Kind = wire.StartNotFound
		exit.Error = fmt.Sprintf("%s: not found inside the hosted machine (only the project folder and shared folders are visible there)", name)
	case errors.Is(err, unix.EACCES):
		exit.Kind = wire.StartNotExecutable
	case errors.Is(err, unix.ENOEXEC):
		exit.Kind = wire.StartNotExecutable
		exit.Error = fmt.Sprintf("%s: not a program for this machine's architecture (%v)", name, err)
	}
	return exit
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lookPath finds a name without a slash in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	for _, dir := range filepath.SplitList(search) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", unix.ENOENT
}

// buildRoot makes the command's file tree: a tmpfs with the machine's device, process and system trees, a /tmp of its own that
// vanishes with it, and the shares.
func buildRoot(shares []wire.Share) error {
	const root = "/root-of-command"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount a root: %w", err)
	}
	for _, tree := range []string{"/dev", "/proc", "/sys"} {
		if err := os.Mkdir(root+tree, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(tree, root+tree, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", tree, err)
		}
	}
	for _, dir := range []string{"/tmp", "/root", "/run", "/etc", "/var/tmp"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if err := os.Chmod(root+dir, 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/etc/group": "root:x:0:\n", "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
	} {
		if err := os.WriteFile(root+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	shares = slices.Clone(shares)
	slices.SortFunc(shares, func(a, b wire.Share) int { return strings.Compare(a.Path, b.Path) }) // outer before inner
	for _, s := range shares {
		if err := bindShare(root, s); err != nil {
			return fmt.Errorf("share %s: %w", s.Path, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The initramfs root cannot be pivoted away from: move over it, as switch_root(8) does.
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return nil
}

func bindShare(root string, s wire.Share) error {
	source, target := outside+s.Source, filepath.Join(root, s.Path)
	if err := makeMountPoint(target, s.Folder); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind from outside: %w", err)
	}
	if s.Write {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|noDev, ""); err != nil {
		return fmt.Errorf("make it read-only: %w", err)
	}
	return nil
}

// makeMountPoint makes what is missing of a mount point. What is there already belongs to an outer share.
func makeMountPoint(target string, folder bool) error {
	if exists(target) {
		return nil
	}
	if folder {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}
