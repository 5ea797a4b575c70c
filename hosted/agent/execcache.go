package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Running a program straight from virtiofs costs a request to the outside for every few pages that it touches, some 100 ms for a Go
// program, each time: nothing is cached there. So the program of a command is copied whole into memory, under a name that tells
// one version of one file from every other, and the copy is mounted over it in the command's namespace. The version is looked up outside
// at every start, so a program that was just rebuilt is the one that runs.
const (
	execCache      = "/programs"
	execCacheLimit = 384 << 20 // bytes; the least recently started programs go first
)

// cacheFile makes path, a file on virtiofs, come from memory: a program that runs, or what a command reads whole. cache is an open
// execCache. Its failure costs time and nothing else, except that an unreadable program is reported by the exec that follows.
func cacheFile(cache *os.File, path string) error {
	source, err := os.Open(path)
	if err != nil {
		return err
	}
	defer source.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return err
	}
	var fsInfo unix.Statfs_t
	if err := unix.Fstatfs(int(source.Fd()), &fsInfo); err != nil {
		return err
	}
	if fsInfo.Type != unix.FUSE_SUPER_MAGIC || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > execCacheLimit/4 {
		return nil
	}
	// ctime changes with every change of content or mode and cannot be set back.
	name := fmt.Sprintf("%x-%x-%x-%x-%x", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	copied := fmt.Sprintf("/proc/self/fd/%d/%s", cache.Fd(), name)
	if _, err := os.Stat(copied); errors.Is(err, fs.ErrNotExist) {
		err = copyProgram(source, copied, st)
		if err != nil {
			return err
		}
		if err := evict(fmt.Sprintf("/proc/self/fd/%d", cache.Fd()), name); err != nil {
			return err
		}
	} else if err != nil {
		return err
	} else {
		now := time.Now()
		_ = os.Chtimes(copied, now, now) // lost only for the order of eviction
	}
	program, err := unix.Open(copied, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(program)
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", program), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", path, err)
	}
	// The copy serves other commands too: whoever opens it can rely on its not changing.
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|noDev, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// copyProgram makes the copy complete before it has its name. Only a version that did not change meanwhile is kept.
func copyProgram(source *os.File, target string, before unix.Stat_t) error {
	partial := fmt.Sprintf("%s.%d", target, os.Getpid())
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, os.FileMode(before.Mode&0o777))
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(source)
	err = errors.Join(err, f.Close())
	var after unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(source.Fd()), &after)
	}
	if err == nil && (after.Size != before.Size || after.Ctim != before.Ctim) {
		err = errors.New("the program changed while it was read")
	}
	if err == nil {
		err = os.Rename(partial, target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	return nil
}

// evict removes the longest unused programs, but never keep, until the limit is met. A removed program that runs runs on.
func evict(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var total int64
	var infos []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // another stage evicted it
		}
		total += info.Size()
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range infos {
		if total <= execCacheLimit {
			return nil
		}
		if info.Name() == keep {
			continue
		}
		if err := os.Remove(filepath.Join(dir, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= info.Size()
	}
	return nil
}
