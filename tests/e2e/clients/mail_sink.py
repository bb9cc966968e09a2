"""A mail server (aiosmtpd) that prints each mail that it takes as a line of JSON.

    mail_sink.py                       in clear, from anybody
    mail_sink.py CERT KEY USER PASS    by STARTTLS and a password alone; the first mail is put off once
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Sink:
    def __init__(self, puts_off):
        self.puts_off = puts_off

    async def handle_DATA(self, server, session, envelope):
        if self.puts_off > 0:
            self.puts_off -= 1
            print(json.dumps({"put_off": True}), flush=True)
            return "451 try again"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail_from, to = mail["From"].addresses[0].addr_spec, [one.addr_spec for one in mail["To"].addresses]
        print(
            json.dumps(
                {
                    "envelope": [envelope.mail_from, envelope.rcpt_tos],
                    "header": [mail_from, to],
                    "subject": mail["Subject"],
                    "date": mail["Date"].datetime.isoformat(),
                    "id": mail["Message-ID"],
                    "text": mail.get_content(),
                    "tls": session.ssl is not None,
                    "user": session.authenticated,
                    "defects": [str(one) for one in mail.defects],
                }
            ),
            flush=True,
        )
        return "250 taken"


async def main():
    options = {}
    if sys.argv[1:]:
        certificate, key, user, password = sys.argv[1:]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        def judge(server, session, envelope, mechanism, data):
            good = mechanism == "PLAIN" and data.login == user.encode() and data.password == password.encode()
            return AuthResult(success=good)

        options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": judge}
    sink = Sink(1 if options else 0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, loop=loop, **options), "127.0.0.1", 0)
    print(f"serving on port {server.sockets[0].getsockname()[1]} now", flush=True)
    await server.serve_forever()


asyncio.run(main())
