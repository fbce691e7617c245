"""The errors a user can cause. Each is one line: `<field or file>: <rule>; <the fix>`.

`lst` prints the line without a traceback and exits with the error's code. Small codes mean "a person must act";
42 means "start me again" (a preemption or a requested stop), which launchers restart on.
"""

import errno
import resource

RESTART_EXIT_CODE = 42
LONGEST_QUOTE = 300  # characters of another program's message within one of ours
LONGEST_MESSAGE = 600  # characters of one of ours: what a file holds may be quoted in it, however long
DISK_FULL_ERRNOS = frozenset({27, 28, 122})  # EFBIG, ENOSPC, EDQUOT
TOO_MANY_FILES_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE})
PASSING_ERRNOS = frozenset(  # a server or a network that does not answer now
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.ENOLCK,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
    }
)


class UserError(Exception):
    """A mistake or a condition that a person must mend. The message is one line with the fix."""

    exit_code = 1

    def __init__(self, message: str):
        """A message that is too long loses its middle: the place is at its start, the fix at its end."""
        super().__init__(shortened(message))


class ConfigError(UserError):
    """A config field breaks a rule: `<field path>=<value>: <rule>; <fix>`."""

    exit_code = 2


class DataError(UserError):
    """A file or record breaks a rule: `<file>[: record]: <rule>; <fix>`."""

    exit_code = 3


class RejectedItem(DataError):
    """One item cannot be used, and the others can. `reason` is the short name under which it is counted."""

    def __init__(self, reason: str, message: str):
        """`message` is the one line that names the file or record."""
        super().__init__(message)
        self.reason = reason


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another configuration."""

    exit_code = 4


class CheckpointGoneError(CheckpointError):
    """A step was removed while it was being read, as `lst train` removes the steps that it does not keep."""


class ConversionError(UserError):
    """A converted model does not compute what its source computes."""

    exit_code = 7


class BadStepError(UserError):
    """The loss or the gradients of a step are not finite, or spike, and the run stops there."""

    exit_code = 6


class BusyError(UserError):
    """Another command is at work in the same folder."""


class BusyElsewhereError(BusyError):
    """A process of another host has the folder, or had it when its host died. Its lock may be released by itself."""

    exit_code = RESTART_EXIT_CODE


class PeerError(UserError):
    """Another process of the job is gone or does not answer. All of them must be started again."""

    exit_code = RESTART_EXIT_CODE


class StorageError(UserError):
    """A write failed (a full disk, a quota, a read-only place)."""

    exit_code = 5


class PassingStorageError(StorageError):
    """A write, or a read from a bucket, failed in a way that may pass by itself, as where a server does not answer."""

    exit_code = RESTART_EXIT_CODE


def shortened(text: str) -> str:
    """The text, without its middle where it is longer than `LONGEST_MESSAGE`."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    end = LONGEST_MESSAGE // 3
    return f"{text[: LONGEST_MESSAGE - end - 3]}...{text[-end:]}"


def storage_error(path, error: OSError) -> StorageError:
    """The one-line error for a failed write to `path`."""
    if error.errno in TOO_MANY_FILES_ERRNOS:
        return too_many_open_files(path)
    if error.errno in PASSING_ERRNOS:
        return PassingStorageError(
            f"{path}: cannot write ({error.strerror or error}); this may pass: run the same command again, what was "
            "complete is kept"
        )
    cause = "no space left" if error.errno in DISK_FULL_ERRNOS else (error.strerror or str(error))
    return StorageError(
        f"{path}: cannot write ({cause}); free space or choose another place, then run the same "
        "command again: what was complete is kept"
    )


def too_many_open_files(path) -> StorageError:
    """The one-line error for a file that cannot be opened because too many others are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return StorageError(
        f"{path}: cannot be opened, as this process may have {soft} files open; raise the limit (`ulimit -n`, its "
        f"hard limit is {hard}), then run the same command again"
    )


def first_line(error: Exception) -> str:
    """The first line of what a library says, at most `LONGEST_QUOTE` characters, to be quoted within a line of ours."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].replace(";", ",")
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
