"""A Google Cloud Storage of this machine, as far as gcsfs and TensorStore speak to one.

    python gcs_server.py PORT [SECONDS]

SECONDS are those before each answer; port 0 is any that is free. Objects live in memory.
Preconditions on generations hold, as they do there.
"""

import base64
import contextlib
import datetime
import email
import http.server
import json
import os
import re
import sys
import threading
import time
import urllib.parse

import google_crc32c


class Server(http.server.ThreadingHTTPServer):
    """One server; its buckets are there as soon as they are named.

    Attributes:
      objects: {(bucket, name): (content, generation, seconds since 1970)}.
      fetched: bytes of objects that were downloaded.
      latency: seconds before each answer.
      most: requests that were being answered at one time.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port=0):
        super().__init__(('127.0.0.1', port), _Handler)
        self.objects, self.uploads, self.mutex = {}, {}, threading.Lock()
        self.fetched, self.latency, self.generation = 0, 0.0, 1
        self.answering, self.most = 0, 0

    def handle_error(self, request, client_address):
        """A client that was killed is no fault of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self):
        """Of the server."""
        return f'http://127.0.0.1:{self.server_address[1]}'

    @property
    def environment(self):
        """Variables by which gcsfs and TensorStore find it."""
        return {
            'STORAGE_EMULATOR_HOST': self.url,
            'TENSORSTORE_GCS_HTTP_URL': self.url,
            'FSSPEC_GS_TOKEN': 'anon',
            'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
            'NO_GCE_CHECK': 'true',
        }

    @contextlib.contextmanager
    def running(self):
        """Within, it answers."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def put(self, bucket, name, content, query):
        """Writes an object; None where its precondition does not hold."""
        with self.mutex:
            there = self.objects.get((bucket, name))
            wanted = query.get('ifGenerationMatch')
            if wanted is not None and int(wanted) != (there[1] if there else 0):
                return None
            self.generation += 1
            self.objects[bucket, name] = (content, self.generation, time.time())
            return self.about(bucket, name)

    def about(self, bucket, name):
        """Metadata of an object, as JSON."""
        content, generation, seconds = self.objects[bucket, name]
        written = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
        written = written.replace('+00:00', 'Z')
        return {
            'kind': 'storage#object',
            'name': name,
            'bucket': bucket,
            'size': str(len(content)),
            'generation': str(generation),
            'metageneration': '1',
            'timeCreated': written,
            'updated': written,
            'contentType': 'application/octet-stream',
            'storageClass': 'STANDARD',
            'crc32c': base64.b64encode(google_crc32c.Checksum(content).digest()).decode(),
            'etag': str(generation),
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._answer('GET')

    def do_POST(self):
        self._answer('POST')

    def do_PUT(self):
        self._answer('PUT')

    def do_DELETE(self):
        self._answer('DELETE')

    def _answer(self, method):
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            body = b''
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with self.server.mutex:
            self.server.answering += 1
            self.server.most = max(self.server.most, self.server.answering)
        time.sleep(self.server.latency)
        status, content, headers = self._do(method, self.path, body, self.headers)
        with self.server.mutex:
            self.server.answering -= 1
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _do(self, method, path, body, headers):
        """(status, content, headers) of a request."""
        server = self.server
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if parts.path == '/batch/storage/v1':
            return self._batch(body, headers)
        found = re.fullmatch(r'(?:/(upload|download))?/storage/v1/b/([^/]+)(/.*)?', parts.path)
        if not found:
            return 404, b'{}', {}
        kind, bucket, rest = found[1], found[2], found[3] or ''
        if kind == 'upload':
            return self._upload(method, bucket, query, body, headers)
        if rest in ('', '/storageLayout'):
            return _json({'name': bucket, 'kind': 'storage#bucket', 'id': bucket})
        if rest == '/o':
            return _json(self._list(bucket, query))
        name, *more = re.split('/(?:rewriteTo|copyTo)/b/', rest.removeprefix('/o/'))
        name = urllib.parse.unquote(name)
        if more:
            to_bucket, _, to_name = more[0].partition('/o/')
            with server.mutex:
                there = server.objects.get((bucket, name))
            if there is None:
                return 404, b'{}', {}
            made = server.put(to_bucket, urllib.parse.unquote(to_name), there[0], {})
            return _json({'done': True, 'resource': made, **made})
        with server.mutex:
            there = server.objects.get((bucket, name))
            if there is None:
                return 404, b'{"error": {"code": 404, "message": "Not Found"}}', {}
            wanted = query.get('ifGenerationMatch')
            if wanted is not None and int(wanted) != there[1]:
                return 412, b'{}', {}
            if query.get('ifGenerationNotMatch') == str(there[1]):
                return 304, b'', {'x-goog-generation': str(there[1])}
            if method == 'DELETE':
                del server.objects[bucket, name]
                return 204, b'', {}
            if query.get('alt') != 'media':
                return _json(server.about(bucket, name))
        return self._media(*there[:2], headers)

    def _media(self, content, generation, headers):
        about = {'x-goog-generation': str(generation), 'Accept-Ranges': 'bytes'}
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', headers.get('Range', ''))
        status = 200
        if wanted:
            first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
            if first >= len(content):
                return 416, b'', about
            about['Content-Range'] = f'bytes {first}-{min(last, len(content) - 1)}/{len(content)}'
            status, content = 206, content[first : last + 1]
        with self.server.mutex:
            self.server.fetched += len(content)
        return status, content, about

    def _upload(self, method, bucket, query, body, headers):
        server = self.server
        if 'upload_id' in query:  # a part of a resumable one
            key = query['upload_id']
            name, content, conditions = server.uploads[key]
            content += body
            server.uploads[key] = name, content, conditions
            span = re.fullmatch(r'bytes (\d+|\*)-?(\d*)/(\d+|\*)', headers.get('Content-Range', ''))
            if span and (span[3] == '*' or int(span[3]) > len(content)):
                return 308, b'', {'Range': f'bytes=0-{len(content) - 1}'}
            return _made(server.put(bucket, name, content, conditions))
        kind = query['uploadType']
        if kind == 'media':
            return _made(server.put(bucket, query['name'], body, query))
        if kind == 'multipart':
            head = f'Content-Type: {headers["Content-Type"]}\r\n\r\n'.encode()
            about, _ = email.message_from_bytes(head + body).get_payload()
            boundary = re.search(r'boundary="?([^";]+)', headers['Content-Type'])[1].encode()
            part = body.split(b'--' + boundary)[2]
            line = b'\r\n' if part.startswith(b'\r\n') else b'\n'  # gcsfs' and Google's own
            content = part.split(line * 2, 1)[1].removesuffix(line)
            name = json.loads(about.get_payload())['name']
            return _made(server.put(bucket, name, content, query))
        name = query.get('name') or json.loads(body)['name']
        key = str(len(server.uploads))
        server.uploads[key] = name, b'', query
        place = f'{server.url}/upload/storage/v1/b/{bucket}/o?upload_id={key}'
        return 200, b'{}', {'Location': place}

    def _list(self, bucket, query):
        prefix, delimiter = query.get('prefix', ''), query.get('delimiter', '')
        with self.server.mutex:
            names = sorted(
                name
                for there, name in self.server.objects
                if there == bucket
                and name.startswith(prefix)
                and name >= query.get('startOffset', '')
                and (not query.get('endOffset') or name < query['endOffset'])
            )
            items, prefixes = [], {}
            for name in names:
                below, cut, _ = (
                    name[len(prefix) :].partition(delimiter) if delimiter else ('', '', '')
                )
                if cut:
                    prefixes[prefix + below + delimiter] = True
                else:
                    items.append(self.server.about(bucket, name))
        return {'kind': 'storage#objects', 'items': items, 'prefixes': [*prefixes]}

    def _batch(self, body, headers):
        boundary = re.search(r'boundary="?([^";]+)', headers['Content-Type'])[1]
        answers = []
        for part in body.decode().split(f'--{boundary}')[1:-1]:
            wanted = re.search(r'(DELETE|GET|POST) (?:https?://[^/]+)?(\S+) HTTP', part)
            status, content, _ = self._do(wanted[1], wanted[2], b'', {})
            number = re.search(r'(?i)content-id: *<?([^>\r\n]+)', part)
            answers.append(
                '--answers\r\nContent-Type: application/http\r\n'
                f'Content-ID: <response-{number[1] if number else ""}>\r\n\r\n'
                f'HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n'
                f'Content-Type: application/json\r\n\r\n{content.decode()}\r\n'
            )
        content = ''.join(answers) + '--answers--'
        return 200, content.encode(), {'Content-Type': 'multipart/mixed; boundary=answers'}


def _json(content):
    return 200, json.dumps(content).encode(), {'Content-Type': 'application/json'}


def _made(about):
    if about is None:
        return 412, b'{"error": {"code": 412, "message": "Precondition Failed"}}', {}
    return _json(about)


if __name__ == '__main__':
    server = Server(int(sys.argv[1]))
    server.latency = float(sys.argv[2]) if sys.argv[2:] else 0.0
    print(' '.join(f'{key}={value}' for key, value in server.environment.items()), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    os._exit(0)
