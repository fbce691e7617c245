"""A mount of a folder that behaves as gcsfuse's docs/semantics.md says of a flat bucket: `bucket_mount.py BUCKET MOUNT`.

What is written waits on this machine and reaches the bucket when the file is closed or synced. A file's rename is a copy.
A folder with something in it cannot be renamed, as with `--rename-dir-limit` 0. Ending this program with kill -9 loses
what has not reached the bucket, as a lost machine does.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import mfusepy

STAT = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")
STAT_FS = ("f_bavail", "f_blocks", "f_bsize", "f_bfree", "f_frsize", "f_namemax", "f_files", "f_ffree")
WRITING, READING = 1, 2  # handles of open files


class Staged:
    """A file that is being written: its content is on this machine."""

    def __init__(self, path: str):
        self.path, self.handles, self.changed = path, 0, False
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)


class BucketMount(mfusepy.Operations):
    """The operations of the mount; every path begins with a slash."""

    use_ns = True

    def __init__(self, bucket: str):
        self._bucket, self._scratch = bucket, tempfile.mkdtemp(prefix="bucket_mount_")
        self._staged: dict[str, Staged] = {}
        self._number, self._lock = 0, threading.RLock()

    def getattr(self, path, fh=None):
        with self._lock:
            staged = self._staged.get(path)
            found = os.fstat(staged.descriptor) if staged else os.lstat(self._bucket + path)
        times = {name: int(getattr(found, name) * 1e9) for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(found, name) for name in STAT} | times

    def readdir(self, path, fh):
        with self._lock:
            staged = {os.path.basename(name) for name in self._staged if os.path.dirname(name) == path}
            return [".", "..", *sorted(staged | set(os.listdir(self._bucket + path)))]

    def mkdir(self, path, mode):
        os.mkdir(self._bucket + path)

    def rmdir(self, path):
        os.rmdir(self._bucket + path)

    def unlink(self, path):
        with self._lock:
            if self._staged.pop(path, None) is None or os.path.exists(self._bucket + path):
                os.unlink(self._bucket + path)

    def create(self, path, mode, fi=None):
        self._stage(path, empty=True)
        return WRITING

    def open(self, path, flags):
        if flags & (os.O_WRONLY | os.O_RDWR):
            self._stage(path, empty=bool(flags & os.O_TRUNC))
            return WRITING
        if path not in self._staged and not os.path.exists(self._bucket + path):
            raise mfusepy.FuseOSError(errno.ENOENT)
        return READING

    def read(self, path, size, offset, fh):
        with self._lock:
            if staged := self._staged.get(path):
                return os.pread(staged.descriptor, size, offset)
        with open(self._bucket + path, "rb") as file:
            return os.pread(file.fileno(), size, offset)

    def write(self, path, data, offset, fh):
        with self._lock:
            self._staged[path].changed = True
            return os.pwrite(self._staged[path].descriptor, data, offset)

    def truncate(self, path, length, fh=None):
        with self._lock:
            opened = path in self._staged
            staged = self._staged[path] if opened else self._stage(path, empty=False)
            staged.changed = True
            os.ftruncate(staged.descriptor, length)
            if not opened:
                self.release(path, WRITING)

    def flush(self, path, fh):
        if fh == WRITING:
            self._upload(path)

    def fsync(self, path, datasync, fh):
        self._upload(path)

    def release(self, path, fh):
        with self._lock:
            staged = self._staged.get(path)
            if fh != WRITING or staged is None:
                return
            staged.handles -= 1
            if staged.handles <= 0:
                self._upload(path)
                os.close(staged.descriptor)
                del self._staged[path]

    def rename(self, old, new):
        with self._lock:
            if os.path.isdir(self._bucket + old):
                if os.listdir(self._bucket + old):
                    print(f"refused to rename the folder {old}", file=sys.stderr, flush=True)
                    raise mfusepy.FuseOSError(errno.EMFILE)
                os.rename(self._bucket + old, self._bucket + new)
                return
            self._upload(old)
            if old in self._staged:
                self._staged[new] = self._staged.pop(old)
            shutil.copyfile(self._bucket + old, self._bucket + new)
            os.unlink(self._bucket + old)

    def statfs(self, path):
        found = os.statvfs(self._bucket)
        return {name: getattr(found, name) for name in STAT_FS}

    def chmod(self, path, mode):
        return 0

    def chown(self, path, uid, gid):
        return 0

    def utimens(self, path, times=None):
        return 0

    def _stage(self, path: str, empty: bool) -> Staged:
        with self._lock:
            staged = self._staged.get(path)
            if staged is None:
                self._number += 1
                name = f"{self._scratch}/{self._number}"
                if not empty and os.path.exists(self._bucket + path):
                    shutil.copyfile(self._bucket + path, name)
                staged = self._staged[path] = Staged(name)
                staged.changed = empty
            staged.handles += 1
            return staged

    def _upload(self, path: str) -> None:
        """An object is replaced at once: nobody sees a half of it."""
        with self._lock:
            staged = self._staged.get(path)
            if staged is not None and staged.changed:
                part = f"{self._scratch}/part"
                shutil.copyfile(staged.path, part)
                shutil.move(part, self._bucket + path)
                staged.changed = False


@contextlib.contextmanager
def mounted(bucket: pathlib.Path, mount: pathlib.Path) -> Iterator[subprocess.Popen]:
    """The program that mounts `bucket` at `mount`, both of which are made; unmounted at the end, however it ended."""
    bucket.mkdir(parents=True, exist_ok=True)
    mount.mkdir(parents=True, exist_ok=True)
    program = subprocess.Popen([sys.executable, __file__, bucket, mount], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not os.path.ismount(mount):
            assert program.poll() is None and time.monotonic() < deadline, program.communicate()[1]
            time.sleep(0.05)
        yield program
    finally:
        program.kill()
        program.communicate()
        subprocess.run(["fusermount3", "-u", "-z", mount], check=False, capture_output=True)


if __name__ == "__main__":
    options = {"foreground": True, "nothreads": False, "attr_timeout": 0, "entry_timeout": 0}
    mfusepy.FUSE(BucketMount(sys.argv[1]), sys.argv[2], **options)
