#!/usr/bin/python3
# python/sockets: servers and clients over AF_UNIX, with threads and selectors.
#
# Catches: accept queues that lose connections, readiness that is not told, half-closed streams, addresses that are not what was bound.
#
# Root: debian
import array
import errno
import os
import selectors
import socket
import socketserver
import threading


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


def talk(family, address):
    with socket.socket(family) as s:
        s.settimeout(20)
        s.connect(address)
        f = s.makefile("rwb")
        answers = []
        for word in (b"one\n", b"two\n", b"x" * 100_000 + b"\n"):
            f.write(word)
            f.flush()
            answers.append(f.readline())
        s.shutdown(socket.SHUT_WR)
        return [a[:3] for a in answers], len(answers[2]), s.recv(1)


def serve(kind, family, address):
    with kind(address, Echo) as server:
        server.daemon_threads = True
        t = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        t.start()
        results = []
        clients = [threading.Thread(target=lambda: results.append(talk(family, server.server_address))) for _ in range(5)]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
        print(family.name, "clients:", len(results), all(r == results[0] for r in results), results[0])
        server.shutdown()
        t.join()


serve(socketserver.ThreadingUnixStreamServer, socket.AF_UNIX, "./stream")
print("socket file:", oct(os.stat("./stream").st_mode))

a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.send(b"first")
a.send(b"second")
print("datagrams:", b.recv(100), b.recv(3))
with open("passed", "w+") as f:
    f.write("through a socket")
    f.flush()
    socket.send_fds(a, [b"here"], [f.fileno()])
message, fds, flags, address = socket.recv_fds(b, 100, 4)
print("passed descriptor:", message, os.pread(fds[0], 100, 0), flags)
credentials = b.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
print("credentials:", array.array("i", credentials)[0] == os.getpid())
a.close()
b.close()

with socket.socket(socket.AF_UNIX) as server:
    server.bind("\0abstract")
    server.listen(3)
    server.setblocking(False)
    chooser = selectors.DefaultSelector()
    chooser.register(server, selectors.EVENT_READ)
    print("nobody yet:", chooser.select(0))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(b"\0abstract")
        print("somebody:", len(chooser.select(20)))
        peer, name = server.accept()
        print("name:", server.getsockname(), peer.getsockname(), name)
        peer.sendall(b"hello")
        print("peeked:", client.recv(5, socket.MSG_PEEK), client.recv(5))
        peer.close()
        print("end:", client.recv(5))
try:
    socket.socket(socket.AF_UNIX).connect("./nothing")
except OSError as e:
    print("connect to nothing:", errno.errorcode[e.errno])
print("CONTRACT_PASS")
