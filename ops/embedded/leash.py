"""The leash: becomes another program after tying its life to the parent's.

Run as a file, by `ops/embedded/program.py` only: `leash.py PARENT_PID SIGNAL UID GID OVERRIDE PROGRAM ARGUMENT...`. It drops to
the given user (-1: stays), asks the kernel for SIGNAL at the parent's death, and becomes the program. A shim instead of a
function between fork and exec, because the parent may have threads. Order matters: a change of user clears the wish for a
signal, so the user comes first. OVERRIDE is 1 when that user may not walk to the program or its data: it then keeps the
one capability that looks past directory permissions.

Imports nothing but what the interpreter brings: the program's user need not be able to read our source.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _keep_override(libc: ctypes.CDLL) -> None:
    """Keep the one capability over the coming exec: permitted, effective and inheritable, then ambient."""
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _call(libc.capset(header, data), "capset")
    _call(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "prctl")


def main() -> None:
    """Tie, drop, become."""
    parent, death_signal, uid, gid, has_override = (int(argument) for argument in sys.argv[1:6])
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        if has_override:
            _call(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
        os.setuid(uid)
        if has_override:
            _keep_override(libc)
    _call(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        # The parent died before the kernel knew our wish: nobody is left to stop what would start here.
        sys.exit(1)
    os.execvpe(sys.argv[6], sys.argv[6:], os.environ)  # noqa: S606  becoming the program is the point


if __name__ == "__main__":
    main()
