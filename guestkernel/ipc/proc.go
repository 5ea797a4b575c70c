package ipc

import "fmt"

// ProcMsg, ProcSem and ProcShm are the files of /proc/sysvipc; local makes a process's number that of the reader's namespace.
func (n *Namespace) ProcMsg(local func(pid int) int) []byte {
	b := []byte("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n")
	for _, q := range n.MsgAll() {
		b = fmt.Appendf(b, "%10d %10d  %4o  %10d %10d %5d %5d %5d %5d %5d %5d %10d %10d %10d\n",
			q.Key, q.ID, q.Mode, q.Bytes, q.Messages, local(q.Sender), local(q.Receiver), q.UID, q.GID, q.CUID, q.CGID, q.Sent, q.Received, q.Changed)
	}
	return b
}

// ProcSem is /proc/sysvipc/sem.
func (n *Namespace) ProcSem(func(pid int) int) []byte {
	b := []byte("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n")
	for _, s := range n.SemAll() {
		b = fmt.Appendf(b, "%10d %10d  %4o %10d %5d %5d %5d %5d %10d %10d\n",
			s.Key, s.ID, s.Mode, s.Count, s.UID, s.GID, s.CUID, s.CGID, s.Operated, s.Changed)
	}
	return b
}

// ProcShm is /proc/sysvipc/shm.
func (n *Namespace) ProcShm(local func(pid int) int) []byte {
	b := []byte("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n")
	for _, s := range n.ShmAll() {
		b = fmt.Appendf(b, "%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n",
			s.Key, s.ID, s.Mode, s.Size, local(s.Creator), local(s.Last), s.Attachments, s.UID, s.GID, s.CUID, s.CGID, s.Attached, s.Detached, s.Changed, s.Resident, 0)
	}
	return b
}
