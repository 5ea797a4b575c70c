#!/usr/bin/python3
# python/files: temporary files, mmap, walking, copying, locks, sqlite and compression.
#
# Catches: short reads, file mappings that do not follow writes, locks that are not released, a page cache that loses a page.
#
# Root: debian
import errno
import fcntl
import gzip
import hashlib
import lzma
import mmap
import os
import pathlib
import random
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import zipfile

with tempfile.NamedTemporaryFile(dir=".") as f:
    f.write(b"temporary")
    f.flush()
    print("temporary file:", oct(stat.S_IMODE(os.stat(f.name).st_mode)), os.path.getsize(f.name))
    name = f.name
print("gone:", not os.path.exists(name))
with tempfile.TemporaryFile(dir=".") as f:
    f.write(b"no name")
    f.seek(0)
    print("without a name:", f.read(), os.fstat(f.fileno()).st_nlink)
with tempfile.TemporaryDirectory(dir=".") as d:
    root = pathlib.Path(d)
    for i in range(50):
        p = root / f"d{i % 7}" / f"e{i % 3}"
        p.mkdir(parents=True, exist_ok=True)
        (p / f"f{i}").write_text("x" * i)
    os.symlink("d0/e0", root / "link")
    print("walk:", sum(len(files) for _, _, files in os.walk(root)), sum(f.stat().st_size for f in root.rglob("f*")))
    shutil.copytree(root, "copy", symlinks=True)
    print("copied:", sorted(os.listdir("copy")), os.readlink("copy/link"))
    shutil.make_archive("archive", "gztar", root)
    with tarfile.open("archive.tar.gz") as t:
        print("archive:", len(t.getnames()))
shutil.rmtree("copy")

random.seed(7)
data = random.randbytes(300_000)
with open("mapped", "wb+") as f:
    f.write(data)
    f.flush()
    m = mmap.mmap(f.fileno(), 0)
    print("mapped:", hashlib.sha256(m).hexdigest()[:16], m.find(data[200_000:200_020]))
    m[1000:1005] = b"MAPPY"
    m.flush()
    f.seek(1000)
    print("a store is in the file:", f.read(5))
    os.pwrite(f.fileno(), b"WRITE", 5000)
    print("a write is in the mapping:", m[5000:5005])
    m.resize(400_000)
    print("resized:", os.fstat(f.fileno()).st_size, m[399_999])
    m.close()
anonymous = mmap.mmap(-1, 8192)
if (pid := os.fork()) == 0:
    anonymous[4096:4100] = b"kid!"
    os._exit(0)
os.waitpid(pid, 0)
print("shared with a child:", anonymous[4096:4100])

with open("locked", "w") as f:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    r, w = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            with open("locked", "w") as g:
                fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os._exit(0)
        except OSError as e:
            os._exit(1 if e.errno in (errno.EACCES, errno.EAGAIN) else 2)
    print("locked by another:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

db = sqlite3.connect("base.db")
db.execute("pragma journal_mode=wal")
db.execute("create table t (k integer primary key, v text)")
with db:
    db.executemany("insert into t values (?, ?)", ((i, hex(i * i)) for i in range(2000)))
try:
    with db:
        db.execute("delete from t")
        raise RuntimeError("never mind")
except RuntimeError:
    pass
print("sqlite:", db.execute("select count(*), max(length(v)), sum(k) from t where v like '%a%'").fetchone())
other = sqlite3.connect("base.db")
print("another connection:", other.execute("select v from t where k = 1234").fetchone())
print("integrity:", db.execute("pragma integrity_check").fetchone())
other.close()
db.close()
print("files of the base:", sorted(n for n in os.listdir(".") if n.startswith("base")))

text = "all work and no play\n" * 5000
for opener, ending in ((gzip.open, "gz"), (lzma.open, "xz")):
    with opener("text." + ending, "wt") as f:
        f.write(text)
    with opener("text." + ending, "rt") as f:
        print(ending, f.read() == text, os.path.getsize("text." + ending) < 5000)
with zipfile.ZipFile("text.zip", "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("inside", text)
print("zip:", zipfile.ZipFile("text.zip").testzip(), zipfile.ZipFile("text.zip").read("inside")[:8])

os.truncate("mapped", 10)
os.rename("mapped", "renamed")
os.link("renamed", "second")
print("links:", os.stat("second").st_nlink, os.path.samefile("renamed", "second"))
os.utime("second", ns=(1_000_000_001, 2_000_000_002))
print("times:", os.stat("renamed").st_mtime_ns)
print("copy:", shutil.copy2("second", "third"), os.stat("third").st_mtime_ns)
for call in (lambda: os.rmdir("/"), lambda: open("/no/file"), lambda: os.mkdir("renamed"), lambda: os.listdir("renamed"), lambda: os.readlink("renamed")):
    try:
        call()
        print("no error")
    except OSError as e:
        print(errno.errorcode[e.errno])
print("CONTRACT_PASS")
