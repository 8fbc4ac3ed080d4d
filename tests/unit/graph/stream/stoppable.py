"""The command line as a script that hears Ctrl-C, also under a shell that has it ignored."""

import signal

from spixgraph.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
