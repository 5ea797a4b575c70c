#!/usr/bin/python3
# python/tcp: servers and clients over TCP and UDP on the loopback: threads, HTTP and asyncio.
#
# Catches: accept queues that lose connections, readiness that is not told, half-closed streams, addresses that are not what was bound.
#
# Root: debian
import asyncio
import errno
import http.client
import http.server
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


serve(socketserver.ThreadingTCPServer, socket.AF_INET, ("127.0.0.1", 0))


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"page " + self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    for path in ("/a", "/b"):
        connection.request("GET", path)
        answer = connection.getresponse()
        print("http:", answer.status, answer.read())
    connection.close()
    server.shutdown()

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
    a.bind(("127.0.0.1", 0))
    b.settimeout(20)
    a.settimeout(20)
    b.sendto(b"question", a.getsockname())
    message, sender = a.recvfrom(100)
    a.sendto(message[::-1], sender)
    print("udp:", b.recvfrom(100)[0], sender[0])


async def main():
    async def handle(reader, writer):
        while data := await reader.readline():
            writer.write(data[::-1])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def client(i):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"client {i}\n".encode())
        await writer.drain()
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    answers = await asyncio.wait_for(asyncio.gather(*(client(i) for i in range(20))), 60)
    print("asyncio:", len(answers), answers[7])
    server.close()


asyncio.run(main())
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
try:
    socket.create_connection(("127.0.0.1", port), 20)
except OSError as e:
    print("connect to nobody:", errno.errorcode[e.errno])
print("CONTRACT_PASS")
