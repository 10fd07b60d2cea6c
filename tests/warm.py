"""Runs commands as `python -m MODULE ARGUMENTS` does, each in a process forked from this one, which waits with the
libraries imported that take seconds; chaos_seg itself each command imports anew.

A command comes through the socket whose descriptor is the one argument, as four open files: one with its module,
arguments, folder and environment in JSON, those for its output and its errors, and a socket that is told its process
id, then its exit code. It has a session of its own, as with subprocess.Popen(start_new_session=True).
"""

import gc
import json
import os
import runpy
import socket
import sys
from contextlib import suppress
from importlib import import_module

import numpy as np

# Each of the commands that are started here imports these by itself: none lacks an import of its own unnoticed.
LIBRARIES = ("hydra._internal.hydra", "lightning.pytorch", "albumentations", "pydicom", "torch.utils.tensorboard")


def command(requests: socket.socket) -> tuple[str, list[str]]:
    """Wait for commands and fork for each; returns the module and arguments, and does so in the command's process."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1, 4)
        if not message:
            sys.exit()
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
    requests.close()
    request, out, err, told = files
    child = os.fork()
    with socket.socket(fileno=told) as reply:
        if child:
            reply.send(b"exit%16d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os._exit(0)
        with os.fdopen(request) as file:
            module, arguments, folder, environment = json.load(file)
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for file, standard in ((out, 1), (err, 2)):
            os.dup2(file, standard)
            os.close(file)
        sys.path[0] = folder
        np.random.seed()  # noqa: NPY002 - or all commands would draw the same where none is set
        reply.send(b"pid %16d" % os.getpid())
    return module, arguments


if __name__ == "__main__":
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()  # or each command looks through all that is imported when it ends, which takes a second
    module, sys.argv[1:] = command(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
