"""A small RTSP server (RFC 2326): a camera that sends H.264 in RTP packets (RFC 3550, 6184) over its TCP connection.

It speaks just enough for FFmpeg's client. Each unit of the stream goes into one packet.
"""

import base64
import re
import socket
import struct
import threading

from styleid.media.video.live_address import LiveAddress

_TICKS = 90_000
_TYPE = 96
_BEGIN = 123_456  # time stamps begin anywhere but at 0, which FFmpeg takes for unset
_UNIT = re.compile(rb"\x00\x00\x00?\x01")


class RtspCamera:
    """A camera that one client may ask for its stream, with a name and a password.

    Attributes:
        address: Its address, with name and password.
        asked: Methods of the requests that it got.
    """

    def __init__(self, pictures: list[bytes], rate: int, name: str = "me", password: str = "secret") -> None:
        """Wait for a client in a thread.

        Args:
            pictures: Coded pictures, each a byte stream of H.264.
            rate: Pictures a second, for the time stamps; they are sent at once.
            name: Name that the client must give.
            password: Its password.
        """
        self._pictures, self._rate = pictures, rate
        self._key = base64.b64encode(f"{name}:{password}".encode()).decode()
        self._listening = socket.create_server(("127.0.0.1", 0))
        place = f"127.0.0.1:{self._listening.getsockname()[1]}/stream"
        self._url, self.address = f"rtsp://{place}", LiveAddress(f"rtsp://{name}:{password}@{place}")
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._listening, self._listening.accept()[0] as client, client.makefile("rb") as requests:
            while (line := requests.readline()).strip():
                headers = {}
                while (header := requests.readline().strip()) and b":" in header:
                    key, _, value = header.decode().partition(":")
                    headers[key.lower()] = value.strip()
                method = line.split()[0].decode()
                self.asked.append(method)
                client.sendall(self._answer(method, headers))
                if method == "PLAY" and self._allowed(headers):
                    self._send(client)
                    return

    def _allowed(self, headers: dict[str, str]) -> bool:
        return headers.get("authorization") == f"Basic {self._key}"

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        lines, body = ["RTSP/1.0 200 OK"], ""
        if method != "OPTIONS" and not self._allowed(headers):
            lines = ["RTSP/1.0 401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"']
        elif method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                f"m=video 0 RTP/AVP {_TYPE}\r\na=rtpmap:{_TYPE} H264/{_TICKS}\r\n"
                f"a=framerate:{self._rate}\r\na=control:track1\r\n"
            )
            lines += ["Content-Type: application/sdp", f"Content-Base: {self._url}/", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        else:
            lines.append("Session: 1")
        return "\r\n".join([*lines, f"CSeq: {headers['cseq']}", "", body]).encode()

    def _send(self, client: socket.socket) -> None:
        number = 0
        for index, picture in enumerate(self._pictures):
            units = [unit for unit in _UNIT.split(picture) if unit]
            for place, unit in enumerate(units, 1):
                marked = _TYPE | (0x80 if place == len(units) else 0)  # the last packet of a picture
                head = struct.pack(">BBHII", 0x80, marked, number, _BEGIN + index * _TICKS // self._rate, 1)
                client.sendall(struct.pack(">cBH", b"$", 0, len(head) + len(unit)) + head + unit)
                number += 1
