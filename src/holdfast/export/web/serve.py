"""The web worker's life: listen, serve, and leave when the supervisor says so or is gone."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import msgspec
import uvicorn

from holdfast.export.web.app import Site
from holdfast.export.web.bounds import ASK_S, AT_ONCE, HEAD_BYTES, BoundedProtocol, sweep
from holdfast.export.web.commands import Guard
from holdfast.export.web.view import View
from holdfast.export.web_messages import ToWeb, WebPlan, WebSaid, WebStop, parse_listen

MESSAGE_BYTES = 1 << 20


def run(end: socket.socket, give_up: Callable[[], object]) -> None:
    """Serve as the supervisor says over `end`; `give_up` gives up every privilege once the port is ours."""
    for ignored in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)  # a client's faults are not worth a line of the log
    decoder = msgspec.msgpack.Decoder(list[ToWeb])
    messages = decoder.decode(end.recv(MESSAGE_BYTES) or b"\x90")
    plan = next((one for one in messages if isinstance(one, WebPlan)), None)
    if plan is None:
        return
    try:
        listener = listen(plan.listen)
    except (OSError, ValueError) as refused:
        text = refused.strerror if isinstance(refused, OSError) else str(refused)
        say(end, f"cannot listen at {plan.listen}: {text}; choose another with --web or web_listen", False)
        return
    give_up()
    say(end, f"listening at http://{plan.listen}/", True)
    asyncio.run(serve(end, listener, plan))


def say(end: socket.socket, text: str, fine: bool) -> None:
    """Tell the supervisor; what a full pair loses was not worth waiting for."""
    try:
        end.send(msgspec.msgpack.encode([WebSaid(text[:2000], fine)]), socket.MSG_DONTWAIT)
    except OSError:
        pass


def listen(text: str) -> socket.socket:
    """A socket that listens at ADDRESS:PORT; raises OSError or ValueError."""
    host, port = parse_listen(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(AT_ONCE)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def serve(end: socket.socket, listener: socket.socket, plan: WebPlan) -> None:
    """Serve until told to stop."""
    view = View(plan.run_dir)
    site = Site(view, Guard(plan.token_file), lambda text: say(end, text, False))
    site.take(plan)
    server = uvicorn.Server(
        uvicorn.Config(
            site.app(), http=BoundedProtocol, ws="none", loop="asyncio", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=int(ASK_S),
            h11_max_incomplete_event_size=HEAD_BYTES, timeout_graceful_shutdown=1, backlog=AT_ONCE,
        )
    )  # fmt: skip
    decoder = msgspec.msgpack.Decoder(list[ToWeb])

    def told() -> None:
        try:
            packet = end.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        for message in decoder.decode(packet) if packet else [WebStop()]:
            if isinstance(message, WebStop):
                asyncio.get_running_loop().remove_reader(end.fileno())
                server.should_exit = True
                return
            if isinstance(message, WebPlan):
                site.take(message)
            view.stale()

    asyncio.get_running_loop().add_reader(end.fileno(), told)
    tasks = [asyncio.create_task(view.run()), asyncio.create_task(sweep())]
    await server.serve(sockets=[listener])
    for task in tasks:
        task.cancel()
