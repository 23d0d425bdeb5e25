"""The command as it is typed in a shell: has `prefork` start it with the streams of this process, and ends as it does.

python prefork_client.py SOCKET arguments...
"""

import json
import os
import socket
import sys


def main() -> int:
    """Order it, and wait for it."""
    status, status_end = os.pipe()
    with socket.socket(socket.AF_UNIX) as orders:
        orders.connect(sys.argv[1])
        order = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()])  # noqa: PTH109 - pathlib takes long to import
        socket.send_fds(orders, [order[:1].encode()], [0, 1, 2, status_end])
        orders.sendall(order[1:].encode())
    os.close(status_end)
    with os.fdopen(status, encoding="ascii") as told:
        told.readline()
        code = int(told.readline().split()[0])
    # As a shell tells of a signal.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
