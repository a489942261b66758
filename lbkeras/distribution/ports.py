"""The ports of workers that meet: each worker's own port, and the chief's listening sockets."""

import errno
import ipaddress
import os
import socket

from lbkeras.distribution.line import host_and_port
from lbkeras.errors import UserError


class PortInUse(UserError):
    pass


def port_held(addresses, index: int) -> socket.socket:
    """Binds the worker's port on all addresses, as TensorFlow's server will; does not listen."""
    port = host_and_port(addresses[index])[1]
    both = socket.has_dualstack_ipv6()
    held = socket.socket(socket.AF_INET6 if both else socket.AF_INET)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("", port))
    except OSError as error:
        held.close()
        raise _port_in_use(index, addresses[index], error) from None
    return held


def _port_in_use(index: int, address: str, error: OSError) -> PortInUse:
    return PortInUse(
        f"worker {index} ({address}): expected a port that is free on this machine, "
        f"received: {os.strerror(error.errno)}"
    )


def listeners_of(address: str) -> list[socket.socket]:
    """Returns sockets that listen on the addresses of the chief's name, and on no others."""
    listeners, problem = [], None
    try:
        found = socket.getaddrinfo(*host_and_port(address), type=socket.SOCK_STREAM)
    except OSError as error:
        found, problem = [], error.strerror
    for family, _, _, _, place in dict.fromkeys(found):
        try:
            listeners.append(socket.create_server(place, family=family))
        except OSError as error:
            problem = os.strerror(error.errno)
            if error.errno == errno.EADDRINUSE:
                for each in listeners:
                    each.close()
                raise _port_in_use(0, address, error) from None
    if not listeners:
        raise UserError(
            f"worker 0 ({address}): expected an address of this machine, received: {problem}"
        )
    for each in listeners:
        each.setblocking(False)
    return listeners


def unreachable(address: str, hosts: set[str]) -> str:
    """Returns a hint if the chief's name has only loopback addresses here; else an empty text."""
    host = host_and_port(address)[0]
    if host == "localhost" or host in hosts:
        return ""
    if not all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in hosts):
        return ""
    return f" (here {host} is {' and '.join(sorted(hosts))}, which other machines cannot reach)"
