"""Mail servers and a web server with certificates of an authority of their own, for tests of deliveries.

Usage: receive.py FOLDER

Writes `authority.pem` and then `ready.json` with the ports. What comes is written to FOLDER as `NAME-N.json`, NAME being the server:

- `starttls`: STARTTLS and a login are asked for
- `wrapped`: encrypted from the first byte, with a login
- `plain`: no encryption is offered, no login is asked for
- `https`: a POST to any path, and whether SIGNING_KEY signed it as docs/reports.md says

Recipients say what becomes of them: `refused@…` is refused, `later@…` put off once, `slow@…` gets an answer never. `later-data@…` has the
whole mail put off once.
"""

import asyncio
import email
import email.policy
import functools
import hashlib
import hmac
import http.server
import json
import pathlib
import ssl
import sys
import threading

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

USER, PASSWORD = b"reports", b"pass-w0rd-of-mail"
SIGNING_KEY = b"k3y-of-the-hook"


class Mailbox:
    """Takes mail and writes down what it was."""

    def __init__(self, folder, name):
        self.folder, self.name, self.count, self.put_off = folder, name, 0, set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        who = address.split("@")[0]
        if who == "refused":
            return "550 5.1.1 no such user"
        if who == "slow":
            await asyncio.sleep(3600)
        if who == "later" and address not in self.put_off:
            self.put_off.add(address)
            return "451 4.3.0 not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        for address in envelope.rcpt_tos:
            if address.startswith("later-data@") and address not in self.put_off:
                self.put_off.add(address)
                return "451 4.3.0 the disk is full"
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        parts = [part for part in message.walk() if not part.is_multipart()]
        self.count += 1
        write(self.folder / f"{self.name}-{self.count}.json", {
            "from": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "encrypted": session.ssl is not None or self.name == "wrapped",
            "authenticated": session.authenticated,
            "headers": [[name, str(value)] for name, value in message.items()],
            "defects": [str(defect) for part in message.walk() for defect in part.defects],
            "parts": [{
                "type": part.get_content_type(),
                "file": part.get_filename(),
                "text": part.get_content() if part.get_content_maintype() == "text" else None,
                "bytes": len(part.get_payload(decode=True)),
            } for part in parts],
        })
        return "250 OK"


def check(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
    # A server that repeats what it was given, as some do.
    message = None if right else f"535 5.7.8 wrong password {data.password.decode()} for {data.login.decode()}"
    return AuthResult(success=right, handled=False, message=message)


def is_signed(headers, body):
    timestamp, signature = headers.get("X-Spanhouse-Timestamp", ""), headers.get("X-Spanhouse-Signature", "")
    expected = "sha256=" + hmac.new(SIGNING_KEY, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


def web(folder, context):
    count = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            nonlocal count
            body = self.rfile.read(int(self.headers["Content-Length"]))
            count += 1
            signed = is_signed(self.headers, body)
            write(folder / f"https-{count}.json", {"path": self.path, "signed": signed, "body": json.loads(body)})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def write(path, value):
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.rename(path)


async def main():
    folder = pathlib.Path(sys.argv[1])
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    login = {"authenticator": check, "auth_required": True}
    kinds = {
        "starttls": (None, {"tls_context": context, "require_starttls": True, **login}),
        "wrapped": (context, {"auth_require_tls": False, **login}),
        "plain": (None, {}),
    }
    ports = {"https": web(folder, context)}
    loop = asyncio.get_running_loop()
    for name, (encryption, options) in kinds.items():
        mailbox = Mailbox(folder, name)
        make = functools.partial(SMTP, mailbox, hostname="receiver", loop=loop, **options)
        listener = await loop.create_server(make, host="127.0.0.1", port=0, ssl=encryption)
        ports[name] = listener.sockets[0].getsockname()[1]
    write(folder / "ready.json", ports)
    await loop.create_future()


asyncio.run(main())
